/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 codec, the connection: see h2.h
 *
 * Frames coming in, in the order nghttp2 tells of them: on_begin_frame, on_begin_headers, on_header, on_frame (head),
 * on_data_chunk, on_frame (end), on_stream_close. What they bring to a stream is in h2_stream_in.c, what streams send in
 * h2_stream.c.
 */
#include "proxy/http/h2.h"

#include <errno.h>
#include "base/clock.h"
#include "proxy/http/h2_private.h"

#define OUT_SOFT_BYTES	   (64 * 1024) /* of one h2_conn_write(): more DATA waits until these have left */
#define QUEUE_ACKS_MAX	   1000
#define SETTINGS_ENTRIES   32

const struct h2_settings h2_settings_default = {
	.streams_max = H2_STREAMS_MAX,
	.stream_window = H2_STREAM_WINDOW,
	.conn_window = H2_CONN_WINDOW,
	.connect_protocol = true,
};

const struct h2_settings h2_settings_client = {
	.stream_window = H2_STREAM_WINDOW,
	.conn_window = H2_CONN_WINDOW / 2,
	.stalls_alone = true,
};

static uint64_t now_ms(const struct h2_conn *c)
{
	return c->now_ns / NS_PER_MS;
}

void h2_conn_over(struct h2_conn *c, uint32_t code, enum trm_reason reason, const char *why)
{
	if (c->over)
		return;
	c->over = c->faulty = true;
	c->reason = reason;
	c->why = why;
	(void)nghttp2_session_terminate_session(c->session, code); /* out of memory: closed without a word */
}

