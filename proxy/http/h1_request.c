/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: request heads
 *
 * The request line and each field line are judged as they become whole; what needs the whole head (Host, length,
 * Connection, Upgrade, Expect) at its end.
 */
#include "proxy/http/h1_lex.h"

#include <errno.h>
#include "base/addr.h"

#define METHOD_BYTES_MAX 32
#define VERSION_BYTES	 9 /* " HTTP/1.1" */

/* "http://authority/path": RFC 9112 section 3.2.2. The authority is compared with Host at the end of the head. */
static int absolute_form(struct http_head *head, struct str *ret_path, struct http_reject *ret_reject)
{
	struct str t = head->target;
	size_t at, slash;

	if (t.n > 7 && str_eq_nocase((struct str){ t.p, 7 }, STR("http://")))
		at = 7;
	else if (t.n > 8 && str_eq_nocase((struct str){ t.p, 8 }, STR("https://")))
		at = 8;
	else
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bad request target");
	slash = at;
	while (slash < t.n && t.p[slash] != '/' && t.p[slash] != '?')
		slash++;
	head->authority = (struct str){ t.p + at, slash - at };
	if (!uri_authority_is_valid(head->authority))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_HOST, "bad authority in request target");
	*ret_path = (struct str){ t.p + slash, t.n - slash };
	return 0;
}

/* RFC 9112 section 3.2.2 with a query alone: "http://a?q" asks for "/?q". */
static int path_rooted(struct pool *pool, struct str *path)
{
	char *mem;

	if (!path->n) {
		*path = STR("/");
		return 0;
	}
	if (path->p[0] == '/')
		return 0;
	mem = pool_alloc(pool, path->n + 1);
	if (!mem)
		return -ENOMEM;
	mem[0] = '/';
	memcpy(mem + 1, path->p, path->n);
	*path = (struct str){ mem, path->n + 1 };
	return 0;
}

/* RFC 9112 section 3.2: which form, and is it this method's? */
static int target_read(struct pool *pool, struct http_head *head, struct http_reject *ret_reject)
{
	struct str path = head->target;
	int r;

	if (head->is_connect) {
		if (!uri_authority_is_valid(path) || str_find_char(path, ':') < 0)
			return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bad CONNECT target");
		head->authority = path;
		return 0;
	}
	if (path.n == 1 && path.p[0] == '*') {
		if (!str_eq(head->method, STR("OPTIONS")))
			return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "asterisk-form without OPTIONS");
		head->path = path;
		return 0;
	}
	if (path.n == 0 || path.p[0] != '/') {
		r = absolute_form(head, &path, ret_reject);
		if (r)
			return r;
		r = path_rooted(pool, &path);
		if (r)
			return r;
	}
	return uri_path_normalise(pool, path, &head->path, ret_reject);
}

static int method_read(const struct h1_limits *limits, struct http_head *head, struct http_reject *ret_reject)
{
	struct str m = head->method;

	if (m.n > METHOD_BYTES_MAX)
		return http_refuse(ret_reject, 501, TRM_REASON_HTTP_METHOD, "method is too long");
	switch (m.n) {
	case 4:
		head->is_head = !memcmp(m.p, "HEAD", 4);
		break;
	case 5:
		if (!memcmp(m.p, "TRACE", 5))
			return http_refuse(ret_reject, 405, TRM_REASON_HTTP_METHOD, "TRACE");
		break;
	case 7:
		head->is_connect = !memcmp(m.p, "CONNECT", 7);
		if (head->is_connect && !limits->allow_connect)
			return http_refuse(ret_reject, 405, TRM_REASON_HTTP_METHOD, "CONNECT");
		break;
	}
	return 0;
}

/* @v: " HTTP/1.1", already known to begin with a space */
static int version_read(const char *v, struct http_head *head, struct http_reject *ret_reject)
{
	if (LIKELY(!memcmp(v, " HTTP/1.1", VERSION_BYTES)))
		head->version = HTTP_1_1;
	else if (!memcmp(v, " HTTP/1.0", VERSION_BYTES))
		head->version = HTTP_1_0;
	else
		return http_refuse(ret_reject, 505, TRM_REASON_HTTP_VERSION, "HTTP version is not 1.0 or 1.1");
	return 0;
}

static int request_line(struct h1_parser *p, struct pool *pool, struct str line, struct http_head *head,
			struct http_reject *ret_reject)
{
	const char *sp = line.p, *end = line.p + line.n, *v = end - VERSION_BYTES;
	int r;

	*head = (struct http_head){ .fields = head->fields, .cap_fields = head->cap_fields };
	while (sp < end && lex(*sp) & LEX_TOKEN)
		sp++;
	if (sp == line.p || sp == end || *sp != ' ')
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bad method");
	/* RFC 9112 section 2.3: the name is case-sensitive, one digit on each side of the dot */
	if (v <= sp || memcmp(v, " HTTP/", 6) || !(lex(v[6]) & LEX_DIGIT) || v[7] != '.' || !(lex(v[8]) & LEX_DIGIT))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "bad request line");
	head->method = (struct str){ line.p, (size_t)(sp - line.p) };
	head->target = (struct str){ sp + 1, (size_t)(v - sp - 1) };
	if (head->target.n > p->limits->target_bytes)
		return http_refuse(ret_reject, 414, TRM_REASON_HTTP_TARGET_TOO_LONG, "request target is too long");
	r = method_read(p->limits, head, ret_reject);
	if (r)
		return r;
	r = target_read(pool, head, ret_reject);
	if (r)
		return r;
	return version_read(v, head, ret_reject);
}

