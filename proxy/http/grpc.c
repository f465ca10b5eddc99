/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC over HTTP/2: see grpc.h. */
#include "proxy/http/grpc.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

static const struct {
	char letter;
	uint64_t ns;
} units[] = { /* finest first */
	{ 'n', 1 }, { 'u', 1000 }, { 'm', 1000000 }, { 'S', 1000000000 }, { 'M', 60000000000 }, { 'H', 3600000000000 },
};

#define DIGITS_MAX 8
#define VALUE_MAX  99999999

bool grpc_is_call(const struct http_head *request)
{
	const struct http_field *f = http_head_find(request, HTTP_FIELD_CONTENT_TYPE);
	const struct str type = STR("application/grpc");

	if (!f || request->version != HTTP_2 || !str_starts(f->value, type))
		return false;
	return f->value.n == type.n || f->value.p[type.n] == '+' || f->value.p[type.n] == ';';
}

int grpc_timeout_parse(struct str text, uint64_t *ret_ns)
{
	uint64_t v;

	if (text.n < 2 || text.n > DIGITS_MAX + 1 || str_parse_u64((struct str){ text.p, text.n - 1 }, VALUE_MAX, &v) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (text.p[text.n - 1] != units[i].letter)
			continue;
		*ret_ns = v > INT64_MAX / units[i].ns ? INT64_MAX : v * units[i].ns;
		return 0;
	}
	return -EINVAL;
}

struct str grpc_timeout_format(char text[GRPC_TIMEOUT_BYTES], uint64_t ns)
{
	size_t i = 0;
	uint64_t v;
	struct str digits;

	while (i + 1 < ARRAY_SIZE(units) && ns / units[i].ns > VALUE_MAX)
		i++;
	v = MIN(ns / units[i].ns, (uint64_t)VALUE_MAX);
	digits = str_format_u64(text, MAX(v, (uint64_t)1));
	/* the digits stand at the end of STR_U64_BYTES, the unit behind them */
	text[STR_U64_BYTES] = units[i].letter;
	return (struct str){ digits.p, digits.n + 1 };
}

enum grpc_status grpc_status_of_http(uint16_t status)
{
	switch (status) {
	case 400:
	case 431:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

enum grpc_status grpc_status_of_reset(uint32_t code)
{
	switch (code) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

int grpc_status_find(const struct http_field *fields, size_t n)
{
	uint64_t v;

	for (size_t i = 0; i < n; i++) {
		if (fields[i].removed || !str_eq_nocase(fields[i].name, STR("grpc-status")))
			continue;
		return str_parse_u64(fields[i].value, 16, &v) == 0 ? (int)v : GRPC_UNKNOWN;
	}
	return GRPC_STATUS_NONE;
}

void grpc_frames_add(struct grpc_frames *f, struct str slice)
{
	size_t at = 0, n;

	while (at < slice.n) {
		if (f->n_head < sizeof(f->head)) {
			f->head[f->n_head++] = (uint8_t)slice.p[at++];
			if (f->n_head < sizeof(f->head))
				continue;
			f->left = (uint32_t)f->head[1] << 24 | (uint32_t)f->head[2] << 16 | (uint32_t)f->head[3] << 8 | f->head[4];
		} else {
			n = MIN(slice.n - at, (size_t)f->left);
			at += n;
			f->left -= (uint32_t)n;
		}
		if (f->left == 0) {
			f->n_messages++;
			f->n_head = 0;
		}
	}
}
