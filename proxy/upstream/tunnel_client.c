/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels to endpoints: see tunnel_client.h. */
#include "proxy/upstream/tunnel_client.h"

#include <errno.h>
#include "proxy/http/trace.h"
#include "proxy/tunnel/baggage.h"
#include "proxy/tunnel/forwarded.h"
#include "proxy/tunnel/request.h"
#include "proxy/tunnel/stream.h"
#include "proxy/upstream/h2_client.h"
#include "trammel/abi.h"

#define PLACES_MAX    3  /* connections that one tunnel is asked for on */
#define TEXTS_MAX_BYTES (128 * 1024) /* of our request and the answer, its cookies joined */

struct tunnel_client_stream {
	struct tunnel_stream ts;
	struct worker *w;
	struct h2_client *c; /* NULL: none yet, or no more */
	struct list link;    /* in c->streams */
	struct deadline orphan;
	struct addr addr; /* of the endpoint, with the app's port */
	char *spiffe_id;
	struct pool pool; /* of our request's texts, and the answer's */
	struct str authority, forwarded, baggage, traceparent;
	struct http_head answer;
	struct http_field answer_fields[HTTP_FIELDS_CAP];
	uint8_t n_places;
	bool reused;	/* its connection stood already */
	bool sent, opened;
	bool refused;	/* the stream was reset unprocessed */
};

static const struct h2_client_kind tunnels;

static struct tunnel_client_stream *stream_of(struct tunnel_stream *ts)
{
	return container_of(ts, struct tunnel_client_stream, ts);
}

static struct tunnel_client_stream *stream_of_h2(struct h2_stream *h2)
{
	return container_of(h2, struct tunnel_client_stream, ts.h2);
}

static void stream_free(struct tunnel_client_stream *st)
{
	tunnel_stream_done(&st->ts);
	deadline_done(&st->orphan);
	pool_done(&st->pool);
	free(st->spiffe_id);
	free(st);
}

/* It is none of its connection's any more, which may be freed. */
static void stream_leave(struct tunnel_client_stream *st)
{
	struct h2_client *c = TAKE_PTR(st->c);

	if (!c)
		return;
	tunnel_stream_let_go(&st->ts);
	list_remove(&st->link);
	h2_client_stream_removed(c);
}

static void stream_fail(struct tunnel_client_stream *st, enum trm_reason reason)
{
	stream_leave(st);
	transport_carrier_failed(&st->ts.carrier, -ECONNREFUSED, reason);
}

/* Asking */

static int request_send(struct tunnel_client_stream *st)
{
	struct http_field f[] = {
		{ .id = HTTP_FIELD_OTHER, .name = STR("baggage"), .value = st->baggage },
		{ .id = HTTP_FIELD_OTHER, .name = STR("forwarded"), .value = st->forwarded },
		{ .id = HTTP_FIELD_TRACEPARENT, .name = STR("traceparent"), .value = st->traceparent },
	};
	struct http_head head = { .method = STR("CONNECT"), .is_connect = true, .authority = st->authority, .target = st->authority,
				  .version = HTTP_2, .fields = f, .n_fields = ARRAY_SIZE(f), .cap_fields = ARRAY_SIZE(f),
				  .body = HTTP_BODY_NONE };
	int r;

	st->answer = (struct http_head){ .fields = st->answer_fields, .cap_fields = HTTP_FIELDS_CAP };
	h2_stream_init(&st->ts.h2, &st->c->h2, &st->answer, &st->pool);
	r = h2_stream_send_request(&st->ts.h2, &head, false);
	st->sent = r == 0;
	h2_client_touch(st->c);
	return r;
}

/* On a connection from the pool, or a new one. Not from within a call about the stream's own last connection's streams. */
static int stream_place(struct tunnel_client_stream *st, enum trm_reason *ret_reason)
{
	struct target to = { .addr = st->addr, .mtls = true, .spiffe_id = st->spiffe_id };
	struct h2_client *c;
	int r;

	to.addr.port = TRM_PORT_HBONE;
	st->sent = false;
	r = h2_client_get(st->w, &to, &tunnels, false, &c, &st->reused, ret_reason);
	if (r == 0 && c->settled && h2_conn_room(&c->h2) == 0) /* it is back in the pool when one of its streams has ended */
		r = h2_client_get(st->w, &to, &tunnels, true, &c, &st->reused, ret_reason);
	if (r < 0)
		return r;
	st->c = c;
	list_push_back(&c->streams, &st->link);
	if (c->settled)
		r = request_send(st);
	h2_client_stream_added(c);
	if (r < 0) {
		*ret_reason = TRM_REASON_NO_MEMORY;
		stream_leave(st);
	}
	return r;
}

