/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 connection from a caller: one stream at a time
 *
 * The downstream half of exchanges. Reads a head, hands it to an exchange, feeds it the body while it may be read, and
 * leaves what follows in the socket until the response has been sent. A connection that is not to be used again lingers:
 * our end is told, what the caller still sends is read and dropped, so that no reset overtakes the response.
 */
#include <errno.h>
#include "base/clock.h"
#include "base/log.h"
#include "proxy/http/h1.h"
#include "proxy/listener/downstream.h"
#include "proxy/upstream/exchange.h"

#define READS_PER_TURN	  10
#define IN_MAX_BYTES	  (160 * 1024)
#define SEND_BYTES	  4096
#define HEAD_TIMEOUT_MS	  10000
#define IDLE_TIMEOUT_MS	  600000

enum server_state {
	SERVER_HEAD, /* idle, or a head is coming in */
	SERVER_BODY, /* and tunnel */
	SERVER_WAIT, /* the request is whole */
	SERVER_LINGER,
};

struct h1_server {
	struct message_stream stream;
	struct downstream *d;
	struct exchange *x;
	struct h1_parser parser;
	struct h1_body body;
	struct h1_body_out out;
	struct buf in; /* of a head that is not whole, or behind a whole request */
	uint8_t state;
	bool starved; /* what is in @in is not enough */
	bool close_after, blocked, tunnel;
	bool acked; /* transport_ack_now() was called for this request */
	bool busy, dead;
};

static void server_free(struct h1_server *s)
{
	s->dead = true;
	s->stream.sink = NULL;
	if (s->busy)
		return; /* the frame that is at work frees it */
	downstream_free(s->d);
	buf_done(&s->in);
	free(s);
}

static struct h1_server *server_of(struct message_stream *s)
{
	return container_of(s, struct h1_server, stream);
}

/* The caller is gone: no answer reaches it. */
static void server_gone(struct h1_server *s, enum trm_reason reason)
{
	struct message_sink *k = s->stream.sink;
	bool was_busy = s->busy;

	s->close_after = true;
	s->d->conn.state = CONN_CLOSING;
	s->busy = true;
	if (s->x && !s->x->started) {
		s->stream.sink = NULL;
		exchange_free(TAKE_PTR(s->x));
	} else if (k) {
		k->ops->on_reset(k, reason, 0); /* releases the stream */
	}
	s->busy = was_busy;
	server_free(s);
}

static void linger_start(struct h1_server *s)
{
	s->state = SERVER_LINGER;
	buf_release(&s->in);
	downstream_linger_start(s->d);
}

/* Coming in */

/* The head's strings point into the input: move them into the pool, as one block. */
static int head_keep(struct http_head *h, struct pool *pool, struct str raw)
{
	struct str kept = pool_str_dup(pool, raw);
	struct str *fixed[] = { &h->method, &h->target, &h->path, &h->authority, &h->upgrade };
	ptrdiff_t by;

	if (!kept.p)
		return -ENOMEM;
	by = kept.p - raw.p;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (fixed[i]->p >= raw.p && fixed[i]->p < raw.p + raw.n)
			fixed[i]->p += by;
	for (uint16_t i = 0; i < h->n_fields; i++) {
		struct http_field *f = &h->fields[i];

		if (f->name.p >= raw.p && f->name.p < raw.p + raw.n)
			f->name.p += by;
		if (f->value.p >= raw.p && f->value.p <= raw.p + raw.n)
			f->value.p += by;
	}
	return 0;
}

static bool exchange_begin(struct h1_server *s)
{
	if (s->x)
		return true;
	s->x = exchange_new(s->d->w, &s->d->conn, &s->stream, s->d->t.peer);
	if (!s->x)
		return false;
	s->stream.sink = &s->x->down_sink;
	s->close_after = s->acked = false;
	s->d->conn.state = CONN_OPEN;
	deadline_set(&s->d->deadline, HEAD_TIMEOUT_MS);
	return true;
}

