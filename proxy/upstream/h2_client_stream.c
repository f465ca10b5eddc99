/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on an HTTP/2 connection to an endpoint: each stream the upstream half of an exchange's attempt. */
#include <errno.h>
#include "base/log.h"
#include "proxy/upstream/h2_client.h"

#define SEND_BYTES 4096 /* a slice from here on is framed at once, not kept first */

struct h2_client_stream {
	struct upstream up;
	struct h2_stream h2;
	struct h2_client *c;
	struct list link;
	bool tunnel; /* opened */
	bool acked;
};

static struct h2_client_stream *stream_of(struct message_stream *s)
{
	return container_of(s, struct h2_client_stream, up.stream);
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

	/* What began to come and was no response is not asked for again. */
	s->up.answered = s->up.answered || h2->heard;
	s->up.unprocessed = unprocessed && !s->up.answered;
	s->up.was_reset = true;
	s->up.reset_code = code;
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
	if (s->c->is_app && s->up.answered && !s->acked && !h2->recv_end)
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

/* The connection's life */

static void on_opened(struct h2_client *c)
{
	struct list *at;

	for (at = c->streams.next; at != &c->streams; at = at->next)
		list_entry(at, struct h2_client_stream, link)->up.opened = true;
}

static void lose_streams(struct h2_client *c, enum trm_reason reason, uint16_t status)
{
	while (!list_is_empty(&c->streams)) {
		struct h2_client_stream *s = list_first(&c->streams, struct h2_client_stream, link);
		struct message_sink *k = s->up.stream.sink;

		list_remove(&s->link);
		s->up.answered = s->up.answered || s->h2.heard || c->h2.faulty; /* by what is no HTTP/2 */
		if (k)
			k->ops->on_reset(k, reason, status); /* releases the stream */
	}
}

static const struct h2_client_kind requests = {
	.alpn = TLS_ALPN_ISTIO_H2,
	.settings = &h2_settings_client,
	.ops = &conn_ops,
	.on_opened = on_opened,
	.lose_streams = lose_streams,
};

/* Going out: struct message_stream_ops */

static int stream_send_head(struct message_stream *st, const struct http_head *head, const struct message_send *how)
{
	struct h2_client_stream *s = stream_of(st);
	int r = h2_stream_send_request(&s->h2, head, head->body == HTTP_BODY_NONE);

	h2_client_touch(s->c);
	return r;
}

static int stream_send_body(struct message_stream *st, struct str slice)
{
	struct h2_client_stream *s = stream_of(st);
	struct transport *t = &s->c->t;
	bool at_once = slice.n >= SEND_BYTES && t->state == TRANSPORT_OPEN && !transport_is_full(t);
	int r = h2_stream_send_body(&s->h2, slice, at_once ? transport_out(t) : NULL);

	h2_client_touch(s->c);
	return r;
}

static int stream_send_end(struct message_stream *st, const struct http_field *trailers, size_t n_trailers)
{
	struct h2_client_stream *s = stream_of(st);
	int r;

	if (s->h2.asked.upgrade.n && !s->tunnel)
		return 0; /* the request has no body, but our direction is the tunnel's */
	r = h2_stream_send_end(&s->h2, trailers, n_trailers);
	h2_client_touch(s->c);
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
	h2_client_touch(s->c);
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
	h2_client_stream_removed(c);
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

/* The stream's life */

int h2_client_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
		   enum trm_reason *ret_reason)
{
	struct h2_client_stream *s = calloc(1, sizeof(*s));
	struct h2_client *c;
	bool reused;
	int r;

	*ret_reason = TRM_REASON_NO_MEMORY;
	if (!s)
		return -ENOMEM;
	r = h2_client_get(w, target, &requests, fresh, &c, &reused, ret_reason);
	if (r < 0) {
		free(s);
		return r;
	}
	s->c = c;
	s->up.stream.ops = &stream_ops;
	s->up.ops = &upstream_ops;
	s->up.opened = c->opened;
	s->up.reused = reused;
	s->up.may_refuse = true;
	list_push_back(&c->streams, &s->link);
	h2_client_stream_added(c);
	*ret = &s->up;
	return 0;
}
