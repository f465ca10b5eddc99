/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: the user's verbs and what a stream's bytes mean
 *
 * A call is over when the user heard its end or gave it up; its stream may live on until the peer has everything. The
 * body source finds the call through the stream, so that a stream without a call can never reach freed memory.
 */
#include "base/rpc/conn.h"

#include <errno.h>
#include <stdio.h>

#define NV(n, v)                                                                                   \
	{                                                                                          \
		(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, NGHTTP2_NV_FLAG_NONE \
	}
#define NV_Z(n, v)                                                                         \
	{                                                                                  \
		(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE \
	}

/* Life */

struct rpc_call *rpc_call_new(struct rpc_conn *c)
{
	struct rpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->conn = c;
	call->stream_id = -1;
	rpc_reader_init(&call->reader, c->set.message_max_bytes);
	buf_init(&call->out, c->set.queue_max_bytes);
	buf_init(&call->single, (size_t)c->set.message_max_bytes + 1);
	list_push_back(&c->calls, &call->link);
	c->n_calls++;
	return call;
}

void rpc_call_free(struct rpc_call *call)
{
	list_remove(&call->link);
	loop_timer_cancel(&call->deadline);
	rpc_reader_done(&call->reader);
	buf_done(&call->out);
	buf_done(&call->single);
	free(call->message);
	free(call);
}

void rpc_call_bury(struct rpc_call *call)
{
	struct rpc_conn *c = call->conn;

	if (call->stream_id < 0)
		return; /* by the user, within on_end() */
	call->over = true;
	loop_timer_cancel(&call->deadline);
	(void)nghttp2_session_set_stream_user_data(c->session, call->stream_id,
						   NULL); /* fails where it is closed: right */
	call->stream_id = -1;
	list_remove(&call->link);
	list_push_back(&c->dead, &call->link);
	c->n_calls--;
}

static void call_end_unary(struct rpc_call *call, enum rpc_status status, const char *message)
{
	if (!call->on_reply)
		return;
	if (status == RPC_OK && !call->has_message) {
		status = RPC_INTERNAL;
		message = "answer without a message";
	}
	if (status == RPC_OK)
		call->on_reply(status, message, (const uint8_t *)(call->single.len ? buf_head(&call->single) : ""),
			       call->single.len, call->user);
	else
		call->on_reply(status, message, NULL, 0, call->user);
}

void rpc_call_end(struct rpc_call *call, enum rpc_status status, const char *message)
{
	if (call->over)
		return;
	call->over = true;
	loop_timer_cancel(&call->deadline);
	if (call->unary && !call->conn->server)
		call_end_unary(call, status, message);
	else if (call->ops && call->ops->on_end)
		call->ops->on_end(call, status, message, call->user);
}

static void stream_reset(struct rpc_call *call, uint32_t error_code)
{
	struct rpc_conn *c = call->conn;

	if (call->stream_id > 0 && !c->closed)
		(void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream_id, error_code);
	rpc_conn_flush_soon(c);
}

/* Ends a call from our side, for a reason found here. */
static void call_fail(struct rpc_call *call, enum rpc_status status, const char *message)
{
	rpc_call_end(call, status, message);
	if (call->conn->freed || call->stream_id < 0)
		return;
	if (call->conn->server) {
		rpc_call_finish(call, status, message);
		return;
	}
	stream_reset(call, NGHTTP2_CANCEL);
	rpc_call_bury(call);
}

struct rpc_call *rpc_call_cancel(struct rpc_call *call)
{
	struct rpc_conn *c;

	if (!call)
		return NULL;
	c = call->conn;
	rpc_conn_enter(c);
	stream_reset(call, NGHTTP2_CANCEL);
	rpc_call_bury(call);
	rpc_conn_leave(c);
	return NULL;
}

/* Sending */

static int trailers_submit(struct rpc_call *call, bool alone)
{
	char status[12];
	nghttp2_nv nv[4] = { NV(":status", "200"), NV("content-type", "application/grpc") };
	size_t n = alone ? 2 : 0;

	snprintf(status, sizeof(status), "%d", (int)call->status);
	nv[n++] = (nghttp2_nv)NV_Z("grpc-status", status);
	if (call->message)
		nv[n++] = (nghttp2_nv)NV_Z("grpc-message", call->message);
	return alone ? nghttp2_submit_response(call->conn->session, call->stream_id, nv, n, NULL)
		     : nghttp2_submit_trailer(call->conn->session, call->stream_id, nv, n);
}

static ssize_t source_read(nghttp2_session *session, int32_t stream_id, uint8_t *p, size_t n, uint32_t *flags,
			   nghttp2_data_source *source, void *user)
{
	struct rpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);

	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = MIN(n, call->out.len);
	if (n) {
		memcpy(p, buf_head(&call->out), n);
		buf_consume(&call->out, n);
	}
	if (call->out.len)
		return (ssize_t)n;
	buf_release(&call->out);
	if (call->finishing) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (trailers_submit(call, false) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	} else if (call->said_all) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	} else if (n == 0) {
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static const nghttp2_data_provider call_source = { .read_callback = source_read };

static void stream_resume(struct rpc_call *call)
{
	/* an error means that it was not waiting: then it will ask by itself */
	(void)nghttp2_session_resume_data(call->conn->session, call->stream_id);
	rpc_conn_flush_soon(call->conn);
}

static int response_begin(struct rpc_call *call)
{
	const nghttp2_nv nv[] = { NV(":status", "200"), NV("content-type", "application/grpc") };

	if (call->head_sent)
		return 0;
	if (nghttp2_submit_response(call->conn->session, call->stream_id, nv, ARRAY_SIZE(nv), &call_source) != 0)
		return -ENOMEM;
	call->head_sent = true;
	return 0;
}

static int message_queue(struct rpc_call *call, const void *p, size_t n)
{
	uint8_t prefix[RPC_PREFIX_BYTES];
	int r;

	if (n > UINT32_MAX || n + RPC_PREFIX_BYTES > call->conn->set.queue_max_bytes)
		return -EMSGSIZE;
	rpc_frame_prefix(prefix, (uint32_t)n);
	r = buf_reserve(&call->out, n + RPC_PREFIX_BYTES);
	if (r == 0)
		r = buf_append(&call->out, prefix, sizeof(prefix));
	if (r == 0)
		r = buf_append(&call->out, p, n);
	call->wants_writable |= r == -ENOBUFS;
	return r;
}

int rpc_call_send(struct rpc_call *call, const void *p, size_t n)
{
	int r;

	if (call->over || call->said_all || call->conn->closed)
		return -EPIPE;
	r = message_queue(call, p, n);
	if (r == 0 && call->conn->server)
		r = response_begin(call);
	if (r == 0)
		stream_resume(call);
	return r;
}

size_t rpc_call_queued(const struct rpc_call *call)
{
	return call->out.len;
}

void rpc_call_half_close(struct rpc_call *call)
{
	if (call->over || call->said_all)
		return;
	call->said_all = true;
	stream_resume(call);
}

void rpc_call_set_ops(struct rpc_call *call, const struct rpc_call_ops *ops, void *user)
{
	call->ops = ops;
	call->user = user;
}

void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *message)
{
	if (call->finishing || call->stream_id < 0 || call->conn->closed)
		return;
	call->over = call->finishing = true;
	call->status = status;
	if (message && *message)
		call->message = rpc_message_encode(message); /* NULL: the text is lost, the status is not */
	if (call->head_sent)
		stream_resume(call);
	else if (trailers_submit(call, true) != 0)
		stream_reset(call, NGHTTP2_INTERNAL_ERROR);
	rpc_conn_flush_soon(call->conn);
}

void rpc_call_reply(struct rpc_call *call, const void *p, size_t n)
{
	int r = rpc_call_send(call, p, n);

	if (r == 0)
		rpc_call_finish(call, RPC_OK, NULL);
	else
		rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "answer does not fit the queue");
}

