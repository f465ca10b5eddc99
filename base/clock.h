/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: nanoseconds as uint64_t. Deciders take time as a parameter; only coordinators read these. */
#ifndef TRAMMEL_BASE_CLOCK_H
#define TRAMMEL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/** clock_mono_ns() - CLOCK_MONOTONIC, for deadlines and durations */
static inline uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/** clock_wall_ns() - CLOCK_REALTIME since 1970, for logs and certificate dates */
static inline uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

#endif
