/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about fields that hold on every wire. Pure. */
#ifndef TRAMMEL_PROXY_HTTP_FIELD_RULES_H
#define TRAMMEL_PROXY_HTTP_FIELD_RULES_H

#include "proxy/http/head.h"

/** http_field_is_guarded() - is a message framed, routed or judged by it? Then neither Connection nor a trailer may touch it */
bool http_field_is_guarded(enum http_field_id id);

/** http_name_poses() - would a reader that takes '_' for '-' see a field of framing, routing or identity in @name? */
bool http_name_poses(struct str name);

/** http_trailer_is_allowed() - may @f stand behind a body? Framing, routing, identity and caching fields may not */
bool http_trailer_is_allowed(const struct http_field *f);

/** http_list_has() - does the comma-separated @list hold @token, in either case? */
bool http_list_has(struct str list, struct str token);

/**
 * http_expect_read() - a request's Expect, once its version and body are known
 *
 * Sets expect_continue, or strikes the field out where there is nothing to wait for. Return: 0, HTTP_E_REJECT (417).
 */
MUST_CHECK int http_expect_read(struct http_head *head, struct http_reject *ret_reject);

#endif