/* Beginning, on a client */

static void on_deadline(struct loop_timer *timer)
{
	struct rpc_call *call = container_of(timer, struct rpc_call, deadline);
	struct rpc_conn *c = call->conn;

	rpc_conn_enter(c);
	call_fail(call, RPC_DEADLINE_EXCEEDED, "no answer in time");
	rpc_conn_leave(c);
}

static int request_submit(struct rpc_call *call, const struct rpc_target *t)
{
	const char *authority = t->authority ? t->authority : "localhost", *scheme = t->scheme ? t->scheme : "http";
	char timeout[16];
	nghttp2_nv nv[7 + RPC_METADATA_MAX] = {
		NV(":method", "POST"),         NV_Z(":scheme", scheme), NV_Z(":path", t->path),
		NV_Z(":authority", authority), NV("te", "trailers"),    NV("content-type", "application/grpc"),
	};
	size_t n = 6;
	int32_t id;

	if (t->timeout_ms) {
		snprintf(timeout, sizeof(timeout), "%um", MIN(t->timeout_ms, 99999999u));
		nv[n++] = (nghttp2_nv)NV_Z("grpc-timeout", timeout);
	}
	for (size_t i = 0; i < t->n_metadata; i++)
		nv[n++] = (nghttp2_nv)NV_Z(t->metadata[i].name, t->metadata[i].value);
	id = nghttp2_submit_request(call->conn->session, NULL, nv, n, &call_source, call);
	if (id < 0)
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	call->stream_id = id;
	return 0;
}