/* Its connection came to nothing, or refused it: once more, where that may help. */
static void stream_replace(struct tunnel_client_stream *st, bool may_help, enum trm_reason reason)
{
	stream_leave(st);
	if (!may_help || ++st->n_places >= PLACES_MAX || stream_place(st, &reason) < 0)
		stream_fail(st, reason);
}

/* The peer's bound is known: what is above it goes elsewhere. */
static void on_settled(struct h2_client *c)
{
	struct tunnel_client_stream *st, *tmp;
	struct list above;

	list_init(&above);
	list_for_each_entry_safe(st, tmp, &c->streams, link) {
		if (st->sent)
			continue;
		if (h2_conn_room(&c->h2) > 0) {
			if (request_send(st) < 0)
				stream_fail(st, TRM_REASON_NO_MEMORY);
			continue;
		}
		upstream_pool_withdraw(&st->w->pool, &c->link); /* where others would find it, too */
		stream_leave(st);
		list_push_back(&above, &st->link);
	}
	while ((st = list_first(&above, struct tunnel_client_stream, link))) {
		enum trm_reason reason = TRM_REASON_TUNNEL_REFUSED;

		list_remove(&st->link);
		/* a peer that takes no stream at all would be dialled for ever */
		if (c->h2.n_streams == 0 || stream_place(st, &reason) < 0)
			stream_fail(st, reason);
	}
}

/* What the codec tells: struct h2_conn_ops */

static void on_head(struct h2_stream *h2, struct http_head *head, bool ends)
{
	struct tunnel_client_stream *st = stream_of_h2(h2);
	enum trm_reason reason;

	if (head->status < 200)
		return;
	reason = tunnel_reason((uint16_t)head->status);
	if (reason != TRM_REASON_NONE) {
		stream_fail(st, reason);
		return;
	}
	st->opened = true;
	h2->is_tunnel = true;
	transport_carrier_opened(&st->ts.carrier, st->c->t.peer);
	if (st->c->going)
		transport_carrier_ready(&st->ts.carrier, TRANSPORT_GOING);
}

static void on_body(struct h2_stream *h2, struct str slice)
{
	tunnel_stream_on_body(&stream_of_h2(h2)->ts, slice);
}

static void on_end(struct h2_stream *h2, const struct http_field *trailers, size_t n_trailers)
{
	tunnel_stream_on_end(&stream_of_h2(h2)->ts);
}

static void on_reject(struct h2_stream *h2, const struct http_reject *reject)
{
	struct tunnel_client_stream *st = stream_of_h2(h2);

	if (!st->opened) {
		stream_fail(st, TRM_REASON_HTTP_UPSTREAM_MALFORMED);
		return;
	}
	tunnel_stream_on_reset(&st->ts, NGHTTP2_PROTOCOL_ERROR); /* the codec resets it with the same */
	stream_leave(st);
	if (!st->ts.carrier.t)
		stream_free(st);
}

static void on_reset(struct h2_stream *h2, uint32_t code, bool unprocessed)
{
	struct tunnel_client_stream *st = stream_of_h2(h2);

	st->refused = unprocessed;
	if (st->opened)
		tunnel_stream_on_reset(&st->ts, code);
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
	struct tunnel_client_stream *st = stream_of_h2(h2);
	struct h2_client *c = st->c;

	if (st->opened) {
		stream_leave(st);
		if (!st->ts.carrier.t)
			stream_free(st);
		return;
	}
	if (st->refused) /* by GOAWAY, or alone: whoever is refused with it waits on one new connection, too */
		h2_client_go(c);
	stream_replace(st, st->refused, TRM_REASON_TUNNEL_REFUSED);
}

static const struct h2_conn_ops conn_ops = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_reject = on_reject,
	.on_reset = on_reset,
	.on_drained = on_drained,
	.on_batch_end = on_batch_end,
	.on_close = on_close,
};

static void on_going(struct h2_client *c)
{
	struct tunnel_client_stream *st;

	list_for_each_entry(st, &c->streams, link)
		if (st->opened) /* others hear it when they are, if they still stand on this connection then */
			transport_carrier_ready(&st->ts.carrier, TRANSPORT_GOING);
}

