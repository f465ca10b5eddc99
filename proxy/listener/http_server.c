/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP in plaintext, of a version not known yet
 *
 * A caller that knows (RFC 9113 section 3.3) begins with the preface of HTTP/2; anything else is for HTTP/1.1 to read, or
 * to refuse.
 */
#include "proxy/listener/downstream.h"
#include "proxy/listener/sniff.h"

#define FIRST_TIMEOUT_MS 10000
#define IDLE_TIMEOUT_MS	 600000

/* true: decided. */
static bool version_take(struct downstream *d, bool at_end)
{
	struct str first = buf_str(&d->t.in);
	bool declared_h2 = app_is_h2(d->protocol);
	enum sniff s = declared_h2 || first.p[0] == 'P' ? sniff_bytes(first) : SNIFF_HTTP1;

	if (s == SNIFF_MORE && !at_end && first.n < SNIFF_BYTES)
		return false;
	/* Where HTTP/2 is declared, what is neither gets its answer (GOAWAY), not one in a version it did not ask for. */
	if (s == SNIFF_HTTP2 || (declared_h2 && !(s == SNIFF_HTTP1 && sniff_has_target(first))))
		h2_server_start(d);
	else
		h1_server_start(d);
	return true;
}

static void on_event_first(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);
	size_t n = 0;
	int r = transport_peek_more(t, &n);

	if (r == TRANSPORT_E_AGAIN)
		return;
	if (r == TRANSPORT_E_END && t->in.len == 0) {
		downstream_free(d);
		return;
	}
	if (r < 0) {
		downstream_refuse(d, TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	if (!d->first_byte) {
		d->first_byte = true;
		deadline_set(&d->deadline, FIRST_TIMEOUT_MS);
	}
	if (!version_take(d, r == TRANSPORT_E_END) && t->readable)
		transport_poke(t);
}

/* Idle, or too slow: HTTP/1.1 knows what to answer. */
static void on_first_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);

	if (d->t.in.len > 0)
		h1_server_start(d);
	else
		downstream_free(d);
}

static void on_drain(struct conn *c)
{
	struct downstream *d = container_of(c, struct downstream, conn);

	if (d->t.in.len == 0 && !transport_may_read(&d->t))
		downstream_free(d);
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	downstream_refuse(container_of(c, struct downstream, conn), reason);
}

static const struct conn_ops conn_ops = { .drain = on_drain, .kill = on_kill };

void http_server_start(struct downstream *d)
{
	if (d->t.in.len > 0 && version_take(d, d->t.end_read))
		return;
	d->conn.ops = &conn_ops;
	d->conn.state = CONN_IDLE;
	d->conn.protocol = "http";
	d->first_byte = d->t.in.len > 0;
	d->t.on_event = on_event_first;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, d->w->loop, on_first_due);
	deadline_set(&d->deadline, d->first_byte ? FIRST_TIMEOUT_MS : IDLE_TIMEOUT_MS);
	if (transport_may_read(&d->t))
		transport_poke(&d->t);
}
