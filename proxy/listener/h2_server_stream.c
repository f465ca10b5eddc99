/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on an HTTP/2 connection from a caller: each stream the downstream half of an exchange
 *
 * A stream's memory lives until HTTP/2 is done with it, its exchange until both messages are over; either may end
 * first. What a stream receives while nobody may read it is counted against its window, so it is never more than that.
 */
#include "base/clock.h"
#include "base/log.h"
#include "proxy/listener/h2_server.h"
#include "proxy/upstream/exchange.h"

#define SEND_BYTES	 4096 /* a slice from here on is framed at once, not kept first */
#define HELD_MAX_BYTES	 H2_WINDOW_MAX

struct h2_server_stream {
	struct message_stream stream;
	struct h2_stream h2;
	struct h2_server *s;
	struct exchange *x; /* NULL once it is over */
	struct deadline deadline;
	struct list link;
	struct buf held; /* of a tunnel that is not open yet */
	bool held_end;
	bool begun;	  /* the exchange has the head: it ends by itself */
	bool dispatching; /* on_close() comes next */
	bool lost;	  /* with its connection */
	bool tunnel, upgrade;
};

static const struct message_stream_ops stream_ops;

static struct h2_server_stream *stream_of(const struct message_stream *st)
{
	return container_of(st, struct h2_server_stream, stream);
}

static struct h2_server_stream *stream_of_h2(struct h2_stream *h2)
{
	return container_of(h2, struct h2_server_stream, h2);
}

static void stream_free(struct h2_server_stream *st)
{
	struct h2_server *s = st->s;

	h2_stream_done(&st->h2, NGHTTP2_CANCEL);
	deadline_done(&st->deadline);
	buf_done(&st->held);
	list_remove(&st->link);
	free(st);
	s->n_streams--;
	h2_server_idle_look(s);
}

static void lose_streams(struct h2_server *s, enum trm_reason reason)
{
	while (!list_is_empty(&s->streams)) {
		struct h2_server_stream *st = list_first(&s->streams, struct h2_server_stream, link);
		struct message_sink *k = st->stream.sink;

		st->lost = true;
		if (st->x && !st->begun) {
			exchange_free(TAKE_PTR(st->x));
			stream_free(st);
		} else if (k) {
			k->ops->on_reset(k, reason, 0); /* releases the stream */
		} else {
			stream_free(st);
		}
	}
}

/* What it has asked for whole is still answered. */
static void end_streams(struct h2_server *s)
{
	struct h2_server_stream *st, *tmp;

	list_for_each_entry_safe(st, tmp, &s->streams, link)
		if (!st->h2.recv_end)
			h2_stream_reset(&st->h2, NGHTTP2_CANCEL);
}

/* What comes in: struct h2_conn_ops */

static void on_due_stream(struct deadline *dl)
{
	struct h2_server_stream *st = container_of(dl, struct h2_server_stream, deadline);
	uint64_t now = loop_now_ns(st->s->d->w->loop), next;

	if (st->h2.head_held && !st->begun) {
		h2_stream_reset(&st->h2, NGHTTP2_CANCEL);
		h2_server_touch(st->s);
		return;
	}
	if (!st->begun) {
		h2_server_gone(st->s, TRM_REASON_HTTP_HEADER_TIMEOUT); /* nothing else can come before its fields are whole */
		return;
	}
	if (!st->x) {
		/* the answer stands here, and the caller does not take it */
		h2_stream_reset(&st->h2, NGHTTP2_CANCEL);
		h2_server_touch(st->s);
		return;
	}
	next = exchange_due(st->x, now); /* may end the exchange, and us */
	if (next)
		deadline_set_at(&st->deadline, next);
}

static struct h2_stream *on_request(struct h2_conn *c)
{
	struct h2_server *s = container_of(c, struct h2_server, h2);
	struct h2_server_stream *st;

	if (!h2_server_takes_more(s))
		return NULL;
	st = calloc(1, sizeof(*st));
	if (!st)
		return NULL;
	st->s = s;
	st->stream.ops = &stream_ops;
	st->x = exchange_new(s->d->w, &s->d->conn, &st->stream, s->d->t.peer);
	if (!st->x) {
		free(st);
		return NULL;
	}
	st->stream.sink = &st->x->down_sink;
	h2_stream_init(&st->h2, c, &st->x->req, &st->x->pool);
	buf_init(&st->held, HELD_MAX_BYTES + 1);
	deadline_init(&st->deadline, s->d->w->loop, on_due_stream);
	deadline_set(&st->deadline, H2_SERVER_FIRST_MS);
	list_push_back(&s->streams, &st->link);
	h2_server_stream_began(s);
	return &st->h2;
}

