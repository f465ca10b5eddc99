/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connection from a caller: many streams, each the downstream half of an exchange
 *
 * A stream's memory lives until HTTP/2 is done with it, its exchange until both messages are over; either may end
 * first. What a stream receives while nobody may read it is counted against its window, so it is never more than that.
 *
 * Length: connection and streams hold on to each other's life; to be split in two once that has settled.
 */
#include <errno.h>
#include "base/clock.h"
#include "base/log.h"
#include "proxy/http/h2.h"
#include "proxy/listener/downstream.h"
#include "proxy/upstream/exchange.h"

#define READS_PER_TURN	 10
#define SEND_BYTES	 4096 /* a slice from here on is framed at once, not kept first */
#define FIRST_TIMEOUT_MS 10000 /* the preface; and a field section that was begun */
#define IDLE_TIMEOUT_MS	 600000
#define AGE_MS		 3600000 /* less up to a fifth, at random: callers of the mesh get to balance anew */
#define GOING_MS	 1000 /* between "we are going" and "no more" */
#define HELD_MAX_BYTES	 (64 * 1024)

enum server_phase {
	SERVER_OPEN,
	SERVER_GOING, /* the first GOAWAY was sent */
	SERVER_LAST,  /* the final one: closed with its last stream */
	SERVER_LINGER,
};

struct h2_server {
	struct downstream *d;
	struct h2_conn h2;
	struct list streams; /* struct h2_server_stream */
	struct loop_task write;
	size_t n_streams;
	uint64_t old_at_ms;
	uint8_t phase;
	bool greeted; /* the caller's SETTINGS are here */
	bool eof;     /* it sends nothing more, but may read yet */
	bool busy, dead;
};

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

static void on_write(struct loop_task *task);
static void server_shut(struct h2_server *s);

static struct h2_server_stream *stream_of(const struct message_stream *st)
{
	return container_of(st, struct h2_server_stream, stream);
}

static struct h2_server_stream *stream_of_h2(struct h2_stream *h2)
{
	return container_of(h2, struct h2_server_stream, h2);
}

static void touch(struct h2_server *s)
{
	loop_task_defer(s->d->w->loop, &s->write, on_write);
}

/* Not in line: the compiler would follow it into callers that are busy, and see a use after it where there is none. */
static __attribute__((noinline)) void server_destroy(struct h2_server *s)
{
	loop_task_cancel(&s->write);
	h2_conn_done(&s->h2);
	downstream_free(s->d);
	free(s);
}

static void server_free(struct h2_server *s)
{
	s->dead = true;
	if (!s->busy) /* else the frame that is at work does it */
		server_destroy(s);
}

static void idle_look(struct h2_server *s)
{
	struct downstream *d = s->d;

	if (s->n_streams > 0 || s->phase == SERVER_LINGER || s->dead)
		return;
	if (s->phase == SERVER_LAST) {
		server_shut(s);
		return;
	}
	d->conn.state = CONN_IDLE;
	deadline_set(&d->deadline, s->phase == SERVER_GOING ? GOING_MS : IDLE_TIMEOUT_MS);
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
	idle_look(s);
}

/* Every exchange hears that its caller is gone. */
static void streams_lose(struct h2_server *s, enum trm_reason reason)
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

/* The connection is over, without a word. */
static void server_gone(struct h2_server *s, enum trm_reason reason)
{
	bool was_busy = s->busy;

	s->busy = true;
	s->dead = true;
	s->d->conn.state = CONN_CLOSING;
	streams_lose(s, reason);
	s->busy = was_busy;
	server_free(s);
}

static void server_shut(struct h2_server *s)
{
	s->phase = SERVER_LINGER;
	downstream_linger_start(s->d);
}

/* Announces the end: streams that are on their way are still taken for a second. */
static void server_go(struct h2_server *s)
{
	if (s->phase != SERVER_OPEN)
		return;
	s->phase = SERVER_GOING;
	h2_conn_goaway(&s->h2, false, NGHTTP2_NO_ERROR);
	touch(s);
	deadline_set(&s->d->deadline, GOING_MS);
}

/* What comes in: struct h2_conn_ops */

