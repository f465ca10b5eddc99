/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live connections of one worker
 *
 * Every accepted connection is in the registry from accept to close, whatever became of it: for `trammel conn`, for
 * draining, and for the limits. Entries are embedded in their owner; strings are borrowed and live as long as the
 * entry does. One registry per worker, never shared between threads.
 */
#ifndef TRAMMEL_PROXY_CONN_REGISTRY_H
#define TRAMMEL_PROXY_CONN_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "proxy/observe/observe.h"
#include "trammel/reason.h"

enum conn_state {
	CONN_POLICY,	/* waits for a snapshot or for the agent's answer about its destination */
	CONN_DETECT,	/* waits for first bytes that tell the protocol */
	CONN_HANDSHAKE, /* TLS with the downstream */
	CONN_CONNECT,	/* dials upstream (TCP) */
	CONN_OPEN,	/* HTTP: an exchange is under way. TCP: relaying */
	CONN_IDLE,	/* HTTP keep-alive between two exchanges */
	CONN_CLOSING,
	CONN_STATES,
};

#define CONN_SOURCE_MAX 10000 /* connections of one address */

struct conn;
struct conn_source;

struct conn_ops {
	/* Close when idle, tell HTTP callers to go, refuse new exchanges. May free the connection. */
	void (*drain)(struct conn *c);
	/* End it now, by reset where bytes could be lost unseen; @reason for log and metrics. Frees the connection. */
	void (*kill)(struct conn *c, enum trm_reason reason);
};

struct conn {
	struct list link; /* in conn_registry.conns, oldest first */
	const struct conn_ops *ops;
	void *owner; /* of the stage that serves it; private to it */
	uint64_t id;
	uint64_t opened_ns;	 /* monotonic */
	uint64_t opened_wall_ns; /* since 1970 */
	enum observe_direction direction;
	enum conn_state state;
	struct addr client;	    /* who called */
	struct conn_source *source; /* inbound: what else it has open; the registry's */
	struct addr orig_dst;	    /* what was dialled */
	struct addr endpoint;	    /* where its bytes go, or last went; zero before */
	const char *protocol;	    /* "http/1.1", "h2", "tcp", "tls" (passed through); "" before it is known; constant */
	const char *peer_spiffe_id; /* proven identity of the mesh peer (inbound: caller; outbound: endpoint), or "" */
	const char *tls_version;    /* "TLSv1.3" where the mesh side is encrypted by us, or ""; constant */
	bool mtls;
	uint64_t bytes_in, bytes_out; /* from and to the downstream, as read and written (HTTP: whole messages) */
	uint64_t requests;	      /* HTTP: exchanges begun */
};

struct conn_registry {
	struct list conns;
	size_t n_conns;
	uint64_t n_total;	/* ever */
	uint64_t next_id;	/* set by the owner so that ids of workers do not meet */
	size_t n_by_direction[2]; /* enum observe_direction */
	struct hash_table sources; /* struct conn_source, by address: those that have a connection */
};

void conn_registry_init(struct conn_registry *r, uint64_t first_id);

/** conn_registry_add() - @c filled up to direction, times and addresses; gives it its id; 0 or -ENOMEM */
MUST_CHECK int conn_registry_add(struct conn_registry *r, struct conn *c);
void conn_registry_remove(struct conn_registry *r, struct conn *c);

/**
 * conn_is_over_source_limit() - has the address that @c comes from more connections than one may have?
 * @n_conns_max: of all addresses together
 *
 * CONN_SOURCE_MAX, but never more than half of all, so that one address alone cannot shut out the others. Connections of
 * the own app count for nothing here.
 */
bool conn_is_over_source_limit(const struct conn *c, size_t n_conns_max);

/** conn_state_name() - "policy", "detect", "handshake", "connect", "open", "idle", "closing" */
const char *conn_state_name(enum conn_state state);

#endif
