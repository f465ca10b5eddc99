/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 fields coming in: see h2_head.h. */
#include "proxy/http/h2_head.h"

#include <errno.h>
#include "proxy/http/field_rules.h"
#include "proxy/http/uri.h"

#define METHOD_BYTES_MAX 32
#define TARGET_BYTES_MAX (16 * 1024)

struct h2_crumb {
	struct h2_crumb *next;
	struct str text;
};

void h2_head_in_begin(struct h2_head_in *in, struct http_head *head, struct pool *pool)
{
	*in = (struct h2_head_in){ .head = head, .pool = pool };
	if (head)
		*head = (struct http_head){ .fields = head->fields, .cap_fields = head->cap_fields, .version = HTTP_2,
					    .keep_alive = true };
}

/* The first fault counts. */
static void refuse(struct h2_head_in *in, uint16_t status, enum trm_reason reason, const char *what)
{
	if (!in->reject.status)
		(void)!http_refuse(&in->reject, status, reason, what);
}

static int pseudo_add(struct h2_head_in *in, struct str name, struct str value)
{
	struct http_head *h = in->head;
	struct str kept = pool_str_dup(in->pool, value);
	uint64_t status;

	if (!kept.p)
		return -ENOMEM;
	if (str_eq(name, STR(":path")))
		h->target = kept;
	else if (str_eq(name, STR(":method")))
		h->method = kept;
	else if (str_eq(name, STR(":authority")))
		h->authority = kept;
	else if (str_eq(name, STR(":scheme")))
		in->scheme = kept;
	else if (str_eq(name, STR(":protocol")))
		in->protocol = kept;
	else if (str_eq(name, STR(":status")) && str_parse_u64(value, 999, &status) == 0)
		h->status = (uint16_t)status;
	return 0;
}

/* The rule of HTTP/1.1, for what the same head has there: a request's Host is one field, its cookies are one. */
static void fields_count(struct h2_head_in *in)
{
	unsigned n = http_head_n_counted(in->head) + (in->crumbs != NULL) + (in->head->method.n > 0);

	if (n > HTTP_FIELDS_MAX)
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "too many fields");
}

static int crumb_add(struct h2_head_in *in, struct str value)
{
	struct h2_crumb *c;

	if (++in->n_crumbs > H2_CRUMBS) {
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "too many cookie fields");
		return 0;
	}
	c = pool_alloc(in->pool, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct h2_crumb){ .text = pool_str_dup(in->pool, value) };
	if (!c->text.p)
		return -ENOMEM;
	if (in->crumbs_last)
		in->crumbs_last->next = c;
	else
		in->crumbs = c;
	in->crumbs_last = c;
	fields_count(in);
	return 0;
}

static int trailer_add(struct h2_head_in *in, struct str name, struct str value)
{
	struct http_field f = { .name = name, .value = value, .id = (uint16_t)http_field_id_of(name) };

	if (in->bytes > H2_TRAILER_BYTES || in->n_trailers >= H2_TRAILERS) {
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "trailers over the limit");
		return 0;
	}
	if (!http_trailer_is_allowed(&f))
		return 0;
	if (!in->trailers)
		in->trailers = pool_alloc(in->pool, H2_TRAILERS * sizeof(*in->trailers));
	if (!in->trailers)
		return -ENOMEM;
	f.name = pool_str_dup(in->pool, name);
	f.value = pool_str_dup(in->pool, value);
	if (!f.name.p || !f.value.p)
		return -ENOMEM;
	in->trailers[in->n_trailers++] = f;
	return 0;
}

/* The owner's room for fields is a bound, too. */
static void kept_add(struct h2_head_in *in, enum http_field_id id, struct str name, struct str value)
{
	if (http_head_add(in->head, id, name, value) < 0)
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "too many fields");
}

