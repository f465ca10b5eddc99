/* SPDX-License-Identifier: Apache-2.0 */
/* Where frames begin: see h2_scan.h. */
#include "proxy/http/h2_scan.h"

#define TYPE_DATA	  0
#define TYPE_CONTINUATION 9

size_t h2_scan_next(struct h2_scan *s, struct str input, size_t from, uint8_t *ret_type, int32_t *ret_id)
{
	const uint8_t *p = (const uint8_t *)input.p;
	size_t at = from;

	*ret_id = 0;
	while (at < input.n) {
		size_t n;

		if (s->left > 0) {
			n = MIN((size_t)s->left, input.n - at);
			s->left -= (uint32_t)n;
			at += n;
			continue;
		}
		n = MIN((size_t)(H2_FRAME_HEAD_BYTES - s->n_head), input.n - at);
		memcpy(s->head + s->n_head, p + at, n);
		s->n_head = (uint8_t)(s->n_head + n);
		at += n;
		if (s->n_head < H2_FRAME_HEAD_BYTES)
			break;
		/* RFC 9113 section 4.1 */
		s->n_head = 0;
		s->left = (uint32_t)s->head[0] << 16 | (uint32_t)s->head[1] << 8 | s->head[2];
		s->n_continuations = s->head[3] == TYPE_CONTINUATION ? s->n_continuations + 1 : 0;
		if (s->head[3] != TYPE_DATA && s->head[3] != TYPE_CONTINUATION)
			continue;
		*ret_type = s->head[3];
		*ret_id = (int32_t)(((uint32_t)s->head[5] & 0x7f) << 24 | (uint32_t)s->head[6] << 16 |
				    (uint32_t)s->head[7] << 8 | s->head[8]);
		return at - 1;
	}
	return input.n;
}