/* A whole head: @n bytes at @raw. */
static void head_take(struct h1_server *s, struct str raw)
{
	struct message_sink *k = s->stream.sink;
	struct exchange *x = s->x;

	if (head_keep(&x->req, &x->pool, raw) < 0) {
		k->ops->on_reset(k, TRM_REASON_NO_MEMORY, 503);
		return;
	}
	s->d->conn.requests++;
	h1_body_init(&s->body, NULL, &x->pool, &x->req, false);
	s->state = x->req.body == HTTP_BODY_NONE ? SERVER_WAIT : SERVER_BODY;
	deadline_set(&s->d->deadline, x->req.body == HTTP_BODY_NONE ? EXCHANGE_IDLE_MS : EXCHANGE_BODY_MS);
	k->ops->on_head(k, &x->req);
}

static void body_end(struct h1_server *s)
{
	struct message_sink *k = s->stream.sink;

	s->state = SERVER_WAIT;
	k->ops->on_end(k, s->body.trailers, s->body.n_trailers);
}

/* Takes what it can from @input and returns how much that was. */
static size_t server_feed(struct h1_server *s, struct str input)
{
	struct http_reject reject = { 0 };
	size_t at = 0, n = 0;
	struct str slice;

	s->starved = false;
	while (!s->dead && (s->state == SERVER_HEAD || s->state == SERVER_BODY)) {
		struct str rest = { input.p + at, input.n - at };
		struct message_sink *k;
		int r;

		if (s->state == SERVER_HEAD) {
			if (rest.n == 0)
				break;
			if (!exchange_begin(s)) {
				server_gone(s, TRM_REASON_NO_MEMORY);
				break;
			}
			r = h1_request_parse(&s->parser, &s->x->pool, rest, &s->x->req, &n, &reject);
			if (r == 0) {
				at += n;
				head_take(s, (struct str){ rest.p, n });
				continue;
			}
		} else {
			k = s->stream.sink;
			r = h1_body_read(&s->body, rest, &slice, &n, &reject);
			if (r == 0 || r == HTTP_E_MORE || r == HTTP_E_END)
				at += n;
			if (r == 0)
				k->ops->on_body(k, slice);
			if (r == HTTP_E_END)
				body_end(s);
			if (r == 0 || r == HTTP_E_END)
				continue;
		}
		if (r == HTTP_E_MORE) {
			s->starved = true;
			break;
		}
		k = s->stream.sink;
		s->x->started = true; /* refused requests are recorded */
		if (r < 0)
			reject = (struct http_reject){ .status = 503, .reason = TRM_REASON_NO_MEMORY };
		else
			log_limited(LOG_INFO, "request refused", "conn=%llu status=%u reason=%s what=\"%s\"",
				    (unsigned long long)s->d->conn.id, reject.status, trm_reason_label(reject.reason),
				    reject.what ? reject.what : "");
		k->ops->on_reset(k, reject.reason, reject.status);
		break;
	}
	return at;
}

static void server_eof(struct h1_server *s)
{
	struct message_sink *k = s->stream.sink;

	s->close_after = true;
	if (s->state == SERVER_BODY && h1_body_eof(&s->body) == HTTP_E_END) {
		body_end(s); /* a tunnel's half */
		return;
	}
	if (k && s->state == SERVER_WAIT)
		return;
	server_gone(s, TRM_REASON_DOWNSTREAM_CLOSED);
}

/* One read and what comes of it; false: stop. */
static bool server_read(struct h1_server *s)
{
	struct transport *t = &s->d->t;
	char *dst = s->d->w->shared.plain;
	struct str input;
	size_t n = 0;
	int r = 0;

	if (s->in.len > 0 && !s->starved) {
		input = buf_str(&s->in); /* behind the request before */
	} else {
		if (s->in.len > 0) {
			if (buf_reserve(&s->in, TRANSPORT_READ_BYTES) < 0) {
				server_gone(s, TRM_REASON_NO_MEMORY);
				return false;
			}
			dst = buf_tail(&s->in, NULL);
		}
		r = transport_read(t, dst, TRANSPORT_READ_BYTES, &n);
		if (r == TRANSPORT_E_AGAIN)
			return false;
		if (r == TRANSPORT_E_END)
			server_eof(s);
		else if (r < 0)
			server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
		if (r != 0)
			return false;
		s->d->conn.bytes_in += n;
		if (s->in.len > 0) {
			buf_commit(&s->in, n);
			input = buf_str(&s->in);
		} else {
			input = (struct str){ dst, n };
		}
	}
	n = server_feed(s, input);
	if (s->dead || s->state == SERVER_LINGER)
		return false;
	if (s->in.len > 0)
		buf_consume(&s->in, n);
	else if (n < input.n && buf_append(&s->in, input.p + n, input.n - n) < 0)
		server_gone(s, TRM_REASON_NO_MEMORY);
	if (!s->dead && s->in.len == 0)
		buf_release(&s->in);
	return !s->dead;
}

