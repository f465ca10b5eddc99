/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchange: see exchange.h
 *
 * This file: the way of the bytes, in the order in which things happen: request head, body, end; response head, body,
 * end. Choosing and repeating attempts is in attempt.c, what we answer ourselves in reply.c.
 */
#include "proxy/upstream/exchange.h"

#include <errno.h>
#include "base/clock.h"
#include "proxy/http/xfcc.h"
#include "proxy/upstream/attempt.h"
#include "proxy/upstream/connect.h"
#include "proxy/upstream/record.h"

#define DEADLINE_NEAR_NS (2 * NS_PER_MS)

static const struct message_sink_ops down_ops, up_ops;

struct exchange *exchange_new(struct worker *w, struct conn *conn, struct message_stream *down, const struct tls_peer *peer)
{
	struct exchange *x = w->exchanges_free;
	struct pool pool;

	if (x) {
		w->exchanges_free = x->next_free;
		w->n_exchanges_free--;
		pool = x->pool;
		pool_reset(&pool);
	} else {
		x = malloc(sizeof(*x));
		if (!x)
			return NULL;
		pool_init(&pool, EXCHANGE_POOL_BYTES);
	}
	/* not the field arrays: they are written before they are read */
	memset(x, 0, offsetof(struct exchange, req_fields));
	x->pool = pool;
	x->w = w;
	x->conn = conn;
	x->down = down;
	x->peer = peer;
	x->down_sink.ops = &down_ops;
	x->up_sink.ops = &up_ops;
	x->grpc_status = x->grpc_reset_status = GRPC_STATUS_NONE;
	x->req.fields = x->req_fields;
	x->req.cap_fields = ARRAY_SIZE(x->req_fields);
	x->resp.fields = x->resp_fields;
	x->resp.cap_fields = ARRAY_SIZE(x->resp_fields);
	buf_init(&x->replay, EXCHANGE_REPLAY_BYTES);
	x->started_ns = x->progress_ns = loop_now_ns(w->loop);
	return x;
}

void exchange_free(struct exchange *x)
{
	struct worker *w = x->w;

	subscriber_wait_cancel(&x->wait);
	x->snap = snapshot_unref(x->snap);
	buf_done(&x->replay);
	if (w->n_exchanges_free >= WORKER_EXCHANGES_KEPT) {
		pool_done(&x->pool);
		free(x);
		return;
	}
	x->next_free = w->exchanges_free;
	w->exchanges_free = x;
	w->n_exchanges_free++;
}

void exchange_list_free(struct worker *w)
{
	while (w->exchanges_free) {
		struct exchange *x = w->exchanges_free;

		w->exchanges_free = x->next_free;
		pool_done(&x->pool);
		free(x);
	}
	w->n_exchanges_free = 0;
}

/* The end */

static void exchange_record(struct exchange *x)
{
	const struct tls_peer *peer = x->conn->direction == OBSERVE_INBOUND ? x->peer : x->up ? x->up->ops->peer(x->up) : NULL;
	const struct http_field *ua = http_head_find(&x->req, HTTP_FIELD_USER_AGENT);
	uint64_t now = loop_now_ns(x->w->loop);
	struct observe_record rec;

	record_fill(&rec, x->w, x->conn, x->snap, x->n_attempts ? &x->target : NULL, peer);
	rec.started_wall_ns = worker_wall_ns(x->w) - (now - x->started_ns);
	rec.duration_ns = now - x->started_ns;
	rec.bytes_in = x->bytes_in;
	rec.bytes_out = x->bytes_out;
	rec.reason = x->reason;
	rec.method = x->req.method;
	rec.path = x->req.path.n ? x->req.path : x->req.target;
	rec.authority = x->req.authority;
	rec.user_agent = ua ? ua->value : STR("");
	rec.request_id = x->trace.request_id;
	rec.trace_id = x->trace.trace_id;
	rec.status = x->status;
	rec.protocol = x->req.version == HTTP_2 ? "HTTP/2" : x->req.version == HTTP_1_0 ? "HTTP/1.0" : "HTTP/1.1";
	rec.upstream_ns = x->first_byte_ns && x->sent_ns ? x->first_byte_ns - x->sent_ns : 0;
	rec.local_reply = x->local_reply;
	rec.is_grpc = x->is_grpc;
	rec.grpc_status = x->grpc_status;
	if (x->is_grpc && x->grpc_status == GRPC_STATUS_NONE && x->status)
		rec.grpc_status = (int16_t)grpc_status_of_http(x->status); /* as its client sees it */
	rec.messages_in = x->frames_in.n_messages;
	rec.messages_out = x->frames_out.n_messages;
	observe_http_end(x->w->observe, &rec);
}

