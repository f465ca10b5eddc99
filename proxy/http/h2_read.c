/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec: bytes of the peer on their way to nghttp2, and what has to be known of them beside it */
#include <errno.h>
#include "proxy/http/h2_private.h"

#define QUEUE_FRAMES_MAX 5000

/*
 * Gives nghttp2 bytes. Not those of a client's GOAWAY that say up to which stream it answers: Go's say up to which it has
 * asked, and nghttp2 would end the connection, and what is still to be answered, for it. We push nothing: they mean nothing.
 */
static ssize_t bytes_give(struct h2_conn *c, const char *p, size_t n)
{
	static const uint8_t zeros[4];
	ssize_t r = 0;

	while (n > 0 && r >= 0) {
		size_t part = c->mask.before ? MIN((size_t)c->mask.before, n) : c->mask.n ? MIN((size_t)c->mask.n, n) : n;
		bool masked = !c->mask.before && c->mask.n;

		r = nghttp2_session_mem_recv(c->session, masked ? zeros : (const uint8_t *)p, part);
		if (c->mask.before)
			c->mask.before -= (uint8_t)part;
		else if (masked)
			c->mask.n -= (uint8_t)part;
		p += part;
		n -= part;
	}
	return r;
}

/* false: a request that is not to be taken now; its frame's header is to be scanned again. */
static bool frame_seen(struct h2_conn *c, enum h2_scan_stop what)
{
	switch (what) {
	case H2_SCAN_DATA:
		if (c->scan.id != 0)
			h2_conn_closed_stream_frame(c, c->scan.id);
		break;
	case H2_SCAN_CONTINUATION:
		if (c->scan.n_continuations > H2_CONTINUATIONS_MAX)
			h2_conn_over(c, NGHTTP2_ENHANCE_YOUR_CALM, TRM_REASON_H2_FIELDS,
				     "too many CONTINUATION frames");
		break;
	case H2_SCAN_TABLE_UPDATES:
		h2_conn_over(c, NGHTTP2_COMPRESSION_ERROR, TRM_REASON_H2_PROTOCOL,
			     "too many changes of the HPACK table in one field block");
		break;
	case H2_SCAN_GOAWAY:
		if (c->is_server)
			c->mask.before = 1, c->mask.n = 4;
		break;
	case H2_SCAN_HEADERS:
		if (c->is_server && c->scan.id > c->last_id) {
			if (c->heads_left == 0)
				return false;
			c->heads_left--;
		}
		break;
	case H2_SCAN_END:
		break;
	}
	return true;
}

/* Gives nghttp2 the bytes, stopping where something has to be known that it does not tell. */
static ssize_t bytes_feed(struct h2_conn *c, struct str input)
{
	size_t at = 0, scanned = 0, to;
	enum h2_scan_stop what;
	ssize_t n = 0;

	while (at < input.n && n >= 0 && !c->over) {
		what = h2_scan_next(&c->scan, input, scanned, &to);
		scanned = what == H2_SCAN_END || what == H2_SCAN_TABLE_UPDATES ? to : to + 1;
		if (to > at)
			n = bytes_give(c, input.p + at, to - at);
		at = to;
		if (n < 0 || frame_seen(c, what))
			continue;
		/* nghttp2 has all of the frame's header but its last byte: so has the scan, again */
		h2_scan_step_back(&c->scan);
		c->unread = input.n - at;
		break;
	}
	h2_conn_spill(c);
	return n;
}

int h2_conn_read(struct h2_conn *c, struct str input, uint64_t now_ns)
{
	ssize_t n;

	c->now_ns = now_ns;
	c->unread = 0;
	if (c->over)
		return HTTP_E_REJECT;
	c->in_call = true;
	n = bytes_feed(c, input);
	c->in_call = false;
	if (n < 0 && !c->over) {
		if (n == NGHTTP2_ERR_FLOODED)
			h2_conn_over(c, NGHTTP2_ENHANCE_YOUR_CALM, TRM_REASON_H2_CONTROL, nghttp2_strerror((int)n));
		else
			h2_conn_over(c, NGHTTP2_PROTOCOL_ERROR, TRM_REASON_H2_PROTOCOL, nghttp2_strerror((int)n));
		return n == NGHTTP2_ERR_NOMEM || n == NGHTTP2_ERR_CALLBACK_FAILURE ? -ENOMEM : HTTP_E_REJECT;
	}
	if (nghttp2_session_get_outbound_queue_size(c->session) > QUEUE_FRAMES_MAX)
		h2_conn_over(c, NGHTTP2_ENHANCE_YOUR_CALM, TRM_REASON_H2_CONTROL, "too many frames queued");
	if (!c->over && !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session)) {
		c->over = true;
		c->why = "finished";
	}
	return c->over ? HTTP_E_REJECT : 0;
}
