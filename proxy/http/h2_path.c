/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec: the path is measured, and windows follow: see h2_window.h */
#include "proxy/http/h2_private.h"

#define STRETCH_MIN (16 * 1024) /* else it is not worth a frame */

static const uint8_t mark[8] = "trm-path"; /* of our measuring PINGs */

void h2_conn_window_received(struct h2_conn *c, size_t n)
{
	if (h2_window_received(&c->window, n, c->now_ns) && nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, mark) < 0)
		c->window.sampling = false;
}

/* false: the budget of the worker has no room for it, or memory is out. */
static bool windows_grow(struct h2_conn *c, uint32_t stream_bytes)
{
	uint32_t conn_bytes = h2_window_conn(&c->window, stream_bytes), more = conn_bytes - c->window.conn_bytes;

	if (c->budget && c->budget->grown + more > H2_WINDOW_GROWN_MAX)
		return false;
	if (more > 0 && nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, (int32_t)conn_bytes) < 0)
		return false;
	c->window.stream_bytes = stream_bytes;
	c->window.conn_bytes = conn_bytes;
	c->grown += more;
	if (c->budget)
		c->budget->grown += more;
	return true;
}

bool h2_conn_window_answered(struct h2_conn *c, const uint8_t opaque[8])
{
	uint64_t best_per_s = c->window.best_per_s;
	uint32_t stream_bytes;

	if (memcmp(opaque, mark, sizeof(mark)) != 0)
		return false;
	stream_bytes = h2_window_answered(&c->window, c->now_ns);
	if (stream_bytes > 0 && !windows_grow(c, stream_bytes))
		c->window.best_per_s = best_per_s; /* asked again, when others have given back theirs */
	return true;
}

void h2_stream_stretch(struct h2_stream *s)
{
	struct h2_conn *c = s->c;
	uint32_t has = c->stream_window + s->stretch, all = h2_window_stretch(&c->window), more;

	if (!s->id || s->recv_end || has >= c->window.stream_bytes || c->stretched >= all)
		return;
	more = MIN(c->window.stream_bytes - has, all - c->stretched);
	if (more < STRETCH_MIN ||
	    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, s->id, (int32_t)(has + more)) < 0)
		return;
	s->stretch += more;
	c->stretched += more;
}

void h2_stream_unstretch(struct h2_stream *s)
{
	s->c->stretched -= s->stretch;
	s->stretch = 0;
}
