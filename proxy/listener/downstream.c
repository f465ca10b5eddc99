/* SPDX-License-Identifier: Apache-2.0 */
/* Downstream connection: see downstream.h. */
#include "proxy/listener/downstream.h"

#include <errno.h>
#include "base/log.h"
#include "proxy/upstream/record.h"

static void on_drain(struct conn *c)
{
	/* not yet anything: let it become what it is */
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	downstream_refuse(container_of(c, struct downstream, conn), reason);
}

static const struct conn_ops ops = { .drain = on_drain, .kill = on_kill };

int downstream_new(struct worker *w, int fd, enum observe_direction direction, const struct addr *client,
		   const struct addr *orig_dst, void (*on_event)(struct transport *t), struct downstream **ret)
{
	struct downstream *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	r = transport_accept(&d->t, &w->shared, fd, on_event);
	if (r < 0) {
		free(d);
		return r;
	}
	d->w = w;
	d->conn.ops = &ops;
	d->conn.direction = direction;
	d->conn.client = *client;
	d->conn.orig_dst = *orig_dst;
	d->conn.opened_ns = loop_now_ns(w->loop);
	d->conn.opened_wall_ns = worker_wall_ns(w);
	conn_registry_add(&w->conns, &d->conn);
	w->n_conns_peak = MAX(w->n_conns_peak, w->conns.n_conns);
	*ret = d;
	return 0;
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

	record_fill(&rec, d->w, &d->conn, d->w->snapshot, NULL, d->t.peer);
	rec.reason = reason;
	observe_refused(d->w->observe, &rec);
	log_limited(LOG_WARN, "connection refused", "conn=%llu direction=%s client=%s dst=%s reason=%s",
		    (unsigned long long)d->conn.id, d->conn.direction == OBSERVE_INBOUND ? "inbound" : "outbound",
		    addr_format(&d->conn.client, client), addr_format(&d->conn.orig_dst, dst), reason_label(reason));
	/* A failed handshake has an alert on its way: it ends by FIN, so that the peer can read it. */
	if (d->t.state == TRANSPORT_FAILED)
		transport_close(&d->t);
	else
		transport_reset(&d->t);
	downstream_free(d);
}
