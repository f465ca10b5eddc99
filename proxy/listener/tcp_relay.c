/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP relay: bytes both ways, whatever they mean
 *
 * A direction is read only while nothing is pending on the other side, so one read is all that is ever kept. An end is
 * passed on behind the last byte (FIN, close_notify), each direction for itself; a reset is passed on as a reset.
 */
#include <errno.h>
#include "base/clock.h"
#include "base/log.h"
#include "proxy/listener/downstream.h"
#include "proxy/listener/sniff.h"
#include "proxy/upstream/connect.h"
#include "proxy/upstream/record.h"

#define READS_PER_TURN	8
#define RELAY_IDLE_MS	3600000
#define RELAY_ATTEMPTS	3
#define SNIFF_MS	100

struct relay_way {
	uint64_t bytes;
	bool ended; /* the source's end was read, or nobody takes its bytes */
};

struct tcp_relay {
	struct downstream *d;
	struct transport up;
	struct snapshot *snap;
	struct target target;
	struct balance_avoid avoid;
	char *expected_id;
	struct relay_way out, back; /* from the downstream, to the downstream */
	enum trm_reason reason;
	uint8_t n_attempts;
	bool choose; /* endpoints come from the snapshot */
	bool connected, opened;
	bool sniffs; /* until bytes have come, or not come, that say it is no HTTP */
	bool looks;  /* the endpoint is spoken to in TLS; until the first bytes say that they are no TLS themselves */
	bool lost; /* a side takes no more bytes */
};

static void attempt_next(struct tcp_relay *r);
static void attempt_start(struct tcp_relay *r);

static struct tcp_relay *relay_of(struct transport *down)
{
	return container_of(down, struct downstream, t)->conn.owner;
}

static void relay_record(struct tcp_relay *r, void (*tell)(struct observe *, const struct observe_record *))
{
	struct downstream *d = r->d;
	const struct tls_peer *peer = d->conn.direction == OBSERVE_INBOUND ? d->t.peer : r->up.peer;
	struct observe_record rec;

	record_fill(&rec, d->w, &d->conn, r->snap, &r->target, peer);
	rec.bytes_in = r->out.bytes;
	rec.bytes_out = r->back.bytes;
	rec.reason = r->reason;
	tell(d->w->observe, &rec);
}

/* The end; @reset: the peers must see that it was no orderly one. */
static void relay_end(struct tcp_relay *r, enum trm_reason reason, bool reset)
{
	struct downstream *d = r->d;

	if (r->reason == TRM_REASON_NONE)
		r->reason = reason;
	d->reason = r->reason;
	if (r->opened && !r->sniffs && !r->looks)
		relay_record(r, observe_tcp_end);
	else if (r->reason != TRM_REASON_NONE)
		relay_record(r, observe_refused);
	if (!r->opened)
		log_limited(LOG_WARN, "upstream connect failed", "conn=%llu reason=%s", (unsigned long long)d->conn.id,
			    trm_reason_label(r->reason));
	if (reset) {
		transport_reset(&r->up);
		transport_reset(&d->t);
	}
	transport_close(&r->up);
	snapshot_unref(r->snap);
	free(r->expected_id);
	free(r);
	downstream_free(d);
}

/* One direction; false: the relay is over. */
static bool way_pump(struct tcp_relay *r, struct relay_way *way, struct transport *src, struct transport *dst)
{
	struct transport_shared *sh = &r->d->w->shared;
	size_t n;
	int rc;

	for (int i = 0; i < READS_PER_TURN; i++) {
		if (way->ended || transport_pending(dst) > 0 || !transport_may_read(src))
			return true;
		rc = transport_read(src, sh->plain, TRANSPORT_READ_BYTES, &n);
		if (rc == TRANSPORT_E_AGAIN)
			return true;
		if (rc == TRANSPORT_E_END) {
			way->ended = true;
			transport_end(dst);
			return true;
		}
		if (rc < 0) {
			relay_end(r, src == &r->up ? TRM_REASON_UPSTREAM_RESET : TRM_REASON_DOWNSTREAM_RESET, true);
			return false;
		}
		way->bytes += n;
		if (transport_send(dst, sh->plain, n) < 0) {
			/* Nobody takes more. What that side said before it left is still passed on, then the reset. */
			way->ended = true;
			r->lost = true;
			if (r->reason == TRM_REASON_NONE)
				r->reason = dst == &r->up ? TRM_REASON_UPSTREAM_RESET : TRM_REASON_DOWNSTREAM_RESET;
			return true;
		}
	}
	transport_poke(src);
	return true;
}

static bool is_sent(const struct transport *t)
{
	return t->write_failed || (t->end_sent && transport_pending(t) == 0);
}