static void verdict_take(struct h2_conn *c, enum h2_verdict v, enum trm_reason reason, const char *why)
{
	if (v == H2_CLOSE)
		h2_conn_over(c, NGHTTP2_ENHANCE_YOUR_CALM, reason, why);
	if (v != H2_GO || c->goaway_sent)
		return;
	c->reason = reason;
	c->why = why;
	h2_conn_goaway(c, true, NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_conn_glitch(struct h2_conn *c, const char *why)
{
	verdict_take(c, h2_guard_glitch(&c->guard, 1, now_ms(c)), TRM_REASON_H2_GLITCHES, why);
}

/* Streams we have reset: the peer may not know yet. */
static void ring_add(struct h2_conn *c, int32_t id)
{
	c->reset_ring[c->reset_at++ % H2_RESET_RING] = id;
}

/* RFC 9113 section 6.5.3: our bound on streams binds a peer once it has acknowledged it. */
static void early_note(struct h2_conn *c, int32_t id)
{
	if (!c->early_first)
		c->early_first = id;
	c->early_last = MAX(c->early_last, id);
}

static bool ring_has(const struct h2_conn *c, int32_t id)
{
	for (size_t i = 0; i < H2_RESET_RING; i++)
		if (c->reset_ring[i] == id)
			return true;
	return false;
}

/* Has a stream of this number been opened by whoever opens streams here, and is it gone? */
static bool is_closed_id(const struct h2_conn *c, int32_t id)
{
	return (id & 1) == 1 && id <= c->last_id && nghttp2_session_get_stream_remote_close(c->session, id) == -1;
}

/* RFC 9113 section 5.1, "closed": what nghttp2 passes over without a word. */
void h2_conn_closed_stream_frame(struct h2_conn *c, int32_t id)
{
	if (!is_closed_id(c, id))
		return;
	if (id >= c->early_first && id <= c->early_last)
		return;
	if (ring_has(c, id))
		h2_conn_glitch(c, "frames on streams that were reset");
	else
		h2_conn_over(c, NGHTTP2_STREAM_CLOSED, TRM_REASON_H2_PROTOCOL, "frame on a closed stream");
}

/* Not called for DATA on closed streams: h2_conn_read() looks for those. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	if (hd->stream_id == 0 || c->over)
		return 0;
	s = nghttp2_session_get_stream_user_data(session, hd->stream_id);
	if (s && (hd->type == NGHTTP2_HEADERS || hd->type == NGHTTP2_DATA || hd->type == NGHTTP2_PUSH_PROMISE))
		s->heard = true;
	switch (hd->type) {
	case NGHTTP2_HEADERS:
		h2_conn_closed_stream_frame(c, hd->stream_id);
		return 0;
	case NGHTTP2_PRIORITY:
		verdict_take(c, h2_guard_priority(&c->guard), TRM_REASON_H2_CONTROL, "too many PRIORITY frames");
		return 0;
	case NGHTTP2_WINDOW_UPDATE:
	case NGHTTP2_RST_STREAM:
		if (is_closed_id(c, hd->stream_id))
			h2_conn_glitch(c, "frames on closed streams");
		return 0;
	}
	return 0;
}

static void stream_open(struct h2_conn *c, struct h2_stream *s, int32_t id)
{
	s->id = id;
	c->n_streams++;
	c->guard.n_streams++;
	c->last_id = MAX(c->last_id, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	if (c->over)
		return 0;
	if (!c->is_server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (s && !s->detached)
			h2_head_in_begin(&s->in, s->recv_head ? NULL : s->head, s->pool);
		return 0;
	}
	s = c->goaway_final ? NULL : c->ops->on_request(c);
	if (!s) {
		c->last_id = MAX(c->last_id, frame->hd.stream_id);
		c->guard.n_streams++;
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
	}
	stream_open(c, s, frame->hd.stream_id);
	h2_head_in_begin(&s->in, s->head, s->pool);
	return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
		     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	int r;

	if (c->over)
		return NGHTTP2_ERR_CALLBACK_FAILURE; /* no more of this field section is worth the work */
	if (!s || s->rejected || s->detached)
		return 0;
	r = h2_head_in_add(&s->in, (struct str){ (const char *)name, name_n }, (struct str){ (const char *)value, value_n });
	if (r == HTTP_E_REJECT) {
		h2_conn_over(c, NGHTTP2_ENHANCE_YOUR_CALM, TRM_REASON_H2_FIELDS, "field section far over the limit");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return r < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* A field that is none: RFC 9113 section 8.2.1 makes the whole message malformed, nghttp2 would leave the field out. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
			     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void on_goaway(struct h2_conn *c, int32_t last_id)
{
	c->goaway_received = true;
	c->goaway_id = MIN(c->goaway_id, last_id);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	if (c->over)
		return 0;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		return s && !s->detached ? h2_stream_on_frame(s, frame) : 0;
	case NGHTTP2_SETTINGS:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
			c->settings_acked = true;
		} else {
			c->settings_seen = true;
			for (size_t i = 0; i < frame->settings.niv; i++)
				c->windows_set |= frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE;
			verdict_take(c, h2_guard_control(&c->guard, now_ms(c)), TRM_REASON_H2_CONTROL, "too many SETTINGS");
		}
		return 0;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			c->ping_pending &= h2_conn_window_answered(c, frame->ping.opaque_data);
		else if (!h2_guard_is_busy(&c->guard)) /* peers measure with PING while they get something */
			verdict_take(c, h2_guard_control(&c->guard, now_ms(c)), TRM_REASON_H2_CONTROL, "too many PINGs");
		return 0;
	case NGHTTP2_WINDOW_UPDATE:
		verdict_take(c, h2_guard_window_update(&c->guard), TRM_REASON_H2_CONTROL, "too many WINDOW_UPDATEs");
		return 0;
	case NGHTTP2_RST_STREAM:
		s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (!s || !s->is_tunnel)
			verdict_take(c, h2_guard_reset(&c->guard, now_ms(c)), TRM_REASON_H2_RESETS, "too many resets");
		return 0;
	case NGHTTP2_GOAWAY:
		on_goaway(c, frame->goaway.last_stream_id);
		return 0;
	}
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	if (c->over)
		return 0;
	if (s && frame->hd.type == NGHTTP2_WINDOW_UPDATE)
		s->window_refused = true;
	if (code != NGHTTP2_ERR_REFUSED_STREAM) /* its RST_STREAM is counted */
		h2_conn_glitch(c, "invalid frames");
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	h2_conn_window_received(c, n);
	if (!s || s->detached || s->rejected || c->over) {
		/* for nobody: the connection's room is given back, the stream's is not */
		(void)nghttp2_session_consume_connection(session, n);
		return 0;
	}
	if (c->stalls_alone && s->borrowed + n <= c->stream_window && (!c->budget || c->budget->used + n <= c->budget->max_bytes)) {
		(void)nghttp2_session_consume_connection(session, n);
		s->borrowed += (uint32_t)n;
		if (c->budget)
			c->budget->used += n;
	}
	h2_stream_on_data(s, (struct str){ (const char *)p, n });
	return 0;
}

/* nghttp2's own limits are on SETTINGS entries, answers queued and frames in CONTINUATION. */
static enum trm_reason reason_of_code(uint32_t code)
{
	return code == NGHTTP2_ENHANCE_YOUR_CALM ? TRM_REASON_H2_CONTROL : TRM_REASON_H2_PROTOCOL;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s;

	switch (frame->hd.type) {
	case NGHTTP2_RST_STREAM:
		if (frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM && !c->settings_acked) {
			early_note(c, frame->hd.stream_id);
			verdict_take(c, h2_guard_refused_early(&c->guard), TRM_REASON_H2_STREAMS, "too many streams");
			return 0;
		}
		ring_add(c, frame->hd.stream_id);
		s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		/* nghttp2 resets the stream alone where SETTINGS made its window overflow: RFC 9113 section 6.9.2 */
		if (c->windows_set && frame->rst_stream.error_code == NGHTTP2_FLOW_CONTROL_ERROR && !(s && s->window_refused))
			h2_conn_over(c, NGHTTP2_FLOW_CONTROL_ERROR, TRM_REASON_H2_PROTOCOL, "SETTINGS overflow a window");
		/* Ours that they did not provoke are few; counted alike, since who provoked is hard to tell. */
		if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR && frame->rst_stream.error_code != NGHTTP2_CANCEL &&
		    frame->rst_stream.error_code != NGHTTP2_CONNECT_ERROR)
			verdict_take(c, h2_guard_reset(&c->guard, now_ms(c)), TRM_REASON_H2_RESETS, "too many resets");
		return 0;
	case NGHTTP2_DATA:
		c->guard.n_data_sent++;
		break;
	case NGHTTP2_HEADERS:
		break;
	case NGHTTP2_GOAWAY:
		c->goaway_sent = true;
		c->faulty |= frame->goaway.error_code != NGHTTP2_NO_ERROR; /* nghttp2 ends it by itself, too */
		c->goaway_code = frame->goaway.error_code;
		if (c->goaway_code != NGHTTP2_NO_ERROR && !c->reason)
			c->reason = reason_of_code(c->goaway_code);
		return 0;
	default:
		return 0;
	}
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s) {
		s->sent_end = true;
		if (s->reset_after && !s->recv_end)
			return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, s->reset_code);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2_conn *c = user;
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	if (!s)
		return 0;
	s->closed = true;
	s->id = 0;
	h2_stream_unstretch(s);
	h2_stream_unkeep(s);
	s->reset_code = code;
	s->unprocessed = code == NGHTTP2_REFUSED_STREAM || (!c->is_server && c->goaway_received && id > c->goaway_id);
	c->n_streams--;
	list_remove(&s->drained_link);
	list_push_back(&c->closed, &s->closed_link);
	return 0;
}

