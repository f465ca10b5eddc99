/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace headers and XFCC
 *
 * The cases of the W3C trace-context test suite, B3 in both forms, x-request-id, and the replaced client certificate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "proxy/http/h1.h"
#include "proxy/http/trace.h"
#include "proxy/http/xfcc.h"

#define TID "12345678901234567890123456789012"
#define SID "1234567890123456"

struct fixture {
	struct pool pool;
	struct trace_random random;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head;
	struct trace trace;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	pool_init(&f->pool, 64 * 1024);
	trace_random_seed(&f->random, 42);
	f->head = (struct http_head){ .fields = f->fields, .cap_fields = HTTP_FIELDS_CAP };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pool_done(&f->pool);
	free(f);
	return 0;
}

/* @fields: "Name: value\r\n"... */
static void apply(struct fixture *f, const char *fields)
{
	static char text[16384];
	struct h1_parser p;
	struct http_reject reject;
	size_t consumed;

	pool_reset(&f->pool);
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
	h1_parser_init(&p, NULL);
	assert_int_equal(h1_request_parse(&p, &f->pool, str_from(text), &f->head, &consumed, &reject), 0);
	assert_int_equal(trace_apply(&f->head, &f->pool, &f->random, &f->trace), 0);
}

static struct str sent(struct fixture *f, enum http_field_id id)
{
	const struct http_field *field = NULL;

	for (uint16_t i = 0; i < f->head.n_fields; i++) {
		if (f->head.fields[i].id != id || f->head.fields[i].removed)
			continue;
		assert_null(field); /* never two */
		field = &f->head.fields[i];
	}
	return field ? field->value : (struct str){ NULL, 0 };
}

