/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: limits, and the line reader under both head parsers
 *
 * A head is read line by line. A line is looked at for control bytes sixteen at a time (SSE2; eight without it) and
 * split once it is whole; the parser remembers how far it has looked, so that a head that comes byte by byte costs
 * hardly more than one that comes at once. Only CRLF ends a line: a bare CR or LF is refused where it stands.
 */
#include "proxy/http/h1_lex.h"

const struct h1_limits h1_limits_default = {
	.head_bytes = 64 * 1024,
	.line_bytes = 32 * 1024,
	.target_bytes = 16 * 1024,
	.fields = HTTP_FIELDS_MAX,
	.chunk_line_bytes = 256,
	.chunk_ext_bytes = 16 * 1024,
	.trailer_bytes = 8 * 1024,
	.trailer_fields = 20,
	.interim = 10,
	.upgrade = H1_UPGRADE_WEBSOCKET,
};

void h1_parser_init(struct h1_parser *p, const struct h1_limits *limits)
{
	*p = (struct h1_parser){ .limits = limits ? limits : &h1_limits_default };
}

void h1_parser_reset(struct h1_parser *p)
{
	p->phase = H1_PHASE_START;
	p->line_at = p->scan_at = 0;
	p->n_blank = 0;
}

static void str_follow(struct str *s, uintptr_t from, uint32_t len, const char *to)
{
	uintptr_t at = (uintptr_t)s->p;

	if (at >= from && at - from <= len)
		s->p = to + (at - from);
}

void h1_parser_enter(struct h1_parser *p, struct str input, struct http_head *head)
{
	uintptr_t was = p->base;

	p->base = (uintptr_t)input.p;
	if (p->phase == H1_PHASE_START || was == p->base)
		return;
	str_follow(&head->method, was, p->line_at, input.p);
	str_follow(&head->target, was, p->line_at, input.p);
	str_follow(&head->path, was, p->line_at, input.p);
	str_follow(&head->authority, was, p->line_at, input.p);
	str_follow(&head->phrase, was, p->line_at, input.p);
	for (uint16_t i = 0; i < head->n_fields; i++) {
		str_follow(&head->fields[i].name, was, p->line_at, input.p);
		str_follow(&head->fields[i].value, was, p->line_at, input.p);
	}
}

int h1_line_read(struct h1_parser *p, struct str input, uint32_t max, uint16_t too_long, struct str *ret_line,
		 struct http_reject *ret_reject)
{
	const char *start = input.p + p->line_at;
	const char *end = input.p + MIN(input.n, (size_t)p->limits->head_bytes + 2);
	const char *at = lex_ctl_find(input.p + p->scan_at, end);

	/* The limits come before the byte found, so that a head is refused alike however it is cut. */
	if ((size_t)(at - start) > max)
		return http_refuse(ret_reject, too_long,
				 too_long == 414 ? TRM_REASON_HTTP_TARGET_TOO_LONG : TRM_REASON_HTTP_HEADERS_TOO_LARGE,
				 "line is too long");
	if ((size_t)(at - input.p) > p->limits->head_bytes)
		return http_refuse(ret_reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "head is too long");
	p->scan_at = (uint32_t)(at - input.p);
	if (at == end)
		return HTTP_E_MORE;
	if (*at != '\r')
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, *at == '\n' ? "bare LF" : "control character");
	if (at + 1 == end)
		return HTTP_E_MORE;
	if (at[1] != '\n')
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bare CR");
	*ret_line = (struct str){ start, (size_t)(at - start) };
	p->line_at = p->scan_at = (uint32_t)(at + 2 - input.p);
	return 0;
}

int h1_fields_read(struct h1_parser *p, struct str input, struct http_head *head, size_t *ret_consumed,
		   struct http_reject *ret_reject)
{
	struct str line;
	int r;

	for (;;) {
		struct http_field *f = &head->fields[head->n_fields];

		r = h1_line_read(p, input, p->limits->line_bytes, 431, &line, ret_reject);
		if (r)
			return r;
		if (!line.n) {
			*ret_consumed = p->line_at;
			return 0;
		}
		if (UNLIKELY(head->n_fields >= head->cap_fields))
			return http_refuse(ret_reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "too many fields");
		r = h1_field_split(line, f, ret_reject);
		if (r)
			return r;
		if (UNLIKELY(head->known & (1ull << f->id) & H1_SINGLETONS))
			return http_refuse(ret_reject, 400,
					 f->id == HTTP_FIELD_HOST ? TRM_REASON_HTTP_HOST : TRM_REASON_HTTP_FRAMING,
					 "field is repeated");
		head->known |= 1ull << f->id;
		head->n_fields++;
		if (UNLIKELY(head->n_fields > p->limits->fields) && http_head_n_counted(head) > p->limits->fields)
			return http_refuse(ret_reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "too many fields");
	}
}