static int callbacks_make(nghttp2_session_callbacks **ret)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) < 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_on_send_data);
	*ret = cb;
	return 0;
}

/* One set for all connections: they are told apart by their user pointer. */
static const nghttp2_session_callbacks *callbacks_get(void)
{
	static __thread nghttp2_session_callbacks *cb;

	if (!cb && callbacks_make(&cb) < 0)
		return NULL;
	return cb;
}

static const nghttp2_option *option_get(void)
{
	static __thread nghttp2_option *o;

	if (o || nghttp2_option_new(&o) < 0)
		return o;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_max_outbound_ack(o, QUEUE_ACKS_MAX);
	nghttp2_option_set_max_settings(o, SETTINGS_ENTRIES);
	/* it counts a frame once for each call that brings a part of its header; ours comes first, in bytes_feed() */
	nghttp2_option_set_max_continuations(o, H2_FRAME_HEAD_BYTES * (H2_CONTINUATIONS_MAX + 1));
	nghttp2_option_set_peer_max_concurrent_streams(o, H2_STREAMS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(o, 10ull * H2_RESET_BURST, 10ull * H2_RESET_PER_S); /* ours comes first */
	nghttp2_option_set_no_closed_streams(o, 1);
	return o;
}

static int settings_submit(struct h2_conn *c, const struct h2_settings *set)
{
	nghttp2_settings_entry e[5];
	size_t n = 0;

	if (c->is_server) {
		e[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, set->streams_max };
		if (set->connect_protocol)
			e[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 };
	} else {
		e[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
	}
	e[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, set->stream_window };
	e[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_BYTES };
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, e, n) < 0 ||
	    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, (int32_t)set->conn_window) < 0)
		return -ENOMEM;
	return 0;
}