static void test_traceparent(void **state)
{
	static const struct {
		const char *fields;
		bool continued;
		const char *flags;
	} cases[] = {
		{ "", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-00\r\n", true, "00" },
		{ "traceparent: 00-" TID "-" SID "-01\r\n", true, "01" },
		{ "TraceParent: 00-" TID "-" SID "-01\r\n", true, "01" },
		{ "traceparent: 00-" TID "-" SID "-03\r\n", true, "03" },
		{ "traceparent: 00-" TID "-" SID "-ff\r\n", true, "03" },
		{ "traceparent:  \t00-" TID "-" SID "-01 \t\r\n", true, "01" },
		{ "traceparent: cc-" TID "-" SID "-01\r\n", true, "01" },
		{ "traceparent: cc-" TID "-" SID "-01-what-the-future\r\n", true, "01" },
		{ "traceparent: cc-" TID "-" SID "-01.what\r\n", false, "03" },
		{ "traceparent: ff-" TID "-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-01-extra\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-01.\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-1\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-001\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-.0\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "\r\n", false, "03" },
		{ "traceparent: 0-" TID "-" SID "-01\r\n", false, "03" },
		{ "traceparent: 000-" TID "-" SID "-01\r\n", false, "03" },
		{ "traceparent: .0-" TID "-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-00000000000000000000000000000000-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-" TID "-0000000000000000-01\r\n", false, "03" },
		{ "traceparent: 00-.2345678901234567890123456789012-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-1234567890123456789012345678901-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-1" TID "-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-" TID "-.234567890123456-01\r\n", false, "03" },
		{ "traceparent: 00-" TID "-123456789012345-01\r\n", false, "03" },
		{ "traceparent: 00-ABCDEF78901234567890123456789012-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-" TID "-ABCDEF7890123456-01\r\n", false, "03" },
		{ "traceparent: \r\n", false, "03" },
		{ "traceparent: foo\r\n", false, "03" },
		{ "traceparent: 00-" TID "-" SID "-01\r\ntraceparent: 00-" TID "-" SID "-01\r\n", false, "03" },
		{ "traceparent: 00-12345678901234567890123456789011-" SID "-01\r\ntraceparent: 00-" TID "-" SID "-01\r\n", false, "03" },
		{ "trace-parent: 00-" TID "-" SID "-01\r\n", false, "03" },
		{ "tracestate: foo=1\r\n", false, "03" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct trace_parent out;
		struct str tp;

		print_message("%s\n", cases[i].fields);
		apply(f, cases[i].fields);
		tp = sent(f, HTTP_FIELD_TRACEPARENT);
		assert_int_equal(trace_parent_parse(tp, &out), 0);
		assert_int_equal(f->trace.continued, cases[i].continued);
		assert_int_equal(!memcmp(out.trace_id, TID, 32), cases[i].continued);
		assert_memory_not_equal(out.span_id, SID, 16);
		assert_memory_equal(tp.p + 53, cases[i].flags, 2);
		assert_memory_equal(f->trace.trace_id.p, out.trace_id, 32);
		assert_memory_equal(f->trace.span_id.p, out.span_id, 16);
		assert_int_equal(f->trace.parent_id.n, cases[i].continued ? 16 : 0);
		assert_int_equal(f->trace.sampled, out.flags & 1);
		assert_int_equal(sent(f, HTTP_FIELD_B3).n, 0);
		assert_int_equal(sent(f, HTTP_FIELD_X_B3_TRACEID).n, 0);
		if (!cases[i].continued)
			assert_int_equal(sent(f, HTTP_FIELD_TRACESTATE).n, 0);
	}
}

#define LIST_BYTES 12000

/* ",k0=V,k1=V"... */
static void members(char to[LIST_BYTES], const char *value, int n)
{
	FILE *f = fmemopen(to, LIST_BYTES, "w");

	for (int i = 0; i < n; i++)
		fprintf(f, ",k%d=%s", i, value);
	fclose(f);
}

/* @n times @fill, and @rest */
static void filled(char to[LIST_BYTES], char fill, size_t n, const char *rest)
{
	memset(to, fill, n);
	memcpy(to + n, rest, strlen(rest) + 1);
}

static void check_state(struct fixture *f, const char *fields, const char *want)
{
	static char text[13000];
	struct str got;

	snprintf(text, sizeof(text), "traceparent: 00-" TID "-" SID "-01\r\n%s", fields);
	apply(f, text);
	got = sent(f, HTTP_FIELD_TRACESTATE);
	if (!want)
		assert_int_equal(got.n, 0);
	else
		assert_true(str_eq_c(got, want));
}

static void test_tracestate(void **state)
{
	static const char *const cases[][2] = {
		{ "tracestate: foo=1,bar=2\r\n", "foo=1,bar=2" },
		{ "TraceState: foo=1\r\n", "foo=1" },
		{ "tracestate: foo=1 \t , \t bar=2\r\n", "foo=1 \t , \t bar=2" },
		{ "tracestate: foo=1\r\ntracestate: bar=2\r\n", "foo=1,bar=2" },
		{ "tracestate: foo=1,\r\ntracestate: \r\ntracestate: bar=2\r\n", "foo=1,,bar=2" },
		{ "tracestate: foo=1,foo=1\r\n", "foo=1,foo=1" },
		{ "tracestate: foo=1,foo=2\r\n", "foo=1,foo=2" },
		{ "tracestate: 0a@b-c/d*_=~!\r\n", "0a@b-c/d*_=~!" },
		{ "tracestate: foo\r\n", NULL },
		{ "tracestate: foo=\r\n", NULL },
		{ "tracestate: =1\r\n", NULL },
		{ "tracestate: foo =1\r\n", NULL },
		{ "tracestate: FOO=1\r\n", NULL },
		{ "tracestate: foo.bar=1\r\n", NULL },
		{ "tracestate: foo@=1,bar=2\r\n", "foo@=1,bar=2" },
		{ "tracestate: @foo=1,bar=2\r\n", NULL },
		{ "tracestate: foo@@bar=1,bar=2\r\n", "foo@@bar=1,bar=2" },
		{ "tracestate: foo@bar@baz=1,bar=2\r\n", "foo@bar@baz=1,bar=2" },
		{ "tracestate: foo@0bar=1\r\n", "foo@0bar=1" },
		{ "tracestate: foo=bar=baz\r\n", NULL },
		{ "tracestate: foo=\xc3\xa9\r\n", NULL },
		{ "tracestate: \r\n", NULL },
	};
	struct fixture *f = *state;
	char list[LIST_BYTES], text[LIST_BYTES + 100];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s", cases[i][0]);
		check_state(f, cases[i][0], cases[i][1]);
	}
	for (int n = 32; n <= 33; n++) {
		members(list, "1", n);
		snprintf(text, sizeof(text), "tracestate: %s\r\n", list + 1);
		check_state(f, text, n == 32 ? list + 1 : NULL);
	}
	for (int n = 256; n <= 257; n++) {
		filled(list, 'z', (size_t)n, "=1");
		snprintf(text, sizeof(text), "tracestate: %s\r\n", list);
		check_state(f, text, n == 256 ? list : NULL);
	}
	filled(list, 't', 241, "@vvvvvvvvvvvvvv=1");
	snprintf(text, sizeof(text), "tracestate: %s\r\n", list);
	check_state(f, text, list);
	filled(list, 't', 242, "@v=1");
	snprintf(text, sizeof(text), "tracestate: %s\r\n", list);
	check_state(f, text, list);
	filled(list, 't', 242, "@vvvvvvvvvvvvvv=1");
	snprintf(text, sizeof(text), "tracestate: %s\r\n", list);
	check_state(f, text, NULL);
	check_state(f, "tracestate: t@vvvvvvvvvvvvvvv=1\r\n", "t@vvvvvvvvvvvvvvv=1");
	/* over 512 bytes and legal: passed */
	members(list, "0123456789012345678901234567890123456789", 20);
	snprintf(text, sizeof(text), "tracestate: %s\r\n", list + 1);
	check_state(f, text, list + 1);
	/* over what we join: dropped */
	filled(list, ',', 9000, "");
	snprintf(text, sizeof(text), "tracestate: a=1%s\r\n", list);
	check_state(f, text, NULL);
}

static void test_b3_single(void **state)
{
	static const struct {
		const char *value, *trace_id;
		bool sampled;
		char word;
	} cases[] = {
		{ TID "-" SID "-1", TID, true, '1' },	 { TID "-" SID "-0", TID, false, '0' },
		{ TID "-" SID "-d", TID, true, 'd' },	 { TID "-" SID, TID, true, '1' },
		{ TID "-" SID "-1-" SID, TID, true, '1' }, { SID "-" SID "-1", "0000000000000000" SID, true, '1' },
		{ "0", NULL, false, '0' },		 { "1", NULL, true, '1' },
		{ "d", NULL, true, 'd' },		 { "x", NULL, true, '1' },
		{ "", NULL, true, '1' },		 { TID "-", NULL, true, '1' },
		{ TID "-" SID "-1-" SID "-x", NULL, true, '1' },
		{ "00000000000000000000000000000000-" SID "-1", NULL, true, '1' },
		{ TID "-0000000000000000-1", NULL, true, '1' },
		{ "1234-" SID "-1", NULL, true, '1' },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256];
		struct str b3;

		print_message("%s\n", cases[i].value);
		snprintf(text, sizeof(text), "B3: %s\r\n", cases[i].value);
		apply(f, text);
		b3 = sent(f, HTTP_FIELD_B3);
		assert_int_equal(b3.n, cases[i].trace_id ? 68 : 51);
		assert_memory_equal(b3.p, f->trace.trace_id.p, 32);
		assert_memory_equal(b3.p + 33, f->trace.span_id.p, 16);
		assert_int_equal(b3.p[50], cases[i].word);
		assert_int_equal(f->trace.sampled, cases[i].sampled);
		assert_int_equal(f->trace.continued, cases[i].trace_id != NULL);
		if (cases[i].trace_id) {
			assert_memory_equal(b3.p, cases[i].trace_id, 32);
			assert_memory_equal(b3.p + 52, SID, 16);
		}
		assert_int_equal(sent(f, HTTP_FIELD_X_B3_TRACEID).n, 0);
		assert_memory_equal(sent(f, HTTP_FIELD_TRACEPARENT).p + 3, b3.p, 32);
	}
}

static void test_b3_multi(void **state)
{
	struct fixture *f = *state;

	apply(f, "X-B3-TraceId: ABCDEF78901234567890123456789012\r\nX-B3-SpanId: " SID "\r\nX-B3-ParentSpanId: 1111111111111111\r\nX-B3-Sampled: 0\r\n");
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_B3_TRACEID), "abcdef78901234567890123456789012"));
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_B3_PARENTSPANID), SID));
	assert_true(str_eq(sent(f, HTTP_FIELD_X_B3_SPANID), f->trace.span_id));
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_B3_SAMPLED), "0"));
	assert_false(f->trace.sampled);
	assert_int_equal(sent(f, HTTP_FIELD_B3).n, 0);

	apply(f, "x-b3-traceid: " TID "\r\nx-b3-spanid: " SID "\r\nx-b3-flags: 1\r\nx-b3-sampled: 0\r\n");
	assert_true(f->trace.sampled);
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_B3_FLAGS), "1"));
	assert_int_equal(sent(f, HTTP_FIELD_X_B3_SAMPLED).n, 0);

	apply(f, "x-b3-sampled: true\r\n");
	assert_true(f->trace.sampled);
	assert_false(f->trace.continued);
	assert_int_equal(sent(f, HTTP_FIELD_X_B3_TRACEID).n, 32);
	assert_int_equal(sent(f, HTTP_FIELD_X_B3_PARENTSPANID).n, 0);

	apply(f, "x-b3-traceid: " TID "\r\nx-b3-traceid: " TID "\r\nx-b3-spanid: " SID "\r\n");
	assert_false(f->trace.continued);

	/* W3C wins, and B3 says the same trace */
	apply(f, "traceparent: 00-" TID "-" SID "-00\r\nb3: 11111111111111111111111111111111-" SID "-1\r\nx-b3-traceid: " TID "\r\n");
	assert_true(str_eq_c(f->trace.trace_id, TID));
	assert_memory_equal(sent(f, HTTP_FIELD_B3).p, TID, 32);
	assert_int_equal(sent(f, HTTP_FIELD_B3).p[50], '0');
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_B3_TRACEID), TID));
}

