/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec: the path is measured, and windows follow: see h2_window.h */
#include "proxy/http/h2_private.h"

static const uint8_t mark[8] = "trm-path"; /* of our measuring PINGs */

void h2_conn_window_received(struct h2_conn *c, size_t n)
{
	if (h2_window_received(&c->window, n, c->now_ns) && nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, mark) < 0)
		c->window.sampling = false;
}

/* The budget of the worker has room for it, and the peer is told. */
static void windows_grow(struct h2_conn *c, uint32_t stream_bytes)
{
	nghttp2_settings_entry e = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_bytes };
	uint32_t conn_bytes = h2_window_conn(&c->window, stream_bytes), more = conn_bytes - c->window.conn_bytes;

	if (c->budget && c->budget->grown + more > H2_WINDOW_GROWN_MAX)
		return;
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &e, 1) < 0)
		return;
	if (more > 0 && nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, (int32_t)conn_bytes) < 0)
		return;
	c->window.stream_bytes = stream_bytes;
	c->window.conn_bytes = conn_bytes;
	c->grown += more;
	if (c->budget)
		c->budget->grown += more;
}

bool h2_conn_window_answered(struct h2_conn *c, const uint8_t opaque[8])
{
	uint32_t stream_bytes;

	if (memcmp(opaque, mark, sizeof(mark)) != 0)
		return false;
	stream_bytes = h2_window_answered(&c->window, c->now_ns);
	if (stream_bytes > 0)
		windows_grow(c, stream_bytes);
	return true;
}
