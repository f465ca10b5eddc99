/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 codec, streams: heads, bodies and ends coming in: see h2.h
 *
 * A message whose length was declared is not told as whole before its end has come: what is longer than it says is
 * malformed (RFC 9113 section 8.1.1), and whoever takes a message by its length would have acted on it by then. So the
 * last of its bytes waits for END_STREAM, which nearly always comes with it; a head that declares none waits, too.
 */
#include "proxy/http/h2.h"
#include "proxy/http/h2_private.h"

#define EMPTY_RUN_MAX 1

static bool is_ours(const struct h2_conn *c, int32_t id, const struct h2_stream *s)
{
	return nghttp2_session_get_stream_user_data(c->session, id) == s;
}

static void malformed(struct h2_stream *s)
{
	h2_conn_glitch(s->c, "malformed messages");
	h2_stream_reset(s, NGHTTP2_PROTOCOL_ERROR);
}

/* The head cannot be taken: the owner answers, or the peer is reset. */
static void head_refuse(struct h2_stream *s)
{
	struct h2_conn *c = s->c;
	struct http_reject reject = s->in.reject;

	s->rejected = true;
	if (s->in.malformed || !reject.status) {
		malformed(s);
		return;
	}
	if (!c->is_server) {
		reject.status = 502;
		if (reject.reason != TRM_REASON_HTTP_UPGRADE)
			reject.reason = TRM_REASON_HTTP_UPSTREAM_MALFORMED;
	}
	if (!c->is_server)
		h2_conn_glitch(c, "malformed messages");
	h2_stream_touch(s);
	c->ops->on_reject(s, &reject); /* a client's owner may be rid of the stream after it: h2_stream_done() resets it */
}

static int head_take(struct h2_stream *s, bool ends)
{
	struct h2_conn *c = s->c;
	int r = c->is_server ? h2_head_in_request(&s->in, ends) : h2_head_in_response(&s->in, &s->asked, ends);

	if (r < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (r == 0 && !c->is_server && s->head->status < 200 && s->head->status != 101) {
		if (++s->n_interim > H2_INTERIM_MAX)
			r = http_refuse(&s->in.reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "too many interim responses");
	} else if (r == 0) {
		s->recv_head = true;
	}
	if (r != 0) {
		head_refuse(s);
		return 0;
	}
	/* A length of zero, and more to come: told when it is known that nothing did. */
	s->head_held = s->recv_head && !ends && s->head->body == HTTP_BODY_LENGTH && s->head->body_bytes == 0;
	if (s->head_held)
		return 0;
	h2_stream_touch(s);
	c->ops->on_head(s, s->head, ends);
	return 0;
}

static void end_take(struct h2_stream *s)
{
	struct h2_conn *c = s->c;
	int32_t id = s->id;
	struct str kept = s->kept;

	if (s->recv_end || s->rejected || s->closed || s->detached)
		return;
	s->recv_end = true;
	h2_stream_touch(s);
	if (s->head_held) {
		s->head_held = false;
		c->ops->on_head(s, s->head, true);
	} else if (kept.n > 0) {
		h2_stream_unkeep(s);
		c->ops->on_body(s, kept);
	}
	if (is_ours(c, id, s)) /* a client's owner may have freed it */
		c->ops->on_end(s, s->in.trailers, s->in.n_trailers);
}

int h2_stream_on_frame(struct h2_stream *s, const nghttp2_frame *frame)
{
	struct h2_conn *c = s->c;
	bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	int r = 0;

	if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == 0 && !ends) {
		if (++s->empty_run > EMPTY_RUN_MAX)
			h2_conn_glitch(c, "empty DATA frames");
	} else {
		s->empty_run = 0;
	}
	if (frame->hd.type == NGHTTP2_HEADERS && !s->rejected) {
		if (s->recv_head && s->in.head == NULL) {
			if (s->in.reject.status || s->in.malformed || !ends)
				head_refuse(s); /* trailers */
		} else {
			r = head_take(s, ends);
		}
	}
	/* The owner may have been told enough, and have freed the stream. */
	if (r == 0 && ends && is_ours(c, frame->hd.stream_id, s))
		end_take(s);
	return r;
}

void h2_stream_unkeep(struct h2_stream *s)
{
	s->kept = (struct str){ 0 };
	if (s->c->keeper == s)
		s->c->keeper = NULL;
}

void h2_conn_spill(struct h2_conn *c)
{
	struct h2_stream *s = c->keeper;
	struct str slice;

	if (!s)
		return;
	c->keeper = NULL;
	slice = (struct str){ s->kept.p, s->kept.n - 1 };
	s->last_byte = s->kept.p[slice.n];
	s->kept = (struct str){ &s->last_byte, 1 };
	if (slice.n > 0 && !s->detached)
		c->ops->on_body(s, slice);
}

void h2_stream_on_data(struct h2_stream *s, struct str slice)
{
	struct h2_conn *c = s->c;

	s->unconsumed += (uint32_t)slice.n;
	s->body_bytes += slice.n;
	h2_stream_touch(s);
	if (slice.n > 0 && s->head->body == HTTP_BODY_LENGTH && s->body_bytes == s->head->body_bytes) {
		h2_conn_spill(c);
		s->kept = slice;
		c->keeper = s;
		return;
	}
	c->ops->on_body(s, slice);
}
