/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunked body
 *
 * Whole and in parts give the same bytes, trailers, end or refusal; what was read and is written again reads the same.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "proxy/http/h1.h"

struct result {
	struct h1_body body;
	struct pool pool;
	struct buf bytes;
	int verdict;
	size_t consumed;
};

static void read_parts(struct str in, size_t part, bool is_response, struct result *ret)
{
	const struct http_head head = { .body = HTTP_BODY_CHUNKED };
	struct http_reject reject;
	struct str slice;
	size_t at = 0;

	memset(ret, 0, sizeof(*ret));
	pool_init(&ret->pool, 64 * 1024);
	buf_init(&ret->bytes, 1 << 20);
	h1_body_init(&ret->body, NULL, &ret->pool, &head, is_response);
	do {
		size_t n = MIN(part, in.n - at), used;
		char *copy = malloc(n ? n : 1); /* exact, for the sanitizer */

		if (n)
			memcpy(copy, in.p + at, n);
		for (size_t off = 0;; off += used) {
			ret->verdict = h1_body_read(&ret->body, (struct str){ copy + off, n - off }, &slice, &used, &reject);
			if (ret->verdict == HTTP_E_REJECT) {
				FUZZ_CHECK(reject.status == (is_response ? 502 : reject.status == 431 ? 431 : 400));
				break;
			}
			FUZZ_CHECK(ret->verdict >= 0 && used <= n - off);
			ret->consumed += used;
			if (ret->verdict) {
				FUZZ_CHECK(ret->verdict != HTTP_E_MORE || used == n - off);
				break;
			}
			FUZZ_CHECK(slice.n && slice.p >= copy + off && slice.p + slice.n <= copy + n);
			FUZZ_CHECK(buf_append_str(&ret->bytes, slice) == 0);
		}
		free(copy);
		at += n;
	} while (ret->verdict == HTTP_E_MORE && at < in.n);
	FUZZ_CHECK(ret->body.total_bytes == ret->bytes.len);
}

static void result_done(struct result *r)
{
	pool_done(&r->pool);
	buf_done(&r->bytes);
}

static void check_same(const struct result *a, const struct result *b)
{
	FUZZ_CHECK(a->verdict == b->verdict);
	FUZZ_CHECK(str_eq(buf_str(&a->bytes), buf_str(&b->bytes)));
	FUZZ_CHECK(a->body.n_trailers == b->body.n_trailers);
	for (uint16_t i = 0; i < a->body.n_trailers; i++) {
		FUZZ_CHECK(str_eq(a->body.trailers[i].name, b->body.trailers[i].name));
		FUZZ_CHECK(str_eq(a->body.trailers[i].value, b->body.trailers[i].value));
	}
}

static void write_again(struct result *a)
{
	struct h1_body_out out = { .kind = HTTP_BODY_CHUNKED };
	struct str bytes = buf_str(&a->bytes);
	struct result b;
	struct buf wire;

	buf_init(&wire, 1 << 21);
	for (size_t at = 0, n; at < bytes.n; at += n) {
		n = MIN(bytes.n - at, 1 + at % 37);
		FUZZ_CHECK(h1_body_write(&out, &wire, (struct str){ bytes.p + at, n }) == 0);
	}
	FUZZ_CHECK(h1_body_end(&out, &wire, a->body.trailers, a->body.n_trailers) == 0);
	read_parts(buf_str(&wire), SIZE_MAX, false, &b);
	check_same(a, &b);
	FUZZ_CHECK(b.consumed == wire.len);
	result_done(&b);
	buf_done(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct str in = { (const char *)bytes, n };
	const size_t sizes[] = { 1, 2, 3 + n % 61 };
	struct result whole, cut;

	read_parts(in, SIZE_MAX, n & 1, &whole);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		read_parts(in, sizes[i], n & 1, &cut);
		check_same(&whole, &cut);
		FUZZ_CHECK(whole.verdict == HTTP_E_REJECT || whole.consumed == cut.consumed);
		result_done(&cut);
	}
	if (whole.verdict == HTTP_E_END)
		write_again(&whole);
	result_done(&whole);
	return 0;
}
