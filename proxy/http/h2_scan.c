/* SPDX-License-Identifier: Apache-2.0 */
/* Where frames begin: see h2_scan.h. */
#include "proxy/http/h2_scan.h"

#define FLAG_PADDED   0x08
#define FLAG_PRIORITY 0x20

/* RFC 9113 section 6 */
static enum h2_scan_stop stop_of(uint8_t type)
{
	switch (type) {
	case 0:
		return H2_SCAN_DATA;
	case 1:
		return H2_SCAN_HEADERS;
	case 7:
		return H2_SCAN_GOAWAY;
	case 9:
		return H2_SCAN_CONTINUATION;
	default:
		return H2_SCAN_END;
	}
}

void h2_scan_step_back(struct h2_scan *s)
{
	s->n_head = H2_FRAME_HEAD_BYTES - 1;
	s->left = 0;
	s->n_continuations = 0;
	s->at_updates = false;
}

/* A frame's header is whole: RFC 9113 section 4.1. */
static enum h2_scan_stop frame_begin(struct h2_scan *s)
{
	const uint8_t *h = s->head;
	enum h2_scan_stop stop = stop_of(h[3]);

	s->n_head = 0;
	s->left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
	s->id = (int32_t)(((uint32_t)h[5] & 0x7f) << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8]);
	s->n_continuations = stop == H2_SCAN_CONTINUATION ? s->n_continuations + 1 : 0;
	s->pad = s->skip = 0;
	s->is_padded = false;
	if (stop == H2_SCAN_HEADERS) {
		s->at_updates = true;
		s->in_number = false;
		s->n_updates = 0;
		s->is_padded = h[4] & FLAG_PADDED;
		s->skip = (uint8_t)(s->is_padded + (h[4] & FLAG_PRIORITY ? 5 : 0));
	} else if (stop != H2_SCAN_CONTINUATION) {
		s->at_updates = false;
	}
	return stop;
}

/* Changes of the table's size at the head of a field block: RFC 7541 section 6.3. @n bytes of payload; how many were passed. */
static size_t updates_count(struct h2_scan *s, const uint8_t *p, size_t n)
{
	size_t at = 0;

	for (; at < n && s->at_updates && s->n_updates <= H2_TABLE_UPDATES; at++) {
		if (s->skip > 0) {
			s->pad = s->is_padded ? p[at] : s->pad;
			s->is_padded = false;
			s->skip--;
		} else if (s->left - at <= s->pad) {
			return n; /* the block may go on in the next frame */
		} else if (s->in_number) {
			s->in_number = p[at] & 0x80;
		} else if ((p[at] & 0xe0) == 0x20) {
			s->n_updates++;
			s->in_number = (p[at] & 0x1f) == 0x1f;
		} else {
			s->at_updates = false;
		}
	}
	return s->at_updates ? at : n;
}

enum h2_scan_stop h2_scan_next(struct h2_scan *s, struct str input, size_t from, size_t *ret_to)
{
	const uint8_t *p = (const uint8_t *)input.p;
	size_t at = from;

	while (at < input.n) {
		enum h2_scan_stop stop;
		size_t n;

		if (s->left > 0) {
			n = MIN((size_t)s->left, input.n - at);
			n = s->at_updates ? updates_count(s, p + at, n) : n;
			s->left -= (uint32_t)n;
			at += n;
			if (s->at_updates && s->n_updates > H2_TABLE_UPDATES) {
				s->at_updates = false;
				*ret_to = at;
				return H2_SCAN_TABLE_UPDATES;
			}
			continue;
		}
		n = MIN((size_t)(H2_FRAME_HEAD_BYTES - s->n_head), input.n - at);
		memcpy(s->head + s->n_head, p + at, n);
		s->n_head = (uint8_t)(s->n_head + n);
		at += n;
		if (s->n_head < H2_FRAME_HEAD_BYTES)
			break;
		stop = frame_begin(s);
		if (stop == H2_SCAN_END)
			continue;
		*ret_to = at - 1;
		return stop;
	}
	*ret_to = input.n;
	return H2_SCAN_END;
}