/* Looks at the exchange's time again in @ms, or when its caller's deadline is over. */
static void stream_time(struct h2_server_stream *st, uint64_t ms)
{
	uint64_t at_ns = loop_now_ns(st->s->d->w->loop) + ms * NS_PER_MS;

	if (!st->x)
		return;
	if (st->x->deadline_ns && st->x->deadline_ns < at_ns)
		deadline_set_at(&st->deadline, st->x->deadline_ns);
	else
		deadline_set(&st->deadline, ms);
}

static void on_head(struct h2_stream *h2, struct http_head *head, bool ends)
{
	struct h2_server_stream *st = stream_of_h2(h2);
	struct message_sink *k = st->stream.sink;

	if (!k)
		return;
	st->s->d->conn.requests++;
	st->begun = true;
	st->upgrade = head->upgrade.n > 0;
	k->ops->on_head(k, head);
	stream_time(st, ends ? EXCHANGE_IDLE_MS : EXCHANGE_BODY_MS);
}

static void on_body(struct h2_stream *h2, struct str slice)
{
	struct h2_server_stream *st = stream_of_h2(h2);
	struct message_sink *k = st->stream.sink;

	if (!k)
		return;
	st->s->d->conn.bytes_in += slice.n;
	if (st->upgrade && !st->tunnel) {
		/* within the window; nothing of it goes on before the tunnel is granted */
		if (buf_append(&st->held, slice.p, slice.n) < 0)
			h2_stream_reset(h2, NGHTTP2_FLOW_CONTROL_ERROR);
		return;
	}
	k->ops->on_body(k, slice);
}

static void on_end(struct h2_stream *h2, const struct http_field *trailers, size_t n_trailers)
{
	struct h2_server_stream *st = stream_of_h2(h2);
	struct message_sink *k = st->stream.sink;

	if (!k)
		return;
	if (st->upgrade && !st->tunnel) {
		st->held_end = true;
		return;
	}
	if (!st->tunnel)
		stream_time(st, EXCHANGE_IDLE_MS);
	k->ops->on_end(k, trailers, n_trailers);
}

static void on_reject(struct h2_stream *h2, const struct http_reject *reject)
{
	struct h2_server_stream *st = stream_of_h2(h2);
	struct message_sink *k = st->stream.sink;

	if (!k)
		return;
	log_limited(LOG_INFO, "request refused", "conn=%llu status=%u reason=%s what=\"%s\"",
		    (unsigned long long)st->s->d->conn.id, reject->status, trm_reason_label(reject->reason),
		    reject->what ? reject->what : "");
	st->begun = true;
	st->x->started = true; /* refused requests are recorded */
	k->ops->on_reset(k, reject->reason, reject->status);
}

static void on_reset(struct h2_stream *h2, uint32_t code, bool unprocessed)
{
	struct h2_server_stream *st = stream_of_h2(h2);
	struct message_sink *k = st->stream.sink;

	st->dispatching = true;
	if (st->x && !st->begun) {
		st->stream.sink = NULL;
		exchange_free(TAKE_PTR(st->x));
	} else if (k) {
		k->ops->on_reset(k, code == NGHTTP2_PROTOCOL_ERROR ? TRM_REASON_HTTP_SYNTAX : TRM_REASON_DOWNSTREAM_RESET, 0);
	}
	st->dispatching = false;
}

static void on_drained(struct h2_stream *h2)
{
	struct h2_server_stream *st = stream_of_h2(h2);
	struct message_sink *k = st->stream.sink;

	if (k)
		k->ops->on_drained(k);
}

static void on_batch_end(struct h2_stream *h2)
{
	struct message_sink *k = stream_of_h2(h2)->stream.sink;

	if (!k)
		return;
	if (k->ops->may_read(k))
		h2_stream_consume(h2);
	k->ops->on_batch_end(k);
}