int h2_conn_init(struct h2_conn *c, bool is_server, const struct h2_settings *settings, const struct h2_conn_ops *ops)
{
	const nghttp2_session_callbacks *cb = callbacks_get();
	const nghttp2_option *o = option_get();
	int r;

	*c = (struct h2_conn){ .ops = ops, .is_server = is_server, .stalls_alone = settings->stalls_alone, .goaway_id = INT32_MAX };
	c->window = (struct h2_window){ .stream_bytes = settings->stream_window, .conn_bytes = settings->conn_window,
					.stream_max = settings->window_max };
	c->stream_window = settings->stream_window;
	list_init(&c->closed);
	list_init(&c->drained);
	list_init(&c->touched);
	c->scan.left = is_server ? H2_PREFACE_BYTES : 0;
	c->heads_left = UINT32_MAX;
	if (!cb || !o)
		return -ENOMEM;
	r = is_server ? nghttp2_session_server_new3(&c->session, cb, c, o, h2_mem()) :
			nghttp2_session_client_new3(&c->session, cb, c, o, h2_mem());
	if (r < 0)
		return -ENOMEM;
	r = settings_submit(c, settings);
	if (r < 0)
		h2_conn_done(c);
	return r;
}

void h2_conn_done(struct h2_conn *c)
{
	if (c->budget)
		c->budget->grown -= c->grown;
	nghttp2_session_del(c->session);
	c->session = NULL;
}

bool h2_conn_may_give_data(const struct h2_conn *c)
{
	return c->data_ok && c->out->len < OUT_SOFT_BYTES;
}

int h2_conn_write(struct h2_conn *c, struct buf *out, bool data_ok)
{
	const uint8_t *p;
	ssize_t n;
	int r = 0;

	if (c->in_call)
		return 0; /* from within a call of ours: the owner writes when it returns */
	c->in_call = true;
	c->out = out;
	c->data_ok = data_ok;
	while (r == 0) {
		n = nghttp2_session_mem_send(c->session, &p);
		if (n < 0)
			r = n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOBUFS;
		if (n <= 0)
			break;
		r = buf_append(out, p, (size_t)n);
	}
	c->windows_set = false;
	c->out = NULL;
	c->in_call = false;
	if (r != 0 || nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session))
		return r;
	if (!c->over && c->goaway_code != NGHTTP2_NO_ERROR) {
		/* nghttp2 has ended it by itself, while reading, and says so only now */
		c->over = c->faulty = true;
		c->why = c->why ? c->why : nghttp2_http2_strerror(c->goaway_code);
	}
	return HTTP_E_END;
}

bool h2_conn_wants_write(const struct h2_conn *c)
{
	return nghttp2_session_want_write(c->session) != 0;
}

void h2_conn_dispatch(struct h2_conn *c)
{
	while (!list_is_empty(&c->closed)) {
		struct h2_stream *s = list_first(&c->closed, struct h2_stream, closed_link);

		list_remove(&s->closed_link);
		if (!s->detached && !(s->recv_end && s->sent_end))
			c->ops->on_reset(s, s->reset_code, s->unprocessed);
		if (c->ops->on_close)
			c->ops->on_close(s);
	}
	while (!list_is_empty(&c->drained)) {
		struct h2_stream *s = list_first(&c->drained, struct h2_stream, drained_link);

		list_remove(&s->drained_link);
		s->full = false;
		if (!s->detached)
			c->ops->on_drained(s);
	}
}

void h2_stream_touch(struct h2_stream *s)
{
	if (!list_is_linked(&s->touched_link))
		list_push_back(&s->c->touched, &s->touched_link);
}

void h2_conn_batch_end(struct h2_conn *c)
{
	while (!list_is_empty(&c->touched)) {
		struct h2_stream *s = list_first(&c->touched, struct h2_stream, touched_link);

		list_remove(&s->touched_link);
		c->ops->on_batch_end(s);
	}
}

/* For h2_stream.c. */
void h2_stream_opened(struct h2_stream *s, int32_t id)
{
	stream_open(s->c, s, id);
}