static int call_begin(struct rpc_conn *c, const struct rpc_target *target, struct rpc_call **ret)
{
	struct rpc_call *call;
	int r;

	if (!rpc_conn_is_usable(c) || c->server)
		return -ENOTCONN;
	if (target->n_metadata > RPC_METADATA_MAX)
		return -EINVAL;
	call = rpc_call_new(c);
	if (!call)
		return -ENOMEM;
	r = request_submit(call, target);
	if (r < 0) {
		c->n_calls--;
		rpc_call_free(call);
		return r;
	}
	if (target->timeout_ms)
		loop_timer_set(c->loop, &call->deadline, target->timeout_ms, on_deadline);
	rpc_conn_flush_soon(c);
	*ret = call;
	return 0;
}

int rpc_stream_new(struct rpc_conn *c, const struct rpc_target *target, const struct rpc_call_ops *ops, void *user,
		   struct rpc_call **ret)
{
	int r = call_begin(c, target, ret);

	if (r == 0)
		rpc_call_set_ops(*ret, ops, user);
	return r;
}

int rpc_unary(struct rpc_conn *c, const struct rpc_target *target, const void *p, size_t n,
	      void (*on_reply)(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user),
	      void *user, struct rpc_call **ret)
{
	struct rpc_call *call;
	int r = call_begin(c, target, &call);

	if (r < 0)
		return r;
	call->unary = true;
	call->on_reply = on_reply;
	call->user = user;
	r = rpc_call_send(call, p, n);
	if (r < 0) {
		rpc_call_cancel(call);
		return r;
	}
	rpc_call_half_close(call);
	*ret = call;
	return 0;
}

/* Receiving */

static bool on_whole_message(const uint8_t *p, size_t n, void *user)
{
	struct rpc_call *call = user;

	if (!call->unary) {
		if (call->ops && call->ops->on_message)
			call->ops->on_message(call, p, n, call->user);
		return !call->over;
	}
	if (call->has_message) {
		call_fail(call, RPC_INVALID_ARGUMENT, "more than one message in a unary call");
		return false;
	}
	call->has_message = true;
	if (buf_append(&call->single, p, n) < 0) {
		call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return false;
	}
	return true;
}

void rpc_call_take(struct rpc_call *call, const uint8_t *p, size_t n)
{
	int r;

	if (!call->conn->server && (call->http_status != 200 || !call->is_grpc))
		return; /* the body of an error page */
	r = rpc_reader_feed(&call->reader, p, n, on_whole_message, call);
	if (r == RPC_FRAME_E_COMPRESSED)
		call_fail(call, call->conn->server ? RPC_UNIMPLEMENTED : RPC_INTERNAL,
			  "compressed message without an encoding");
	else if (r == RPC_FRAME_E_TOO_LARGE)
		call_fail(call, RPC_RESOURCE_EXHAUSTED, "message is over the limit");
	else if (r < 0)
		call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

static void server_heard_all(struct rpc_call *call)
{
	struct buf request;

	if (!rpc_reader_is_between(&call->reader)) {
		call_fail(call, RPC_INVALID_ARGUMENT, "message is cut short");
		return;
	}
	if (!call->unary) {
		if (call->ops && call->ops->on_half_close)
			call->ops->on_half_close(call, call->user);
		return;
	}
	if (!call->has_message) {
		call_fail(call, RPC_INVALID_ARGUMENT, "no request message");
		return;
	}
	request = call->single;
	buf_init(&call->single, request.max_bytes);
	call->method->on_request(call, (const uint8_t *)(request.len ? buf_head(&request) : ""), request.len,
				 call->conn->user);
	buf_done(&request);
}

static void client_heard_all(struct rpc_call *call)
{
	bool stream_open = !call->said_all || call->out.len;
	enum rpc_status status;
	const char *message = call->message ? call->message : "";

	if (call->has_status && call->status == RPC_OK && !rpc_reader_is_between(&call->reader)) {
		status = RPC_INTERNAL;
		message = "message is cut short";
	} else if (call->has_status) {
		status = call->status;
	} else {
		status = rpc_status_of_http(call->http_status);
		message = "answer without grpc-status";
	}
	rpc_call_end(call, status, message);
	if (call->conn->freed || call->stream_id < 0)
		return;
	if (stream_open)
		stream_reset(call, NGHTTP2_CANCEL);
	rpc_call_bury(call);
}

void rpc_call_heard_all(struct rpc_call *call)
{
	call->heard_all = true;
	if (call->conn->server)
		server_heard_all(call);
	else
		client_heard_all(call);
}
