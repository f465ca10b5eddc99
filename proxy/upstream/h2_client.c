/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections to an endpoint: see h2_client.h. */
#include "proxy/upstream/h2_client.h"

#include <errno.h>
#include "base/log.h"
#include "proxy/http/h2.h"
#include "proxy/upstream/connect.h"
#include "proxy/upstream/deadline.h"
#include "proxy/upstream/pool.h"

#define READS_PER_TURN 8
#define SEND_BYTES     4096 /* a slice from here on is framed at once, not kept first */

struct h2_client {
	struct pool_link link;
	struct worker *w;
	struct transport t;
	struct deadline deadline; /* connect, handshake; then quiet, then idle */
	struct h2_conn h2;
	struct list streams; /* struct h2_client_stream */
	struct loop_task write;
	uint64_t old_at_ms;
	uint64_t heard_bytes; /* t.received_bytes at the last look */
	size_t n_streams;
	bool connected; /* until open: the handshake has begun */
	bool opened, going; /* going: no new streams */
	bool is_local;
	bool ack_wanted; /* an app's response has come in part: see transport_ack_now() */
	bool busy, dead;
};

struct h2_client_stream {
	struct upstream up;
	struct h2_stream h2;
	struct h2_client *c;
	struct list link;
	bool tunnel; /* opened */
	bool acked;
};

static const struct message_stream_ops stream_ops;
static const struct upstream_ops upstream_ops;

static void on_write(struct loop_task *task);

static struct h2_client_stream *stream_of(struct message_stream *s)
{
	return container_of(s, struct h2_client_stream, up.stream);
}

static void touch(struct h2_client *c)
{
	loop_task_defer(c->w->loop, &c->write, on_write);
}

static void client_free(struct h2_client *c)
{
	c->dead = true;
	if (c->busy)
		return; /* the frame that is at work frees it */
	upstream_pool_leave(&c->w->pool, &c->link);
	loop_task_cancel(&c->write);
	deadline_done(&c->deadline);
	h2_conn_done(&c->h2);
	transport_close(&c->t);
	free(c);
}

/* No new streams; closed once the last has ended. */
static void client_go(struct h2_client *c)
{
	c->going = true;
	upstream_pool_withdraw(&c->w->pool, &c->link);
	if (c->n_streams == 0 && !c->dead)
		client_free(c);
}

/* The connection is lost: every stream hears why. */
static void client_lost(struct h2_client *c, enum trm_reason reason, uint16_t status)
{
	bool was_busy = c->busy;

	c->busy = true;
	c->going = true;
	c->h2.over = true;
	upstream_pool_withdraw(&c->w->pool, &c->link);
	while (!list_is_empty(&c->streams)) {
		struct h2_client_stream *s = list_first(&c->streams, struct h2_client_stream, link);
		struct message_sink *k = s->up.stream.sink;

		list_remove(&s->link);
		if (k)
			k->ops->on_reset(k, reason, status); /* releases the stream */
	}
	c->busy = was_busy;
	client_free(c);
}

static void idle_arm(struct h2_client *c)
{
	deadline_set(&c->deadline, c->n_streams > 0 ? H2_PING_QUIET_MS :
				   c->is_local	    ? H2_CLIENT_LOCAL_IDLE_MS :
						      H2_CLIENT_IDLE_MS);
}

/* In the pool while there is room. */
static void room_offer(struct h2_client *c)
{
	if (c->going || c->dead || c->link.is_idle)
		return;
	if (c->h2.goaway_received || loop_now_ns(c->w->loop) / NS_PER_MS >= c->old_at_ms || c->w->draining) {
		client_go(c);
		return;
	}
	/* streams that are opened but have not sent their head yet take room, too */
	if (h2_conn_room(&c->h2) > c->n_streams - MIN(c->h2.n_streams, c->n_streams) && !upstream_pool_put(&c->w->pool, &c->link))
		client_go(c);
}

/* What comes in: struct h2_conn_ops */

static struct h2_client_stream *stream_of_h2(struct h2_stream *h2)
{
	return container_of(h2, struct h2_client_stream, h2);
}

static struct message_sink *heard(struct h2_stream *h2)
{
	struct h2_client_stream *s = stream_of_h2(h2);

	s->up.answered = true;
	return s->up.stream.sink;
}

static void on_head(struct h2_stream *h2, struct http_head *head, bool ends)
{
	struct message_sink *k = heard(h2);

	if (k)
		k->ops->on_head(k, head);
}

