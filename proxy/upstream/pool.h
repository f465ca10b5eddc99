/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pool of idle upstream connections
 *
 * Keyed by everything that makes two connections the same to the peer: address, true client (towards the app), identity
 * demanded, protocol, by a tunnel or not. The most recently used comes first; one that the peer ends, or that says something unasked, or
 * that is idle for too long, is closed: an application may close its side any time, a proxy keeps it. One pool per worker.
 *
 * A connection of HTTP/2 counts as idle as long as it has room for another stream.
 */
#ifndef TRAMMEL_PROXY_UPSTREAM_POOL_H
#define TRAMMEL_PROXY_UPSTREAM_POOL_H

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"
#include "proxy/route/target.h"

#define POOL_IDLE_MS	  3000	/* Node closes after 5 s */
#define POOL_IDLE_MTLS_MS 60000 /* proxies keep theirs for 10 min (ours) or an hour (Envoy): a handshake costs 100 requests */
#define POOL_IDLE_PER_KEY 64
#define POOL_IDLE_MAX	  1024 /* of all keys: 21 KB each under TLS */

struct pool_key {
	struct addr addr;
	uint8_t client_ip[16];
	bool mtls, hbone;
	uint8_t alpn;	       /* enum tls_alpn */
	uint64_t tls;	       /* backend_tls.key; 0: not TLS of its own */
	const char *spiffe_id; /* "" when none is demanded */
	uint64_t hash;
};

/* All connections of one key. Lives while it has one. */
struct pool_host {
	struct hash_node node;
	struct upstream_pool *pool;
	struct pool_key key;
	struct list idle; /* struct pool_link, most recent first */
	size_t n_idle, n_conns;
	char spiffe_id[];
};

/* Embedded in a connection. */
struct pool_link {
	struct list link;
	struct pool_host *host;
	struct list all_link;
	bool is_idle;
	void (*kill)(struct pool_link *l); /* at the worker's end: now, whatever it does. NULL: it is known to be gone by then */
	void (*close)(struct pool_link *l); /* leaves the pool, or is withdrawn from it until its streams have ended */
};

struct upstream_pool {
	struct hash_table hosts;
	struct list all; /* struct pool_link, idle or not */
	size_t n_conns, n_idle;
	uint64_t n_opened, n_reused; /* ever */
};

void upstream_pool_init(struct upstream_pool *p);
/** upstream_pool_done() - closes the idle ones and kills the others */
void upstream_pool_done(struct upstream_pool *p);

/** pool_key_fill() - @alpn: enum tls_alpn */
void pool_key_fill(struct pool_key *key, const struct target *t, uint8_t alpn);

/** upstream_pool_take() - an idle connection of @key, now in use; NULL when there is none */
struct pool_link *upstream_pool_take(struct upstream_pool *p, const struct pool_key *key);
/** upstream_pool_join() - a new connection, in use; -ENOMEM */
MUST_CHECK int upstream_pool_join(struct upstream_pool *p, const struct pool_key *key, struct pool_link *l);
/** upstream_pool_put() - @l is idle from now on; false when there are too many: the caller closes it */
MUST_CHECK bool upstream_pool_put(struct upstream_pool *p, struct pool_link *l);
/** upstream_pool_withdraw() - @l is not to be taken any more, though it is not closed; nothing where it is in use alone */
void upstream_pool_withdraw(struct upstream_pool *p, struct pool_link *l);
/** upstream_pool_leave() - @l is being closed, idle or not */
void upstream_pool_leave(struct upstream_pool *p, struct pool_link *l);
/** upstream_pool_close_idle() - all of them */
void upstream_pool_close_idle(struct upstream_pool *p);

#endif
