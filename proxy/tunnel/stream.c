/* SPDX-License-Identifier: Apache-2.0 */
/* A tunnel's stream: see stream.h. */
#include "proxy/tunnel/stream.h"

#include <errno.h>

#define SEND_BYTES 4096 /* from here on framed at once, not kept first */

static struct tunnel_stream *stream_of(struct transport_carrier *c)
{
	return container_of(c, struct tunnel_stream, carrier);
}

static bool is_over(const struct tunnel_stream *s)
{
	return s->lost || s->h2.closed || s->h2.detached;
}

/* What the transport asks for: struct transport_carrier_ops */

static int carrier_recv(struct transport_carrier *c, char *dst, size_t cap, size_t *ret_n)
{
	struct tunnel_stream *s = stream_of(c);
	size_t n = MIN(cap, s->in.len);

	if (n > 0) {
		memcpy(dst, buf_head(&s->in), n);
		buf_consume(&s->in, n);
		if (s->in.len == 0)
			buf_release(&s->in);
		if (!is_over(s)) {
			h2_stream_consume_bytes(&s->h2, MIN(n, s->h2.unconsumed));
			s->ops->touch(s);
		}
		*ret_n = n;
		return 0;
	}
	if (s->error)
		return s->error;
	return s->end_in || s->lost ? TRANSPORT_E_END : TRANSPORT_E_AGAIN;
}

static int carrier_send(struct transport_carrier *c, const char *p, size_t n, size_t *ret_n)
{
	struct tunnel_stream *s = stream_of(c);
	size_t at = 0;
	int r = 0;

	if (is_over(s))
		return -EPIPE;
	/* Until it is full, so that on_drained() comes wherever less than all was taken. */
	while (r == 0 && at < n && !h2_stream_is_full(&s->h2)) {
		size_t step = MIN(n - at, H2_STREAM_OUT - s->h2.out.len);

		r = h2_stream_send_body(&s->h2, (struct str){ p + at, step }, step >= SEND_BYTES ? s->ops->out(s) : NULL);
		at += step;
	}
	s->ops->touch(s);
	*ret_n = at;
	return r;
}

static void carrier_end(struct transport_carrier *c)
{
	struct tunnel_stream *s = stream_of(c);

	if (is_over(s))
		return;
	(void)!h2_stream_send_end(&s->h2, NULL, 0); /* without trailers it cannot fail */
	s->ops->touch(s);
}

static void carrier_close(struct transport_carrier *c, bool reset)
{
	struct tunnel_stream *s = stream_of(c);

	s->ops->let_go(s, reset);
}

static const struct transport_carrier_ops carrier_ops = {
	.recv = carrier_recv,
	.send = carrier_send,
	.end = carrier_end,
	.close = carrier_close,
};

/* Life */

void tunnel_stream_init(struct tunnel_stream *s, const struct tunnel_stream_ops *ops)
{
	*s = (struct tunnel_stream){ .ops = ops, .carrier.ops = &carrier_ops };
	buf_init(&s->in, MAX(TUNNEL_STREAM_WINDOW, H2_WINDOW_MAX));
}

void tunnel_stream_let_go(struct tunnel_stream *s)
{
	if (s->h2.c)
		h2_stream_done(&s->h2, s->h2.is_tunnel && !s->h2.sent_end ? NGHTTP2_CONNECT_ERROR : NGHTTP2_CANCEL);
	s->h2.c = NULL;
}

void tunnel_stream_done(struct tunnel_stream *s)
{
	tunnel_stream_let_go(s);
	buf_done(&s->in);
}

/* Bytes, and one for the end behind them. */
static size_t left_of(const struct tunnel_stream *s)
{
	return s->h2.sent_end ? 0 : s->h2.out.len + 1;
}

bool tunnel_stream_part(struct tunnel_stream *s, bool reset)
{
	bool unread = s->in.len > 0;

	buf_release(&s->in);
	if (is_over(s))
		return false;
	if (reset || unread) {
		/* bytes that nobody will read: the sender is told, as TCP would */
		h2_stream_done(&s->h2, reset || !s->h2.sent_end ? NGHTTP2_CONNECT_ERROR : NGHTTP2_CANCEL);
		s->ops->touch(s);
		return false;
	}
	(void)!h2_stream_send_end(&s->h2, NULL, 0);
	s->ops->touch(s);
	s->parted = true;
	s->left = left_of(s);
	return true;
}

bool tunnel_stream_waits(struct tunnel_stream *s)
{
	size_t left = left_of(s);

	if (!s->parted || is_over(s))
		return false;
	if (left != s->left) {
		s->left = left;
		s->n_stalled = 0;
		return true;
	}
	return left > 0 && ++s->n_stalled < TUNNEL_STALL_MS / TUNNEL_ORPHAN_MS;
}

/* What came */

void tunnel_stream_on_body(struct tunnel_stream *s, struct str slice)
{
	if (!s->carrier.t) {
		/* for nobody; but what was given before is still the peer's to have. on_close() follows */
		h2_stream_consume(&s->h2);
		h2_stream_reset_after_end(&s->h2, NGHTTP2_CANCEL);
		s->ops->touch(s);
		return;
	}
	if (s->error) /* a part is missing already: nothing may follow it */
		return;
	if (buf_append(&s->in, slice.p, slice.n) < 0) {
		s->error = -ENOMEM;
		h2_stream_reset(&s->h2, NGHTTP2_INTERNAL_ERROR);
	}
	transport_carrier_ready(&s->carrier, TRANSPORT_READABLE);
}

void tunnel_stream_on_end(struct tunnel_stream *s)
{
	s->end_in = true;
	transport_carrier_ready(&s->carrier, TRANSPORT_READABLE);
}

void tunnel_stream_on_reset(struct tunnel_stream *s, uint32_t code)
{
	s->lost = true;
	if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL && !s->error)
		s->error = -ECONNRESET;
	transport_carrier_ready(&s->carrier, TRANSPORT_BROKEN);
}

void tunnel_stream_on_drained(struct tunnel_stream *s)
{
	transport_carrier_ready(&s->carrier, TRANSPORT_WRITABLE);
}

void tunnel_stream_lose(struct tunnel_stream *s, int error)
{
	/* both directions were at their end: the connection's fate is none of it */
	if (!(s->end_in && s->h2.send_ended) && !s->error)
		s->error = error;
	s->lost = true;
	if (s->h2.c)
		h2_stream_done(&s->h2, NGHTTP2_CANCEL);
	transport_carrier_ready(&s->carrier, TRANSPORT_BROKEN);
}