static void relay_pump(struct tcp_relay *r)
{
	struct downstream *d = r->d;

	if (!way_pump(r, &r->out, &d->t, &r->up) || !way_pump(r, &r->back, &r->up, &d->t))
		return;
	d->conn.bytes_in = r->out.bytes;
	d->conn.bytes_out = r->back.bytes;
	deadline_set(&d->deadline, RELAY_IDLE_MS);
	if (r->out.ended && r->back.ended && is_sent(&r->up) && is_sent(&d->t))
		relay_end(r, TRM_REASON_NONE, r->lost);
}

static void relay_opened(struct tcp_relay *r)
{
	struct downstream *d = r->d;

	r->opened = true;
	r->reason = TRM_REASON_NONE;
	d->conn.state = CONN_OPEN;
	if (d->conn.direction == OBSERVE_OUTBOUND && r->up.peer) {
		d->conn.mtls = true;
		d->conn.peer_spiffe_id = r->up.peer->spiffe_id;
		d->conn.tls_version = "TLSv1.3";
	}
	if (d->connected)
		d->connected(d);
	if (r->sniffs) {
		deadline_set(&d->deadline, SNIFF_MS);
		return;
	}
	r->looks = r->target.tls;
	if (r->looks)
		deadline_set(&d->deadline, RELAY_IDLE_MS);
	else
		relay_record(r, observe_tcp_open);
}

/* The caller speaks HTTP: its messages are read, and the connection that was made for it is not needed. */
static void relay_yield(struct tcp_relay *r)
{
	struct downstream *d = r->d;

	transport_close(&r->up);
	snapshot_unref(r->snap);
	free(r->expected_id);
	free(r);
	d->conn.protocol = "";
	http_server_start(d);
}

/* The first bytes are judged, or came from the server: it is bytes. */
static void sniff_end(struct tcp_relay *r)
{
	r->sniffs = r->looks = false;
	relay_record(r, observe_tcp_open);
	relay_pump(r);
}

static void relay_sniff(struct tcp_relay *r)
{
	struct transport *down = &r->d->t;
	size_t n;
	int rc;

	if (transport_may_read(&r->up)) { /* the server speaks first */
		sniff_end(r);
		return;
	}
	rc = transport_peek_more(down, &n);
	if (rc == TRANSPORT_E_AGAIN)
		return;
	if (rc == -ENOMEM || rc == -ENOBUFS) { /* bytes were read, and lost */
		relay_end(r, TRM_REASON_NO_MEMORY, true);
		return;
	}
	switch (rc == 0 ? sniff_bytes(buf_str(&down->in)) : SNIFF_OTHER) {
	case SNIFF_HTTP1:
	case SNIFF_HTTP2:
		relay_yield(r);
		return;
	case SNIFF_OTHER:
		sniff_end(r);
		return;
	case SNIFF_MORE:
		if (down->readable)
			transport_poke(down);
		return;
	}
}

/* The app speaks TLS by itself, however late: the connection that was made is not needed, and it gets a bare one. */
static void relay_unwrap(struct tcp_relay *r)
{
	transport_close(&r->up);
	r->looks = r->opened = false;
	r->n_attempts = 0;
	r->d->protocol = APP_TLS;
	r->target.tls = NULL;
	attempt_start(r);
}

static void relay_look(struct tcp_relay *r)
{
	struct transport *down = &r->d->t;
	size_t n;
	int rc = 0;

	/* what is there to read may be TLS's own (session tickets) */
	if (!way_pump(r, &r->back, &r->up, down))
		return;
	if (r->back.bytes > 0 || r->back.ended) { /* the server speaks first */
		sniff_end(r);
		return;
	}
	if (down->in.len == 0 || down->readable)
		rc = transport_peek_more(down, &n);
	if (rc == -ENOMEM || rc == -ENOBUFS) {
		relay_end(r, TRM_REASON_NO_MEMORY, true);
		return;
	}
	if (down->in.len == 0 && rc == TRANSPORT_E_AGAIN)
		return;
	if (down->in.len == 0 || !sniff_may_be_tls(buf_str(&down->in)) || (rc != 0 && rc != TRANSPORT_E_AGAIN))
		sniff_end(r);
	else if (down->in.len >= SNIFF_TLS_BYTES)
		relay_unwrap(r);
	else if (down->readable)
		transport_poke(down);
}

static void relay_turn(struct tcp_relay *r)
{
	if (r->sniffs)
		relay_sniff(r);
	else if (r->looks)
		relay_look(r);
	else
		relay_pump(r);
}

