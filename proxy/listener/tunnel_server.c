/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels on an HTTP/2 connection from a peer of the mesh: HBONE's server
 *
 * Each CONNECT becomes a connection of its own (struct downstream) to the port it names, standing on the stream instead
 * of a socket, with the outer connection's proven peer and source. It is answered once the app is connected, or, where
 * messages are read here, at once. Its stream outlives the outer connection until that downstream has let go.
 */
#include <errno.h>
#include "base/log.h"
#include "proxy/listener/h2_server.h"
#include "proxy/tunnel/request.h"
#include "proxy/tunnel/stream.h"

#define HEAD_MAX_BYTES (128 * 1024) /* H2_HEAD_BYTES, and its cookies joined */

struct tunnel_server_stream {
	struct tunnel_stream ts;
	struct h2_server *s; /* NULL: gone */
	struct list link;
	struct deadline orphan;
	struct downstream *d; /* what stands on it; NULL before and after */
	struct pool pool;
	struct http_head head;
	struct http_field fields[HTTP_FIELDS_CAP];
	bool answered;
};

static const struct tunnel_stream_ops stream_ops;

static struct tunnel_server_stream *stream_of(struct tunnel_stream *ts)
{
	return container_of(ts, struct tunnel_server_stream, ts);
}

static struct tunnel_server_stream *stream_of_h2(struct h2_stream *h2)
{
	return container_of(h2, struct tunnel_server_stream, ts.h2);
}

static void stream_free(struct tunnel_server_stream *st)
{
	tunnel_stream_done(&st->ts);
	deadline_done(&st->orphan);
	pool_done(&st->pool);
	free(st);
}

/* It is none of its connection's any more, which may be freed. */
static void stream_leave(struct tunnel_server_stream *st)
{
	struct h2_server *s = TAKE_PTR(st->s);

	if (!s)
		return;
	tunnel_stream_let_go(&st->ts);
	list_remove(&st->link);
	h2_server_touch(s);
	s->n_streams--;
	h2_server_idle_look(s);
}

/* Answering */

static int head_send(struct tunnel_server_stream *st, enum trm_reason reason)
{
	struct http_head answer = { .status = tunnel_status(reason), .version = HTTP_2, .body = HTTP_BODY_NONE };

	st->answered = true;
	h2_server_touch(st->s);
	return h2_stream_send_response(&st->ts.h2, &answer, answer.status != 200);
}

/* There will be no tunnel: told so, and what the peer still sends is not wanted. */
static void stream_refuse(struct tunnel_server_stream *st, enum trm_reason reason)
{
	if (st->answered || !st->s)
		return;
	if (head_send(st, reason) < 0)
		h2_stream_reset(&st->ts.h2, NGHTTP2_INTERNAL_ERROR);
	else if (!st->ts.h2.recv_end)
		h2_stream_reset_after_end(&st->ts.h2, NGHTTP2_NO_ERROR);
	deadline_set(&st->orphan, TUNNEL_ORPHAN_MS); /* for the answer to leave; on_close() comes before */
}

/* The app is there: struct downstream.connected */
static void on_connected(struct downstream *d)
{
	struct tunnel_server_stream *st = stream_of(container_of(d->t.carrier, struct tunnel_stream, carrier));

	if (st->answered || !st->s)
		return;
	if (head_send(st, TRM_REASON_NONE) < 0) {
		h2_stream_reset(&st->ts.h2, NGHTTP2_INTERNAL_ERROR);
		return;
	}
	st->ts.h2.is_tunnel = true;
	transport_carrier_opened(&st->ts.carrier, NULL);
}

/* What comes in: struct h2_conn_ops */

static void on_orphan_due(struct deadline *dl)
{
	struct tunnel_server_stream *st = container_of(dl, struct tunnel_server_stream, orphan);

	if (tunnel_stream_waits(&st->ts)) {
		deadline_set(dl, TUNNEL_ORPHAN_MS);
		return;
	}
	stream_leave(st);
	stream_free(st);
}

static struct h2_stream *on_request(struct h2_conn *c)
{
	struct h2_server *s = container_of(c, struct h2_server, h2);
	struct tunnel_server_stream *st;

	if (!h2_server_takes_more(s))
		return NULL;
	st = calloc(1, sizeof(*st));
	if (!st)
		return NULL;
	tunnel_stream_init(&st->ts, &stream_ops);
	pool_init(&st->pool, HEAD_MAX_BYTES);
	st->s = s;
	st->head.fields = st->fields;
	st->head.cap_fields = ARRAY_SIZE(st->fields);
	h2_stream_init(&st->ts.h2, c, &st->head, &st->pool);
	deadline_init(&st->orphan, s->d->w->loop, on_orphan_due);
	deadline_set(&st->orphan, H2_SERVER_FIRST_MS);
	list_push_back(&s->streams, &st->link);
	h2_server_stream_began(s);
	return &st->ts.h2;
}

static void refusal_log(const struct tunnel_server_stream *st, enum trm_reason reason)
{
	const struct conn *c = &st->s->d->conn;

	observe_count(st->s->d->w->observe, reason);
	log_limited(LOG_WARN, "tunnel refused", "conn=%llu peer=%s authority=\"%.*s\" reason=%s", (unsigned long long)c->id,
		    c->peer_spiffe_id, (int)MIN(st->head.authority.n, (size_t)64), st->head.authority.n ? st->head.authority.p : "",
		    trm_reason_label(reason));
}

