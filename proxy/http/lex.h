/* SPDX-License-Identifier: Apache-2.0 */
/* Byte classes that HTTP's grammars are made of. Private to proxy/http. */
#ifndef TRAMMEL_PROXY_HTTP_LEX_H
#define TRAMMEL_PROXY_HTTP_LEX_H

#include <stdint.h>
#include <string.h>
#include "base/str.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
	LEX_TOKEN = 1 << 0,	 /* tchar, RFC 9110 section 5.6.2 */
	LEX_UNDERSCORE = 1 << 1, /* '_' alone */
	LEX_HOST = 1 << 2,	 /* what a host name may hold here: ALPHA DIGIT - . _ ~ */
	LEX_PATH = 1 << 3,	 /* path bytes that never need a second look */
	LEX_QUERY = 1 << 4,	 /* visible ASCII but '#' and '\' */
	LEX_UNRESERVED = 1 << 5, /* RFC 3986 section 2.3 */
	LEX_CTL = 1 << 6,	 /* controls but HTAB; DEL */
	LEX_DIGIT = 1 << 7,
};

extern const uint8_t lex_class[256];

static inline uint8_t lex(char c)
{
	return lex_class[(unsigned char)c];
}

/* Value of a hex digit, or -1. */
extern const int8_t lex_hex[256];

/** lex_ctl_find() - first control byte (HTAB is none) in [p, end), or @end; in line, for every line passes here */
static inline const char *lex_ctl_find(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i low = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i ctl = _mm_cmpeq_epi8(_mm_min_epu8(v, low), v);
		int mask;

		ctl = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), ctl), _mm_cmpeq_epi8(v, del));
		mask = _mm_movemask_epi8(ctl);
		if (mask)
			return p + __builtin_ctz((unsigned)mask);
	}
#else
	const uint64_t ones = 0x0101010101010101ull, high = 0x80 * ones;

	/* A set bit here may be a HTAB or a carry beside a real one: the byte loop below has the last word. */
	for (; end - p >= 8; p += 8) {
		uint64_t w, x;

		memcpy(&w, p, sizeof(w));
		x = w ^ (0x7f * ones);
		if ((((w - 0x20 * ones) & ~w) | ((x - ones) & ~x)) & high) {
			for (int i = 0; i < 8; i++)
				if (lex(p[i]) & LEX_CTL)
					return p + i;
		}
	}
#endif
	while (p < end && !(lex(*p) & LEX_CTL))
		p++;
	return p;
}

#endif
