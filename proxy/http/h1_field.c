/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: rules about fields
 *
 * Splitting a field line, what Connection says, which length a message has, and what may stand in a trailer.
 */
#include "proxy/http/h1_lex.h"

#define CONNECTION_OPTIONS_MAX 32

/* Fields that a message is framed, routed or judged by: neither Connection nor a trailer may touch them. */
#define GUARDED_IDS                                                                                                    \
	(1ull << HTTP_FIELD_HOST | 1ull << HTTP_FIELD_CONTENT_LENGTH | 1ull << HTTP_FIELD_TRANSFER_ENCODING |          \
	 1ull << HTTP_FIELD_X_FORWARDED_FOR | 1ull << HTTP_FIELD_X_FORWARDED_PROTO |                                   \
	 1ull << HTTP_FIELD_X_FORWARDED_CLIENT_CERT | 1ull << HTTP_FIELD_X_TRAMMEL_REASON)

#define UNDERSCORE_IDS                                                                                                 \
	(GUARDED_IDS | 1ull << HTTP_FIELD_KEEP_ALIVE | 1ull << HTTP_FIELD_PROXY_CONNECTION |                           \
	 1ull << HTTP_FIELD_HTTP2_SETTINGS | 1ull << HTTP_FIELD_X_REQUEST_ID)

static bool str_starts_nocase(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq_nocase((struct str){ s.p, prefix.n }, prefix);
}

static bool has_guarded_prefix(struct str name)
{
	return str_starts_nocase(name, STR("x-forwarded-")) || str_starts_nocase(name, STR("x-envoy-")) ||
	       str_starts_nocase(name, STR("x-trammel-")) || str_eq_nocase(name, STR("forwarded")) ||
	       str_eq_nocase(name, STR("x-real-ip"));
}

/*
 * CGI-like servers read "Content_Length" as "Content-Length" (and drop or merge it as they like): a name that becomes
 * one of framing, routing or identity that way is refused, every other underscore passes.
 */
static bool name_poses(struct str name)
{
	char text[64];
	struct str mapped = { text, MIN(name.n, sizeof(text)) };

	for (size_t i = 0; i < mapped.n; i++)
		text[i] = name.p[i] == '_' ? '-' : name.p[i];
	return (UNDERSCORE_IDS >> http_field_id_of(mapped)) & 1 || has_guarded_prefix(mapped);
}

/*
 * Bytes of @line's beginning that are letters, digits or '-', as nearly every name is made of: a start for the byte
 * loop, which knows the other token characters.
 */
static inline size_t plain_name_bytes(struct str line)
{
	size_t n = 0;
#ifdef __SSE2__
	const __m128i bit5 = _mm_set1_epi8(0x20), dash = _mm_set1_epi8('-');

	for (; line.n - n >= 16; n += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(line.p + n));
		/* unsigned x - from <= span, as min(x - from, span) == x - from */
		__m128i letter = _mm_sub_epi8(_mm_or_si128(v, bit5), _mm_set1_epi8('a'));
		__m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));
		__m128i ok = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
		unsigned mask;

		ok = _mm_or_si128(ok, _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
		mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(ok, _mm_cmpeq_epi8(v, dash)));
		if (mask != 0xffff)
			return n + (size_t)__builtin_ctz(~mask);
	}
#endif
	return n;
}

int h1_field_split(struct str line, struct http_field *ret, struct h1_reject *ret_reject)
{
	const char *p = line.p + plain_name_bytes(line), *end = line.p + line.n;
	uint8_t seen = 0, c = 0;

	/* RFC 9112 section 5.1: no white space before the colon; section 5.2: no folded lines. */
	while (p < end && ((c = lex(*p)) & LEX_TOKEN)) {
		seen |= c;
		p++;
	}
	if (UNLIKELY(p == line.p || p == end || *p != ':'))
		return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX,
				 *line.p == ' ' || *line.p == '\t' ? "folded line" : "bad field name");
	ret->name = (struct str){ line.p, (size_t)(p - line.p) };
	ret->id = (uint16_t)http_field_id_of(ret->name);
	ret->removed = false;
	if (UNLIKELY(seen & LEX_UNDERSCORE) && name_poses(ret->name))
		return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "underscore in a guarded field name");
	p++;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	ret->value = (struct str){ p, (size_t)(end - p) };
	return 0;
}

bool h1_list_has(struct str list, struct str token)
{
	struct str part;

	while (str_split(&list, ',', &part))
		if (str_eq_nocase(str_trim_ows(part), token))
			return true;
	return false;
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(lex(s.p[i]) & LEX_TOKEN))
			return false;
	return s.n > 0;
}

