/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons as label, sentence and Envoy's response flags (access log docs, "Response Flags"). */
#include "proxy/observe/observe.h"
#include "proxy/observe/reason.h"

static const char *const labels[] = {
#define X(name, label, text) [TRM_REASON_##name] = label,
	TRM_REASONS(X)
#undef X
};

static const char *const texts[] = {
#define X(name, label, text) [TRM_REASON_##name] = text,
	TRM_REASONS(X)
#undef X
};

static const char *const flags[TRM_REASON_MAX] = {
	[TRM_REASON_NO_READY_ENDPOINT] = "UH",
	[TRM_REASON_PORT_UNKNOWN] = "NR",
	[TRM_REASON_DST_UNKNOWN] = "NR",
	[TRM_REASON_CONNECT_REFUSED] = "UF",
	[TRM_REASON_CONNECT_TIMEOUT] = "UF",
	[TRM_REASON_CONNECT_FAILED] = "UF",
	[TRM_REASON_TLS_HANDSHAKE] = "UF",
	[TRM_REASON_TLS_PEER_CERT] = "UF",
	[TRM_REASON_PEER_IDENTITY] = "UF",
	[TRM_REASON_TRUST_DOMAIN] = "UF",
	[TRM_REASON_HANDSHAKE_TIMEOUT] = "UF",
	[TRM_REASON_UPSTREAM_RESET] = "UC",
	[TRM_REASON_UPSTREAM_CLOSED] = "UC",
	[TRM_REASON_HTTP_UPSTREAM_MALFORMED] = "UPE",
	[TRM_REASON_HTTP_UPGRADE] = "UPE",
	[TRM_REASON_DOWNSTREAM_CLOSED] = "DC",
	[TRM_REASON_DOWNSTREAM_RESET] = "DR",
	[TRM_REASON_HTTP_REQUEST_TIMEOUT] = "UT",
	[TRM_REASON_HTTP_BODY_TIMEOUT] = "SI",
	[TRM_REASON_IDLE_TIMEOUT] = "SI",
	[TRM_REASON_HTTP_SYNTAX] = "DPE",
	[TRM_REASON_HTTP_FRAMING] = "DPE",
	[TRM_REASON_HTTP_HEADERS_TOO_LARGE] = "DPE",
	[TRM_REASON_HTTP_TARGET_TOO_LONG] = "DPE",
	[TRM_REASON_HTTP_METHOD] = "DPE",
	[TRM_REASON_HTTP_VERSION] = "DPE",
	[TRM_REASON_HTTP_HOST] = "DPE",
	[TRM_REASON_HTTP_HEADER_TIMEOUT] = "DPE",
	[TRM_REASON_CONN_LIMIT] = "UO",
	[TRM_REASON_SOURCE_LIMIT] = "UO",
	[TRM_REASON_FD_LIMIT] = "OM",
	[TRM_REASON_NO_MEMORY] = "OM",
	[TRM_REASON_PLAINTEXT_REFUSED] = "UAEX",
};

const char *reason_label(enum trm_reason reason)
{
	return (unsigned int)reason < TRM_REASON_MAX ? labels[reason] : "unknown";
}

const char *reason_text(enum trm_reason reason)
{
	return (unsigned int)reason < TRM_REASON_MAX ? texts[reason] : "unknown reason";
}

const char *reason_flags(enum trm_reason reason)
{
	return (unsigned int)reason < TRM_REASON_MAX && flags[reason] ? flags[reason] : "-";
}