static void on_body(struct h2_stream *h2, struct str slice)
{
	struct message_sink *k = heard(h2);

	if (k)
		k->ops->on_body(k, slice);
}

static void on_end(struct h2_stream *h2, const struct http_field *trailers, size_t n_trailers)
{
	struct message_sink *k = heard(h2);

	if (k)
		k->ops->on_end(k, trailers, n_trailers);
}

static void on_reject(struct h2_stream *h2, const struct http_reject *reject)
{
	struct message_sink *k = heard(h2);

	log_limited(LOG_INFO, "response refused", "what=\"%s\"", reject->what ? reject->what : "");
	if (k)
		k->ops->on_reset(k, reject->reason, reject->status);
}

static void on_reset(struct h2_stream *h2, uint32_t code, bool unprocessed)
{
	struct h2_client_stream *s = stream_of_h2(h2);
	struct message_sink *k = s->up.stream.sink;

	s->up.unprocessed = unprocessed && !s->up.answered;
	if (k)
		k->ops->on_reset(k, TRM_REASON_UPSTREAM_RESET, 502);
}

static void on_drained(struct h2_stream *h2)
{
	struct h2_client_stream *s = stream_of_h2(h2);
	struct message_sink *k = s->up.stream.sink;

	if (k)
		k->ops->on_drained(k);
}

static void on_batch_end(struct h2_stream *h2)
{
	struct h2_client_stream *s = stream_of_h2(h2);
	struct message_sink *k = s->up.stream.sink;

	if (!k)
		return;
	if (s->c->is_local && s->up.answered && !s->acked && !h2->recv_end)
		s->acked = s->c->ack_wanted = true;
	if (k->ops->may_read(k))
		h2_stream_consume(h2);
	k->ops->on_batch_end(k);
}

static const struct h2_conn_ops conn_ops = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_reject = on_reject,
	.on_reset = on_reset,
	.on_drained = on_drained,
	.on_batch_end = on_batch_end,
};

/* The connection's turn */

/* false: the connection is lost. */
static bool client_read(struct h2_client *c)
{
	size_t n = 0;
	int r = transport_read(&c->t, c->w->shared.plain, TRANSPORT_READ_BYTES, &n);

	if (r == TRANSPORT_E_AGAIN)
		return true;
	if (r == TRANSPORT_E_END) {
		client_lost(c, TRM_REASON_UPSTREAM_CLOSED, 502);
		return false;
	}
	if (r < 0) {
		client_lost(c, c->t.reason ? c->t.reason : TRM_REASON_UPSTREAM_RESET, 502);
		return false;
	}
	r = h2_conn_read(&c->h2, (struct str){ c->w->shared.plain, n }, loop_now_ns(c->w->loop));
	h2_conn_dispatch(&c->h2);
	if (r == 0 || c->dead)
		return !c->dead;
	if (r < 0 || c->h2.faulty)
		log_limited(LOG_INFO, "HTTP/2 connection to an endpoint ended", "why=\"%s\"", r < 0 ? "memory is out" : c->h2.why);
	(void)!h2_conn_write(&c->h2, transport_out(&c->t), false); /* GOAWAY, if it can be said */
	(void)transport_flush(&c->t);
	client_lost(c, TRM_REASON_HTTP_UPSTREAM_MALFORMED, 502);
	return false;
}

static bool client_write(struct h2_client *c)
{
	int r;

	for (int i = 0; i < READS_PER_TURN && !c->dead; i++) {
		r = h2_conn_write(&c->h2, transport_out(&c->t), !transport_is_full(&c->t));
		if (transport_flush(&c->t) < 0 || c->t.write_failed)
			return true; /* the reading side tells */
		if (r != 0) {
			client_lost(c, r == HTTP_E_END ? TRM_REASON_UPSTREAM_CLOSED : TRM_REASON_NO_MEMORY, 502);
			return false;
		}
		if (!h2_conn_has_news(&c->h2) && (transport_is_full(&c->t) || !h2_conn_wants_write(&c->h2)))
			return true;
		h2_conn_dispatch(&c->h2);
	}
	if (!c->dead)
		touch(c);
	return !c->dead;
}

static void client_opened(struct h2_client *c)
{
	struct list *at;

	c->opened = true;
	for (at = c->streams.next; at != &c->streams; at = at->next)
		list_entry(at, struct h2_client_stream, link)->up.opened = true;
	idle_arm(c);
}

