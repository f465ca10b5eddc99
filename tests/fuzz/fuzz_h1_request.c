/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's byte stream
 *
 * However it is cut, the verdicts are the same. A head that passes is written and read again: same method, path,
 * authority and length, and writing that again gives the same bytes.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "tests/unit/http/replay.h"

static size_t part_whole(size_t at, void *user)
{
	return SIZE_MAX;
}

static size_t part_fixed(size_t at, void *user)
{
	return *(size_t *)user;
}

static int read_one(struct pool *pool, struct str in, struct http_head *head)
{
	struct h1_parser p;
	struct http_reject reject;
	size_t consumed;
	int r;

	h1_parser_init(&p, NULL);
	r = h1_request_parse(&p, pool, in, head, &consumed, &reject);
	if (r == HTTP_E_REJECT)
		FUZZ_CHECK(reject.status >= 400 && reject.status <= 505 && reject.reason && reject.what);
	if (r == 0)
		FUZZ_CHECK(consumed <= in.n);
	return r;
}

static void check_same(const struct http_head *a, const struct http_head *b)
{
	FUZZ_CHECK(str_eq(a->method, b->method));
	FUZZ_CHECK(str_eq(a->path, b->path));
	FUZZ_CHECK(str_eq(a->authority, b->authority));
	FUZZ_CHECK(str_eq(a->upgrade, b->upgrade));
	/* a POST without a body says so on the way out */
	FUZZ_CHECK(a->body == b->body || (a->body == HTTP_BODY_NONE && b->body == HTTP_BODY_LENGTH && !b->body_bytes));
	FUZZ_CHECK(a->body_bytes == b->body_bytes);
	FUZZ_CHECK(a->expect_continue == b->expect_continue);
}

static void round_trip(struct str in)
{
	struct http_field fields[2][HTTP_FIELDS_CAP];
	struct http_head head[2] = { { .fields = fields[0], .cap_fields = HTTP_FIELDS_CAP },
				     { .fields = fields[1], .cap_fields = HTTP_FIELDS_CAP } };
	struct h1_body_out body;
	struct buf out[2];
	struct pool pool;

	pool_init(&pool, 256 * 1024);
	buf_init(&out[0], 1 << 20);
	buf_init(&out[1], 1 << 20);
	if (read_one(&pool, in, &head[0]) == 0) {
		if (!head[0].authority.n)
			head[0].authority = STR("from-dst");
		FUZZ_CHECK(h1_request_write(&out[0], &head[0], NULL, &body) == 0);
		/* what we add may go over the limits of a head that was just below them */
		if (out[0].len < 60000 && head[0].n_fields < 96) {
			FUZZ_CHECK(read_one(&pool, buf_str(&out[0]), &head[1]) == 0);
			check_same(&head[0], &head[1]);
			FUZZ_CHECK(head[1].keep_alive);
			FUZZ_CHECK(h1_request_write(&out[1], &head[1], NULL, &body) == 0);
			FUZZ_CHECK(str_eq(buf_str(&out[0]), buf_str(&out[1])));
		}
	}
	buf_done(&out[0]);
	buf_done(&out[1]);
	pool_done(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct vector v = { .raw = (char *)bytes, .n_raw = n };
	size_t sizes[] = { 1, 2, 3 + n % 61 };
	char *whole = vector_replay(&v, false, part_whole, NULL);

	for (size_t i = n > 4096 ? 2 : 0; i < ARRAY_SIZE(sizes); i++) {
		char *cut = vector_replay(&v, false, part_fixed, &sizes[i]);

		if (strcmp(whole, cut))
			fprintf(stderr, "whole %s\nin parts of %zu %s\n", whole, sizes[i], cut);
		FUZZ_CHECK(!strcmp(whole, cut));
		free(cut);
	}
	free(whole);
	round_trip((struct str){ (const char *)bytes, n });
	return 0;
}
