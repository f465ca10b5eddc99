/* SPDX-License-Identifier: Apache-2.0 */
/* A tunnel's request and its answer: see request.h. */
#include "proxy/tunnel/request.h"

#include <errno.h>
#include "trammel/abi.h"

int tunnel_authority_parse(struct str text, struct addr *ret)
{
	struct addr a;

	if (addr_parse(text, &a) < 0 || (text.p[0] == '[' && addr_is_v4(&a)))
		return -EINVAL;
	*ret = a;
	return 0;
}

enum trm_reason tunnel_request_decide(const struct tunnel_request *r, const struct addr *dialled, struct addr *ret)
{
	struct addr a;

	if (!str_eq(r->method, STR("CONNECT")))
		return TRM_REASON_HTTP_METHOD;
	if (r->has_scheme || r->has_path || r->has_protocol) /* RFC 9113 section 8.5; :protocol is RFC 8441's */
		return TRM_REASON_HTTP_SYNTAX;
	if (tunnel_authority_parse(r->authority, &a) < 0 || !addr_ip_eq(&a, dialled))
		return TRM_REASON_TUNNEL_AUTHORITY;
	if (trm_port_is_proxys(a.port)) /* 15021 and 15090 too: answered by the proxy, in plaintext, to whoever dials them */
		return TRM_REASON_PROXY_PORT;
	*ret = a;
	return TRM_REASON_NONE;
}

uint16_t tunnel_status(enum trm_reason reason)
{
	switch (reason) {
	case TRM_REASON_NONE:
		return 200;
	case TRM_REASON_HTTP_METHOD:
	case TRM_REASON_HTTP_SYNTAX:
	case TRM_REASON_TUNNEL_AUTHORITY:
	case TRM_REASON_PROXY_PORT:
		return 400;
	case TRM_REASON_TUNNEL_DENIED:
		return 401;
	default:
		return 503;
	}
}

enum trm_reason tunnel_reason(uint16_t status)
{
	switch (status) {
	case 200:
		return TRM_REASON_NONE;
	case 401: /* ztunnel's word for policy; Envoy says 403 */
	case 403:
		return TRM_REASON_TUNNEL_DENIED;
	case 503:
		return TRM_REASON_CONNECT_FAILED;
	case 504:
		return TRM_REASON_CONNECT_TIMEOUT;
	default:
		return TRM_REASON_TUNNEL_REFUSED;
	}
}
