/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outbound: what the app dialled, and how to speak there
 *
 *   1. the original destination; without one the connection is refused (downstream.c)
 *   2. a snapshot: held for it, bounded (downstream.c)
 *   3. what stands behind the address: held for the agent's answer, bounded
 *   4. the protocol: declared, or sniffed for 100 ms
 */
#include "proxy/listener/listener.h"
#include "proxy/listener/sniff.h"
#include "trammel/abi.h"

#define WANT_DEST_MS	 2000
#define SNIFF_MS	 100

static void policy_take(struct downstream *d);

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
	case SNIFF_HTTP2:
		h2_server_start(d);
		return;
	case SNIFF_OTHER:
		if (r == 0 && t->in.len > 0 && sniff_may_be_tls(buf_str(&t->in))) {
			if (t->in.len < SNIFF_TLS_BYTES)
				return;
			d->protocol = APP_TLS;
		}
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
	d->protocol = (uint8_t)dest->protocol;
	switch (dest->protocol) {
	case APP_HTTP1:
	case APP_HTTP2:
	case APP_GRPC:
		http_server_start(d);
		return;
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

/* Loopback with a proxy port is ourselves: it would go round for ever. */
static bool is_proxy_port(const struct worker *w, const struct addr *dst)
{
	return (dst->port == TRM_PORT_OUTBOUND || dst->port == TRM_PORT_INBOUND) &&
	       (addr_is_loopback(dst) || (w->snapshot && snapshot_is_self(w->snapshot, dst)));
}

void outbound_accepted(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst)
{
	static const struct downstream_way outbound = { OBSERVE_OUTBOUND, is_proxy_port, policy_take };

	downstream_start(w, fd, client, orig_dst, &outbound);
}
