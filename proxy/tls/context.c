/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts of one certificate: see context.h. */
#include "proxy/tls/context.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include "base/clock.h"
#include "base/x509/bundle.h"
#include "base/x509/svid.h"
#include "proxy/tls/transport.h"
#include "proxy/tls/verify.h"

#define TLS_DEPTH_MAX	   4
#define TLS_CHAIN_MAX	   (64 * 1024)
#define TLS_BUNDLE_MAX	   64
#define TLS_CIPHERS	   "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define TLS_GROUPS_HYBRID  "X25519MLKEM768:X25519:P-256"
#define TLS_GROUPS_CLASSIC "X25519:P-256"

struct str tls_alpn_wire(enum tls_alpn alpn)
{
	switch (alpn) {
	case TLS_ALPN_ISTIO_HTTP1:
		return STR("\x0eistio-http/1.1");
	case TLS_ALPN_ISTIO_H2:
		return STR("\x08istio-h2");
	case TLS_ALPN_ISTIO:
		return STR("\x05istio");
	case TLS_ALPN_H2:
		return STR("\x02h2");
	case TLS_ALPN_HTTP1:
	case TLS_ALPN_NONE:
		break;
	}
	return STR("");
}

enum tls_alpn tls_alpn_from(struct str name)
{
	if (str_eq(name, STR("istio-http/1.1")) || str_eq(name, STR("istio-http/1.0")))
		return TLS_ALPN_ISTIO_HTTP1;
	if (str_eq(name, STR("istio-h2")))
		return TLS_ALPN_ISTIO_H2;
	if (str_eq(name, STR("istio")))
		return TLS_ALPN_ISTIO;
	if (str_eq(name, STR("h2")))
		return TLS_ALPN_H2;
	return TLS_ALPN_NONE;
}