static int field_add(struct h2_head_in *in, struct str name, struct str value)
{
	struct http_head *h = in->head;
	enum http_field_id id = http_field_id_of(name);
	struct str n, v;

	if (id == HTTP_FIELD_OTHER && str_eq(name, STR("cookie")))
		return crumb_add(in, value);
	if (memchr(name.p, '_', name.n) && http_name_poses(name)) {
		refuse(in, 400, TRM_REASON_HTTP_SYNTAX, "underscore in a guarded field name");
		return 0;
	}
	n = pool_str_dup(in->pool, name);
	v = pool_str_dup(in->pool, value);
	if (!n.p || !v.p)
		return -ENOMEM;
	if (id == HTTP_FIELD_HOST) {
		if (in->has_host)
			refuse(in, 400, TRM_REASON_HTTP_HOST, "two Host fields");
		in->has_host = true;
		in->host = v;
		return 0;
	}
	if (id == HTTP_FIELD_CONTENT_LENGTH) {
		if (in->has_length || v.n > 19 || str_parse_u64(v, INT64_MAX, &h->body_bytes) < 0)
			in->malformed = true;
		in->has_length = true;
	}
	kept_add(in, id, n, v);
	fields_count(in);
	return 0;
}

/* Is it memory that is out, or the peer's share of it? */
static bool pool_has_room(const struct h2_head_in *in, size_t n)
{
	return in->pool->used_bytes + n <= in->pool->max_bytes;
}

int h2_head_in_add(struct h2_head_in *in, struct str name, struct str value)
{
	int r;

	in->bytes += (uint32_t)MIN(name.n + value.n + 32, (size_t)H2_HEAD_BYTES_LAST);
	if (in->bytes > H2_HEAD_BYTES_LAST)
		return HTTP_E_REJECT;
	if (in->bytes > H2_HEAD_BYTES)
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "head is too long");
	else if (name.n + value.n + 2 > H2_LINE_BYTES)
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "field is too long");
	if (in->reject.status || in->malformed)
		return 0;
	if (!name.p || !name.n)
		return 0;
	if (!value.p)
		value = STR("");
	if (!in->head && name.p[0] == ':')
		return HTTP_E_REJECT;
	r = !in->head ? trailer_add(in, name, value) : name.p[0] == ':' ? pseudo_add(in, name, value) : field_add(in, name, value);
	if (r == -ENOMEM && !pool_has_room(in, name.n + value.n + (in->head ? 64 : 64 + H2_TRAILERS * sizeof(*in->trailers)))) {
		refuse(in, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "head is too long");
		return 0;
	}
	return r;
}

/* RFC 9113 section 8.2.3: one field, joined by "; ". */
static int crumbs_join(struct h2_head_in *in)
{
	size_t n = 0;
	char *mem, *p;

	if (!in->crumbs)
		return 0;
	for (const struct h2_crumb *c = in->crumbs; c; c = c->next)
		n += c->text.n + 2;
	if (n + STR("cookie").n > H2_LINE_BYTES)
		return http_refuse(&in->reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "cookies are too long");
	mem = p = pool_alloc(in->pool, n);
	if (!mem && !pool_has_room(in, n))
		return http_refuse(&in->reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "cookies are too long");
	if (!mem)
		return -ENOMEM;
	for (const struct h2_crumb *c = in->crumbs; c; c = c->next) {
		p = mempcpy(p, c->text.p, c->text.n);
		if (c->next)
			p = mempcpy(p, "; ", 2);
	}
	kept_add(in, HTTP_FIELD_OTHER, STR("cookie"), (struct str){ mem, (size_t)(p - mem) });
	return in->reject.status ? HTTP_E_REJECT : 0;
}

/* :authority and Host must say the same (RFC 9113 section 8.3.1); one of them is enough. */
static int authority_read(struct h2_head_in *in)
{
	struct http_head *h = in->head;
	struct str port = str_eq_nocase(in->scheme, STR("https")) ? STR(":443") : STR(":80");

	if (h->authority.n && !uri_authority_is_valid(h->authority))
		return http_refuse(&in->reject, 400, TRM_REASON_HTTP_HOST, "bad :authority");
	if (in->has_host && !uri_authority_is_valid(in->host))
		return http_refuse(&in->reject, 400, TRM_REASON_HTTP_HOST, "bad Host");
	if (!h->authority.n) {
		if (!in->has_host)
			return http_refuse(&in->reject, 400, TRM_REASON_HTTP_HOST, ":authority is missing");
		h->authority = in->host;
		return 0;
	}
	if (in->has_host && !uri_authority_is_same(h->authority, in->host, port))
		return http_refuse(&in->reject, 400, TRM_REASON_HTTP_HOST, "Host differs from :authority");
	return 0;
}

