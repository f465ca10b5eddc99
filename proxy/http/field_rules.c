/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about fields that hold on every wire: see field_rules.h. */
#include "proxy/http/field_rules.h"

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
bool http_name_poses(struct str name)
{
	char text[64];
	struct str mapped = { text, MIN(name.n, sizeof(text)) };

	for (size_t i = 0; i < mapped.n; i++)
		text[i] = name.p[i] == '_' ? '-' : name.p[i];
	return (UNDERSCORE_IDS >> http_field_id_of(mapped)) & 1 || has_guarded_prefix(mapped);
}

bool http_field_is_guarded(enum http_field_id id)
{
	return (GUARDED_IDS >> id) & 1;
}

bool http_list_has(struct str list, struct str token)
{
	struct str part;

	while (str_split(&list, ',', &part))
		if (str_eq_nocase(str_trim_ows(part), token))
			return true;
	return false;
}

bool http_trailer_is_allowed(const struct http_field *f)
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

int http_expect_read(struct http_head *head, struct http_reject *ret_reject)
{
	const struct http_field *f = http_head_find(head, HTTP_FIELD_EXPECT);

	if (!f)
		return 0;
	/* RFC 9110 section 10.1.1: nothing to expect in HTTP/1.0 or without a body */
	if (head->version == HTTP_1_0) {
		http_head_remove(head, HTTP_FIELD_EXPECT);
		return 0;
	}
	for (uint16_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == HTTP_FIELD_EXPECT && !head->fields[i].removed &&
		    !str_eq_nocase(head->fields[i].value, STR("100-continue")))
			return http_refuse(ret_reject, 417, TRM_REASON_HTTP_SYNTAX, "unknown expectation");
	if (head->body == HTTP_BODY_NONE || (head->body == HTTP_BODY_LENGTH && !head->body_bytes))
		http_head_remove(head, HTTP_FIELD_EXPECT);
	else
		head->expect_continue = true;
	return 0;
}