static int host_read(struct http_head *head, struct http_reject *ret_reject)
{
	const struct http_field *host = http_head_find(head, HTTP_FIELD_HOST);
	struct str port = STR(":80");

	if (!host) {
		if (head->version == HTTP_1_1)
			return http_refuse(ret_reject, 400, TRM_REASON_HTTP_HOST, "Host is missing");
		return 0;
	}
	if (!uri_authority_is_valid(host->value))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_HOST, "bad Host");
	if (!head->authority.n) {
		head->authority = host->value;
		return 0;
	}
	if (head->target.n > 5 && (head->target.p[4] == 's' || head->target.p[4] == 'S'))
		port = STR(":443");
	if (!uri_authority_is_same(head->authority, host->value, port))
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_HOST, "Host differs from the request target");
	return 0;
}

/* RFC 9110 section 7.8. Asked for only by a GET without a body, in HTTP/1.1, with one token, named by Connection. */
static void upgrade_read(const struct h1_limits *limits, const struct h1_connection *c, struct http_head *head)
{
	const struct http_field *f = http_head_find(head, HTTP_FIELD_UPGRADE);
	struct str v;
	uint16_t n = 0;

	if (!f || !c->upgrade || limits->upgrade == H1_UPGRADE_NONE || head->version != HTTP_1_1 ||
	    head->body != HTTP_BODY_NONE || !str_eq(head->method, STR("GET")))
		return;
	for (uint16_t i = 0; i < head->n_fields; i++)
		n += head->fields[i].id == HTTP_FIELD_UPGRADE;
	v = f->value;
	if (n != 1 || !v.n)
		return;
	for (size_t i = 0; i < v.n; i++)
		if (!(lex(v.p[i]) & LEX_TOKEN) && v.p[i] != '/')
			return;
	if (limits->upgrade == H1_UPGRADE_WEBSOCKET) {
		if (!str_eq_nocase(v, STR("websocket")))
			return;
	} else if ((v.n >= 3 && str_eq_nocase((struct str){ v.p, 3 }, STR("h2c"))) ||
		   (v.n >= 4 && str_eq_nocase((struct str){ v.p, 4 }, STR("HTTP"))) ||
		   (v.n >= 3 && str_eq_nocase((struct str){ v.p, 3 }, STR("TLS")))) {
		return;
	}
	head->upgrade = v;
}

static int request_finish(struct h1_parser *p, struct http_head *head, struct http_reject *ret_reject)
{
	struct h1_connection c;
	int r;

	r = host_read(head, ret_reject);
	if (r)
		return r;
	r = h1_length_read(head, ret_reject);
	if (r)
		return r;
	if (head->is_connect && head->body != HTTP_BODY_NONE)
		return http_refuse(ret_reject, 400, TRM_REASON_HTTP_FRAMING, "CONNECT with a body");
	r = h1_connection_read(head, &c, ret_reject);
	if (r)
		return r;
	head->keep_alive = !c.close && (head->version == HTTP_1_1 || c.keep_alive);
	upgrade_read(p->limits, &c, head);
	return http_expect_read(head, ret_reject);
}

static int request_read(struct h1_parser *p, struct pool *pool, struct str input, struct http_head *head,
			size_t *ret_consumed, struct http_reject *ret_reject)
{
	struct str line;
	int r;

	h1_parser_enter(p, input, head);
	while (p->phase == H1_PHASE_START) {
		r = h1_line_read(p, input, p->limits->target_bytes + METHOD_BYTES_MAX + 1 + VERSION_BYTES, 414, &line,
				 ret_reject);
		if (r)
			return r;
		if (!line.n) {
			/* RFC 9112 section 2.2: one empty line before a request is an old client's habit */
			if (p->n_blank++)
				return http_refuse(ret_reject, 400, TRM_REASON_HTTP_SYNTAX, "empty lines before the request");
			continue;
		}
		r = request_line(p, pool, line, head, ret_reject);
		if (r)
			return r;
		p->phase = H1_PHASE_FIELDS;
	}
	r = h1_fields_read(p, input, head, ret_consumed, ret_reject);
	if (r)
		return r;
	return request_finish(p, head, ret_reject);
}

int h1_request_parse(struct h1_parser *p, struct pool *pool, struct str input, struct http_head *head,
		     size_t *ret_consumed, struct http_reject *ret_reject)
{
	size_t consumed;
	int r = request_read(p, pool, h1_input(input), head, &consumed, ret_reject);

	if (r == HTTP_E_MORE)
		return r;
	h1_parser_reset(p);
	if (!r)
		*ret_consumed = consumed;
	return r;
}
