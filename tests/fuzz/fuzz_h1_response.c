/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upstream's byte stream; the first byte says what was asked (bit 0 HEAD, 1 CONNECT, 2 websocket, 3 HTTP/1.0 caller)
 *
 * However it is cut, the verdicts are the same. A head that passes is written and read again with the same body.
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

static int read_one(const struct h1_asked *asked, struct str in, struct http_head *head)
{
	struct h1_parser p;
	struct http_reject reject;
	size_t consumed;
	int r;

	h1_parser_init(&p, NULL);
	r = h1_response_parse(&p, asked, in, head, &consumed, &reject);
	FUZZ_CHECK(r != HTTP_E_REJECT || (reject.status == 502 && reject.reason && reject.what));
	FUZZ_CHECK(r != 0 || consumed <= in.n);
	return r;
}

static void round_trip(const struct h1_asked *asked, enum http_version version, struct str in)
{
	struct http_field fields[2][HTTP_FIELDS_CAP];
	struct http_head head[2] = { { .fields = fields[0], .cap_fields = HTTP_FIELDS_CAP },
				     { .fields = fields[1], .cap_fields = HTTP_FIELDS_CAP } };
	struct h1_response_options opts = { version, true, asked->is_head, asked->is_connect };
	struct h1_body_out body;
	struct buf out;
	bool close;

	buf_init(&out, 1 << 20);
	if (read_one(asked, in, &head[0]) == 0) {
		FUZZ_CHECK(h1_response_write(&out, &head[0], &opts, &body, &close) == 0);
		if (out.len && out.len < 60000 && head[0].n_fields < 96) {
			FUZZ_CHECK(read_one(asked, buf_str(&out), &head[1]) == 0);
			FUZZ_CHECK(head[1].status == head[0].status);
			FUZZ_CHECK(head[1].body == body.kind);
			FUZZ_CHECK(head[1].body != HTTP_BODY_LENGTH || head[1].body_bytes == body.left);
			FUZZ_CHECK(head[1].status < 200 || body.kind == HTTP_BODY_TUNNEL || head[1].keep_alive == !close);
		}
	}
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct h1_asked asked = { 0 };
	char websocket[] = "websocket";
	struct vector v = { 0 };
	size_t sizes[3];
	char *whole;

	if (!n)
		return 0;
	v = (struct vector){
		.raw = (char *)bytes + 1,
		.n_raw = n - 1,
		.is_head = bytes[0] & 1,
		.is_connect = (bytes[0] & 3) == 2,
		.upgrade = (bytes[0] & 7) == 4 ? websocket : NULL,
	};
	asked = (struct h1_asked){ v.is_head, v.is_connect, str_from(v.upgrade) };
	sizes[0] = 1;
	sizes[1] = 2;
	sizes[2] = 3 + n % 61;
	whole = vector_replay(&v, true, part_whole, NULL);
	for (size_t i = n > 4096 ? 2 : 0; i < ARRAY_SIZE(sizes); i++) {
		char *cut = vector_replay(&v, true, part_fixed, &sizes[i]);

		if (strcmp(whole, cut))
			fprintf(stderr, "whole %s\nin parts of %zu %s\n", whole, sizes[i], cut);
		FUZZ_CHECK(!strcmp(whole, cut));
		free(cut);
	}
	free(whole);
	round_trip(&asked, bytes[0] & 8 ? HTTP_1_0 : HTTP_1_1, (struct str){ v.raw, v.n_raw });
	return 0;
}