/* RFC 9110 section 7.6.1: a field that Connection names ends at this hop. */
static int strike_named(struct http_head *head, struct str name, struct h1_reject *ret_reject)
{
	enum http_field_id id = http_field_id_of(name);

	if ((GUARDED_IDS >> id) & 1)
		return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "Connection names a guarded field");
	if (id != HTTP_FIELD_OTHER) {
		/* The codec's own: judged later and never sent on as they are. */
		if (id != HTTP_FIELD_UPGRADE && id != HTTP_FIELD_TE)
			http_head_remove(head, id);
		return 0;
	}
	for (uint16_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == HTTP_FIELD_OTHER && str_eq_nocase(head->fields[i].name, name))
			head->fields[i].removed = true;
	return 0;
}

static int connection_option(struct http_head *head, struct str option, struct h1_connection *c,
			     struct h1_reject *ret_reject)
{
	if (str_eq_nocase(option, STR("close"))) {
		c->close = true;
		return 0;
	}
	if (str_eq_nocase(option, STR("keep-alive"))) {
		c->keep_alive = true;
		return 0;
	}
	if (str_eq_nocase(option, STR("upgrade")))
		c->upgrade = true;
	return strike_named(head, option, ret_reject);
}

int h1_connection_read(struct http_head *head, struct h1_connection *ret, struct h1_reject *ret_reject)
{
	unsigned n_options = 0;
	struct str rest, option;
	int r;

	*ret = (struct h1_connection){ 0 };
	if (!h1_has(head, HTTP_FIELD_CONNECTION))
		return 0;
	for (uint16_t i = 0; i < head->n_fields; i++) {
		if (head->fields[i].id != HTTP_FIELD_CONNECTION)
			continue;
		rest = head->fields[i].value;
		while (str_split(&rest, ',', &option)) {
			option = str_trim_ows(option);
			if (++n_options > CONNECTION_OPTIONS_MAX)
				return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "too many Connection options");
			if (!option.n)
				continue;
			if (!is_token(option))
				return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bad Connection option");
			r = connection_option(head, option, ret, ret_reject);
			if (r)
				return r;
		}
	}
	return 0;
}

/* RFC 9112 section 6.1 and 6.3, without any of the mending they allow. */
int h1_length_read(struct http_head *head, struct h1_reject *ret_reject)
{
	const struct http_field *te, *cl;
	struct str v;

	head->body = HTTP_BODY_NONE;
	te = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
	cl = http_head_find(head, HTTP_FIELD_CONTENT_LENGTH);
	if (te) {
		if (cl)
			return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING,
					 "Content-Length and Transfer-Encoding together");
		if (head->version == HTTP_1_0)
			return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "Transfer-Encoding in HTTP/1.0");
		if (!str_eq_nocase(te->value, STR("chunked")))
			return h1_refuse(ret_reject, is_token(te->value) ? 501 : 400, TRM_REASON_HTTP_FRAMING,
					 "Transfer-Encoding is not chunked alone");
		head->body = HTTP_BODY_CHUNKED;
		return 0;
	}
	if (!cl)
		return 0;
	v = cl->value;
	if (v.n > 19 || str_parse_u64(v, INT64_MAX, &head->body_bytes) < 0)
		return h1_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "bad Content-Length");
	head->body = HTTP_BODY_LENGTH;
	return 0;
}

bool h1_trailer_is_allowed(const struct http_field *f)
{
	/* RFC 9110 section 6.5.1: framing, routing, modifiers, authentication, content; and what identity is read from. */
	static const struct str forbidden[] = {
		{ "authorization", 13 }, { "proxy-authorization", 19 }, { "www-authenticate", 16 },
		{ "proxy-authenticate", 18 }, { "authentication-info", 19 }, { "proxy-authentication-info", 25 },
		{ "cookie", 6 }, { "set-cookie", 10 }, { "cache-control", 13 }, { "max-forwards", 12 },
		{ "content-encoding", 16 }, { "content-range", 13 }, { "content-location", 16 }, { "range", 5 },
		{ "if-match", 8 }, { "if-none-match", 13 }, { "if-modified-since", 17 }, { "if-unmodified-since", 19 },
		{ "if-range", 8 }, { "age", 3 }, { "expires", 7 }, { "location", 8 }, { "retry-after", 11 },
		{ "vary", 4 }, { "warning", 7 }, { "pragma", 6 }, { "origin", 6 }, { "referer", 7 },
		{ "method", 6 }, { "path", 4 }, { "authority", 9 }, { "scheme", 6 }, { "status", 6 },
	};

	if (f->id != HTTP_FIELD_OTHER || f->removed || has_guarded_prefix(f->name))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (str_eq_nocase(f->name, forbidden[i]))
			return false;
	return true;
}
