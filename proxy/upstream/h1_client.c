/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 connection to an endpoint: see h1_client.h. */
#include "proxy/upstream/h1_client.h"

#include <errno.h>
#include "proxy/upstream/connect.h"

#define READS_PER_TURN 8
#define IN_MAX_BYTES   (160 * 1024)
#define SEND_BYTES     4096 /* a slice from here on is not copied first */

enum client_state {
	CLIENT_IDLE,
	CLIENT_HEAD,
	CLIENT_BODY, /* and tunnel */
	CLIENT_DONE,
};

static struct h1_client *client_of(struct message_stream *s)
{
	return container_of(s, struct h1_client, up.stream);
}

static void client_free(struct h1_client *c)
{
	c->dead = true;
	c->up.stream.sink = NULL;
	if (c->busy)
		return; /* the frame that is at work frees it */
	upstream_pool_leave(&c->w->pool, &c->link);
	deadline_done(&c->deadline);
	transport_close(&c->t);
	buf_done(&c->in);
	free(c);
}

static void client_reset(struct h1_client *c, enum trm_reason reason, uint16_t status)
{
	struct message_sink *k = c->up.stream.sink;

	c->keep_alive = false;
	c->state = CLIENT_DONE;
	if (k)
		k->ops->on_reset(k, reason, status); /* releases the stream */
	else
		client_free(c);
}

/* Coming in */

static void head_take(struct h1_client *c)
{
	struct message_sink *k = c->up.stream.sink;

	if (c->head->status >= 200 || c->head->status == 101) {
		h1_body_init(&c->body, NULL, c->pool, c->head, true);
		c->keep_alive = c->head->keep_alive;
		c->state = CLIENT_BODY;
	}
	k->ops->on_head(k, c->head);
}

/* Takes what it can from @input; -1: the stream is over. */
static ptrdiff_t client_feed(struct h1_client *c, struct str input)
{
	struct http_reject reject = { 0 };
	size_t at = 0, n = 0;
	struct str slice;

	c->up.answered = c->up.answered || input.n > 0;
	while (c->up.stream.sink && c->state != CLIENT_DONE) {
		struct str rest = { input.p + at, input.n - at };
		struct message_sink *k = c->up.stream.sink;
		int r;

		if (c->state == CLIENT_HEAD) {
			r = rest.n ? h1_response_parse(&c->parser, &c->asked, rest, c->head, &n, &reject) : HTTP_E_MORE;
			if (r == 0) {
				at += n;
				head_take(c);
				continue;
			}
			if (r == HTTP_E_MORE)
				return (ptrdiff_t)at;
		} else {
			r = h1_body_read(&c->body, rest, &slice, &n, &reject);
			if (r == 0) {
				at += n;
				k->ops->on_body(k, slice);
				continue;
			}
			if (r == HTTP_E_MORE)
				return (ptrdiff_t)(at + n);
			if (r == HTTP_E_END) {
				at += n;
				c->state = CLIENT_DONE;
				if (at < input.n)
					c->keep_alive = false; /* bytes that belong to nobody */
				k->ops->on_end(k, c->body.trailers, c->body.n_trailers);
				return -1;
			}
		}
		client_reset(c, r < 0 ? TRM_REASON_NO_MEMORY : TRM_REASON_HTTP_UPSTREAM_MALFORMED, r < 0 ? 503 : 502);
		return -1;
	}
	return c->up.stream.sink ? (ptrdiff_t)at : -1;
}

static void client_eof(struct h1_client *c)
{
	struct message_sink *k = c->up.stream.sink;

	if (c->state == CLIENT_BODY && h1_body_eof(&c->body) == HTTP_E_END) {
		c->keep_alive = false;
		c->state = CLIENT_DONE;
		k->ops->on_end(k, NULL, 0);
		return;
	}
	client_reset(c, TRM_REASON_UPSTREAM_CLOSED, 502);
}

/* One read and what comes of it; false: stop. */
static bool client_read(struct h1_client *c)
{
	char *dst = c->w->shared.plain;
	struct str input;
	ptrdiff_t used;
	size_t n = 0;
	int r;

	if (c->in.len > 0) {
		if (buf_reserve(&c->in, TRANSPORT_READ_BYTES) < 0) {
			client_reset(c, TRM_REASON_NO_MEMORY, 503);
			return false;
		}
		dst = buf_tail(&c->in, NULL);
	}
	r = transport_read(&c->t, dst, TRANSPORT_READ_BYTES, &n);
	if (r == TRANSPORT_E_AGAIN)
		return false;
	if (r == TRANSPORT_E_END) {
		client_eof(c);
		return false;
	}
	if (r < 0) {
		client_reset(c, c->t.reason ? c->t.reason : TRM_REASON_UPSTREAM_RESET, 502);
		return false;
	}
	if (c->in.len > 0) {
		buf_commit(&c->in, n);
		input = buf_str(&c->in);
	} else {
		input = (struct str){ dst, n };
	}
	used = client_feed(c, input);
	if (used < 0)
		return false;
	if (c->in.len > 0)
		buf_consume(&c->in, (size_t)used);
	else if ((size_t)used < input.n && buf_append(&c->in, input.p + used, input.n - (size_t)used) < 0)
		client_reset(c, TRM_REASON_NO_MEMORY, 503);
	if (c->in.len == 0)
		buf_release(&c->in);
	return c->up.stream.sink != NULL;
}

