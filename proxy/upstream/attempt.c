/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts of an exchange: see attempt.h. */
#include "proxy/upstream/attempt.h"

#include <errno.h>
#include "proxy/http/websocket.h"
#include "proxy/upstream/connect.h"

#define WANT_DEST_MS 2000

static void attempt_next(struct exchange *x);

/* The next hop is told what is left of the caller's patience, not what it was (grpc-timeout). */
static int deadline_pass_on(struct exchange *x)
{
	struct http_field *f = x->deadline_ns ? http_head_find(&x->req, HTTP_FIELD_GRPC_TIMEOUT) : NULL;
	uint64_t now = loop_now_ns(x->w->loop);
	char text[GRPC_TIMEOUT_BYTES];

	if (!f)
		return 0;
	f->value = pool_str_dup(&x->pool, grpc_timeout_format(text, x->deadline_ns > now ? x->deadline_ns - now : 1));
	return f->value.p ? 0 : -ENOMEM;
}

/* HTTP/1.1 wants a key in the handshake of WebSocket, which HTTP/2 does not have. */
static int websocket_key_give(struct exchange *x)
{
	const uint64_t random[2] = { trace_random_next(&x->w->random), trace_random_next(&x->w->random) };
	char key[WEBSOCKET_KEY_BYTES];
	struct str value;

	if (!x->req.upgrade.n || x->req.version != HTTP_2 || x->target.is_h2 || x->ws_key_given)
		return 0;
	websocket_key_format(random, key);
	value = pool_str_dup(&x->pool, (struct str){ key, sizeof(key) });
	if (!value.p)
		return -ENOMEM;
	x->ws_key_given = true;
	return http_head_add(&x->req, HTTP_FIELD_OTHER, STR("sec-websocket-key"), value);
}

/* Sends the head, and what has come of the body, on a connection that is open or will be. */
static int request_send(struct exchange *x)
{
	struct message_stream *up = &x->up->stream;
	struct message_send how = { 0 };
	int r = deadline_pass_on(x);

	if (r == 0)
		r = websocket_key_give(x);
	if (r == 0)
		r = up->ops->send_head(up, &x->req, &how);
	if (r == 0 && x->replay.len > 0)
		r = up->ops->send_body(up, buf_str(&x->replay));
	if (r == 0 && x->req_done)
		r = up->ops->send_end(up, x->req_trailers, x->n_req_trailers);
	x->sent_ns = loop_now_ns(x->w->loop);
	if (r == 0)
		r = up->ops->flush(up);
	return r;
}

static void attempt_start(struct exchange *x)
{
	enum trm_reason reason = TRM_REASON_NONE;
	struct upstream *u;

	x->n_attempts++;
	x->conn->endpoint = x->target.addr;
	if (x->conn->direction == OBSERVE_OUTBOUND) {
		x->conn->mtls = x->target.mtls;
		x->conn->tls_version = x->target.mtls ? "TLSv1.3" : x->target.tls ? "TLS" : "";
	}
	x->req.is_https = x->target.tls != NULL;
	if (x->target.hbone) {
		const struct http_field *f = http_head_find(&x->req, HTTP_FIELD_TRACEPARENT);

		x->target.caller = x->conn->client;
		x->target.traceparent = f ? f->value : STR("");
	}
	if (upstream_open(x->w, &x->target, x->fresh_only, &u, &reason) < 0) {
		attempt_failed(x, reason, reason_status(reason));
		return;
	}
	x->up = u;
	u->ops->begin(u, &x->up_sink, &x->pool, &x->resp);
	if (request_send(x) < 0) {
		exchange_reply(x, 400, TRM_REASON_HTTP_SYNTAX);
		return;
	}
	if (!x->req_done)
		x->down->ops->read_resume(x->down);
}

/* To a server of somebody else's: may its ALPN choose the version? */
static bool may_be_h1(const struct exchange *x)
{
	return x->target.tls && !x->is_grpc && !app_is_h2(x->target.port->protocol);
}

/*
 * Which version goes out: that which came in, unless the port's declaration says that the app speaks another. A port of
 * HTTP/1.1 still gets gRPC in HTTP/2, for there is no other gRPC; WebSocket goes as an Upgrade but where HTTP/2 is declared.
 * Servers outside of the mesh that speak TLS choose from what came in and HTTP/1.1.
 *
 * Between proxies it may be HTTP/2 all the same, where the mesh is set so and the other proxy knows from the port's declaration
 * what its app speaks.
 */
static bool wants_h2(const struct exchange *x, enum app_protocol declared, bool to_app)
{
	bool declared_h2 = app_is_h2(declared);
	bool upgraded = !to_app && declared == APP_HTTP1 && !x->target.hbone && snapshot_self(x->snap)->h2_upgrade;
	bool is_h2 = x->req.version == HTTP_2 || upgraded;

	if (x->req.upgrade.n)
		return x->req.version == HTTP_2 && declared_h2;
	if (declared_h2)
		return true;
	if (may_be_h1(x) && tls_origins_is_h1(&x->w->origins, x->target.tls->key, loop_now_ns(x->w->loop)))
		return false;
	return is_h2 && !(to_app && declared == APP_HTTP1 && !x->is_grpc);
}