static void on_head(struct h2_stream *h2, struct http_head *head, bool ends)
{
	struct tunnel_server_stream *st = stream_of_h2(h2);
	struct tunnel_request r = {
		.method = head->method,
		.authority = head->authority,
		.has_path = !head->is_connect && head->path.n > 0,
		.has_protocol = head->upgrade.n > 0,
	};
	enum trm_reason reason;
	struct addr dst;

	deadline_clear(&st->orphan);
	st->s->d->conn.requests++;
	reason = tunnel_request_decide(&r, &st->s->d->conn.orig_dst, &dst);
	if (reason == TRM_REASON_NONE && head->body == HTTP_BODY_LENGTH)
		reason = TRM_REASON_HTTP_SYNTAX; /* a length for what has none: RFC 9110 section 9.3.6 */
	if (reason == TRM_REASON_NONE)
		st->d = downstream_start_inner(st->s->d, &st->ts.carrier, &dst, on_connected, &reason);
	if (st->d) {
		inbound_tunnel_take(st->d); /* may be rid of it at once */
		return;
	}
	refusal_log(st, reason);
	stream_refuse(st, reason);
}

static void on_body(struct h2_stream *h2, struct str slice)
{
	struct tunnel_server_stream *st = stream_of_h2(h2);

	if (st->d || (st->answered && st->ts.h2.is_tunnel))
		tunnel_stream_on_body(&st->ts, slice);
}

static void on_end(struct h2_stream *h2, const struct http_field *trailers, size_t n_trailers)
{
	tunnel_stream_on_end(&stream_of_h2(h2)->ts);
}

static void on_reject(struct h2_stream *h2, const struct http_reject *reject)
{
	struct tunnel_server_stream *st = stream_of_h2(h2);

	if (st->answered) { /* what comes behind a head is no message any more; on_reset() and on_close() follow */
		h2_stream_reset(h2, NGHTTP2_PROTOCOL_ERROR);
		h2_server_touch(st->s);
		return;
	}
	refusal_log(st, reject->reason);
	deadline_clear(&st->orphan);
	stream_refuse(st, TRM_REASON_HTTP_SYNTAX);
}

static void on_reset(struct h2_stream *h2, uint32_t code, bool unprocessed)
{
	tunnel_stream_on_reset(&stream_of_h2(h2)->ts, code);
}

static void on_drained(struct h2_stream *h2)
{
	tunnel_stream_on_drained(&stream_of_h2(h2)->ts);
}

static void on_batch_end(struct h2_stream *h2)
{
	/* each read gives its own room back */
}

static void on_close(struct h2_stream *h2)
{
	struct tunnel_server_stream *st = stream_of_h2(h2);

	stream_leave(st);
	if (!st->d)
		stream_free(st);
}

static const struct h2_conn_ops conn_ops = {
	.on_request = on_request,
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_reject = on_reject,
	.on_reset = on_reset,
	.on_drained = on_drained,
	.on_batch_end = on_batch_end,
	.on_close = on_close,
};

/* The outer connection is gone: what stands on its streams hears of a reset, not of an end. */
static void lose_streams(struct h2_server *s, enum trm_reason reason)
{
	struct tunnel_server_stream *st;

	while ((st = list_first(&s->streams, struct tunnel_server_stream, link))) {
		list_remove(&st->link);
		st->s = NULL;
		s->n_streams--;
		tunnel_stream_lose(&st->ts, -ECONNRESET);
		st->ts.h2.c = NULL;
		if (!st->d)
			stream_free(st);
	}
}

/* Tunnels whose direction is still open were cut off. */
static void end_streams(struct h2_server *s)
{
	struct tunnel_server_stream *st, *tmp;

	list_for_each_entry_safe(st, tmp, &s->streams, link)
		if (!st->ts.h2.recv_end)
			h2_stream_reset(&st->ts.h2, NGHTTP2_CONNECT_ERROR);
}

/* What the transport asks for: struct tunnel_stream_ops */

static void stream_touch(struct tunnel_stream *ts)
{
	h2_server_touch(stream_of(ts)->s);
}

static struct buf *stream_out(struct tunnel_stream *ts)
{
	struct h2_server *s = stream_of(ts)->s;

	return s->phase != H2_SERVER_LINGER && !transport_is_full(&s->d->t) ? transport_out(&s->d->t) : NULL;
}

static void stream_let_go(struct tunnel_stream *ts, bool reset)
{
	struct tunnel_server_stream *st = stream_of(ts);
	enum trm_reason reason = st->d->reason;

	st->d = NULL;
	if (st->s && !st->answered) {
		stream_refuse(st, reason ? reason : TRM_REASON_CONNECT_FAILED);
		return;
	}
	if (st->s && tunnel_stream_part(ts, reset)) {
		deadline_set(&st->orphan, TUNNEL_ORPHAN_MS);
		return;
	}
	stream_leave(st);
	stream_free(st);
}

static const struct tunnel_stream_ops stream_ops = { .touch = stream_touch, .out = stream_out, .let_go = stream_let_go };

/* Life */

void tunnel_server_start(struct downstream *d)
{
	static const struct h2_server_kind tunnels = {
		.protocol = "hbone",
		.ops = &conn_ops,
		.lose_streams = lose_streams,
		.end_streams = end_streams,
	};
	static const struct h2_settings settings = {
		.streams_max = H2_STREAMS_MAX,
		.stream_window = TUNNEL_STREAM_WINDOW,
		.conn_window = TUNNEL_CONN_WINDOW,
		.window_max = H2_WINDOW_MAX,
		.stalls_alone = true,
	};

	h2_server_start_kind(d, &tunnels, &settings);
}
