/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growable byte buffer with a maximum
 *
 * Bytes are appended at the end and consumed from the front. The maximum is set at init and never passed: an append
 * beyond it fails with -ENOBUFS and changes nothing. Not thread-safe; a buffer belongs to one owner.
 */
#ifndef TRAMMEL_BASE_BUF_H
#define TRAMMEL_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"

struct buf {
	char *mem;
	size_t off;	  /* first unread byte */
	size_t len;	  /* unread bytes */
	size_t cap;	  /* allocated bytes */
	size_t max_bytes; /* never more allocated than this */
};

/** buf_init() - empty buffer that allocates nothing until written to; @max_bytes > 0 */
void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->mem ? b->mem + b->off : NULL, b->len };
}

static inline char *buf_head(const struct buf *b)
{
	return b->mem ? b->mem + b->off : NULL;
}

/* buf_reserve() where there is no room yet */
MUST_CHECK int buf_grow(struct buf *b, size_t n);

/** buf_reserve() - make room for @n more bytes behind the last; -ENOBUFS above the maximum, -ENOMEM. Pointers into the buffer move. */
MUST_CHECK static inline int buf_reserve(struct buf *b, size_t n)
{
	/* Most find room: they cost a compare. */
	if (LIKELY(n <= b->cap - b->off - b->len && n <= b->max_bytes - MIN(b->len, b->max_bytes)))
		return 0;
	return buf_grow(b, n);
}

/** buf_tail() - first free byte; @ret_room bytes are free there without another buf_reserve() */
char *buf_tail(struct buf *b, size_t *ret_room);

/** buf_commit() - @n bytes behind buf_tail() were written */
void buf_commit(struct buf *b, size_t n);

/** buf_append() - add @n bytes behind the last; errors as buf_reserve(), and then nothing is changed */
MUST_CHECK static inline int buf_append(struct buf *b, const void *p, size_t n)
{
	int r = buf_reserve(b, n);

	if (r < 0)
		return r;
	if (n)
		memcpy(b->mem + b->off + b->len, p, n);
	b->len += n;
	return 0;
}

MUST_CHECK int buf_append_str(struct buf *b, struct str s);
MUST_CHECK int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** buf_consume() - drop @n bytes (at most len) from the front */
void buf_consume(struct buf *b, size_t n);

/** buf_release() - empty the buffer and give its memory back; it stays usable */
void buf_release(struct buf *b);

#endif