static void on_due_stream(struct deadline *dl)
{
	struct h2_server_stream *st = container_of(dl, struct h2_server_stream, deadline);
	uint64_t now = loop_now_ns(st->s->d->w->loop), next;

	if (!st->begun) {
		server_gone(st->s, TRM_REASON_HTTP_HEADER_TIMEOUT); /* nothing else can come before its fields are whole */
		return;
	}
	if (!st->x) {
		/* the answer stands here, and the caller does not take it */
		h2_stream_reset(&st->h2, NGHTTP2_CANCEL);
		touch(st->s);
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

	if (s->n_streams >= H2_STREAMS_MAX || s->phase >= SERVER_LAST)
		return NULL;
	if (s->d->conn.direction == OBSERVE_INBOUND && loop_now_ns(s->d->w->loop) / NS_PER_MS >= s->old_at_ms)
		server_go(s);
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
	deadline_set(&st->deadline, FIRST_TIMEOUT_MS);
	list_push_back(&s->streams, &st->link);
	s->n_streams++;
	s->d->conn.state = CONN_OPEN;
	deadline_set(&s->d->deadline, IDLE_TIMEOUT_MS);
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

/* The connection's turn */

/* What the peer did ends the connection. GOAWAY says so; the answers that are there already leave before it. */
static void server_fail(struct h2_server *s, int r)
{
	struct downstream *d = s->d;

	if (r < 0 || s->h2.faulty) {
		log_limited(LOG_INFO, "HTTP/2 connection ended", "conn=%llu reason=%s why=\"%s\"", (unsigned long long)d->conn.id,
			    trm_reason_label(TRM_REASON_H2_PROTOCOL), r < 0 ? "memory is out" : s->h2.why);
		observe_count(d->w->observe, TRM_REASON_H2_PROTOCOL);
	}
	(void)!h2_conn_write(&s->h2, transport_out(&d->t), true);
	(void)transport_flush(&d->t);
	s->phase = SERVER_LINGER;
	streams_lose(s, TRM_REASON_H2_PROTOCOL);
	server_shut(s);
}

/* It sends no more. What it has asked for whole is still answered. */
static void server_eof(struct h2_server *s)
{
	struct h2_server_stream *st, *tmp;

	s->eof = true;
	if (s->phase < SERVER_LAST)
		s->phase = SERVER_LAST;
	list_for_each_entry_safe(st, tmp, &s->streams, link)
		if (!st->h2.recv_end)
			h2_stream_reset(&st->h2, NGHTTP2_CANCEL);
	if (s->n_streams == 0 || s->d->t.broken)
		server_gone(s, TRM_REASON_DOWNSTREAM_CLOSED);
	else
		touch(s);
}

/* false: stop. */
static bool server_read(struct h2_server *s)
{
	struct transport *t = &s->d->t;
	size_t n = 0;
	int r = transport_read(t, s->d->w->shared.plain, TRANSPORT_READ_BYTES, &n);

	if (r == TRANSPORT_E_AGAIN)
		return false;
	if (r == TRANSPORT_E_END)
		server_eof(s);
	else if (r < 0)
		server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
	if (r != 0)
		return false;
	r = h2_conn_read(&s->h2, (struct str){ s->d->w->shared.plain, n }, loop_now_ns(s->d->w->loop));
	if (!s->greeted && s->h2.settings_seen) {
		s->greeted = true;
		deadline_set(&s->d->deadline, IDLE_TIMEOUT_MS);
	}
	h2_conn_dispatch(&s->h2);
	if (r != 0 && !s->dead)
		server_fail(s, r);
	return r == 0 && !s->dead;
}

static void server_write(struct h2_server *s)
{
	struct transport *t = &s->d->t;
	int r;

	for (int i = 0; i < READS_PER_TURN && !s->dead; i++) {
		r = h2_conn_write(&s->h2, transport_out(t), !transport_is_full(t));
		if (transport_flush(t) < 0 || t->write_failed) {
			server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
			return;
		}
		h2_conn_dispatch(&s->h2);
		if (s->dead || s->phase == SERVER_LINGER)
			return;
		if (r != 0) {
			if (r == HTTP_E_END && s->n_streams == 0)
				server_shut(s);
			else
				server_gone(s, TRM_REASON_NO_MEMORY);
			return;
		}
		if (!h2_conn_has_news(&s->h2) && (transport_is_full(t) || !h2_conn_wants_write(&s->h2)))
			return;
	}
	if (!s->dead)
		touch(s);
}

static void server_step(struct h2_server *s)
{
	struct transport *t = &s->d->t;

	if (s->phase == SERVER_LINGER) {
		s->dead = downstream_linger_read(s->d);
		return;
	}
	if (s->eof && t->broken) {
		server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	/* A caller that takes nothing is not read either: what it sends would make more to be kept. */
	for (int i = 0; i < READS_PER_TURN && !s->eof && transport_may_read(t) && !(t->stuck && transport_pending(t) > H2_STREAM_OUT); i++)
		if (!server_read(s))
			break;
	if (s->dead || s->phase == SERVER_LINGER)
		return;
	h2_conn_batch_end(&s->h2);
	if (s->dead)
		return;
	server_write(s);
	if (!s->dead && t->readable && !t->stuck && !s->eof)
		transport_poke(t);
}

/* Work on @s with nobody freeing it under us. */
static void server_run(struct h2_server *s, void (*step)(struct h2_server *s))
{
	if (s->busy)
		return;
	s->busy = true;
	step(s);
	s->busy = false;
	if (s->dead)
		server_destroy(s);
}

static void on_event(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);

	server_run(d->conn.owner, server_step);
}

static void write_step(struct h2_server *s)
{
	if (s->phase == SERVER_LINGER)
		return;
	server_write(s);
}

static void on_write(struct loop_task *task)
{
	server_run(container_of(task, struct h2_server, write), write_step);
}

/* Going out: struct message_stream_ops */

static int stream_send_head(struct message_stream *m, const struct http_head *head, const struct message_send *how)
{
	struct h2_server_stream *st = stream_of(m);
	bool final = head->status >= 200 || head->status == 101;
	bool ends = final && (head->body == HTTP_BODY_NONE || st->x->req.is_head);
	int r = h2_stream_send_response(&st->h2, head, ends);

	if (r == 0 && final && st->upgrade && head->status != 101)
		st->upgrade = false; /* refused: what follows is an answer like others */
	touch(st->s);
	return r;
}

static int stream_send_body(struct message_stream *m, struct str slice)
{
	struct h2_server_stream *st = stream_of(m);
	struct transport *t = &st->s->d->t;
	bool at_once = slice.n >= SEND_BYTES && !transport_is_full(t) && st->s->phase != SERVER_LINGER;

	st->s->d->conn.bytes_out += slice.n;
	touch(st->s);
	return h2_stream_send_body(&st->h2, slice, at_once ? transport_out(t) : NULL);
}

static int stream_send_end(struct message_stream *m, const struct http_field *trailers, size_t n_trailers)
{
	struct h2_server_stream *st = stream_of(m);

	touch(st->s);
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
	touch(st->s);
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
	touch(st->s);
	if (st->dispatching || (list_is_linked(&st->h2.closed_link) && !st->lost))
		return; /* on_close() frees it */
	if (st->lost || st->h2.closed) {
		stream_free(st);
		return;
	}
	if (!answered || !ended)
		h2_stream_reset(&st->h2, whole ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
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

static void due_step(struct h2_server *s)
{
	struct deadline *dl = &s->d->deadline;

	if (s->phase == SERVER_LINGER) {
		server_free(s);
		return;
	}
	if (s->phase == SERVER_GOING) {
		s->phase = SERVER_LAST;
		h2_conn_goaway(&s->h2, true, NGHTTP2_NO_ERROR);
		server_write(s);
		if (!s->dead)
			idle_look(s);
		return;
	}
	if (!s->greeted) {
		server_gone(s, TRM_REASON_HTTP_HEADER_TIMEOUT);
		return;
	}
	if (s->n_streams == 0 && s->phase == SERVER_OPEN)
		server_go(s);
	else
		deadline_set(dl, IDLE_TIMEOUT_MS);
}

static void on_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);

	server_run(d->conn.owner, due_step);
}

static void on_drain(struct conn *c)
{
	server_go(c->owner);
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	server_gone(c->owner, reason);
}

static const struct conn_ops registry_ops = { .drain = on_drain, .kill = on_kill };

void h2_server_start(struct downstream *d)
{
	struct h2_server *s = calloc(1, sizeof(*s));

	if (!s || h2_conn_init(&s->h2, true, &h2_settings_default, &conn_ops) < 0) {
		free(s);
		downstream_refuse(d, TRM_REASON_NO_MEMORY);
		return;
	}
	s->d = d;
	s->old_at_ms = loop_now_ns(d->w->loop) / NS_PER_MS + AGE_MS - trace_random_next(&d->w->random) % (AGE_MS / 5);
	list_init(&s->streams);
	d->conn.ops = &registry_ops;
	d->conn.owner = s;
	d->conn.protocol = "h2";
	d->conn.state = CONN_IDLE;
	d->t.on_event = on_event;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, d->w->loop, on_due);
	deadline_set(&d->deadline, FIRST_TIMEOUT_MS);
	touch(s);
	transport_poke(&d->t);
	if (d->w->draining)
		server_go(s);
}