/* The endpoint could not be had: another one, or the end. */
static void attempt_lost(struct tcp_relay *r, enum trm_reason reason)
{
	transport_close(&r->up);
	r->reason = reason;
	if (r->choose && r->n_attempts < RELAY_ATTEMPTS && r->avoid.n < BALANCE_AVOID_MAX) {
		r->avoid.addrs[r->avoid.n++] = r->target.addr;
		attempt_next(r);
		return;
	}
	relay_end(r, reason, true);
}

static void on_up_event(struct transport *t)
{
	struct tcp_relay *r = container_of(t, struct tcp_relay, up);
	enum trm_reason reason;
	uint16_t status;
	int step = connect_step(t, &r->d->deadline, &r->connected, &reason, &status);

	if (step == CONNECT_E_FAILED)
		attempt_lost(r, reason);
	if (step != 0)
		return;
	if (!r->opened)
		relay_opened(r);
	relay_turn(r);
}

static void on_down_event(struct transport *t)
{
	struct tcp_relay *r = relay_of(t);

	if (r->opened)
		relay_turn(r);
	else if (t->broken)
		relay_end(r, TRM_REASON_DOWNSTREAM_RESET, true);
}

static void on_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);
	struct tcp_relay *r = d->conn.owner;

	if (r->sniffs && r->opened)
		sniff_end(r);
	else if (r->opened)
		relay_end(r, TRM_REASON_IDLE_TIMEOUT, true);
	else
		attempt_lost(r, r->up.state == TRANSPORT_HANDSHAKE ? TRM_REASON_HANDSHAKE_TIMEOUT :
								     TRM_REASON_CONNECT_TIMEOUT);
}

static void attempt_start(struct tcp_relay *r)
{
	struct downstream *d = r->d;
	enum trm_reason reason;

	r->n_attempts++;
	r->target.caller = d->conn.client;
	r->connected = false;
	d->conn.endpoint = r->target.addr;
	free(r->expected_id);
	r->expected_id = r->target.mtls ? str_dup(str_from(r->target.spiffe_id)) : NULL;
	if (r->target.mtls && !r->expected_id) {
		relay_end(r, TRM_REASON_NO_MEMORY, true);
		return;
	}
	if (connect_start(d->w, &r->up, &r->target, TLS_ALPN_ISTIO, r->expected_id, on_up_event, &reason) < 0) {
		attempt_lost(r, reason);
		return;
	}
	deadline_set(&d->deadline, connect_timeout_ms(&r->target));
}

static void attempt_next(struct tcp_relay *r)
{
	enum trm_reason reason = TRM_REASON_AGENT_UNREACHABLE;
	struct dest dest;

	if (snapshot_dest_find(r->snap, &r->d->conn.orig_dst, &dest))
		reason = target_outbound(r->snap, &dest, &r->d->conn.orig_dst, &r->d->w->balance, &r->avoid, &r->target);
	if (r->d->protocol == APP_TLS)
		r->target.tls = NULL; /* the app speaks it by itself */
	if (reason == TRM_REASON_NONE)
		attempt_start(r);
	else
		relay_end(r, r->reason ? r->reason : reason, true);
}

static void on_drain(struct conn *c)
{
	/* Streams are left to end by themselves until the drain's own time is over. */
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	relay_end(c->owner, reason, true);
}

static const struct conn_ops conn_ops = { .drain = on_drain, .kill = on_kill };

static struct tcp_relay *relay_new(struct downstream *d, struct snapshot *snap)
{
	struct tcp_relay *r = calloc(1, sizeof(*r));

	if (!r) {
		downstream_refuse(d, TRM_REASON_NO_MEMORY);
		return NULL;
	}
	r->d = d;
	r->snap = snapshot_ref(snap);
	r->up.fd = -1;
	d->conn.ops = &conn_ops;
	d->conn.owner = r;
	d->conn.state = CONN_CONNECT;
	if (d->conn.protocol[0] == '\0')
		d->conn.protocol = "tcp";
	d->t.on_event = on_down_event;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, d->w->loop, on_due);
	return r;
}

void tcp_relay_start(struct downstream *d, const struct target *target, struct snapshot *snap)
{
	struct tcp_relay *r = relay_new(d, snap);

	if (!r)
		return;
	r->target = *target;
	attempt_start(r);
}

void tcp_relay_start_sniffed(struct downstream *d, const struct target *target, struct snapshot *snap)
{
	struct tcp_relay *r = relay_new(d, snap);

	if (!r)
		return;
	r->sniffs = true;
	r->target = *target;
	attempt_start(r);
}

void tcp_relay_start_dest(struct downstream *d, struct snapshot *snap)
{
	struct tcp_relay *r = relay_new(d, snap);

	if (!r)
		return;
	r->choose = true;
	attempt_next(r);
}