static void client_step(struct h2_client *c)
{
	enum trm_reason reason;
	uint16_t status;
	int r;

	r = connect_step(&c->t, &c->deadline, &c->connected, &reason, &status);
	if (r == CONNECT_E_FAILED)
		client_lost(c, reason, status);
	if (r != 0)
		return;
	if (!c->opened) {
		if (c->t.ssl && c->t.alpn != TLS_ALPN_ISTIO_H2) {
			client_lost(c, TRM_REASON_TLS_HANDSHAKE, 503);
			return;
		}
		client_opened(c);
		if (c->n_streams > 0)
			touch(c);
	}
	for (int i = 0; i < READS_PER_TURN && transport_may_read(&c->t); i++)
		if (!client_read(c))
			return;
	h2_conn_batch_end(&c->h2);
	if (c->dead || !client_write(c))
		return;
	if (c->ack_wanted && !c->t.readable)
		transport_ack_now(&c->t);
	c->ack_wanted = false;
	if (transport_may_read(&c->t))
		transport_poke(&c->t);
	if (c->h2.goaway_received && !c->going)
		client_go(c);
	else
		room_offer(c);
}

/* Work on @c with nobody freeing it under us. */
static void client_run(struct h2_client *c, void (*step)(struct h2_client *c))
{
	if (c->busy)
		return;
	c->busy = true;
	step(c);
	c->busy = false;
	if (c->dead || (c->going && c->n_streams == 0))
		client_free(c);
}

static void on_event(struct transport *t)
{
	client_run(container_of(t, struct h2_client, t), client_step);
}

static void write_step(struct h2_client *c)
{
	if (c->t.state != TRANSPORT_OPEN && c->opened)
		return;
	if (client_write(c))
		h2_conn_batch_end(&c->h2);
}

static void on_write(struct loop_task *task)
{
	client_run(container_of(task, struct h2_client, write), write_step);
}

/* Nothing came for a while. Applications on this machine are not asked: gRPC servers take PINGs amiss. */
static void quiet_step(struct h2_client *c)
{
	if (c->n_streams == 0) {
		client_go(c);
		return;
	}
	idle_arm(c);
	if (c->is_local || c->heard_bytes != c->t.received_bytes) {
		c->heard_bytes = c->t.received_bytes;
		return;
	}
	if (c->h2.ping_pending) {
		client_lost(c, TRM_REASON_H2_PING_TIMEOUT, 504);
		return;
	}
	(void)!h2_conn_ping(&c->h2, loop_now_ns(c->w->loop)); /* no memory: asked again next time */
	touch(c);
}

static void on_due(struct deadline *d)
{
	struct h2_client *c = container_of(d, struct h2_client, deadline);

	enum trm_reason reason = connect_due(&c->t);

	if (reason != TRM_REASON_NONE)
		client_lost(c, reason, 504);
	else
		client_run(c, quiet_step);
}

static void on_pool_close(struct pool_link *l)
{
	client_go(container_of(l, struct h2_client, link));
}

/* Going out: struct message_stream_ops */

static int stream_send_head(struct message_stream *st, const struct http_head *head, const struct message_send *how)
{
	struct h2_client_stream *s = stream_of(st);
	int r = h2_stream_send_request(&s->h2, head, head->body == HTTP_BODY_NONE);

	touch(s->c);
	return r;
}

static int stream_send_body(struct message_stream *st, struct str slice)
{
	struct h2_client_stream *s = stream_of(st);
	struct transport *t = &s->c->t;
	bool at_once = slice.n >= SEND_BYTES && t->state == TRANSPORT_OPEN && !transport_is_full(t);
	int r = h2_stream_send_body(&s->h2, slice, at_once ? transport_out(t) : NULL);

	touch(s->c);
	return r;
}

static int stream_send_end(struct message_stream *st, const struct http_field *trailers, size_t n_trailers)
{
	struct h2_client_stream *s = stream_of(st);
	int r;

	if (s->h2.asked.upgrade.n && !s->tunnel)
		return 0; /* the request has no body, but our direction is the tunnel's */
	r = h2_stream_send_end(&s->h2, trailers, n_trailers);
	touch(s->c);
	return r;
}

/* All streams' frames of this turn leave in one write, at its end. */
static int stream_flush(struct message_stream *st)
{
	return 0;
}

