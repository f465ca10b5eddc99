/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a TLS connection, proven
 *
 * A peer is made in the moment its certificate is verified and shared by every connection that shows the same
 * certificate: an idle connection keeps one pointer, no certificate text. One table per worker.
 */
#ifndef TRAMMEL_PROXY_TLS_PEER_H
#define TRAMMEL_PROXY_TLS_PEER_H

#include <openssl/x509.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/x509/spiffe_id.h"

#define TLS_PEER_NAME_BYTES 64 /* a Kubernetes name or namespace: 63 and NUL */

struct tls_peer {
	struct hash_node node;
	struct tls_peer_table *table;
	uint32_t n_refs;
	uint8_t hash[32];  /* SHA-256 of the certificate in DER */
	const char *spiffe_id;
	const char *subject; /* RFC 2253 text, "" when empty */
	/* of /ns/NAMESPACE/sa/ACCOUNT, else "" */
	char namespace[TLS_PEER_NAME_BYTES], service_account[TLS_PEER_NAME_BYTES];
	char text[];
};

struct tls_peer_table {
	struct hash_table peers;
};

void tls_peer_table_init(struct tls_peer_table *t);
/** tls_peer_table_done() - all references must be gone */
void tls_peer_table_done(struct tls_peer_table *t);

/**
 * tls_peer_get() - the peer of a verified certificate
 * @cert:  leaf, borrowed
 * @id:    its SPIFFE ID, borrowed
 * @ret:   a reference, the caller's
 */
MUST_CHECK int tls_peer_get(struct tls_peer_table *t, X509 *cert, const struct spiffe_id *id, struct tls_peer **ret);
struct tls_peer *tls_peer_ref(struct tls_peer *p);
struct tls_peer *tls_peer_unref(struct tls_peer *p);

#endif