void exchange_finish(struct exchange *x, bool down_whole)
{
	struct message_stream *down = TAKE_PTR(x->down);
	struct upstream *up;

	(void)down->ops->flush(down); /* broken: release() sees it too */
	exchange_record(x);
	if (x->conn->direction == OBSERVE_OUTBOUND)
		x->conn->peer_spiffe_id = "";
	up = TAKE_PTR(x->up);
	if (up)
		up->stream.ops->release(&up->stream, x->req_done && x->resp_done);
	down->ops->release(down, down_whole);
	exchange_free(x);
}

void exchange_abort(struct exchange *x, enum trm_reason reason)
{
	if (x->reason == TRM_REASON_NONE)
		x->reason = reason;
	exchange_finish(x, false);
}

/* Request */

/* Our own fields: trace, request id, who called. */
static int request_dress(struct exchange *x)
{
	int r = trace_apply(&x->req, &x->pool, &x->w->random, &x->trace);
	struct xfcc cert;

	if (r < 0)
		return r;
	http_head_remove(&x->req, HTTP_FIELD_X_TRAMMEL_REASON);
	if (x->conn->direction == OBSERVE_INBOUND && x->peer) {
		cert = (struct xfcc){ .by = str_from(snapshot_self(x->snap)->spiffe_id), .hash = x->peer->hash,
				      .subject = str_from(x->peer->subject), .uri = str_from(x->peer->spiffe_id) };
		return xfcc_set(&x->req, &cert, &x->pool);
	}
	return xfcc_set(&x->req, NULL, &x->pool);
}

/* How long the caller waits. What cannot be read is passed on for the server to judge. */
static void deadline_take(struct exchange *x)
{
	const struct http_field *f = http_head_find(&x->req, HTTP_FIELD_GRPC_TIMEOUT);
	uint64_t ns;

	if (f && grpc_timeout_parse(f->value, &ns) == 0)
		x->deadline_ns = x->started_ns + MIN(ns, (uint64_t)INT64_MAX / 2);
}

static void on_request_head(struct message_sink *k, struct http_head *head)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);
	char text[ADDR_TEXT_BYTES];

	x->started = true;
	x->snap = snapshot_ref(x->w->snapshot);
	/* a caller that announces no body is done: it may be answered without closing */
	x->req_done = head->body == HTTP_BODY_NONE;
	if (head->is_connect) {
		exchange_refuse(x, 405, TRM_REASON_HTTP_METHOD);
		return;
	}
	if (head->authority.n == 0) { /* HTTP/1.0 without Host */
		head->authority = pool_str_dup(&x->pool, str_from(addr_format(&x->conn->orig_dst, text)));
		if (!head->authority.p) {
			exchange_reply(x, 503, TRM_REASON_NO_MEMORY);
			return;
		}
	}
	x->is_grpc = grpc_is_call(head);
	if (x->is_grpc)
		deadline_take(x);
	if (request_dress(x) < 0) {
		exchange_reply(x, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE);
		return;
	}
	attempt_route(x);
}

