/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 lexing shared by the codec's files; private to proxy/http
 *
 * Byte classes, the resumable line reader and the rules about single fields.
 */
#ifndef TRAMMEL_PROXY_HTTP_H1_LEX_H
#define TRAMMEL_PROXY_HTTP_H1_LEX_H

#include "proxy/http/h1.h"

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

enum {
	H1_PHASE_START, /* first line not read yet */
	H1_PHASE_FIELDS,
};

/* Fields of which a second one makes the message ambiguous. */
#define H1_SINGLETONS                                                                                                  \
	(1ull << HTTP_FIELD_HOST | 1ull << HTTP_FIELD_CONTENT_LENGTH | 1ull << HTTP_FIELD_TRANSFER_ENCODING)

static inline int h1_refuse(struct h1_reject *r, uint16_t status, enum trm_reason reason, const char *what)
{
	*r = (struct h1_reject){ .status = status, .reason = reason, .what = what };
	return H1_E_REJECT;
}

static inline bool h1_has(const struct http_head *h, enum http_field_id id)
{
	return (h->known >> id) & 1;
}

/** h1_input() - @input, or an empty string where it has no memory */
static inline struct str h1_input(struct str input)
{
	return input.p ? input : STR("");
}

/** h1_ctl_find() - first control byte (HTAB is none) in [p, end), or @end; in line, for every line passes here */
static inline const char *h1_ctl_find(const char *p, const char *end)
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

/** h1_parser_enter() - the input may have moved since the last call: let what @head borrowed from it follow */
void h1_parser_enter(struct h1_parser *p, struct str input, struct http_head *head);
void h1_parser_reset(struct h1_parser *p);

/** h1_line_read() - next line without its CRLF; @too_long is the refusal above @max bytes; 0, H1_E_MORE, H1_E_REJECT */
MUST_CHECK int h1_line_read(struct h1_parser *p, struct str input, uint32_t max, uint16_t too_long, struct str *ret_line,
			    struct h1_reject *ret_reject);

/** h1_fields_read() - all field lines up to the empty one; 0 with *ret_consumed, H1_E_MORE, H1_E_REJECT */
MUST_CHECK int h1_fields_read(struct h1_parser *p, struct str input, struct http_head *head, size_t *ret_consumed,
			      struct h1_reject *ret_reject);

/** h1_field_split() - "Name: value" into @ret with its id; 0 or H1_E_REJECT */
MUST_CHECK int h1_field_split(struct str line, struct http_field *ret, struct h1_reject *ret_reject);

/* What the Connection fields of a head say. */
struct h1_connection {
	bool close, keep_alive, upgrade;
};

/** h1_connection_read() - read the Connection fields and strike out those they name; 0 or H1_E_REJECT */
MUST_CHECK int h1_connection_read(struct http_head *head, struct h1_connection *ret, struct h1_reject *ret_reject);

/** h1_length_read() - decide on Content-Length and Transfer-Encoding; sets body and body_bytes, NONE without either */
MUST_CHECK int h1_length_read(struct http_head *head, struct h1_reject *ret_reject);

/** h1_trailer_is_allowed() - may @f stand behind a body? Framing, routing, identity and caching fields may not */
bool h1_trailer_is_allowed(const struct http_field *f);

/** h1_list_has() - does the comma-separated @list hold @token, in either case? */
bool h1_list_has(struct str list, struct str token);

/** h1_path_normalise() - see h1_request_parse(); @ret borrowed from @target or @pool; 0, H1_E_REJECT, -ENOMEM */
MUST_CHECK int h1_path_normalise(struct pool *pool, struct str target, struct str *ret, struct h1_reject *ret_reject);

/** h1_authority_is_valid() - host[:port], RFC 3986 host names, IPv4 or [IPv6]; no user, no empty host or port */
bool h1_authority_is_valid(struct str authority);

#endif
