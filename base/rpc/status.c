/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC status codes: see status.h */
#include "base/rpc/status.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define MESSAGE_MAX 1024

static const char *const names[] = {
	"OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
	"NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
	"ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED",
};

const char *rpc_status_name(enum rpc_status status)
{
	return (size_t)status < ARRAY_SIZE(names) ? names[status] : "UNKNOWN";
}

enum rpc_status rpc_status_of_text(struct str text)
{
	uint64_t v;

	if (str_parse_u64(text, RPC_UNAUTHENTICATED, &v) < 0)
		return RPC_UNKNOWN;
	return (enum rpc_status)v;
}

enum rpc_status rpc_status_of_http(int http_status)
{
	switch (http_status) {
	case 400:
	case 431:
		return RPC_INTERNAL;
	case 401:
		return RPC_UNAUTHENTICATED;
	case 403:
		return RPC_PERMISSION_DENIED;
	case 404:
		return RPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return RPC_UNAVAILABLE;
	default:
		return RPC_UNKNOWN;
	}
}

enum rpc_status rpc_status_of_reset(uint32_t error_code)
{
	switch (error_code) {
	case NGHTTP2_REFUSED_STREAM:
		return RPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return RPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return RPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return RPC_PERMISSION_DENIED;
	default:
		return RPC_INTERNAL;
	}
}

char *rpc_message_encode(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = strnlen(text, MESSAGE_MAX);
	char *out = malloc(3 * n + 1), *o = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			*o++ = (char)c;
		} else {
			*o++ = '%';
			*o++ = hex[c >> 4];
			*o++ = hex[c & 15];
		}
	}
	*o = '\0';
	return out;
}

char *rpc_message_decode(struct str text)
{
	char *out = malloc(MIN(text.n, (size_t)MESSAGE_MAX) + 1);
	size_t o = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < text.n && o < MESSAGE_MAX; i++) {
		char c = text.p[i];

		if (c == '%' && i + 2 < text.n && str_hex_digit(text.p[i + 1]) >= 0 && str_hex_digit(text.p[i + 2]) >= 0) {
			c = (char)(str_hex_digit(text.p[i + 1]) << 4 | str_hex_digit(text.p[i + 2]));
			i += 2;
		}
		out[o++] = c ? c : ' ';
	}
	out[o] = '\0';
	return out;
}
