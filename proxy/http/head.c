/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request model: names to ids, finding, striking out, adding
 *
 * Names are recognised by a perfect hash of length, first, middle and last byte: one probe, one comparison. A test
 * walks every id, so that a name added without its slot is seen.
 */
#include "proxy/http/head.h"

#include <errno.h>

#define NAME_BYTES_MAX 23

struct known_name {
	char text[NAME_BYTES_MAX + 1];
	uint8_t n;
	uint8_t id;
};

static const struct known_name known_names[64] = {
	[0] = { "x-forwarded-for", 15, HTTP_FIELD_X_FORWARDED_FOR },
	[1] = { "x-b3-spanid", 11, HTTP_FIELD_X_B3_SPANID },
	[2] = { "x-b3-traceid", 12, HTTP_FIELD_X_B3_TRACEID },
	[3] = { "host", 4, HTTP_FIELD_HOST },
	[5] = { "http2-settings", 14, HTTP_FIELD_HTTP2_SETTINGS },
	[6] = { "grpc-timeout", 12, HTTP_FIELD_GRPC_TIMEOUT },
	[7] = { "transfer-encoding", 17, HTTP_FIELD_TRANSFER_ENCODING },
	[9] = { "content-type", 12, HTTP_FIELD_CONTENT_TYPE },
	[10] = { "keep-alive", 10, HTTP_FIELD_KEEP_ALIVE },
	[18] = { "content-length", 14, HTTP_FIELD_CONTENT_LENGTH },
	[19] = { "x-forwarded-client-cert", 23, HTTP_FIELD_X_FORWARDED_CLIENT_CERT },
	[22] = { "proxy-connection", 16, HTTP_FIELD_PROXY_CONNECTION },
	[24] = { "connection", 10, HTTP_FIELD_CONNECTION },
	[25] = { "te", 2, HTTP_FIELD_TE },
	[27] = { "trailer", 7, HTTP_FIELD_TRAILER },
	[35] = { "server", 6, HTTP_FIELD_SERVER },
	[36] = { "user-agent", 10, HTTP_FIELD_USER_AGENT },
	[41] = { "b3", 2, HTTP_FIELD_B3 },
	[42] = { "x-forwarded-proto", 17, HTTP_FIELD_X_FORWARDED_PROTO },
	[44] = { "x-trammel-reason", 16, HTTP_FIELD_X_TRAMMEL_REASON },
	[46] = { "x-b3-flags", 10, HTTP_FIELD_X_B3_FLAGS },
	[48] = { "expect", 6, HTTP_FIELD_EXPECT },
	[49] = { "x-b3-sampled", 12, HTTP_FIELD_X_B3_SAMPLED },
	[50] = { "traceparent", 11, HTTP_FIELD_TRACEPARENT },
	[51] = { "upgrade", 7, HTTP_FIELD_UPGRADE },
	[53] = { "x-request-id", 12, HTTP_FIELD_X_REQUEST_ID },
	[55] = { "tracestate", 10, HTTP_FIELD_TRACESTATE },
	[60] = { "date", 4, HTTP_FIELD_DATE },
	[63] = { "x-b3-parentspanid", 17, HTTP_FIELD_X_B3_PARENTSPANID },
};

static inline unsigned name_slot(struct str name)
{
	unsigned first = (unsigned char)name.p[0] | 0x20u;
	unsigned last = (unsigned char)name.p[name.n - 1] | 0x20u;
	unsigned mid = (unsigned char)name.p[name.n / 2] | 0x20u;

	return ((unsigned)name.n * 2 + first * 3 + last * 4 + mid) & 63;
}

/* Eight letters at once: upper case to lower, every other byte unchanged. */
static inline uint64_t lower8(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101ull;
	uint64_t low7 = w & (0x7f * ones);
	uint64_t at_least_a = low7 + (0x80 - 'A') * ones;
	uint64_t above_z = low7 + (0x80 - 'Z' - 1) * ones;

	return w | (((at_least_a & ~above_z & ~w) & (0x80 * ones)) >> 2);
}

static inline bool eq8(const char *p, const char *lower)
{
	uint64_t a, b;

	memcpy(&a, p, sizeof(a));
	memcpy(&b, lower, sizeof(b));
	return lower8(a) == b;
}

static inline bool eq4(const char *p, const char *lower)
{
	uint32_t a, b;

	memcpy(&a, p, sizeof(a));
	memcpy(&b, lower, sizeof(b));
	return lower8(a) == b;
}

/* @text is lower case and as long as @name; words overlap where the length is no multiple of theirs. */
static inline bool name_eq(struct str name, const char *text)
{
	size_t n = name.n;

	if (n >= 8)
		return eq8(name.p, text) && (n <= 16 || eq8(name.p + 8, text + 8)) && eq8(name.p + n - 8, text + n - 8);
	if (n >= 4)
		return eq4(name.p, text) && eq4(name.p + n - 4, text + n - 4);
	for (size_t i = 0; i < n; i++)
		if (ascii_lower(name.p[i]) != text[i])
			return false;
	return true;
}

enum http_field_id http_field_id_of(struct str name)
{
	const struct known_name *k;

	if (name.n < 2 || name.n > NAME_BYTES_MAX)
		return HTTP_FIELD_OTHER;
	k = &known_names[name_slot(name)];
	if (k->n != name.n || !name_eq(name, k->text))
		return HTTP_FIELD_OTHER;
	return (enum http_field_id)k->id;
}

struct http_field *http_head_find(const struct http_head *h, enum http_field_id id)
{
	if (!(h->known & (1ull << id)))
		return NULL;
	for (uint16_t i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == id && !h->fields[i].removed)
			return &h->fields[i];
	return NULL;
}

void http_head_remove(struct http_head *h, enum http_field_id id)
{
	if (!(h->known & (1ull << id)))
		return;
	for (uint16_t i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == id)
			h->fields[i].removed = true;
	h->known &= ~(1ull << id);
}

int http_head_add(struct http_head *h, enum http_field_id id, struct str name, struct str value)
{
	if (h->n_fields >= h->cap_fields || h->n_fields >= HTTP_FIELDS_MAX + 28)
		return -ENOBUFS;
	h->fields[h->n_fields++] = (struct http_field){ .name = name, .value = value, .id = (uint16_t)id };
	h->known |= 1ull << id;
	return 0;
}
