/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound release
 *
 * _cleanup_(fn) runs fn(&variable) when the variable leaves scope; TAKE_PTR() and TAKE_FD() hand the value on and
 * disarm it. DEFINE_CLEANUP() makes the pointer-to-pointer form that the attribute wants.
 */
#ifndef TRAMMEL_BASE_CLEANUP_H
#define TRAMMEL_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define MUST_CHECK    __attribute__((warn_unused_result))

#define TAKE_PTR(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) *take_p_ = &(p);                                                                         \
		__typeof__(p) take_v_ = *take_p_;                                                                      \
		*take_p_ = NULL;                                                                                       \
		take_v_;                                                                                               \
	})

#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int *take_p_ = &(fd);                                                                                  \
		int take_v_ = *take_p_;                                                                                \
		*take_p_ = -1;                                                                                         \
		take_v_;                                                                                               \
	})

/* DEFINE_CLEANUP(struct loop, loop_free) defines loop_freep(struct loop **). */
#define DEFINE_CLEANUP(type, fn)                                                                                       \
	static inline void fn##p(type **p)                                                                             \
	{                                                                                                              \
		if (*p)                                                                                                \
			fn(*p);                                                                                        \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void file_closep(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* Closes @fd if it is open; returns -1, so that "fd = fd_close(fd);" leaves no stale number. */
static inline int fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

#define ARRAY_SIZE(a)	       (sizeof(a) / sizeof((a)[0]))
#define container_of(p, T, m)  ((T *)((char *)(p)-offsetof(T, m)))
#define MIN(a, b)	       ({ __typeof__(a) min_a_ = (a); __typeof__(b) min_b_ = (b); min_a_ < min_b_ ? min_a_ : min_b_; })
#define MAX(a, b)	       ({ __typeof__(a) max_a_ = (a); __typeof__(b) max_b_ = (b); max_a_ > max_b_ ? max_a_ : max_b_; })
#define LIKELY(x)	       __builtin_expect(!!(x), 1)
#define UNLIKELY(x)	       __builtin_expect(!!(x), 0)

#endif
