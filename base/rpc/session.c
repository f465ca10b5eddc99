/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/2 session's callbacks: frames and fields -> calls
 *
 * In the order they fire for one stream: on_begin_headers, on_header, on_frame (head), on_data_chunk, on_frame (end),
 * on_stream_close. A stream whose call is gone has no user pointer: everything that still comes for it is passed over.
 */
#include "base/rpc/conn.h"

#include <errno.h>

#define HEAD_MAX_BYTES 16384

static struct rpc_call *call_of_stream(nghttp2_session *session, int32_t stream_id)
{
	return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct rpc_conn *c = user;
	struct rpc_call *call = NULL;

	if (!c->server || frame->headers.cat != NGHTTP2_HCAT_REQUEST || c->closed)
		return 0;
	if (!c->draining && c->n_calls < c->set.calls_max)
		call = rpc_call_new(c);
	if (!call)
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
						 NGHTTP2_REFUSED_STREAM);
	call->stream_id = frame->hd.stream_id;
	return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static void request_field(struct rpc_call *call, struct str name, struct str value)
{
	struct rpc_conn *c = call->conn;

	if (str_eq(name, STR(":path"))) {
		for (size_t i = 0; i < c->n_methods; i++)
			if (str_eq_c(value, c->methods[i].path))
				call->method = &c->methods[i];
	} else if (str_eq(name, STR(":method"))) {
		call->is_post = str_eq(value, STR("POST"));
	}
}

static void response_field(struct rpc_call *call, struct str name, struct str value)
{
	uint64_t v;

	if (str_eq(name, STR(":status"))) {
		call->http_status = str_parse_u64(value, 999, &v) < 0 ? 0 : (int)v;
	} else if (str_eq(name, STR("grpc-status"))) {
		call->status = rpc_status_of_text(value);
		call->has_status = true;
	} else if (str_eq(name, STR("grpc-message")) && !call->message) {
		call->message = rpc_message_decode(value); /* NULL: the text is lost, the status is not */
	}
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
		     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	struct rpc_call *call = call_of_stream(session, frame->hd.stream_id);
	struct str n = { (const char *)name, name_n }, v = { (const char *)value, value_n };

	if (!call || call->over)
		return 0;
	call->head_bytes += (uint32_t)(name_n + value_n + 32);
	if (call->head_bytes > HEAD_MAX_BYTES)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (str_eq(n, STR("content-type"))) {
		const struct str type = STR("application/grpc");

		call->is_grpc = str_starts(v, type) && (v.n == type.n || v.p[type.n] == '+' || v.p[type.n] == ';');
	}
	if (call->conn->server)
		request_field(call, n, v);
	else
		response_field(call, n, v);
	return 0;
}

/* A request that is no gRPC gets an HTTP answer; an unknown method gets a gRPC one. */
static void on_request_head(struct rpc_call *call)
{
	const char *http_status = !call->is_post ? "405" : !call->is_grpc ? "415" : NULL;

	if (http_status) {
		nghttp2_nv nv = { (uint8_t *)":status", (uint8_t *)http_status, 7, 3, NGHTTP2_NV_FLAG_NONE };

		call->over = true;
		if (nghttp2_submit_response(call->conn->session, call->stream_id, &nv, 1, NULL) < 0)
			(void)nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream_id,
							NGHTTP2_INTERNAL_ERROR);
		return;
	}
	if (!call->method) {
		rpc_call_finish(call, RPC_UNIMPLEMENTED, "unknown method");
		return;
	}
	call->unary = call->method->on_request != NULL;
	if (call->unary)
		return;
	call->method->on_stream(call, call->conn->user);
	if (!call->over && !call->ops)
		rpc_call_finish(call, RPC_UNIMPLEMENTED, "method is not served");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct rpc_conn *c = user;
	struct rpc_call *call;

	if (frame->hd.type == NGHTTP2_GOAWAY) {
		c->draining = true;
		return 0;
	}
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	call = call_of_stream(session, frame->hd.stream_id);
	if (!call || c->freed)
		return 0;
	if (c->server && frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST && !call->over)
		on_request_head(call);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM && !call->over)
		rpc_call_heard_all(call);
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *p, size_t n,
			 void *user)
{
	struct rpc_call *call = call_of_stream(session, stream_id);

	if (call && !call->over)
		rpc_call_take(call, p, n);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user)
{
	struct rpc_call *call = call_of_stream(session, stream_id);

	if (!call)
		return 0;
	if (!call->over && call->conn->server)
		rpc_call_end(call, RPC_CANCELLED, "stream reset by the caller");
	else if (!call->over)
		rpc_call_end(call, rpc_status_of_reset(error_code), "stream reset by the peer");
	rpc_call_bury(call);
	return 0;
}

/* RFC 9113 section 8.1: a server that has answered all may ask the client to stop sending, with NO_ERROR. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct rpc_conn *c = user;

	if (!c->server || frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) != 0)
		return 0;
	return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
}

int rpc_session_new(struct rpc_conn *c)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	int r;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -ENOMEM;
	if (nghttp2_option_new(&opt) != 0) {
		nghttp2_session_callbacks_del(cb);
		return -ENOMEM;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
	/* few calls with few fields: neither closed streams nor a compression table are worth their memory */
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(opt, 0);
	if (c->server)
		r = nghttp2_session_server_new2(&c->session, cb, c, opt);
	else
		r = nghttp2_session_client_new2(&c->session, cb, c, opt);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	return r == 0 ? 0 : -ENOMEM;
}
