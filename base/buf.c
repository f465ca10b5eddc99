/* SPDX-License-Identifier: Apache-2.0 */
/* Growable byte buffer: see buf.h. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){ .max_bytes = max_bytes };
}

void buf_done(struct buf *b)
{
	free(b->mem);
	*b = (struct buf){ .max_bytes = b->max_bytes };
}

void buf_release(struct buf *b)
{
	buf_done(b);
}

int buf_grow(struct buf *b, size_t n)
{
	size_t want, cap;
	char *mem;

	if (__builtin_add_overflow(b->len, n, &want) || want > b->max_bytes)
		return -ENOBUFS;
	if (b->off + want <= b->cap)
		return 0;
	if (want <= b->cap) {
		memmove(b->mem, b->mem + b->off, b->len);
		b->off = 0;
		return 0;
	}
	cap = b->cap ? b->cap : 256;
	while (cap < want)
		cap *= 2;
	cap = MIN(cap, b->max_bytes);
	mem = malloc(cap);
	if (!mem)
		return -ENOMEM;
	if (b->len)
		memcpy(mem, b->mem + b->off, b->len);
	free(b->mem);
	b->mem = mem;
	b->off = 0;
	b->cap = cap;
	return 0;
}

char *buf_tail(struct buf *b, size_t *ret_room)
{
	if (ret_room)
		*ret_room = b->cap - b->off - b->len;
	return b->mem ? b->mem + b->off + b->len : NULL;
}

void buf_commit(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->off - b->len);
	b->len += n;
}

int buf_append_str(struct buf *b, struct str s)
{
	return buf_append(b, s.p, s.n);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[256], *large = NULL;
	va_list ap, again;
	int n, r;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) {
		va_end(again);
		return -EINVAL;
	}
	if ((size_t)n < sizeof(small)) {
		va_end(again);
		return buf_append(b, small, (size_t)n);
	}
	/* Aside, as vsnprintf() writes a NUL behind the text, for which a full buffer may have no room. */
	n = vasprintf(&large, fmt, again);
	va_end(again);
	if (n < 0)
		return -ENOMEM;
	r = buf_append(b, large, (size_t)n);
	free(large);
	return r;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->off += n;
	b->len -= n;
	if (b->len == 0)
		b->off = 0;
}
