/* SPDX-License-Identifier: Apache-2.0 */
/* TLS to servers outside of the mesh: see origin.h. */
#include "proxy/tls/origin.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "base/x509/bundle.h"

#define DEPTH_MAX 4
#define CHAIN_MAX (64 * 1024)

static int on_root(X509 *root, void *user)
{
	return X509_STORE_add_cert(user, root) == 1 ? 0 : -EINVAL;
}

static SSL_CTX *ctx_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX);
	SSL_CTX_set_verify_depth(ctx, DEPTH_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* names are in the alternative names (RFC 9110 section 4.3.4), never in the subject */
	X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(ctx),
					X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static int ctx_fill(struct tls_origin_ctx *c, const char *ca_pem)
{
	int r = 0;

	c->ctx = ctx_new();
	c->ca_pem = str_dup(str_from(ca_pem));
	if (!c->ctx || !c->ca_pem)
		return -ENOMEM;
	if (*ca_pem)
		r = x509_bundle_each(str_from(ca_pem), on_root, SSL_CTX_get_cert_store(c->ctx));
	else if (SSL_CTX_set_default_verify_paths(c->ctx) != 1)
		r = -ENOMEM;
	ERR_clear_error();
	return r < 0 ? r : *ca_pem && r == 0 ? -EINVAL : 0;
}

static void ctx_done(struct tls_origin_ctx *c)
{
	SSL_CTX_free(c->ctx);
	free(c->ca_pem);
	*c = (struct tls_origin_ctx){ 0 };
}

void tls_origins_done(struct tls_origins *o)
{
	for (size_t i = 0; i < TLS_ORIGINS_MAX; i++)
		ctx_done(&o->ctx[i]);
}

int tls_origins_get(struct tls_origins *o, const char *ca_pem, SSL_CTX **ret)
{
	struct tls_origin_ctx *oldest = &o->ctx[0];
	int r;

	for (size_t i = 0; i < TLS_ORIGINS_MAX; i++) {
		struct tls_origin_ctx *c = &o->ctx[i];

		if (c->ctx && strcmp(c->ca_pem, ca_pem) == 0) {
			c->used = ++o->n_used;
			*ret = c->ctx;
			return 0;
		}
		if (c->used < oldest->used)
			oldest = c;
	}
	ctx_done(oldest);
	r = ctx_fill(oldest, ca_pem);
	if (r < 0) {
		ctx_done(oldest);
		return r;
	}
	oldest->used = ++o->n_used;
	*ret = oldest->ctx;
	return 0;
}

void tls_origins_note_h1(struct tls_origins *o, uint64_t key, uint64_t now_ns)
{
	size_t at = 0;

	for (size_t i = 0; i < TLS_ORIGINS_H1_MAX; i++) {
		if (o->h1[i].key == key) {
			at = i;
			break;
		}
		if (o->h1[i].until_ns < o->h1[at].until_ns)
			at = i;
	}
	o->h1[at].key = key;
	o->h1[at].until_ns = now_ns + TLS_ORIGINS_H1_NS;
}

bool tls_origins_is_h1(const struct tls_origins *o, uint64_t key, uint64_t now_ns)
{
	for (size_t i = 0; i < TLS_ORIGINS_H1_MAX; i++)
		if (o->h1[i].key == key && o->h1[i].until_ns > now_ns)
			return true;
	return false;
}
