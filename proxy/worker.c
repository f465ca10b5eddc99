/* SPDX-License-Identifier: Apache-2.0 */
/* Worker: see worker.h. */
#include "proxy/worker.h"

#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include "base/clock.h"
#include "base/log.h"
#include "proxy/upstream/exchange.h"

#define STALLS_MAX_BYTES (16 * 1024 * 1024)
#define HANDSHAKES_MAX 1000
#define FDS_RESERVED   256
#define TRIM_CONNS     64

/* Each connection needs two descriptors: its own and that of its endpoint. */
static size_t conns_max(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur == RLIM_INFINITY)
		return 100000;
	return lim.rlim_cur > 2 * FDS_RESERVED ? (lim.rlim_cur - FDS_RESERVED) / 2 : lim.rlim_cur / 4;
}

int worker_init(struct worker *w, struct loop *loop, struct observe *observe, uint64_t first_conn_id)
{
	int r;

	*w = (struct worker){ .loop = loop, .observe = observe };
	w->n_handshakes_max = HANDSHAKES_MAX;
	w->n_conns_max = conns_max();
	w->stalls.max_bytes = STALLS_MAX_BYTES;
	list_init(&w->policy_waits);
	tls_peer_table_init(&w->peers);
	conn_registry_init(&w->conns, first_conn_id);
	upstream_pool_init(&w->pool);
	balance_init(&w->balance);
	r = trace_random_init(&w->random);
	if (r == 0)
		r = transport_shared_init(&w->shared, loop, &w->peers);
	return r;
}

void worker_done(struct worker *w)
{
	worker_kill(w, TRM_REASON_DRAIN);
	upstream_pool_done(&w->pool);
	tls_origins_done(&w->origins);
	exchange_list_free(w);
	balance_done(&w->balance);
	loop_task_cancel(&w->idle_task);
	w->identity = tls_identity_unref(w->identity);
	w->snapshot = snapshot_unref(w->snapshot);
	transport_shared_done(&w->shared);
	tls_peer_table_done(&w->peers);
}

void worker_set_identity(struct worker *w, struct tls_identity *id)
{
	struct tls_identity *old = w->identity;

	w->identity = tls_identity_ref(id);
	tls_identity_unref(old);
	/* What is idle was proven with the old certificate: new requests show the new one. */
	upstream_pool_close_idle(&w->pool);
}

bool worker_is_ready(const struct worker *w, enum trm_reason *ret_why)
{
	*ret_why = TRM_REASON_NONE;
	if (w->draining)
		*ret_why = TRM_REASON_DRAIN;
	else if (!w->snapshot)
		*ret_why = TRM_REASON_NO_SNAPSHOT;
	else if (!tls_identity_is_valid(w->identity, clock_wall_ns() / NS_PER_S))
		*ret_why = TRM_REASON_NO_CERTIFICATE;
	return *ret_why == TRM_REASON_NONE;
}

/* Calls @fn for every connection there is now; it may end any of them. */
static void conns_each(struct worker *w, void (*fn)(struct conn *c, void *user), void *user)
{
	struct list all;

	/* Each is moved back before its turn, so that ending others is harmless. */
	list_init(&all);
	list_splice(&all, &w->conns.conns);
	while (!list_is_empty(&all)) {
		struct conn *c = list_first(&all, struct conn, link);

		list_remove(&c->link);
		list_push_back(&w->conns.conns, &c->link);
		fn(c, user);
	}
}

/* Ends what policy no longer allows: plaintext to a port that is STRICT now, destinations that are refused now. */
static void conn_recheck(struct conn *c, void *user)
{
	struct worker *w = user;
	struct dest dest;

	if (c->state != CONN_OPEN && c->state != CONN_IDLE && c->state != CONN_CONNECT)
		return; /* not decided yet: it will be by what holds then */
	if (c->direction == OBSERVE_INBOUND) {
		if (!c->mtls && snapshot_inbound_port(w->snapshot, c->orig_dst.port).mtls == MTLS_STRICT)
			c->ops->kill(c, TRM_REASON_PLAINTEXT_REFUSED);
		return;
	}
	if (snapshot_self(w->snapshot)->refuse_unknown && snapshot_dest_find(w->snapshot, &c->orig_dst, &dest) &&
	    dest.kind == DEST_UNKNOWN)
		c->ops->kill(c, TRM_REASON_DST_UNKNOWN);
}

void worker_set_snapshot(struct worker *w, struct snapshot *s)
{
	struct snapshot *old = w->snapshot;
	bool self_changed = old && snapshot_self(old) != snapshot_self(s); /* parts that did not change are shared */
	struct list waits;

	w->snapshot = snapshot_ref(s);
	snapshot_unref(old);
	if (self_changed)
		conns_each(w, conn_recheck, w);
	list_init(&waits);
	list_splice(&waits, &w->policy_waits);
	while (!list_is_empty(&waits)) {
		struct worker_wait *wait = list_first(&waits, struct worker_wait, link);

		list_remove(&wait->link);
		wait->on_snapshot(wait);
	}
}

static void on_idle_task(struct loop_task *task)
{
	struct worker *w = container_of(task, struct worker, idle_task);

	if (w->conns.n_conns == 0 && w->on_idle)
		w->on_idle(w);
}

void worker_conn_closed(struct worker *w)
{
	/* After a crowd has left, what it used goes back to the system: once, not with every connection. */
	if (w->n_conns_peak >= TRIM_CONNS && w->conns.n_conns < w->n_conns_peak / 4) {
		w->n_conns_peak = w->conns.n_conns;
		malloc_trim(0);
	}
	if (w->draining && w->conns.n_conns == 0)
		loop_task_defer(w->loop, &w->idle_task, on_idle_task);
}

static void conn_drain(struct conn *c, void *user)
{
	c->ops->drain(c);
}

static void conn_kill(struct conn *c, void *user)
{
	c->ops->kill(c, *(enum trm_reason *)user);
}

void worker_drain(struct worker *w, void (*on_idle)(struct worker *w))
{
	w->draining = true;
	w->on_idle = on_idle;
	conns_each(w, conn_drain, NULL);
	upstream_pool_close_idle(&w->pool);
	worker_conn_closed(w);
}

void worker_kill(struct worker *w, enum trm_reason reason)
{
	conns_each(w, conn_kill, &reason);
}

uint64_t worker_wall_ns(struct worker *w)
{
	uint64_t now = loop_now_ns(w->loop);

	if (now - w->wall_read_ns >= NS_PER_S || w->wall_read_ns == 0) {
		w->wall_offset_ns = clock_wall_ns() - now;
		w->wall_read_ns = now;
	}
	return now + w->wall_offset_ns;
}