static void test_request_id(void **state)
{
	struct fixture *f = *state;
	struct str id, first;
	char text[256];

	apply(f, "X-Request-Id: abc-123\r\n");
	assert_true(str_eq_c(f->trace.request_id, "abc-123"));
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_REQUEST_ID), "abc-123"));
	apply(f, "");
	first = id = sent(f, HTTP_FIELD_X_REQUEST_ID);
	assert_int_equal(id.n, 36);
	for (size_t i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23)
			assert_int_equal(id.p[i], '-');
		else
			assert_non_null(memchr("0123456789abcdef", id.p[i], 16));
	assert_int_equal(id.p[14], '4');
	assert_non_null(strchr("89ab", id.p[19]));
	memcpy(text, first.p, 36);
	apply(f, "x-request-id: a\r\nx-request-id: b\r\n");
	assert_int_equal(sent(f, HTTP_FIELD_X_REQUEST_ID).n, 36);
	assert_memory_not_equal(sent(f, HTTP_FIELD_X_REQUEST_ID).p, text, 36);
	snprintf(text, sizeof(text), "x-request-id: %0129d\r\n", 1);
	apply(f, text);
	assert_int_equal(sent(f, HTTP_FIELD_X_REQUEST_ID).n, 36);
	apply(f, "x-request-id: a b\r\n");
	assert_int_equal(sent(f, HTTP_FIELD_X_REQUEST_ID).n, 36);
}

