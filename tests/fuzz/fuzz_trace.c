/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace headers of a caller: the input is field lines
 *
 * Whatever came in, what goes on is well-formed, single, and the same trace again at the next hop.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "proxy/http/h1.h"
#include "proxy/http/trace.h"

static const struct http_field *find_one(const struct http_head *h, enum http_field_id id)
{
	const struct http_field *found = NULL;

	for (uint16_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != id || h->fields[i].removed)
			continue;
		FUZZ_CHECK(!found);
		found = &h->fields[i];
	}
	return found;
}

static void check_sent(const struct http_head *h, const struct trace *t)
{
	const struct http_field *f = find_one(h, HTTP_FIELD_TRACEPARENT);
	struct trace_parent parent;

	FUZZ_CHECK(f && trace_parent_parse(f->value, &parent) == 0);
	FUZZ_CHECK(t->trace_id.n == 32 && !memcmp(parent.trace_id, t->trace_id.p, 32));
	FUZZ_CHECK(t->span_id.n == 16 && !memcmp(parent.span_id, t->span_id.p, 16));
	f = find_one(h, HTTP_FIELD_TRACESTATE);
	FUZZ_CHECK(!f || trace_state_is_valid(f->value));
	f = find_one(h, HTTP_FIELD_B3);
	FUZZ_CHECK(!f || !memcmp(f->value.p, t->trace_id.p, 32));
	f = find_one(h, HTTP_FIELD_X_B3_TRACEID);
	FUZZ_CHECK(!f || str_eq(f->value, t->trace_id));
	f = find_one(h, HTTP_FIELD_X_REQUEST_ID);
	FUZZ_CHECK(f && str_eq(f->value, t->request_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head = { .fields = fields, .cap_fields = HTTP_FIELDS_CAP };
	struct trace_random random;
	struct trace first, second;
	struct h1_parser p;
	struct http_reject reject;
	struct pool pool;
	struct buf in;
	size_t consumed;

	if (n > 32768)
		return 0;
	buf_init(&in, 65536);
	pool_init(&pool, 128 * 1024);
	trace_random_seed(&random, n);
	h1_parser_init(&p, NULL);
	if (buf_append(&in, "GET / HTTP/1.1\r\nHost: a\r\n", 25) < 0 || buf_append(&in, bytes, n) < 0 ||
	    buf_append(&in, "\r\n\r\n", 4) < 0)
		abort();
	if (h1_request_parse(&p, &pool, buf_str(&in), &head, &consumed, &reject) == 0 && head.n_fields < 90) {
		FUZZ_CHECK(trace_apply(&head, &pool, &random, &first) == 0);
		check_sent(&head, &first);
		FUZZ_CHECK(trace_apply(&head, &pool, &random, &second) == 0);
		check_sent(&head, &second);
		FUZZ_CHECK(second.continued && str_eq(first.trace_id, second.trace_id));
		FUZZ_CHECK(str_eq(first.span_id, second.parent_id) && first.sampled == second.sampled);
		FUZZ_CHECK(str_eq(first.request_id, second.request_id));
	}
	pool_done(&pool);
	buf_done(&in);
	return 0;
}
