/* SPDX-License-Identifier: Apache-2.0 */
/* What the bench's servers send as a body: byte i of any answer is known, so that who receives it can tell (measures.py has the same rule). */
#ifndef TRAMMEL_BENCH_BODY_PATTERN_H
#define TRAMMEL_BENCH_BODY_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PATTERN_BYTES 65521 /* a prime: buffers do not fall in step with it */

static uint8_t body_pattern[2 * PATTERN_BYTES]; /* twice, so that any 64 kB of it lie in one piece */

static inline void body_pattern_make(void)
{
	for (size_t i = 0; i < PATTERN_BYTES; i++)
		body_pattern[i] = (uint8_t)(i * 131 + (i >> 8));
	memcpy(body_pattern + PATTERN_BYTES, body_pattern, PATTERN_BYTES);
}

static inline const uint8_t *body_pattern_at(uint64_t at)
{
	return body_pattern + at % PATTERN_BYTES;
}

#endif
