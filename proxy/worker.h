/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: one thread, one loop, and what its connections share
 *
 * Workers own their connections and share nothing but immutable snapshots and TLS contexts. The main worker also holds
 * the subscriber; another worker asks it through worker_want_dest().
 */
#ifndef TRAMMEL_PROXY_WORKER_H
#define TRAMMEL_PROXY_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "proxy/cluster/balance.h"
#include "proxy/http/h2.h"
#include "proxy/http/trace.h"
#include "proxy/listener/conn_registry.h"
#include "proxy/observe/observe.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/subscribe/subscriber.h"
#include "proxy/tls/origin.h"
#include "proxy/tls/transport.h"
#include "proxy/upstream/pool.h"

struct exchange;

#define WORKER_EXCHANGES_KEPT 64

struct worker {
	struct loop *loop;
	struct transport_shared shared;
	struct tls_peer_table peers;
	struct tls_identity *identity; /* NULL before the first certificate */
	struct tls_origins origins;
	struct snapshot *snapshot;     /* NULL before the first */
	struct subscriber *subscriber; /* borrowed */
	struct observe *observe;       /* borrowed */
	struct conn_registry conns;
	struct upstream_pool pool;
	struct h2_stall_budget stalls;
	struct balance balance;
	struct trace_random random;
	struct list policy_waits; /* struct worker_wait: for the first snapshot */
	struct exchange *exchanges_free;
	size_t n_exchanges_free;
	size_t n_handshakes_max, n_conns_max;
	size_t n_conns_peak; /* since memory was last given back */
	bool draining;
	void (*on_idle)(struct worker *w); /* draining and no connection left */
	struct loop_task idle_task;
	uint64_t wall_offset_ns; /* wall clock minus monotonic clock, renewed each second of use */
	uint64_t wall_read_ns;
};

/* Waiting for the first snapshot; embedded in its owner, zeroed before first use. */
struct worker_wait {
	struct list link;
	void (*on_snapshot)(struct worker_wait *wait);
};

MUST_CHECK int worker_init(struct worker *w, struct loop *loop, struct observe *observe, uint64_t first_conn_id);
void worker_done(struct worker *w);

/** worker_set_snapshot() - swap at a loop turn; connections waiting for the first one go on */
void worker_set_snapshot(struct worker *w, struct snapshot *s);
void worker_set_identity(struct worker *w, struct tls_identity *id);

/** worker_is_ready() - snapshot and a certificate in date */
bool worker_is_ready(const struct worker *w, enum trm_reason *ret_why);

/** worker_drain() - no new work; idle connections are closed at once; on_idle when none is left */
void worker_drain(struct worker *w, void (*on_idle)(struct worker *w));
/** worker_kill() - end what is left */
void worker_kill(struct worker *w, enum trm_reason reason);
/** worker_conn_closed() - a connection left the registry */
void worker_conn_closed(struct worker *w);

/** worker_wall_ns() - time since 1970 of now, without a system call per request */
uint64_t worker_wall_ns(struct worker *w);

#endif
