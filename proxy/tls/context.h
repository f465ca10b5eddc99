/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS contexts of one certificate
 *
 * The workload's certificate, its key and the trust bundle make one server and one client context. A renewal makes new
 * ones; connections keep those they began with. Immutable after tls_identity_new(), shared by reference between
 * workers.
 *
 * TLS 1.3 alone; no tickets, no early data, no compression; chains at most 4 deep, checked by OpenSSL in its strict
 * mode, then the one SPIFFE ID of the leaf is compared by byte.
 */
#ifndef TRAMMEL_PROXY_TLS_CONTEXT_H
#define TRAMMEL_PROXY_TLS_CONTEXT_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/str.h"

enum tls_alpn {
	TLS_ALPN_NONE,
	TLS_ALPN_ISTIO_HTTP1, /* istio-http/1.1, istio-http/1.0 */
	TLS_ALPN_ISTIO_H2,
	TLS_ALPN_ISTIO, /* any bytes */
	TLS_ALPN_H2,	/* on the tunnel port alone, and nothing else there; to servers outside of the mesh */
	TLS_ALPN_HTTP1, /* to servers outside of the mesh alone */
};

struct tls_identity {
	atomic_uint n_refs;
	SSL_CTX *server, *client;
	uint64_t not_after_s; /* since 1970 */
	char *spiffe_id;
	char *trust_domain;
};

/**
 * tls_identity_new() - build both contexts
 * @key:         borrowed
 * @chain_pem:   leaf first
 * @bundle_pem:  roots of the trust domain
 * @ret_error:   a constant sentence on failure
 *
 * Refuses a chain that does not fit the key, is out of date, or names no SPIFFE ID.
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
MUST_CHECK int tls_identity_new(EVP_PKEY *key, const char *chain_pem, const char *bundle_pem, uint64_t not_after_s,
				struct tls_identity **ret, const char **ret_error);
struct tls_identity *tls_identity_ref(struct tls_identity *id);
struct tls_identity *tls_identity_unref(struct tls_identity *id);

/** tls_identity_is_valid() - is its certificate still in date at @now_s (since 1970)? */
static inline bool tls_identity_is_valid(const struct tls_identity *id, uint64_t now_s)
{
	return id && now_s < id->not_after_s;
}

/** tls_alpn_wire() - the one protocol a client offers, as ALPN's list; "" for NONE */
struct str tls_alpn_wire(enum tls_alpn alpn);
/** tls_alpn_from() - of the protocol that was chosen */
enum tls_alpn tls_alpn_from(struct str name);

#endif