static void client_pump(struct h1_client *c)
{
	int left = READS_PER_TURN;
	struct message_sink *k;

	while (c->up.stream.sink && c->state != CLIENT_DONE && c->up.stream.sink->ops->may_read(c->up.stream.sink) &&
	       transport_may_read(&c->t)) {
		if (left-- == 0) {
			transport_poke(&c->t);
			break;
		}
		if (!client_read(c))
			break;
	}
	k = c->up.stream.sink;
	if (k && c->is_local && c->up.answered && !c->acked && !c->t.readable) {
		c->acked = true; /* a response in two writes */
		transport_ack_now(&c->t);
	}
	if (k)
		k->ops->on_batch_end(k);
}

static void client_opened(struct h1_client *c)
{
	c->up.opened = true;
	deadline_clear(&c->deadline);
}

static void client_step(struct h1_client *c)
{
	enum trm_reason reason;
	struct message_sink *k;
	uint16_t status;
	size_t n;
	char byte;
	int r;

	r = connect_step(&c->t, &c->deadline, &c->connected, &reason, &status);
	if (r == CONNECT_E_FAILED)
		client_reset(c, reason, status);
	if (r != 0)
		return;
	if (c->state == CLIENT_IDLE) {
		/* In the pool nothing may come: an end, an error, or bytes nobody asked for. */
		if (c->t.going || (transport_may_read(&c->t) && transport_read(&c->t, &byte, 1, &n) != TRANSPORT_E_AGAIN))
			client_free(c);
		return;
	}
	if (!c->up.opened)
		client_opened(c);
	if (c->blocked && !transport_is_full(&c->t)) {
		c->blocked = false;
		k = c->up.stream.sink;
		if (k)
			k->ops->on_drained(k);
	}
	client_pump(c);
}

static void client_event(struct h1_client *c)
{
	if (c->busy)
		return;
	c->busy = true;
	client_step(c);
	c->busy = false;
	if (c->dead)
		client_free(c);
}

static void on_event(struct transport *t)
{
	client_event(container_of(t, struct h1_client, t));
}

static void on_due(struct deadline *d)
{
	struct h1_client *c = container_of(d, struct h1_client, deadline);

	enum trm_reason reason = connect_due(&c->t);

	if (c->state == CLIENT_IDLE)
		client_free(c);
	else if (reason != TRM_REASON_NONE)
		client_reset(c, reason, 504);
}

/* Going out: struct message_stream_ops */

static int client_send_head(struct message_stream *s, const struct http_head *head, const struct message_send *how)
{
	struct h1_client *c = client_of(s);
	struct h1_request_options opts = { .close = how && how->close };

	c->asked = h1_asked_from(head);
	return h1_request_write(transport_out(&c->t), head, &opts, &c->out);
}

static int client_send_body(struct message_stream *s, struct str slice)
{
	struct h1_client *c = client_of(s);
	int r;

	if (c->t.write_failed)
		return 0; /* the response, or the end, tells; what is sent now is lost either way */
	if (slice.n < SEND_BYTES)
		return h1_body_write(&c->out, transport_out(&c->t), slice);
	r = h1_body_open(&c->out, transport_out(&c->t), slice.n);
	if (r == 0 && transport_send(&c->t, slice.p, slice.n) < 0 && !c->t.write_failed)
		r = -ENOBUFS;
	return r == 0 ? h1_body_close(&c->out, transport_out(&c->t)) : r;
}

static int client_send_end(struct message_stream *s, const struct http_field *trailers, size_t n_trailers)
{
	struct h1_client *c = client_of(s);
	int r = 0;

	c->request_done = true;
	if (c->out.kind == HTTP_BODY_TUNNEL)
		transport_end(&c->t);
	else if (!c->t.write_failed)
		r = h1_body_end(&c->out, transport_out(&c->t), trailers, n_trailers);
	return r > 0 ? -EPROTO : r;
}

static int client_flush(struct message_stream *s)
{
	struct h1_client *c = client_of(s);

	(void)transport_flush(&c->t); /* broken: the reading side tells, with what was answered before */
	if (c->t.write_failed)
		transport_poke(&c->t);
	return 0;
}