/* The first protocol of the caller's list that we speak; none: fatal alert (RFC 7301 section 3.2). */
static int on_alpn_select(SSL *ssl, const unsigned char **ret, unsigned char *ret_n, const unsigned char *in,
			  unsigned int n, void *arg)
{
	const struct transport *t = SSL_get_app_data(ssl);

	for (unsigned int at = 0; at < n;) {
		unsigned int len = in[at];
		enum tls_alpn alpn;

		if (len == 0 || len > n - at - 1)
			break;
		alpn = tls_alpn_from((struct str){ (const char *)in + at + 1, len });
		if (alpn != TLS_ALPN_NONE && (alpn == TLS_ALPN_H2) == t->is_tunnel_port) {
			*ret = in + at + 1;
			*ret_n = (unsigned char)len;
			return SSL_TLSEXT_ERR_OK;
		}
		at += 1 + len;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int bundle_load(SSL_CTX *server, SSL_CTX *client, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	size_t n = 0;
	X509 *root;
	int r = 0;

	if (!bio)
		return -ENOMEM;
	while (r == 0 && (root = PEM_read_bio_X509(bio, NULL, x509_no_password, NULL))) {
		if (++n > TLS_BUNDLE_MAX || !X509_STORE_add_cert(SSL_CTX_get_cert_store(server), root) ||
		    !X509_STORE_add_cert(SSL_CTX_get_cert_store(client), root))
			r = -EINVAL;
		X509_free(root);
	}
	ERR_clear_error(); /* the end of the text is an error to PEM_read_bio() */
	BIO_free(bio);
	return r < 0 ? r : n == 0 ? -EINVAL : 0;
}

/* Sets certificate, key and intermediates of @ctx; the leaf is kept in @ret_leaf. */
static int chain_load(SSL_CTX *ctx, EVP_PKEY *key, const char *pem, X509 **ret_leaf)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *leaf = NULL, *issuer;
	int r = -EINVAL;

	if (!bio)
		return -ENOMEM;
	leaf = PEM_read_bio_X509(bio, NULL, x509_no_password, NULL);
	if (!leaf || SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		goto out;
	r = 0;
	while (r == 0 && (issuer = PEM_read_bio_X509(bio, NULL, x509_no_password, NULL))) {
		if (SSL_CTX_add0_chain_cert(ctx, issuer) != 1) {
			X509_free(issuer);
			r = -EINVAL;
		}
	}
out:
	ERR_clear_error();
	BIO_free(bio);
	if (r < 0)
		X509_free(leaf);
	else
		*ret_leaf = leaf;
	return r;
}

static SSL_CTX *ctx_new(bool is_server)
{
	SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	X509_VERIFY_PARAM *param;

	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_max_cert_list(ctx, TLS_CHAIN_MAX);
	SSL_CTX_set_verify_depth(ctx, TLS_DEPTH_MAX);
	param = SSL_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (is_server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, TLS_CIPHERS) != 1 ||
	    (SSL_CTX_set1_groups_list(ctx, TLS_GROUPS_HYBRID) != 1 &&
	     SSL_CTX_set1_groups_list(ctx, TLS_GROUPS_CLASSIC) != 1)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	ERR_clear_error();
	if (is_server)
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn_select, NULL);
	return ctx;
}

/* Own names, as our own leaf says them. */
static int names_take(struct tls_identity *id, const X509 *leaf)
{
	char text[SPIFFE_ID_MAX_BYTES + 1];
	struct spiffe_id own;

	if (x509_spiffe_id(leaf, text, &own) != 0)
		return -EINVAL;
	id->spiffe_id = str_dup(own.text);
	id->trust_domain = str_dup(own.trust_domain);
	return id->spiffe_id && id->trust_domain ? 0 : -ENOMEM;
}

static int identity_fill(struct tls_identity *id, EVP_PKEY *key, const char *chain_pem, const char *bundle_pem,
			 const char **ret_error)
{
	X509 *leaf = NULL, *again = NULL;
	int r;

	*ret_error = "memory is out";
	id->server = ctx_new(true);
	id->client = ctx_new(false);
	if (!id->server || !id->client)
		return -ENOMEM;
	*ret_error = "chain does not fit the key or cannot be read";
	r = chain_load(id->server, key, chain_pem, &leaf);
	if (r == 0)
		r = chain_load(id->client, key, chain_pem, &again);
	X509_free(again);
	if (r == 0) {
		*ret_error = "certificate has no SPIFFE ID of a workload";
		r = names_take(id, leaf);
	}
	if (r == 0 && (X509_cmp_current_time(X509_get0_notAfter(leaf)) <= 0)) {
		*ret_error = "certificate has expired";
		r = -EINVAL;
	}
	X509_free(leaf);
	if (r < 0)
		return r;
	*ret_error = "trust bundle cannot be read";
	r = bundle_load(id->server, id->client, bundle_pem);
	if (r < 0)
		return r;
	tls_verify_install(id);
	*ret_error = NULL;
	return 0;
}

int tls_identity_new(EVP_PKEY *key, const char *chain_pem, const char *bundle_pem, uint64_t not_after_s,
		     struct tls_identity **ret, const char **ret_error)
{
	struct tls_identity *id = calloc(1, sizeof(*id));
	int r;

	if (!id) {
		*ret_error = "memory is out";
		return -ENOMEM;
	}
	atomic_init(&id->n_refs, 1);
	id->not_after_s = not_after_s;
	r = identity_fill(id, key, chain_pem, bundle_pem, ret_error);
	if (r < 0) {
		tls_identity_unref(id);
		ERR_clear_error();
		return r;
	}
	*ret = id;
	return 0;
}

struct tls_identity *tls_identity_ref(struct tls_identity *id)
{
	if (id)
		atomic_fetch_add_explicit(&id->n_refs, 1, memory_order_relaxed);
	return id;
}

struct tls_identity *tls_identity_unref(struct tls_identity *id)
{
	if (!id || atomic_fetch_sub_explicit(&id->n_refs, 1, memory_order_acq_rel) > 1)
		return NULL;
	SSL_CTX_free(id->server);
	SSL_CTX_free(id->client);
	free(id->spiffe_id);
	free(id->trust_domain);
	free(id);
	return NULL;
}
