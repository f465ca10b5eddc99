/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory pool of one exchange
 *
 * Bump allocation in chunks; nothing is freed alone, all goes at once with pool_reset() (keeps the first chunk) or
 * pool_done(). Charged against a maximum, so that a peer cannot make it grow. Not thread-safe.
 */
#ifndef TRAMMEL_BASE_POOL_H
#define TRAMMEL_BASE_POOL_H

#include <stddef.h>
#include "base/str.h"

struct pool_chunk;

struct pool {
	struct pool_chunk *first, *cur;
	size_t used_bytes; /* of all chunks, as handed out */
	size_t max_bytes;
};

void pool_init(struct pool *p, size_t max_bytes);
void pool_done(struct pool *p);
void pool_reset(struct pool *p);

/** pool_alloc() - @n bytes aligned to 8, not zeroed; NULL above the maximum or when memory is out */
void *pool_alloc(struct pool *p, size_t n);
void *pool_zalloc(struct pool *p, size_t n);

/** pool_str_dup() - copy of @s in the pool; its p is NULL on failure */
struct str pool_str_dup(struct pool *p, struct str s);

#endif