static void attempt_next(struct exchange *x)
{
	enum app_protocol declared;
	struct inbound_port in;
	enum trm_reason reason;
	struct dest dest;

	if (x->conn->direction == OBSERVE_INBOUND) {
		target_inbound(&x->conn->orig_dst, &x->conn->client, &x->target);
		in = snapshot_inbound_port(x->snap, x->conn->orig_dst.port);
		declared = in.protocol == APP_UNDECLARED && in.http1 ? APP_HTTP1 : in.protocol;
		x->target.is_h2 = wants_h2(x, declared, true);
		attempt_start(x);
		return;
	}
	if (!snapshot_dest_find(x->snap, &x->conn->orig_dst, &dest)) {
		exchange_reply(x, 503, TRM_REASON_AGENT_UNREACHABLE);
		return;
	}
	reason = target_outbound(x->snap, &dest, &x->conn->orig_dst, &x->w->balance, &x->avoid, &x->target);
	if (reason != TRM_REASON_NONE) {
		/* After failed attempts their reason says more than "none left". */
		if (x->n_attempts > 0 && x->reason != TRM_REASON_NONE)
			reason = x->reason;
		exchange_reply(x, reason_status(reason), reason);
		return;
	}
	x->target.is_h2 = wants_h2(x, dest.protocol, !x->target.mtls);
	attempt_start(x);
}

static void on_answer(struct subscriber_wait *wait, bool answered)
{
	struct exchange *x = container_of(wait, struct exchange, wait);

	if (!answered) {
		exchange_reply(x, 503, TRM_REASON_AGENT_UNREACHABLE);
		return;
	}
	snapshot_unref(x->snap);
	x->snap = snapshot_ref(x->w->snapshot);
	attempt_next(x);
}

void attempt_route(struct exchange *x)
{
	struct dest dest;

	if (!x->snap) {
		exchange_reply(x, 503, TRM_REASON_NO_SNAPSHOT);
		return;
	}
	if (x->conn->direction == OBSERVE_OUTBOUND && !snapshot_dest_find(x->snap, &x->conn->orig_dst, &dest)) {
		x->wait.on_answer = on_answer;
		subscriber_want_dest(x->w->subscriber, &x->conn->orig_dst, WANT_DEST_MS, &x->wait);
		return;
	}
	attempt_next(x);
}

void attempt_opened(struct exchange *x)
{
	/* A fresh connection that stands is not retried: the body need not be kept. */
	if (x->up && x->up->opened && !x->up->reused && !x->up->may_refuse)
		buf_release(&x->replay);
}

bool attempt_keeps_body(const struct exchange *x)
{
	return !x->replay_lost && !x->resp_begun && (!x->up || x->up->reused || x->up->may_refuse || !x->up->opened);
}

/* RFC 9110 section 9.2.2 */
static bool is_idempotent(struct str method)
{
	return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) || str_eq(method, STR("PUT")) ||
	       str_eq(method, STR("DELETE")) || str_eq(method, STR("OPTIONS")) || str_eq(method, STR("TRACE"));
}

/* May the request be sent again after @u was lost? */
static bool is_repeatable(const struct exchange *x, const struct upstream *u)
{
	if (x->replay_lost || x->n_attempts >= EXCHANGE_ATTEMPTS)
		return false;
	if (!u || u->unprocessed)
		return true;
	if (!u->opened)
		return !u->reused; /* never connected: nothing was sent */
	return u->reused && !u->answered && (is_idempotent(x->req.method) || u->ops->is_unseen(u));
}

void attempt_failed(struct exchange *x, enum trm_reason reason, uint16_t status)
{
	struct upstream *u = TAKE_PTR(x->up);
	bool again = is_repeatable(x, u), was_stale = u && u->opened;

	if (u)
		u->stream.ops->release(&u->stream, false);
	x->reason = reason;
	if (reason == TRM_REASON_BACKEND_NO_H2) {
		tls_origins_note_h1(&x->w->origins, x->target.tls->key, loop_now_ns(x->w->loop));
		if (again && may_be_h1(x)) {
			attempt_next(x);
			return;
		}
		again = false;
	}
	if (!again) {
		exchange_reply(x, status, reason);
		return;
	}
	if (was_stale) {
		/* The same endpoint, on a connection that cannot have ended while it was idle. */
		x->fresh_only = true;
		x->reason = TRM_REASON_NONE;
		attempt_start(x);
		return;
	}
	if (x->conn->direction == OBSERVE_INBOUND) {
		exchange_reply(x, status, reason); /* there is one app */
		return;
	}
	if (x->avoid.n < BALANCE_AVOID_MAX)
		x->avoid.addrs[x->avoid.n++] = x->target.addr;
	attempt_next(x);
}
