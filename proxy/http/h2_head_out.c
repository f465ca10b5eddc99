/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 fields going out: see h2_head.h. */
#include <errno.h>
#include "proxy/http/field_rules.h"
#include "proxy/http/h2_head.h"
#include "proxy/http/lex.h"

/* RFC 9113 section 8.2.2: fields of one connection; and what is written from what is really sent. */
#define HOP_IDS                                                                                                        \
	(1ull << HTTP_FIELD_CONNECTION | 1ull << HTTP_FIELD_KEEP_ALIVE | 1ull << HTTP_FIELD_PROXY_CONNECTION |         \
	 1ull << HTTP_FIELD_UPGRADE | 1ull << HTTP_FIELD_TE | 1ull << HTTP_FIELD_HTTP2_SETTINGS |                      \
	 1ull << HTTP_FIELD_CONTENT_LENGTH | 1ull << HTTP_FIELD_TRANSFER_ENCODING | 1ull << HTTP_FIELD_HOST)

/* Other in every request: an entry of the table would serve nobody. */
#define UNIQUE_IDS                                                                                                     \
	(1ull << HTTP_FIELD_TRACEPARENT | 1ull << HTTP_FIELD_X_REQUEST_ID | 1ull << HTTP_FIELD_B3 |                    \
	 1ull << HTTP_FIELD_X_B3_SPANID | 1ull << HTTP_FIELD_X_B3_TRACEID | 1ull << HTTP_FIELD_X_B3_PARENTSPANID)

static void put(struct h2_head_out *out, struct str name, struct str value, uint8_t flags)
{
	out->nv[out->n++] = (nghttp2_nv){ (uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n, flags };
}

/* nghttp2 puts names in lower case. The handshake of WebSocket over HTTP/1.1 has no meaning here (RFC 8441 section 5). */
static bool is_left_out(const struct http_head *head, const struct http_field *f)
{
	if (f->removed || (HOP_IDS >> f->id) & 1)
		return true;
	return head->upgrade.n && f->id == HTTP_FIELD_OTHER &&
	       (str_eq_nocase(f->name, STR("sec-websocket-key")) || str_eq_nocase(f->name, STR("sec-websocket-accept")));
}

static int fields_put(struct h2_head_out *out, const struct http_head *head)
{
	for (uint16_t i = 0; i < head->n_fields; i++) {
		const struct http_field *f = &head->fields[i];

		if (is_left_out(head, f))
			continue;
		if (out->n + 2 > H2_NV_MAX || !f->name.n || lex_ctl_find(f->value.p, f->value.p + f->value.n) != f->value.p + f->value.n)
			return -EINVAL;
		put(out, f->name, f->value, (UNIQUE_IDS >> f->id) & 1 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);
	}
	return 0;
}

static bool wants_trailers(const struct http_head *head)
{
	for (uint16_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == HTTP_FIELD_TE && !head->fields[i].removed &&
		    http_list_has(head->fields[i].value, STR("trailers")))
			return true;
	return false;
}

int h2_head_out_request(struct h2_head_out *out, const struct http_head *head)
{
	int r;

	out->n = 0;
	if (head->upgrade.n) {
		put(out, STR(":method"), STR("CONNECT"), NGHTTP2_NV_FLAG_NONE);
		put(out, STR(":protocol"), head->upgrade, NGHTTP2_NV_FLAG_NONE);
	} else {
		put(out, STR(":method"), head->method, NGHTTP2_NV_FLAG_NONE);
	}
	if (!head->is_connect) {
		put(out, STR(":scheme"), head->is_https ? STR("https") : STR("http"), NGHTTP2_NV_FLAG_NONE);
		put(out, STR(":path"), head->path, NGHTTP2_NV_FLAG_NONE);
	}
	put(out, STR(":authority"), head->authority, NGHTTP2_NV_FLAG_NONE);
	r = fields_put(out, head);
	if (r < 0)
		return r;
	if (http_head_has(head, HTTP_FIELD_TE) && wants_trailers(head))
		put(out, STR("te"), STR("trailers"), NGHTTP2_NV_FLAG_NONE);
	if (head->body == HTTP_BODY_LENGTH)
		put(out, STR("content-length"), str_format_u64(out->text, head->body_bytes), NGHTTP2_NV_FLAG_NONE);
	return 0;
}

int h2_head_out_response(struct h2_head_out *out, const struct http_head *head)
{
	const struct http_field *length = http_head_find(head, HTTP_FIELD_CONTENT_LENGTH);
	int r;

	out->n = 0;
	if (head->status < 100 || head->status > 599)
		return -EINVAL;
	put(out, STR(":status"), str_format_u64(out->status, head->status == 101 ? 200 : head->status), NGHTTP2_NV_FLAG_NONE);
	r = fields_put(out, head);
	if (r < 0)
		return r;
	if (head->body == HTTP_BODY_LENGTH)
		put(out, STR("content-length"), str_format_u64(out->text, head->body_bytes), NGHTTP2_NV_FLAG_NONE);
	else if (head->body == HTTP_BODY_NONE && length && head->status >= 200 && head->status != 204)
		put(out, STR("content-length"), length->value, NGHTTP2_NV_FLAG_NONE);
	return 0;
}