static bool stream_is_blocked(const struct message_stream *st)
{
	struct h2_client_stream *s = container_of(st, struct h2_client_stream, up.stream);

	return h2_stream_is_full(&s->h2);
}

static void stream_read_resume(struct message_stream *st)
{
	struct h2_client_stream *s = stream_of(st);

	if (s->h2.unconsumed == 0)
		return;
	h2_stream_consume(&s->h2);
	touch(s->c);
}

static void stream_tunnel(struct message_stream *st)
{
	stream_of(st)->tunnel = true; /* DATA is bytes already */
}

static void stream_release(struct message_stream *st, bool whole)
{
	struct h2_client_stream *s = stream_of(st);
	struct h2_client *c = s->c;

	h2_stream_done(&s->h2, whole ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
	list_remove(&s->link);
	free(s);
	c->n_streams--;
	if (c->dead || c->h2.over)
		return;
	if (c->n_streams == 0 && c->opened)
		idle_arm(c);
	touch(c); /* a reset may have to leave */
	room_offer(c);
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

static void stream_begin(struct upstream *u, struct message_sink *sink, struct pool *pool, struct http_head *response)
{
	struct h2_client_stream *s = container_of(u, struct h2_client_stream, up);

	u->stream.sink = sink;
	h2_stream_init(&s->h2, &s->c->h2, response, pool);
}

static bool stream_is_unseen(const struct upstream *u)
{
	return u->unprocessed;
}

static const struct tls_peer *stream_peer(const struct upstream *u)
{
	return container_of(u, const struct h2_client_stream, up)->c->t.peer;
}

static const struct upstream_ops upstream_ops = {
	.begin = stream_begin,
	.is_unseen = stream_is_unseen,
	.peer = stream_peer,
};

/* Life */

static int client_dial(struct worker *w, const struct target *target, const struct pool_key *key, struct h2_client **ret,
		       enum trm_reason *ret_reason)
{
	struct h2_client *c = calloc(1, sizeof(*c));
	uint64_t now_ms = loop_now_ns(w->loop) / NS_PER_MS;
	int r;

	*ret_reason = TRM_REASON_NO_MEMORY;
	if (!c)
		return -ENOMEM;
	c->w = w;
	c->link.close = on_pool_close;
	list_init(&c->streams);
	deadline_init(&c->deadline, w->loop, on_due);
	r = h2_conn_init(&c->h2, false, &h2_settings_client, &conn_ops);
	if (r == 0)
		r = upstream_pool_join(&w->pool, key, &c->link);
	if (r == 0)
		r = connect_start(w, &c->t, target, key->alpn, c->link.host->spiffe_id, on_event, ret_reason);
	if (r < 0) {
		upstream_pool_leave(&w->pool, &c->link);
		h2_conn_done(&c->h2);
		free(c);
		return r;
	}
	c->old_at_ms = now_ms + H2_CLIENT_AGE_MS - trace_random_next(&w->random) % (H2_CLIENT_AGE_MS / 5);
	c->is_local = target->is_local || !target->mtls;
	deadline_set(&c->deadline, connect_timeout_ms(target));
	*ret = c;
	return 0;
}

static int stream_new(struct h2_client *c, struct upstream **ret)
{
	struct h2_client_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->c = c;
	s->up.stream.ops = &stream_ops;
	s->up.ops = &upstream_ops;
	s->up.opened = c->opened;
	s->up.may_refuse = true;
	list_push_back(&c->streams, &s->link);
	c->n_streams++;
	if (c->opened && c->n_streams == 1)
		idle_arm(c);
	*ret = &s->up;
	return 0;
}

int h2_client_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
		   enum trm_reason *ret_reason)
{
	struct h2_client *c = NULL;
	struct pool_key key;
	struct pool_link *l;
	bool reused;
	int r;

	pool_key_fill(&key, target, TLS_ALPN_ISTIO_H2);
	l = fresh ? NULL : upstream_pool_take(&w->pool, &key);
	reused = l != NULL;
	if (l) {
		c = container_of(l, struct h2_client, link);
	} else {
		r = client_dial(w, target, &key, &c, ret_reason);
		if (r < 0)
			return r;
	}
	r = stream_new(c, ret);
	if (r < 0) {
		*ret_reason = TRM_REASON_NO_MEMORY;
		client_go(c);
		return r;
	}
	(*ret)->reused = reused && c->opened;
	room_offer(c);
	return 0;
}