static void lose_streams(struct h2_client *c, enum trm_reason reason, uint16_t status)
{
	struct tunnel_client_stream *st;
	struct list all;

	list_init(&all);
	while ((st = list_first(&c->streams, struct tunnel_client_stream, link))) {
		list_remove(&st->link);
		list_push_back(&all, &st->link);
	}
	while ((st = list_first(&all, struct tunnel_client_stream, link))) {
		list_remove(&st->link);
		st->c = NULL;
		if (st->opened)
			tunnel_stream_lose(&st->ts, -ECONNRESET);
		else if (st->ts.h2.c)
			h2_stream_done(&st->ts.h2, NGHTTP2_CANCEL);
		st->ts.h2.c = NULL;
		if (!st->ts.carrier.t)
			stream_free(st);
		else if (!st->opened)
			stream_replace(st, st->reused, reason);
	}
}

static const struct h2_settings settings = {
	.stream_window = TUNNEL_STREAM_WINDOW,
	.conn_window = TUNNEL_CONN_WINDOW,
	.stalls_alone = true,
};

static const struct h2_client_kind tunnels = {
	.alpn = TLS_ALPN_H2,
	.settings = &settings,
	.ops = &conn_ops,
	.on_settled = on_settled,
	.on_going = on_going,
	.lose_streams = lose_streams,
};

/* What the transport asks for: struct tunnel_stream_ops */

static void stream_touch(struct tunnel_stream *ts)
{
	h2_client_touch(stream_of(ts)->c);
}

static struct buf *stream_out(struct tunnel_stream *ts)
{
	struct transport *t = &stream_of(ts)->c->t;

	return t->state == TRANSPORT_OPEN && !transport_is_full(t) ? transport_out(t) : NULL;
}

static void stream_let_go(struct tunnel_stream *ts, bool reset)
{
	struct tunnel_client_stream *st = stream_of(ts);

	if (st->opened && tunnel_stream_part(ts, reset)) {
		deadline_set(&st->orphan, TUNNEL_ORPHAN_MS);
		return;
	}
	stream_leave(st);
	stream_free(st);
}

static void on_orphan_due(struct deadline *d)
{
	struct tunnel_client_stream *st = container_of(d, struct tunnel_client_stream, orphan);

	if (tunnel_stream_waits(&st->ts)) {
		deadline_set(d, TUNNEL_ORPHAN_MS);
		return;
	}
	stream_leave(st);
	stream_free(st);
}

static const struct tunnel_stream_ops stream_ops = { .touch = stream_touch, .out = stream_out, .let_go = stream_let_go };

/* Life */

/* What the app's own address is towards @to: towards us it is loopback's. */
static struct addr own_address(const struct self *self, const struct addr *to, uint16_t port)
{
	struct addr own = { 0 };

	for (size_t i = 0; i < self->n_addresses; i++)
		if (addr_is_v4(&self->addresses[i]) == addr_is_v4(to))
			own = self->addresses[i];
	own.port = port;
	return own;
}

static int texts_make(struct tunnel_client_stream *st, const struct target *target)
{
	const struct self *self = snapshot_self(st->w->snapshot);
	struct forwarded f = { .client = own_address(self, &st->addr, target->caller.port), .host = str_from(target->service ? target->service->hostname : "") };
	struct baggage b = { .namespace = str_from(self->namespace), .workload = str_from(self->name), .kind = BAGGAGE_POD };
	char text[ADDR_TEXT_BYTES];
	int r;

	st->authority = pool_str_dup(&st->pool, str_from(addr_format(&st->addr, text)));
	st->traceparent = target->traceparent.n ? pool_str_dup(&st->pool, target->traceparent) :
						  trace_parent_new(&st->w->random, &st->pool);
	if (!st->authority.p || !st->traceparent.p)
		return -ENOMEM;
	r = forwarded_format(&f, &st->pool, &st->forwarded);
	return r == 0 ? baggage_format(&b, &st->pool, &st->baggage) : r;
}

int tunnel_client_connect(struct worker *w, struct transport *t, const struct target *target,
			  void (*on_event)(struct transport *t), enum trm_reason *ret_reason)
{
	struct tunnel_client_stream *st = calloc(1, sizeof(*st));
	int r = -ENOMEM;

	*ret_reason = TRM_REASON_NO_MEMORY;
	if (!st)
		return r;
	tunnel_stream_init(&st->ts, &stream_ops);
	st->w = w;
	st->addr = target->addr;
	deadline_init(&st->orphan, w->loop, on_orphan_due);
	pool_init(&st->pool, TEXTS_MAX_BYTES);
	st->spiffe_id = str_dup(str_from(target->spiffe_id));
	if (st->spiffe_id)
		r = texts_make(st, target);
	if (r == 0)
		r = stream_place(st, ret_reason);
	if (r < 0) {
		stream_free(st);
		return r;
	}
	transport_attach(t, &w->shared, &st->ts.carrier, on_event);
	*ret_reason = TRM_REASON_NONE;
	return 0;
}