static int method_read(struct h2_head_in *in)
{
	struct http_head *h = in->head;

	if (h->method.n > METHOD_BYTES_MAX)
		return http_refuse(&in->reject, 501, TRM_REASON_HTTP_METHOD, "method is too long");
	if (str_eq(h->method, STR("TRACE")))
		return http_refuse(&in->reject, 405, TRM_REASON_HTTP_METHOD, "TRACE");
	h->is_head = str_eq(h->method, STR("HEAD"));
	if (!str_eq(h->method, STR("CONNECT")))
		return 0;
	if (!in->protocol.n) {
		h->is_connect = true;
		return 0;
	}
	/* RFC 8441 section 4: what a GET with Upgrade is in HTTP/1.1 */
	if (!str_eq_nocase(in->protocol, STR("websocket")))
		return http_refuse(&in->reject, 501, TRM_REASON_HTTP_UPGRADE, "extended CONNECT to another protocol");
	h->method = STR("GET");
	h->upgrade = in->protocol;
	return 0;
}

static int path_read(struct h2_head_in *in)
{
	struct http_head *h = in->head;

	if (h->is_connect) {
		h->target = h->authority;
		return 0;
	}
	if (!str_eq_nocase(in->scheme, STR("http")) && !str_eq_nocase(in->scheme, STR("https")))
		return http_refuse(&in->reject, 400, TRM_REASON_HTTP_SYNTAX, "bad :scheme");
	if (h->target.n > TARGET_BYTES_MAX)
		return http_refuse(&in->reject, 414, TRM_REASON_HTTP_TARGET_TOO_LONG, "request target is too long");
	if (str_eq(h->target, STR("*"))) {
		if (!str_eq(h->method, STR("OPTIONS")))
			return http_refuse(&in->reject, 400, TRM_REASON_HTTP_SYNTAX, "asterisk-form without OPTIONS");
		h->path = h->target;
		return 0;
	}
	if (!h->target.n || h->target.p[0] != '/')
		return http_refuse(&in->reject, 400, TRM_REASON_HTTP_SYNTAX, "bad :path");
	return uri_path_normalise(in->pool, h->target, &h->path, &in->reject);
}

int h2_head_in_request(struct h2_head_in *in, bool ends)
{
	struct http_head *h = in->head;
	int r;

	if (in->malformed || in->reject.status)
		return HTTP_E_REJECT;
	r = method_read(in);
	if (r == 0)
		r = authority_read(in);
	if (r == 0)
		r = path_read(in);
	if (r == 0)
		r = crumbs_join(in);
	if (r)
		return r;
	if (h->upgrade.n) {
		h->body = HTTP_BODY_NONE; /* what follows is the tunnel's, once it is answered */
		if (ends || in->has_length) {
			in->malformed = true;
			return HTTP_E_REJECT;
		}
	} else {
		h->body = in->has_length ? HTTP_BODY_LENGTH : ends ? HTTP_BODY_NONE : HTTP_BODY_CHUNKED;
	}
	return http_expect_read(h, &in->reject);
}

int h2_head_in_response(struct h2_head_in *in, const struct h1_asked *asked, bool ends)
{
	struct http_head *h = in->head;
	int r;

	if (in->malformed || in->reject.status)
		return HTTP_E_REJECT;
	/* RFC 9113 section 8.6: 101 has no meaning here */
	if (h->status < 100 || h->status > 599 || h->status == 101)
		return http_refuse(&in->reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "bad :status");
	r = crumbs_join(in);
	if (r)
		return r;
	h->phrase = str_from(http_status_phrase(h->status));
	h->is_head = asked->is_head;
	h->is_connect = asked->is_connect;
	if (h->status < 200) {
		if (ends)
			return http_refuse(&in->reject, 502, TRM_REASON_HTTP_UPSTREAM_MALFORMED, "interim response ends the stream");
		h->body = HTTP_BODY_NONE;
		return 0;
	}
	if (h->status < 300 && (asked->upgrade.n || asked->is_connect)) {
		h->body = HTTP_BODY_TUNNEL;
		if (asked->upgrade.n) {
			h->status = 101;
			h->phrase = str_from(http_status_phrase(101));
			h->upgrade = asked->upgrade;
		}
		return 0;
	}
	if (ends || asked->is_head || h->status == 204 || h->status == 304)
		h->body = HTTP_BODY_NONE;
	else
		h->body = in->has_length ? HTTP_BODY_LENGTH : HTTP_BODY_CHUNKED;
	return 0;
}