static void test_random(void **state)
{
	struct trace_random a, b;
	uint64_t ones = 0, zeros = 0;

	trace_random_seed(&a, 1);
	trace_random_seed(&b, 1);
	for (int i = 0; i < 1000; i++) {
		uint64_t v = trace_random_next(&a);

		assert_true(v == trace_random_next(&b));
		ones |= v;
		zeros |= ~v;
	}
	assert_true(ones == UINT64_MAX && zeros == UINT64_MAX);
	assert_int_equal(trace_random_init(&a), 0);
	assert_int_equal(trace_random_init(&b), 0);
	assert_true(trace_random_next(&a) != trace_random_next(&b));
}

static void test_no_room(void **state)
{
	struct fixture *f = *state;
	struct pool none;

	apply(f, "");
	pool_init(&none, 8);
	f->head.n_fields = 1;
	assert_int_equal(trace_apply(&f->head, &none, &f->random, &f->trace), -ENOMEM);
	f->head.n_fields = f->head.cap_fields;
	assert_int_equal(trace_apply(&f->head, &f->pool, &f->random, &f->trace), -ENOBUFS);
	pool_done(&none);
}

static void test_xfcc(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[32] = { 0xab, 0x01, [31] = 0xff };
	struct xfcc x = { STR("spiffe://td/ns/a/sa/web"), hash, STR("CN=a\"b\\,O=c"), STR("spiffe://td/ns/b/sa/cli") };

	apply(f, "X-Forwarded-Client-Cert: By=evil\r\nx-forwarded-client-cert: URI=evil\r\n");
	assert_int_equal(xfcc_set(&f->head, &x, &f->pool), 0);
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_FORWARDED_CLIENT_CERT),
			     "By=spiffe://td/ns/a/sa/web;Hash=ab010000000000000000000000000000000000000000000000000000000000ff;"
			     "Subject=\"CN=a\\\"b\\\\,O=c\";URI=spiffe://td/ns/b/sa/cli"));
	x.hash = NULL;
	x.subject = STR("");
	assert_int_equal(xfcc_set(&f->head, &x, &f->pool), 0);
	assert_true(str_eq_c(sent(f, HTTP_FIELD_X_FORWARDED_CLIENT_CERT),
			     "By=spiffe://td/ns/a/sa/web;URI=spiffe://td/ns/b/sa/cli"));
	assert_int_equal(xfcc_set(&f->head, NULL, &f->pool), 0);
	assert_int_equal(sent(f, HTTP_FIELD_X_FORWARDED_CLIENT_CERT).n, 0);
	x.uri = STR("spiffe://td/a;By=b");
	assert_int_equal(xfcc_set(&f->head, &x, &f->pool), 0);
	assert_true(str_ends(sent(f, HTTP_FIELD_X_FORWARDED_CLIENT_CERT), STR(";URI=\"spiffe://td/a;By=b\"")));
	x.subject = STR("a\r\nX: y");
	assert_int_equal(xfcc_set(&f->head, &x, &f->pool), -EINVAL);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_traceparent), T(test_tracestate), T(test_b3_single), T(test_b3_multi),
		T(test_request_id),  T(test_random),	 T(test_no_room),   T(test_xfcc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