static bool wants_read(const struct h1_server *s)
{
	const struct message_sink *k = s->stream.sink;
	bool has_bytes = (s->in.len > 0 && !s->starved) || transport_may_read(&s->d->t);

	if (s->state == SERVER_BODY)
		return has_bytes && k && k->ops->may_read(s->stream.sink);
	return has_bytes && s->state == SERVER_HEAD;
}

static void server_step(struct h1_server *s)
{
	struct transport *t = &s->d->t;
	int left = READS_PER_TURN;
	struct message_sink *k;

	if (s->state == SERVER_LINGER) {
		s->dead = downstream_linger_read(s->d); /* on_event() frees it */
		return;
	}
	if ((t->broken || t->write_failed) && s->state == SERVER_WAIT) {
		server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	if (s->blocked && !transport_is_full(t)) {
		s->blocked = false;
		k = s->stream.sink;
		if (k)
			k->ops->on_drained(k);
	}
	while (!s->dead && wants_read(s)) {
		if (left-- == 0) {
			transport_poke(t);
			break;
		}
		if (!server_read(s))
			break;
	}
	k = s->stream.sink;
	if (s->dead || !k)
		return;
	if (s->state == SERVER_BODY && !s->acked && !t->readable && s->d->conn.direction == OBSERVE_OUTBOUND) {
		s->acked = true; /* our app sends head and body in two writes */
		transport_ack_now(t);
	}
	k->ops->on_batch_end(k);
}

static void on_event(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);
	struct h1_server *s = d->conn.owner;

	if (s->busy)
		return;
	s->busy = true;
	server_step(s);
	s->busy = false;
	if (s->dead)
		server_free(s);
}

/* Going out: struct message_stream_ops */

static int server_send_head(struct message_stream *st, const struct http_head *head, const struct message_send *how)
{
	struct h1_server *s = server_of(st);
	const struct http_head *req = &s->x->req;
	struct h1_response_options opts = {
		.downstream_version = req->version,
		.downstream_keep_alive = req->keep_alive && !s->close_after,
		.is_head = req->is_head,
		.is_connect = req->is_connect,
		.close = how && how->close,
	};
	bool close = false;
	int r;

	r = h1_response_write(transport_out(&s->d->t), head, &opts, &s->out, &close);
	if (r == 0 && close)
		s->close_after = true;
	return r;
}

static int server_send_body(struct message_stream *st, struct str slice)
{
	struct h1_server *s = server_of(st);
	struct transport *t = &s->d->t;
	int r;

	s->d->conn.bytes_out += slice.n;
	if (slice.n < SEND_BYTES)
		return h1_body_write(&s->out, transport_out(t), slice);
	r = h1_body_open(&s->out, transport_out(t), slice.n);
	if (r == 0)
		r = transport_send(t, slice.p, slice.n);
	return r == 0 ? h1_body_close(&s->out, transport_out(t)) : r;
}

static int server_send_end(struct message_stream *st, const struct http_field *trailers, size_t n_trailers)
{
	struct h1_server *s = server_of(st);
	int r;

	if (s->tunnel) {
		transport_end(&s->d->t);
		return 0;
	}
	r = h1_body_end(&s->out, transport_out(&s->d->t), trailers, n_trailers);
	return r > 0 ? -EPROTO : r;
}

static int server_flush(struct message_stream *st)
{
	return transport_flush(&server_of(st)->d->t);
}

static bool server_is_blocked(const struct message_stream *st)
{
	struct h1_server *s = container_of(st, struct h1_server, stream);

	s->blocked = transport_is_full(&s->d->t);
	return s->blocked;
}

static void server_read_resume(struct message_stream *st)
{
	struct h1_server *s = server_of(st);

	if (!s->busy && (transport_may_read(&s->d->t) || s->in.len > 0))
		transport_poke(&s->d->t);
}

