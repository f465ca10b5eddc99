/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths and authorities: one spelling for each, whatever the wire
 *
 * Policy, route and upstream read the same bytes. Pure.
 */
#ifndef TRAMMEL_PROXY_HTTP_URI_H
#define TRAMMEL_PROXY_HTTP_URI_H

#include "base/cleanup.h"
#include "base/pool.h"
#include "proxy/http/head.h"

/**
 * uri_path_normalise() - path and query, in origin-form
 * @target:  begins with '/'
 * @ret:     borrowed from @target or @pool
 *
 * "." and ".." segments are resolved (above the root: 400), repeated slashes merged, percent-encoded unreserved
 * characters decoded, other triplets put in upper case (%2F stays %2F). Refused: controls, SP, bytes above 0x7e, '#',
 * '\\', %00-%1f, %7f, broken triplets, overlong UTF-8, dot segments next to %2F or %5C or with ';'. The query is kept
 * as it is.
 *
 * Return: 0, HTTP_E_REJECT, -ENOMEM.
 */
MUST_CHECK int uri_path_normalise(struct pool *pool, struct str target, struct str *ret, struct http_reject *ret_reject);

/** uri_authority_is_valid() - host[:port], RFC 3986 host names, IPv4 or [IPv6]; no user, no empty host or port */
bool uri_authority_is_valid(struct str authority);

/** uri_authority_is_same() - letters of either case; @default_port (":80", the scheme's own) may stand or not: "a:80" is "a" in http */
bool uri_authority_is_same(struct str a, struct str b, struct str default_port);

#endif