static void on_close(struct h2_stream *h2)
{
	struct h2_server_stream *st = stream_of_h2(h2);

	if (!st->x)
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

/* Going out: struct message_stream_ops */

static int stream_send_head(struct message_stream *m, const struct http_head *head, const struct message_send *how)
{
	struct h2_server_stream *st = stream_of(m);
	bool final = head->status >= 200 || head->status == 101;
	bool ends = final && (head->body == HTTP_BODY_NONE || st->x->req.is_head);
	int r = h2_stream_send_response(&st->h2, head, ends);

	if (r == 0 && final && st->upgrade && head->status != 101)
		st->upgrade = false; /* refused: what follows is an answer like others */
	h2_server_touch(st->s);
	return r;
}

static int stream_send_body(struct message_stream *m, struct str slice)
{
	struct h2_server_stream *st = stream_of(m);
	struct transport *t = &st->s->d->t;
	bool at_once = slice.n >= SEND_BYTES && !transport_is_full(t) && st->s->phase != H2_SERVER_LINGER;

	st->s->d->conn.bytes_out += slice.n;
	h2_server_touch(st->s);
	return h2_stream_send_body(&st->h2, slice, at_once ? transport_out(t) : NULL);
}

static int stream_send_end(struct message_stream *m, const struct http_field *trailers, size_t n_trailers)
{
	struct h2_server_stream *st = stream_of(m);

	h2_server_touch(st->s);
	return h2_stream_send_end(&st->h2, trailers, n_trailers);
}

/* All streams' frames of this turn leave in one write, at its end. */
static int stream_flush(struct message_stream *m)
{
	return 0;
}

static bool stream_is_blocked(const struct message_stream *m)
{
	return h2_stream_is_full(&stream_of(m)->h2);
}

static void stream_read_resume(struct message_stream *m)
{
	struct h2_server_stream *st = stream_of(m);

	if (st->h2.unconsumed == 0 || (st->upgrade && !st->tunnel))
		return;
	h2_stream_consume(&st->h2);
	h2_server_touch(st->s);
}

static void stream_tunnel(struct message_stream *m)
{
	struct h2_server_stream *st = stream_of(m);
	struct message_sink *k = m->sink;

	st->tunnel = true;
	st->s->d->conn.protocol = "tunnel";
	if (st->held.len > 0)
		k->ops->on_body(k, buf_str(&st->held));
	buf_release(&st->held);
	if (m->sink && st->held_end)
		k->ops->on_end(k, NULL, 0);
	if (m->sink) {
		h2_stream_touch(&st->h2);
		transport_poke(&st->s->d->t);
	}
}

static void stream_release(struct message_stream *m, bool whole)
{
	struct h2_server_stream *st = stream_of(m);
	bool answered = st->h2.send_begun;
	bool ended = st->h2.send_ended;

	st->x = NULL;
	m->sink = NULL;
	st->h2.detached = true;
	st->h2.pool = NULL;
	h2_server_touch(st->s);
	if (st->dispatching || (list_is_linked(&st->h2.closed_link) && !st->lost))
		return; /* on_close() frees it */
	if (st->lost || st->h2.closed) {
		stream_free(st);
		return;
	}
	if (!answered || !ended)
		h2_stream_reset(&st->h2, NGHTTP2_INTERNAL_ERROR); /* the caller is there and has wanted it */
	else if (!st->h2.recv_end)
		h2_stream_reset_after_end(&st->h2, NGHTTP2_NO_ERROR); /* RFC 9113 section 8.1 */
	deadline_set(&st->deadline, EXCHANGE_BODY_MS); /* for what is kept here to be taken */
}

static const struct message_stream_ops stream_ops = {
	.send_head = stream_send_head,
	.send_body = stream_send_body,
	.send_end = stream_send_end,
	.flush = stream_flush,
	.is_blocked = stream_is_blocked,
	.read_resume = stream_read_resume,
	.tunnel = stream_tunnel,
	.release = stream_release,
};

/* Life */

static const struct h2_server_kind requests = {
	.protocol = "h2",
	.ops = &conn_ops,
	.lose_streams = lose_streams,
	.end_streams = end_streams,
};

void h2_server_start(struct downstream *d)
{
	struct h2_settings settings = h2_settings_default;

	if (d->t.peer)
		settings.streams_max = H2_STREAMS_PEER;
	if (d->conn.direction == OBSERVE_INBOUND) /* from our own app there is no path to fill */
		settings.window_max = H2_WINDOW_MAX;
	h2_server_start_kind(d, &requests, &settings);
}
