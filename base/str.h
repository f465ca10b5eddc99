/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed byte strings
 *
 * A struct str is {pointer, length} and owns nothing; bytes may hold NUL. Comparisons are by byte; the *_nocase forms
 * fold ASCII letters alone, never the locale.
 */
#ifndef TRAMMEL_BASE_STR_H
#define TRAMMEL_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/cleanup.h"

struct str {
	const char *p;
	size_t n;
};

#define STR(lit)     ((struct str){ ("" lit), sizeof(lit) - 1 })
#define STR_FMT	     "%.*s"
#define STR_ARG(s)   (int)(s).n, (s).p

static inline struct str str_from(const char *c)
{
	return (struct str){ c, c ? strlen(c) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_eq_c(struct str a, const char *c)
{
	return str_eq(a, str_from(c));
}

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/** str_hex_digit() - its value, letters of either case; -1 for other bytes */
static inline int str_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/** str_is_label() - DNS label as Kubernetes takes it (RFC 1123 section 2.1): 1 to 63 of a-z, 0-9 and '-', which is at neither end */
bool str_is_label(struct str s);

/** str_find_char() - index of the first @c in @s, or -1 */
ptrdiff_t str_find_char(struct str s, char c);

/** str_trim_ows() - without leading and trailing SP and HTAB (RFC 9110 section 5.6.3) */
struct str str_trim_ows(struct str s);

/**
 * str_split() - take the part of @rest up to @sep
 * @rest:  in: what is left; out: what stands behind the separator
 * @sep:   separator
 * @ret:   the part, maybe empty; borrowed
 *
 * Return: false when @rest was exhausted before the call (its p is then NULL).
 */
bool str_split(struct str *rest, char sep, struct str *ret);

/**
 * str_parse_u64() - decimal digits alone (no sign, space or empty string) into a number
 *
 * Return: 0, -EINVAL for other bytes, -ERANGE above @max.
 */
MUST_CHECK int str_parse_u64(struct str s, uint64_t max, uint64_t *ret);

#define STR_U64_BYTES 20

/** str_format_u64() - @v in decimal, at the end of @text; borrowed from it, no NUL */
static inline struct str str_format_u64(char text[STR_U64_BYTES], uint64_t v)
{
	char *p = text + STR_U64_BYTES;

	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	return (struct str){ p, (size_t)(text + STR_U64_BYTES - p) };
}

/** str_dup() - NUL-ended heap copy, owned by the caller; NULL when memory is out */
char *str_dup(struct str s);

/** str_printf() - asprintf() that returns the string, or NULL; owned by the caller */
char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
