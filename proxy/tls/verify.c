/* SPDX-License-Identifier: Apache-2.0 */
/* Verification of a peer's certificate: see verify.h. */
#include "proxy/tls/verify.h"

#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include "base/x509/svid.h"
#include "proxy/tls/transport.h"

static int refuse(struct transport *t, X509_STORE_CTX *store, enum trm_reason reason)
{
	t->reason = reason;
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static int on_verify(X509_STORE_CTX *store, void *arg)
{
	const struct tls_identity *own = arg;
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct transport *t = SSL_get_app_data(ssl);
	char text[SPIFFE_ID_MAX_BYTES + 1];
	struct spiffe_id id;
	X509 *leaf = X509_STORE_CTX_get0_cert(store);

	/* 1. a chain to our roots, in date, for this purpose */
	t->reason = TRM_REASON_TLS_PEER_CERT;
	if (X509_verify_cert(store) != 1)
		return 0;
	/* 2. a leaf, with the one name of a workload */
	if (X509_get_extension_flags(leaf) & EXFLAG_CA)
		return refuse(t, store, TRM_REASON_TLS_PEER_CERT);
	if (x509_spiffe_id(leaf, text, &id) != 0)
		return refuse(t, store, TRM_REASON_TLS_PEER_CERT);
	/* 3. of our trust domain */
	if (!str_eq_c(id.trust_domain, own->trust_domain))
		return refuse(t, store, TRM_REASON_TRUST_DOMAIN);
	/* 4. the one we asked for */
	if (t->expected_id && !str_eq_c(id.text, t->expected_id))
		return refuse(t, store, TRM_REASON_PEER_IDENTITY);
	t->peer = tls_peer_unref(t->peer);
	if (tls_peer_get(t->shared->peers, leaf, &id, &t->peer) < 0)
		return refuse(t, store, TRM_REASON_NO_MEMORY);
	t->reason = TRM_REASON_NONE;
	return 1;
}

void tls_verify_install(struct tls_identity *id)
{
	SSL_CTX_set_cert_verify_callback(id->server, on_verify, id);
	SSL_CTX_set_cert_verify_callback(id->client, on_verify, id);
}