static void on_request_body(struct message_sink *k, struct str slice)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);
	int r = 0;

	x->bytes_in += slice.n;
	x->progress_ns = loop_now_ns(x->w->loop);
	if (x->is_grpc)
		grpc_frames_add(&x->frames_in, slice);
	if (attempt_keeps_body(x)) {
		if (buf_append(&x->replay, slice.p, slice.n) < 0) {
			x->replay_lost = true;
			if (!x->up) { /* nowhere to put it: may_read() said no, but the bytes came with the head */
				exchange_reply(x, 503, TRM_REASON_NO_MEMORY);
				return;
			}
			buf_release(&x->replay);
		}
	}
	if (!x->up)
		return;
	r = x->up->stream.ops->send_body(&x->up->stream, slice);
	x->up_dirty = true;
	if (r < 0)
		exchange_abort(x, TRM_REASON_NO_MEMORY);
}

static void on_request_end(struct message_sink *k, const struct http_field *trailers, size_t n_trailers)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);

	x->progress_ns = loop_now_ns(x->w->loop);
	if (x->req_done && !x->tunnel)
		return; /* told with the head */
	x->req_done = true;
	x->req_trailers = trailers;
	x->n_req_trailers = n_trailers;
	if (!x->up)
		return;
	x->up_dirty = true;
	if (x->up->stream.ops->send_end(&x->up->stream, trailers, n_trailers) < 0) {
		exchange_abort(x, TRM_REASON_INTERNAL);
		return;
	}
	if (x->tunnel && x->resp_done)
		exchange_finish(x, false);
}

static void on_request_reset(struct message_sink *k, enum trm_reason reason, uint16_t status)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);

	if (status && !x->resp_begun) {
		exchange_refuse(x, status, reason);
		return;
	}
	exchange_abort(x, reason);
}

static void on_down_drained(struct message_sink *k)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);

	x->progress_ns = loop_now_ns(x->w->loop);
	if (x->up)
		x->up->stream.ops->read_resume(&x->up->stream);
}

static void on_down_batch_end(struct message_sink *k)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);

	if (x->up && x->up_dirty) {
		x->up_dirty = false;
		if (!x->sent_ns)
			x->sent_ns = loop_now_ns(x->w->loop);
		(void)x->up->stream.ops->flush(&x->up->stream);
	}
}

static bool down_may_read(struct message_sink *k)
{
	struct exchange *x = container_of(k, struct exchange, down_sink);

	return x->up && !x->up->stream.ops->is_blocked(&x->up->stream);
}

static const struct message_sink_ops down_ops = {
	.on_head = on_request_head,
	.on_body = on_request_body,
	.on_end = on_request_end,
	.on_reset = on_request_reset,
	.on_drained = on_down_drained,
	.on_batch_end = on_down_batch_end,
	.may_read = down_may_read,
};

/* Response */

static void on_response_head(struct message_sink *k, struct http_head *head)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);
	/* A final answer to a request that is still coming in: this connection cannot be kept in step. */
	struct message_send how = { .close = head->status >= 200 && (!x->req_done || x->w->draining) };
	const struct tls_peer *peer;

	x->progress_ns = loop_now_ns(x->w->loop);
	x->down_dirty = true;
	if (x->down->ops->send_head(x->down, head, &how) < 0) {
		x->reason = TRM_REASON_HTTP_UPSTREAM_MALFORMED;
		if (x->resp_begun)
			exchange_abort(x, x->reason);
		else
			exchange_reply(x, 502, x->reason);
		return;
	}
	if (head->status < 200 && head->status != 101)
		return;
	x->resp_begun = true;
	x->reason = TRM_REASON_NONE; /* of an attempt before this one */
	x->status = head->status;
	x->first_byte_ns = x->progress_ns;
	if (x->is_grpc && head->body == HTTP_BODY_NONE)
		x->grpc_status = (int8_t)grpc_status_find(head->fields, head->n_fields);
	peer = x->conn->direction == OBSERVE_OUTBOUND ? x->up->ops->peer(x->up) : NULL;
	if (peer)
		x->conn->peer_spiffe_id = peer->spiffe_id; /* until the connection is let go */
	buf_release(&x->replay);
	if (head->body == HTTP_BODY_TUNNEL) {
		x->tunnel = true;
		x->req_done = false; /* the caller's direction is open anew */
		x->up->stream.ops->tunnel(&x->up->stream);
		x->down->ops->tunnel(x->down);
	}
}

