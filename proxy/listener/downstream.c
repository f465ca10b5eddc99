/* SPDX-License-Identifier: Apache-2.0 */
/* Downstream connection: see downstream.h. */
#include "proxy/listener/downstream.h"

#include <errno.h>
#include "base/log.h"
#include "proxy/upstream/record.h"

#define SNAPSHOT_WAIT_MS  5000
#define LINGER_MS	  2000
#define LINGER_MAX_BYTES  (1024 * 1024)
#define LINGER_READS	  10 /* per turn */

static void on_drain(struct conn *c)
{
	/* not yet anything: let it become what it is */
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	downstream_refuse(container_of(c, struct downstream, conn), reason);
}

static const struct conn_ops ops = { .drain = on_drain, .kill = on_kill };

static void on_event_waiting(struct transport *t)
{
	if (t->broken)
		downstream_refuse(container_of(t, struct downstream, t), TRM_REASON_DOWNSTREAM_RESET);
}

static void on_snapshot(struct worker_wait *wait)
{
	struct downstream *d = container_of(wait, struct downstream, snapshot_wait);

	deadline_done(&d->deadline);
	d->way->policy_take(d);
}

static void on_snapshot_due(struct deadline *dl)
{
	downstream_refuse(container_of(dl, struct downstream, deadline), TRM_REASON_NO_SNAPSHOT);
}

/* Of a transport that stands; in the registry on success. */
static int downstream_enter(struct downstream *d, struct worker *w, const struct addr *client, const struct addr *orig_dst,
			    const struct downstream_way *way)
{
	int r;

	d->w = w;
	d->way = way;
	d->conn.ops = &ops;
	d->conn.direction = way->direction;
	d->conn.client = *client;
	d->conn.orig_dst = *orig_dst;
	d->conn.opened_ns = loop_now_ns(w->loop);
	d->conn.opened_wall_ns = worker_wall_ns(w);
	r = conn_registry_add(&w->conns, &d->conn);
	if (r == 0)
		w->n_conns_peak = MAX(w->n_conns_peak, w->conns.n_conns);
	return r;
}

/* Takes @fd in any case. */
static int downstream_new(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst,
			  const struct downstream_way *way, struct downstream **ret)
{
	struct downstream *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	r = transport_accept(&d->t, &w->shared, fd, on_event_waiting);
	if (r < 0) {
		free(d);
		return r;
	}
	r = downstream_enter(d, w, client, orig_dst, way);
	if (r < 0) {
		transport_close(&d->t);
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

/* Are there too many? NONE: no. */
static enum trm_reason limits_look(const struct downstream *d)
{
	const struct worker *w = d->w;

	if (w->conns.n_conns > w->n_conns_max)
		return TRM_REASON_CONN_LIMIT;
	return conn_is_over_source_limit(&d->conn, w->n_conns_max) ? TRM_REASON_SOURCE_LIMIT : TRM_REASON_NONE;
}

struct downstream *downstream_start_inner(struct downstream *outer, struct transport_carrier *carrier,
					  const struct addr *orig_dst, void (*connected)(struct downstream *d),
					  enum trm_reason *ret_reason)
{
	struct downstream *d = calloc(1, sizeof(*d));

	*ret_reason = TRM_REASON_NO_MEMORY;
	if (!d)
		return NULL;
	if (downstream_enter(d, outer->w, &outer->conn.client, orig_dst, outer->way) < 0) {
		free(d);
		return NULL;
	}
	*ret_reason = limits_look(d);
	if (*ret_reason != TRM_REASON_NONE) {
		conn_registry_remove(&d->w->conns, &d->conn);
		free(d);
		return NULL;
	}
	transport_attach(&d->t, &d->w->shared, carrier, on_event_waiting);
	d->t.peer = tls_peer_ref(outer->t.peer);
	d->connected = connected;
	d->conn.mtls = true;
	d->conn.peer_spiffe_id = d->t.peer->spiffe_id;
	d->conn.tls_version = outer->conn.tls_version;
	return d;
}

void downstream_start(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst,
		      const struct downstream_way *way)
{
	struct addr dst = orig_dst ? *orig_dst : (struct addr){ 0 };
	enum trm_reason reason;
	struct downstream *d;
	int r;

	r = downstream_new(w, fd, client, &dst, way, &d);
	if (r < 0) {
		log_limited(LOG_ERROR, "connection dropped", "errno=%d", -r);
		return;
	}
	deadline_init(&d->deadline, w->loop, on_snapshot_due);
	if (!orig_dst) {
		downstream_refuse(d, TRM_REASON_ORIG_DST_MISSING);
		return;
	}
	reason = limits_look(d);
	if (reason != TRM_REASON_NONE) {
		downstream_refuse(d, reason);
		return;
	}
	if (way->is_proxy_port(w, &dst)) {
		downstream_refuse(d, TRM_REASON_PROXY_PORT);
		return;
	}
	if (w->snapshot) {
		way->policy_take(d);
		return;
	}
	d->snapshot_wait.on_snapshot = on_snapshot;
	list_push_back(&w->policy_waits, &d->snapshot_wait.link);
	deadline_set(&d->deadline, SNAPSHOT_WAIT_MS);
}

void downstream_free(struct downstream *d)
{
	struct worker *w = d->w;

	deadline_done(&d->deadline);
	list_remove(&d->snapshot_wait.link);
	subscriber_wait_cancel(&d->dest_wait);
	transport_close(&d->t);
	conn_registry_remove(&w->conns, &d->conn);
	free(d);
	worker_conn_closed(w);
}

void downstream_refuse(struct downstream *d, enum trm_reason reason)
{
	char client[ADDR_TEXT_BYTES], dst[ADDR_TEXT_BYTES];
	struct observe_record rec;

	d->reason = reason;
	record_fill(&rec, d->w, &d->conn, d->w->snapshot, NULL, d->t.peer);
	rec.reason = reason;
	observe_refused(d->w->observe, &rec);
	log_limited(LOG_WARN, "connection refused", "conn=%llu direction=%s client=%s dst=%s reason=%s",
		    (unsigned long long)d->conn.id, d->conn.direction == OBSERVE_INBOUND ? "inbound" : "outbound",
		    addr_format(&d->conn.client, client), addr_format(&d->conn.orig_dst, dst), trm_reason_label(reason));
	/* A failed handshake has an alert on its way: it ends by FIN, so that the peer can read it. */
	if (d->t.state == TRANSPORT_FAILED)
		transport_close(&d->t);
	else
		transport_reset(&d->t);
	downstream_free(d);
}

void downstream_linger_start(struct downstream *d)
{
	d->conn.state = CONN_CLOSING;
	transport_end(&d->t);
	deadline_set(&d->deadline, LINGER_MS);
	transport_poke(&d->t);
}

bool downstream_linger_read(struct downstream *d)
{
	struct transport *t = &d->t;
	size_t n;
	int r;

	for (int i = 0; i < LINGER_READS && transport_may_read(t); i++) {
		r = transport_read(t, d->w->shared.plain, TRANSPORT_READ_BYTES, &n);
		if (r == TRANSPORT_E_AGAIN)
			break;
		if (r == 0)
			d->lingered_bytes += (uint32_t)n;
		if ((r != 0 && t->end_sent) || r < 0 || d->lingered_bytes > LINGER_MAX_BYTES)
			return true;
		if (r == TRANSPORT_E_END)
			return false; /* the rest is to be sent yet */
	}
	if (t->broken || t->write_failed)
		return true;
	if (t->readable)
		transport_poke(t);
	return false;
}