static bool client_is_blocked(const struct message_stream *s)
{
	struct h1_client *c = container_of(s, struct h1_client, up.stream);

	c->blocked = transport_is_full(&c->t);
	return c->blocked;
}

static void client_read_resume(struct message_stream *s)
{
	struct h1_client *c = client_of(s);

	if (transport_may_read(&c->t))
		transport_poke(&c->t);
}

static void client_tunnel(struct message_stream *s)
{
	client_of(s)->out = (struct h1_body_out){ .kind = HTTP_BODY_TUNNEL };
	client_of(s)->keep_alive = false;
}

static void client_release(struct message_stream *s, bool whole)
{
	struct h1_client *c = client_of(s);

	s->sink = NULL;
	c->head = NULL;
	c->pool = NULL;
	if (!whole || !c->keep_alive || !c->request_done || c->state != CLIENT_DONE || c->t.hangup || c->t.going || c->t.write_failed ||
	    transport_pending(&c->t) > 0 || c->dead || c->w->draining || !upstream_pool_put(&c->w->pool, &c->link)) {
		client_free(c);
		return;
	}
	buf_release(&c->in);
	c->state = CLIENT_IDLE;
	deadline_set(&c->deadline, c->link.host->key.mtls ? POOL_IDLE_MTLS_MS : POOL_IDLE_MS);
	if (transport_may_read(&c->t))
		transport_poke(&c->t);
}

static const struct message_stream_ops client_ops = {
	.send_head = client_send_head,
	.send_body = client_send_body,
	.send_end = client_send_end,
	.flush = client_flush,
	.is_blocked = client_is_blocked,
	.read_resume = client_read_resume,
	.tunnel = client_tunnel,
	.release = client_release,
};

/* Life */

static void on_pool_close(struct pool_link *l)
{
	client_free(container_of(l, struct h1_client, link));
}

static int client_dial(struct worker *w, const struct target *target, const struct pool_key *key, struct h1_client **ret,
		       enum trm_reason *ret_reason)
{
	struct h1_client *c = calloc(1, sizeof(*c));
	int r;

	*ret_reason = TRM_REASON_NO_MEMORY;
	if (!c)
		return -ENOMEM;
	c->up.stream.ops = &client_ops;
	c->link.close = on_pool_close;
	c->w = w;
	buf_init(&c->in, IN_MAX_BYTES);
	deadline_init(&c->deadline, w->loop, on_due);
	r = upstream_pool_join(&w->pool, key, &c->link);
	if (r == 0)
		r = connect_start(w, &c->t, target, key->alpn, c->link.host->spiffe_id, on_event, ret_reason);
	if (r < 0) {
		upstream_pool_leave(&w->pool, &c->link);
		free(c);
		return r;
	}
	c->is_local = target->is_local;
	deadline_set(&c->deadline, connect_timeout_ms(target));
	*ret = c;
	return 0;
}

/* The stream's life */

static struct h1_client *client_of_up(struct upstream *u)
{
	return container_of(u, struct h1_client, up);
}

static void client_begin(struct upstream *u, struct message_sink *sink, struct pool *pool, struct http_head *response)
{
	struct h1_client *c = client_of_up(u);

	u->stream.sink = sink;
	c->pool = pool;
	c->head = response;
	c->state = CLIENT_HEAD;
	u->answered = c->acked = c->request_done = c->keep_alive = c->blocked = false;
	c->sent_mark = c->t.sent_bytes;
	h1_parser_init(&c->parser, NULL);
}

/* Has the peer's kernel acknowledged no byte of it? */
static bool client_is_unseen(const struct upstream *u)
{
	const struct h1_client *c = container_of(u, const struct h1_client, up);
	uint64_t sent = c->t.sent_bytes - c->sent_mark;

	return sent == 0 || transport_unacked(&c->t) >= sent;
}

static const struct tls_peer *client_peer(const struct upstream *u)
{
	return container_of(u, const struct h1_client, up)->t.peer;
}

static const struct upstream_ops upstream_ops = {
	.begin = client_begin,
	.is_unseen = client_is_unseen,
	.peer = client_peer,
};

int h1_client_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
		   enum trm_reason *ret_reason)
{
	struct h1_client *c = NULL;
	struct pool_key key;
	struct pool_link *l;
	int r;

	pool_key_fill(&key, target, target->mtls ? TLS_ALPN_ISTIO_HTTP1 : target->tls ? TLS_ALPN_HTTP1 : TLS_ALPN_NONE);
	l = fresh ? NULL : upstream_pool_take(&w->pool, &key);
	if (l) {
		c = container_of(l, struct h1_client, link);
		c->up.reused = true;
		deadline_clear(&c->deadline);
	} else {
		r = client_dial(w, target, &key, &c, ret_reason);
		if (r < 0)
			return r;
		c->up.ops = &upstream_ops;
	}
	*ret = &c->up;
	return 0;
}
