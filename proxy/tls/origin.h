/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS to servers outside of the mesh: contexts by who vouches for them
 *
 * Made at first use and kept, a few of them, by each worker. TLS 1.2 or 1.3; chains at most 4 deep and not in OpenSSL's strict
 * mode, since what other people's authorities leave out is not ours to choose. No certificate of our own is shown: a
 * workload's identity is for the mesh.
 */
#ifndef TRAMMEL_PROXY_TLS_ORIGIN_H
#define TRAMMEL_PROXY_TLS_ORIGIN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "proxy/tls/context.h"

#define TLS_ORIGINS_MAX	   16 /* contexts; the longest unused goes */
#define TLS_ORIGINS_H1_MAX 64
#define TLS_ORIGINS_H1_NS  600000000000ull /* how long it is remembered that a server speaks no HTTP/2 */

struct tls_origins {
	struct tls_origin_ctx {
		SSL_CTX *ctx;
		char *ca_pem;
		uint64_t used; /* a count, not a time */
	} ctx[TLS_ORIGINS_MAX];
	struct {
		uint64_t key, until_ns;
	} h1[TLS_ORIGINS_H1_MAX];
	uint64_t n_used;
};

void tls_origins_done(struct tls_origins *o);

/**
 * tls_origins_get() - the context for servers that @ca_pem vouches for; "": those that this machine trusts
 * @ret:  borrowed until the next call
 *
 * Return: 0, -EINVAL (certificates that cannot be read), -ENOMEM.
 */
MUST_CHECK int tls_origins_get(struct tls_origins *o, const char *ca_pem, SSL_CTX **ret);

/** tls_origins_note_h1() - a server of @key did not take HTTP/2 when it was offered */
void tls_origins_note_h1(struct tls_origins *o, uint64_t key, uint64_t now_ns);
/** tls_origins_is_h1() - so that it need not be asked again? */
bool tls_origins_is_h1(const struct tls_origins *o, uint64_t key, uint64_t now_ns);

#endif
