/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outbound: what the app dialled, and how to speak there
 *
 *   1. the original destination; without one the connection is refused
 *   2. a snapshot: held for it, bounded
 *   3. what stands behind the address: held for the agent's answer, bounded
 *   4. the protocol: declared, or sniffed for 100 ms
 */
#include "base/clock.h"
#include "base/log.h"
#include "proxy/listener/listener.h"
#include "proxy/listener/sniff.h"
#include "trammel/abi.h"

#define SNAPSHOT_WAIT_MS 5000
#define WANT_DEST_MS	 2000
#define SNIFF_MS	 100

static void policy_take(struct downstream *d);

static void on_event_waiting(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);

	if (t->broken)
		downstream_refuse(d, TRM_REASON_DOWNSTREAM_RESET);
}

static void on_event_sniffing(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);
	size_t n;
	int r = transport_peek_more(t, &n);

	if (r == TRANSPORT_E_AGAIN)
		return;
	if (r < 0) {
		downstream_refuse(d, TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	switch (r == 0 && t->in.len > 0 ? sniff_bytes(buf_str(&t->in)) : SNIFF_OTHER) {
	case SNIFF_HTTP1:
		h1_server_start(d);
		return;
	case SNIFF_OTHER:
		tcp_relay_start_dest(d, d->w->snapshot);
		return;
	case SNIFF_MORE:
		return;
	}
}

/* Silence, or too slow to tell: it goes on as TCP and is not held up. */
static void on_sniff_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);

	tcp_relay_start_dest(d, d->w->snapshot);
}

static void protocol_take(struct downstream *d, const struct dest *dest)
{
	switch (dest->protocol) {
	case APP_HTTP1:
		h1_server_start(d);
		return;
	case APP_HTTP2:
	case APP_GRPC:
	case APP_TCP:
	case APP_TLS:
	case APP_SERVER_FIRST:
		tcp_relay_start_dest(d, d->w->snapshot);
		return;
	case APP_UNDECLARED:
		break;
	}
	d->conn.state = CONN_DETECT;
	d->t.on_event = on_event_sniffing;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, d->w->loop, on_sniff_due);
	deadline_set(&d->deadline, SNIFF_MS);
	if (transport_may_read(&d->t))
		transport_poke(&d->t);
}

static void on_answer(struct subscriber_wait *wait, bool answered)
{
	struct downstream *d = container_of(wait, struct downstream, dest_wait);

	if (answered)
		policy_take(d);
	else
		downstream_refuse(d, TRM_REASON_AGENT_UNREACHABLE);
}

static void policy_take(struct downstream *d)
{
	struct snapshot *snap = d->w->snapshot;
	struct target target;
	struct dest dest;

	if (!snapshot_dest_find(snap, &d->conn.orig_dst, &dest)) {
		d->dest_wait.on_answer = on_answer;
		subscriber_want_dest(d->w->subscriber, &d->conn.orig_dst, WANT_DEST_MS, &d->dest_wait);
		return;
	}
	switch (dest.kind) {
	case DEST_UNKNOWN:
		if (snapshot_self(snap)->refuse_unknown) {
			downstream_refuse(d, TRM_REASON_DST_UNKNOWN);
			return;
		}
		target_passthrough(&d->conn.orig_dst, &target);
		tcp_relay_start(d, &target, snap);
		return;
	case DEST_SERVICE_NO_PORT:
		downstream_refuse(d, TRM_REASON_PORT_UNKNOWN);
		return;
	case DEST_SERVICE:
	case DEST_ENDPOINT:
		protocol_take(d, &dest);
		return;
	}
}

static void on_snapshot(struct worker_wait *wait)
{
	struct downstream *d = container_of(wait, struct downstream, snapshot_wait);

	deadline_done(&d->deadline);
	policy_take(d);
}

static void on_snapshot_due(struct deadline *dl)
{
	downstream_refuse(container_of(dl, struct downstream, deadline), TRM_REASON_NO_SNAPSHOT);
}

static bool is_proxy_port(uint16_t port)
{
	return port == TRM_PORT_OUTBOUND || port == TRM_PORT_INBOUND;
}

void outbound_accepted(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst)
{
	struct addr dst = orig_dst ? *orig_dst : (struct addr){ 0 };
	struct downstream *d;
	int r;

	r = downstream_new(w, fd, OBSERVE_OUTBOUND, client, &dst, on_event_waiting, &d);
	if (r < 0) {
		log_limited(LOG_ERROR, "connection dropped", "errno=%d", -r);
		return;
	}
	deadline_init(&d->deadline, w->loop, on_snapshot_due);
	if (!orig_dst) {
		downstream_refuse(d, TRM_REASON_ORIG_DST_MISSING);
		return;
	}
	if (w->conns.n_conns > w->n_conns_max) {
		downstream_refuse(d, TRM_REASON_CONN_LIMIT);
		return;
	}
	/* Loopback with a proxy port is ourselves: it would go round for ever. */
	if (is_proxy_port(dst.port) && (addr_is_loopback(&dst) || (w->snapshot && snapshot_is_self(w->snapshot, &dst)))) {
		downstream_refuse(d, TRM_REASON_PROXY_PORT);
		return;
	}
	if (w->snapshot) {
		policy_take(d);
		return;
	}
	d->snapshot_wait.on_snapshot = on_snapshot;
	list_push_back(&w->policy_waits, &d->snapshot_wait.link);
	deadline_set(&d->deadline, SNAPSHOT_WAIT_MS);
}
