/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 codec: memory for nghttp2
 *
 * It asks for some forty small pieces for each request and gives them back with it, in bursts of as many requests as came
 * together: more than malloc() keeps at hand. They are kept here, by size, for the thread that gave them back.
 */
#include <malloc.h>
#include <stdlib.h>
#include "proxy/http/h2_private.h"

#define CLASS_BYTES   16
#define CLASSES	      65 /* up to 1 KiB */
#define KEPT_MAX_BYTES (512 * 1024)

/* A sanitizer is to see each piece freed. */
#ifdef __SANITIZE_ADDRESS__
#define KEEPS false
#elif defined(__has_feature)
#define KEEPS !__has_feature(address_sanitizer)
#else
#define KEEPS true
#endif

struct piece {
	struct piece *next;
};

static _Thread_local struct {
	struct piece *free[CLASSES];
	size_t bytes;
} kept;

/* What fits in a piece of class k has at most k * CLASS_BYTES bytes; a piece in its list has at least as many. */
static void *on_malloc(size_t n, void *user)
{
	size_t k = (n + CLASS_BYTES - 1) / CLASS_BYTES;
	struct piece *p;

	if (!KEEPS || k >= CLASSES || k == 0)
		return malloc(n);
	p = kept.free[k];
	if (!p)
		return malloc(k * CLASS_BYTES);
	kept.free[k] = p->next;
	kept.bytes -= k * CLASS_BYTES;
	return p;
}

static void on_free(void *ptr, void *user)
{
	size_t k = KEEPS && ptr ? malloc_usable_size(ptr) / CLASS_BYTES : CLASSES;
	struct piece *p = ptr;

	if (k >= CLASSES || k == 0 || kept.bytes + k * CLASS_BYTES > KEPT_MAX_BYTES) {
		free(ptr);
		return;
	}
	p->next = kept.free[k];
	kept.free[k] = p;
	kept.bytes += k * CLASS_BYTES;
}

static void *on_calloc(size_t n, size_t size, void *user)
{
	void *p;

	if (size > 0 && n > SIZE_MAX / size)
		return NULL;
	p = on_malloc(n * size, user);
	return p ? memset(p, 0, n * size) : NULL;
}

static void *on_realloc(void *ptr, size_t n, void *user)
{
	return realloc(ptr, n);
}

nghttp2_mem *h2_mem(void)
{
	static nghttp2_mem mem = { NULL, on_malloc, on_free, on_calloc, on_realloc }; /* never written to */

	return &mem;
}
