/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: response heads
 *
 * What a response's body is depends on the request (RFC 9112 section 6.3), so the parser is told of it. Every refusal
 * is 502: the connection it came from is never used again.
 */
#include "proxy/http/h1_lex.h"

static int status_line(struct str line, struct http_head *head, struct http_reject *ret_reject)
{
	const char *p = line.p;

	*head = (struct http_head){ .fields = head->fields, .cap_fields = head->cap_fields };
	if (line.n < 12 || memcmp(p, "HTTP/1.", 7) || (p[7] != '0' && p[7] != '1') || p[8] != ' ')
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "bad status line");
	if (!(lex(p[9]) & lex(p[10]) & lex(p[11]) & LEX_DIGIT))
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "bad status line");
	head->version = p[7] == '1' ? HTTP_1_1 : HTTP_1_0;
	head->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
	if (head->status < 100 || head->status > 599)
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "status out of range");
	/* The space in front of an empty phrase is often forgotten, and nothing hangs on it. */
	if (line.n > 12 && p[12] != ' ')
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "bad status line");
	if (line.n > 13)
		head->phrase = (struct str){ p + 13, line.n - 13 };
	return 0;
}

/* 101 is good only as the answer to what was asked for (RFC 9110 section 15.2.2). */
static int switching(const struct h1_asked *asked, const struct h1_connection *c, struct http_head *head,
		     struct http_reject *ret_reject)
{
	const struct http_field *f = http_head_find(head, HTTP_FIELD_UPGRADE);

	if (!asked->upgrade.n)
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPGRADE, "101 without an Upgrade asked for");
	if (!f || !c->upgrade || !str_eq_nocase(f->value, asked->upgrade))
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPGRADE, "101 to another protocol");
	if (head->body != HTTP_BODY_NONE)
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_FRAMING, "101 with a body");
	head->upgrade = f->value;
	head->body = HTTP_BODY_TUNNEL;
	return 0;
}

/* RFC 9112 section 6.3: which body follows? */
static int response_body(const struct h1_asked *asked, const struct h1_connection *c, struct http_head *head,
			 struct http_reject *ret_reject)
{
	bool has_body = head->body == HTTP_BODY_CHUNKED || (head->body == HTTP_BODY_LENGTH && head->body_bytes);

	if (head->status == 101)
		return switching(asked, c, head, ret_reject);
	if (head->status < 200 || head->status == 204) {
		if (has_body)
			return http_refuse(ret_reject, 502, TRM_REASON_HTTP_FRAMING, "body on a status without one");
		head->body = HTTP_BODY_NONE;
		return 0;
	}
	if (asked->is_connect && head->status < 300) {
		if (has_body)
			return http_refuse(ret_reject, 502, TRM_REASON_HTTP_FRAMING, "body on a 2xx to CONNECT");
		head->body = HTTP_BODY_TUNNEL;
		return 0;
	}
	if (asked->is_head || head->status == 304) {
		head->body = HTTP_BODY_NONE;
		return 0;
	}
	if (head->body == HTTP_BODY_NONE) {
		head->body = HTTP_BODY_UNTIL_CLOSE;
		head->keep_alive = false;
	}
	return 0;
}

static int response_finish(struct h1_parser *p, const struct h1_asked *asked, struct http_head *head,
			   struct http_reject *ret_reject)
{
	struct h1_connection c;
	int r;

	r = h1_length_read(head, ret_reject);
	if (r)
		return r;
	r = h1_connection_read(head, &c, ret_reject);
	if (r)
		return r;
	head->is_head = asked->is_head;
	head->is_connect = asked->is_connect;
	head->keep_alive = !c.close && (head->version == HTTP_1_1 || c.keep_alive);
	r = response_body(asked, &c, head, ret_reject);
	if (r)
		return r;
	if (head->status >= 200 || head->status == 101) {
		p->n_interim = 0;
		return 0;
	}
	if (++p->n_interim > p->limits->interim)
		return http_refuse(ret_reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "too many interim responses");
	return 0;
}

static int response_read(struct h1_parser *p, const struct h1_asked *asked, struct str input, struct http_head *head,
			 size_t *ret_consumed, struct http_reject *ret_reject)
{
	struct str line;
	int r;

	h1_parser_enter(p, input, head);
	if (p->phase == H1_PHASE_START) {
		r = h1_line_read(p, input, p->limits->line_bytes, 431, &line, ret_reject);
		if (r)
			return r;
		r = status_line(line, head, ret_reject);
		if (r)
			return r;
		p->phase = H1_PHASE_FIELDS;
	}
	r = h1_fields_read(p, input, head, ret_consumed, ret_reject);
	if (r)
		return r;
	return response_finish(p, asked, head, ret_reject);
}

int h1_response_parse(struct h1_parser *p, const struct h1_asked *asked, struct str input, struct http_head *head,
		      size_t *ret_consumed, struct http_reject *ret_reject)
{
	size_t consumed;
	int r = response_read(p, asked, h1_input(input), head, &consumed, ret_reject);

	if (r == HTTP_E_MORE)
		return r;
	h1_parser_reset(p);
	if (r == HTTP_E_REJECT) {
		p->n_interim = 0;
		ret_reject->status = 502;
		if (ret_reject->reason != TRM_REASON_HTTP_UPGRADE)
			ret_reject->reason = TRM_REASON_HTTP_UPSTREAM_MALFORMED;
	}
	if (!r)
		*ret_consumed = consumed;
	return r;
}
