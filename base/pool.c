/* SPDX-License-Identifier: Apache-2.0 */
/* Memory pool of one exchange: see pool.h. */
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#define POOL_CHUNK_BYTES 2048

struct pool_chunk {
	struct pool_chunk *next;
	size_t cap, used;
	max_align_t mem[];
};

void pool_init(struct pool *p, size_t max_bytes)
{
	*p = (struct pool){ .max_bytes = max_bytes };
}

static void chunk_free_chain(struct pool_chunk *c)
{
	while (c) {
		struct pool_chunk *next = c->next;

		free(c);
		c = next;
	}
}

void pool_done(struct pool *p)
{
	chunk_free_chain(p->first);
	*p = (struct pool){ .max_bytes = p->max_bytes };
}

void pool_reset(struct pool *p)
{
	if (p->first) {
		chunk_free_chain(p->first->next);
		p->first->next = NULL;
		p->first->used = 0;
	}
	p->cur = p->first;
	p->used_bytes = 0;
}

void *pool_alloc(struct pool *p, size_t n)
{
	size_t need = (n + 7) & ~(size_t)7;
	struct pool_chunk *c = p->cur;
	void *mem;

	if (need < n || need > p->max_bytes - p->used_bytes)
		return NULL;
	if (!c || c->cap - c->used < need) {
		size_t cap = need > POOL_CHUNK_BYTES ? need : POOL_CHUNK_BYTES;

		c = malloc(sizeof(*c) + cap);
		if (!c)
			return NULL;
		*c = (struct pool_chunk){ .cap = cap };
		if (p->cur)
			p->cur->next = c;
		else
			p->first = c;
		p->cur = c;
	}
	mem = (char *)c->mem + c->used;
	c->used += need;
	p->used_bytes += need;
	return mem;
}

void *pool_zalloc(struct pool *p, size_t n)
{
	void *mem = pool_alloc(p, n);

	if (mem)
		memset(mem, 0, n);
	return mem;
}

struct str pool_str_dup(struct pool *p, struct str s)
{
	char *d = pool_alloc(p, s.n + 1);

	if (!d)
		return (struct str){ NULL, 0 };
	if (s.n)
		memcpy(d, s.p, s.n);
	d[s.n] = '\0';
	return (struct str){ d, s.n };
}