static void on_response_body(struct message_sink *k, struct str slice)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);

	x->bytes_out += slice.n;
	x->progress_ns = loop_now_ns(x->w->loop);
	if (x->is_grpc)
		grpc_frames_add(&x->frames_out, slice);
	x->down_dirty = true;
	if (x->down->ops->send_body(x->down, slice) < 0)
		exchange_abort(x, TRM_REASON_DOWNSTREAM_RESET);
}

static void on_response_end(struct message_sink *k, const struct http_field *trailers, size_t n_trailers)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);

	x->resp_done = true;
	if (x->is_grpc && x->grpc_status == GRPC_STATUS_NONE)
		x->grpc_status = (int8_t)grpc_status_find(trailers, n_trailers);
	if (x->down->ops->send_end(x->down, trailers, n_trailers) < 0) {
		exchange_abort(x, TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	x->down_dirty = true;
	if (!x->tunnel || x->req_done)
		exchange_finish(x, x->req_done && !x->tunnel);
}

static void on_response_reset(struct message_sink *k, enum trm_reason reason, uint16_t status)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);

	if (x->up->was_reset)
		x->grpc_reset_status = (int8_t)grpc_status_of_reset(x->up->reset_code);
	if (x->deadline_ns && loop_now_ns(x->w->loop) + DEADLINE_NEAR_NS >= x->deadline_ns) {
		reason = TRM_REASON_GRPC_DEADLINE; /* it waits no longer than the caller, and its clock was first */
		status = 504;
	}
	if (x->resp_begun)
		exchange_cut(x, reason);
	else
		attempt_failed(x, reason, status);
}

static void on_up_drained(struct message_sink *k)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);

	attempt_opened(x);
	x->progress_ns = loop_now_ns(x->w->loop);
	x->down->ops->read_resume(x->down);
}

static void on_up_batch_end(struct message_sink *k)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);

	if (x->down_dirty) {
		x->down_dirty = false;
		if (x->down->ops->flush(x->down) < 0)
			exchange_abort(x, TRM_REASON_DOWNSTREAM_RESET);
	}
}

static bool up_may_read(struct message_sink *k)
{
	struct exchange *x = container_of(k, struct exchange, up_sink);

	return !x->down->ops->is_blocked(x->down);
}

static const struct message_sink_ops up_ops = {
	.on_head = on_response_head,
	.on_body = on_response_body,
	.on_end = on_response_end,
	.on_reset = on_response_reset,
	.on_drained = on_up_drained,
	.on_batch_end = on_up_batch_end,
	.may_read = up_may_read,
};

/* Time */

uint64_t exchange_due(struct exchange *x, uint64_t now_ns)
{
	uint64_t idle_ns = now_ns - x->progress_ns, next;
	bool body_due = x->started && !x->req_done && !x->tunnel && !x->resp_begun && down_may_read(&x->down_sink);

	if (x->deadline_ns && now_ns >= x->deadline_ns) {
		if (x->resp_begun || !x->started)
			exchange_cut(x, TRM_REASON_GRPC_DEADLINE);
		else
			exchange_reply(x, 504, TRM_REASON_GRPC_DEADLINE);
		return 0;
	}
	if (body_due && idle_ns >= EXCHANGE_BODY_MS * NS_PER_MS) {
		exchange_refuse(x, 408, TRM_REASON_HTTP_BODY_TIMEOUT);
		return 0;
	}
	if (idle_ns >= EXCHANGE_IDLE_MS * NS_PER_MS) {
		if (x->resp_begun || !x->started)
			exchange_cut(x, TRM_REASON_IDLE_TIMEOUT);
		else
			exchange_reply(x, 504, TRM_REASON_HTTP_REQUEST_TIMEOUT);
		return 0;
	}
	next = body_due ? x->progress_ns + EXCHANGE_BODY_MS * NS_PER_MS :
			  MIN(x->progress_ns + EXCHANGE_IDLE_MS * NS_PER_MS, now_ns + EXCHANGE_BODY_MS * NS_PER_MS);
	return x->deadline_ns ? MIN(next, x->deadline_ns) : next;
}