static void server_tunnel(struct message_stream *st)
{
	struct h1_server *s = server_of(st);
	struct http_head both = { .body = HTTP_BODY_TUNNEL };

	s->tunnel = true;
	s->close_after = true;
	s->starved = false;
	s->state = SERVER_BODY;
	s->d->conn.protocol = "tunnel";
	h1_body_init(&s->body, NULL, &s->x->pool, &both, false);
	s->out = (struct h1_body_out){ .kind = HTTP_BODY_TUNNEL };
	server_read_resume(st);
}

/*
 * The caller has said that this was its last request, all of it was read and all of the answer is in the socket: to
 * close at once costs no byte, and no more wake-ups. Under TLS its close_notify may come yet.
 */
static bool is_over(const struct h1_server *s, const struct exchange *x)
{
	const struct transport *t = &s->d->t;

	return !x->req.keep_alive && !s->tunnel && !t->ssl && s->in.len == 0 && !t->readable && transport_pending(t) == 0;
}

static void server_release(struct message_stream *st, bool whole)
{
	struct h1_server *s = server_of(st);
	struct transport *t = &s->d->t;
	bool over = is_over(s, s->x);
	bool answered = s->x->resp_begun || s->x->local_reply;
	bool cut = s->x->resp_begun && !whole && !s->out.done && !s->tunnel;

	s->x = NULL;
	st->sink = NULL;
	if (t->write_failed || t->broken || !answered || cut) {
		/* The caller must not take what it has for whole: reset, unless it is gone anyway. */
		transport_reset(t);
		server_free(s);
		return;
	}
	if (whole && over) {
		server_free(s);
		return;
	}
	if (!whole || s->close_after || t->hangup || s->d->w->draining) {
		linger_start(s);
		return;
	}
	s->state = SERVER_HEAD;
	s->d->conn.state = CONN_IDLE;
	deadline_set(&s->d->deadline, IDLE_TIMEOUT_MS);
	if (!s->busy && (s->in.len > 0 || transport_may_read(t)))
		transport_poke(t);
}

static const struct message_stream_ops server_ops = {
	.send_head = server_send_head,
	.send_body = server_send_body,
	.send_end = server_send_end,
	.flush = server_flush,
	.is_blocked = server_is_blocked,
	.read_resume = server_read_resume,
	.tunnel = server_tunnel,
	.release = server_release,
};

/* Life */

static void on_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);
	struct h1_server *s = d->conn.owner;
	uint64_t now = loop_now_ns(d->w->loop), next;
	struct message_sink *k = s->stream.sink;

	if (s->state == SERVER_LINGER || !s->x) {
		server_free(s);
		return;
	}
	if (s->state == SERVER_HEAD) {
		k->ops->on_reset(k, TRM_REASON_HTTP_HEADER_TIMEOUT, 408);
		return;
	}
	next = exchange_due(s->x, now); /* may end the exchange, and us */
	if (next)
		deadline_set_at(&d->deadline, next);
}

static void on_drain(struct conn *c)
{
	struct h1_server *s = c->owner;

	/* Bytes that are here already get their answer, with Connection: close. */
	if (s->state == SERVER_HEAD && !s->x && !transport_may_read(&s->d->t))
		linger_start(s);
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	server_gone(c->owner, reason);
}

static const struct conn_ops conn_ops = { .drain = on_drain, .kill = on_kill };

void h1_server_start(struct downstream *d)
{
	struct h1_server *s = calloc(1, sizeof(*s));

	if (!s) {
		downstream_refuse(d, TRM_REASON_NO_MEMORY);
		return;
	}
	s->stream.ops = &server_ops;
	s->d = d;
	h1_parser_init(&s->parser, NULL);
	buf_init(&s->in, IN_MAX_BYTES);
	d->conn.ops = &conn_ops;
	d->conn.owner = s;
	d->conn.protocol = "http/1.1";
	d->conn.state = CONN_IDLE;
	d->t.on_event = on_event;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, d->w->loop, on_due);
	deadline_set(&d->deadline, IDLE_TIMEOUT_MS);
	if (transport_may_read(&d->t))
		transport_poke(&d->t);
}
