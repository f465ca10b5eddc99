/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: rules about fields
 *
 * Splitting a field line, what Connection says, and which length a message has.
 */
#include "proxy/http/h1_lex.h"

#define CONNECTION_OPTIONS_MAX 32

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

int h1_field_split(struct str line, struct http_field *ret, struct http_reject *ret_reject)
{
	const char *p = line.p + plain_name_bytes(line), *end = line.p + line.n;
	uint8_t seen = 0, c = 0;

	/* RFC 9112 section 5.1: no white space before the colon; section 5.2: no folded lines. */
	while (p < end && ((c = lex(*p)) & LEX_TOKEN)) {
		seen |= c;
		p++;
	}
	if (UNLIKELY(p == line.p || p == end || *p != ':'))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX,
				 *line.p == ' ' || *line.p == '\t' ? "folded line" : "bad field name");
	ret->name = (struct str){ line.p, (size_t)(p - line.p) };
	ret->id = (uint16_t)http_field_id_of(ret->name);
	ret->removed = false;
	if (UNLIKELY(seen & LEX_UNDERSCORE) && http_name_poses(ret->name))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "underscore in a guarded field name");
	p++;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	ret->value = (struct str){ p, (size_t)(end - p) };
	return 0;
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(lex(s.p[i]) & LEX_TOKEN))
			return false;
	return s.n > 0;
}

/* RFC 9110 section 7.6.1: a field that Connection names ends at this hop. */
static int strike_named(struct http_head *head, struct str name, struct http_reject *ret_reject)
{
	enum http_field_id id = http_field_id_of(name);

	if (http_field_is_guarded(id))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "Connection names a guarded field");
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
			     struct http_reject *ret_reject)
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

int h1_connection_read(struct http_head *head, struct h1_connection *ret, struct http_reject *ret_reject)
{
	unsigned n_options = 0;
	struct str rest, option;
	int r;

	*ret = (struct h1_connection){ 0 };
	if (!http_head_has(head, HTTP_FIELD_CONNECTION))
		return 0;
	for (uint16_t i = 0; i < head->n_fields; i++) {
		if (head->fields[i].id != HTTP_FIELD_CONNECTION)
			continue;
		rest = head->fields[i].value;
		while (str_split(&rest, ',', &option)) {
			option = str_trim_ows(option);
			if (++n_options > CONNECTION_OPTIONS_MAX)
				return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "too many Connection options");
			if (!option.n)
				continue;
			if (!is_token(option))
				return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bad Connection option");
			r = connection_option(head, option, ret, ret_reject);
			if (r)
				return r;
		}
	}
	return 0;
}

/* RFC 9112 section 6.1 and 6.3, without any of the mending they allow. */
int h1_length_read(struct http_head *head, struct http_reject *ret_reject)
{
	const struct http_field *te, *cl;
	struct str v;

	head->body = HTTP_BODY_NONE;
	te = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
	cl = http_head_find(head, HTTP_FIELD_CONTENT_LENGTH);
	if (te) {
		if (cl)
			return http_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING,
					 "Content-Length and Transfer-Encoding together");
		if (head->version == HTTP_1_0)
			return http_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "Transfer-Encoding in HTTP/1.0");
		if (!str_eq_nocase(te->value, STR("chunked")))
			return http_refuse(ret_reject, is_token(te->value) ? 501 : 400, TRM_REASON_HTTP_FRAMING,
					 "Transfer-Encoding is not chunked alone");
		head->body = HTTP_BODY_CHUNKED;
		return 0;
	}
	if (!cl)
		return 0;
	v = cl->value;
	if (v.n > 19 || str_parse_u64(v, INT64_MAX, &head->body_bytes) < 0)
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "bad Content-Length");
	head->body = HTTP_BODY_LENGTH;
	return 0;
}
