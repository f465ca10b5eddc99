/* SPDX-License-Identifier: Apache-2.0 */
/* Field names and ids, byte classes, finding and striking out; what the parser keeps between calls; limits of time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <time.h>
#include "proxy/http/h1_lex.h"

static const char *const names[HTTP_FIELD_IDS] = {
	[HTTP_FIELD_HOST] = "host",
	[HTTP_FIELD_CONTENT_LENGTH] = "content-length",
	[HTTP_FIELD_TRANSFER_ENCODING] = "transfer-encoding",
	[HTTP_FIELD_CONNECTION] = "connection",
	[HTTP_FIELD_KEEP_ALIVE] = "keep-alive",
	[HTTP_FIELD_PROXY_CONNECTION] = "proxy-connection",
	[HTTP_FIELD_UPGRADE] = "upgrade",
	[HTTP_FIELD_TE] = "te",
	[HTTP_FIELD_TRAILER] = "trailer",
	[HTTP_FIELD_EXPECT] = "expect",
	[HTTP_FIELD_HTTP2_SETTINGS] = "http2-settings",
	[HTTP_FIELD_TRACEPARENT] = "traceparent",
	[HTTP_FIELD_TRACESTATE] = "tracestate",
	[HTTP_FIELD_B3] = "b3",
	[HTTP_FIELD_X_B3_TRACEID] = "x-b3-traceid",
	[HTTP_FIELD_X_B3_SPANID] = "x-b3-spanid",
	[HTTP_FIELD_X_B3_PARENTSPANID] = "x-b3-parentspanid",
	[HTTP_FIELD_X_B3_SAMPLED] = "x-b3-sampled",
	[HTTP_FIELD_X_B3_FLAGS] = "x-b3-flags",
	[HTTP_FIELD_X_REQUEST_ID] = "x-request-id",
	[HTTP_FIELD_X_FORWARDED_FOR] = "x-forwarded-for",
	[HTTP_FIELD_X_FORWARDED_PROTO] = "x-forwarded-proto",
	[HTTP_FIELD_X_FORWARDED_CLIENT_CERT] = "x-forwarded-client-cert",
	[HTTP_FIELD_X_TRAMMEL_REASON] = "x-trammel-reason",
	[HTTP_FIELD_USER_AGENT] = "user-agent",
	[HTTP_FIELD_CONTENT_TYPE] = "content-type",
	[HTTP_FIELD_DATE] = "date",
	[HTTP_FIELD_SERVER] = "server",
	[HTTP_FIELD_GRPC_TIMEOUT] = "grpc-timeout",
};

static void test_names(void **state)
{
	static const char long_name[256 + 4] = "host";

	for (int id = 1; id < HTTP_FIELD_IDS; id++) {
		char text[32];
		size_t n;

		assert_non_null(names[id]);
		n = strlen(names[id]);
		assert_int_equal(http_field_id_of(str_from(names[id])), id);
		for (size_t i = 0; i < n; i++)
			text[i] = (char)toupper((unsigned char)names[id][i]);
		assert_int_equal(http_field_id_of((struct str){ text, n }), id);
		/* each byte changed in each way is another name; letters differ in more than bit 5 */
		for (size_t i = 0; i < n; i++) {
			for (int c = 0; c < 256; c++) {
				char was = text[i];

				text[i] = (char)c;
				if (tolower(c) != names[id][i])
					assert_int_not_equal(http_field_id_of((struct str){ text, n }), id);
				text[i] = was;
			}
		}
		assert_int_not_equal(http_field_id_of((struct str){ names[id], n - 1 }), id);
		assert_int_not_equal(http_field_id_of((struct str){ names[id], n + 1 }), id);
	}
	assert_int_equal(http_field_id_of((struct str){ NULL, 0 }), HTTP_FIELD_OTHER);
	assert_int_equal(http_field_id_of(STR("accept")), HTTP_FIELD_OTHER);
	/* CVE-2021-40346: a length that lost its upper byte */
	assert_int_equal(http_field_id_of((struct str){ long_name, 256 + 4 }), HTTP_FIELD_OTHER);
}

static void test_classes(void **state)
{
	for (int c = 0; c < 256; c++) {
		bool alnum = c < 128 && isalnum(c), vchar = c > 0x20 && c < 0x7f;

		assert_int_equal(!!(lex_class[c] & LEX_TOKEN), alnum || (c && strchr("!#$%&'*+-.^_`|~", c)));
		assert_int_equal(!!(lex_class[c] & LEX_UNDERSCORE), c == '_');
		assert_int_equal(!!(lex_class[c] & LEX_HOST), alnum || (c && strchr("-._~", c)));
		assert_int_equal(!!(lex_class[c] & LEX_UNRESERVED), alnum || (c && strchr("-._~", c)));
		assert_int_equal(!!(lex_class[c] & LEX_PATH), vchar && !strchr("#\\%/?", c));
		assert_int_equal(!!(lex_class[c] & LEX_QUERY), vchar && !strchr("#\\", c));
		assert_int_equal(!!(lex_class[c] & LEX_CTL), (c < 0x20 && c != '\t') || c == 0x7f);
		assert_int_equal(!!(lex_class[c] & LEX_DIGIT), c >= '0' && c <= '9');
		assert_int_equal(lex_hex[c], c < 128 && isxdigit(c) ? (int)strtol((char[]){ (char)c, 0 }, NULL, 16) : -1);
	}
}

static void test_ctl_find(void **state)
{
	char text[64];

	for (size_t n = 0; n <= sizeof(text); n++) {
		for (int c = 0; c < 256; c++) {
			bool ctl = (c < 0x20 && c != '\t') || c == 0x7f;

			memset(text, 'a', sizeof(text));
			if (n < sizeof(text))
				text[n] = (char)c;
			assert_ptr_equal(lex_ctl_find(text, text + sizeof(text)),
					 ctl && n < sizeof(text) ? text + n : text + sizeof(text));
			assert_ptr_equal(lex_ctl_find(text, text + n), text + n);
		}
	}
}

static void test_head(void **state)
{
	struct http_field fields[4];
	struct http_head h = { .fields = fields, .cap_fields = 4 };

	assert_null(http_head_find(&h, HTTP_FIELD_HOST));
	assert_int_equal(http_head_add(&h, HTTP_FIELD_HOST, STR("Host"), STR("a")), 0);
	assert_int_equal(http_head_add(&h, HTTP_FIELD_B3, STR("b3"), STR("1")), 0);
	assert_int_equal(http_head_add(&h, HTTP_FIELD_B3, STR("B3"), STR("2")), 0);
	assert_true(str_eq(http_head_find(&h, HTTP_FIELD_B3)->value, STR("1")));
	fields[1].removed = true;
	assert_true(str_eq(http_head_find(&h, HTTP_FIELD_B3)->value, STR("2")));
	http_head_remove(&h, HTTP_FIELD_B3);
	assert_null(http_head_find(&h, HTTP_FIELD_B3));
	assert_non_null(http_head_find(&h, HTTP_FIELD_HOST));
	assert_int_equal(http_head_add(&h, HTTP_FIELD_B3, STR("b3"), STR("3")), 0);
	assert_true(str_eq(http_head_find(&h, HTTP_FIELD_B3)->value, STR("3")));
	assert_int_equal(http_head_add(&h, HTTP_FIELD_OTHER, STR("x"), STR("y")), -ENOBUFS);
}

static void test_limits_and_upgrades(void **state)
{
	static const char any[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
	static const char connect[] = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n";
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head = { .fields = fields, .cap_fields = HTTP_FIELDS_CAP };
	struct h1_limits limits = h1_limits_default;
	struct h1_parser p;
	struct http_reject reject;
	struct pool pool;
	size_t consumed;

	pool_init(&pool, 16);
	limits.upgrade = H1_UPGRADE_ANY;
	limits.allow_connect = true;
	h1_parser_init(&p, &limits);
	assert_int_equal(h1_request_parse(&p, &pool, str_from(any), &head, &consumed, &reject), 0);
	assert_true(str_eq(head.upgrade, STR("SPDY/3.1")));
	assert_true(h1_parser_is_idle(&p));
	assert_int_equal(h1_request_parse(&p, &pool, str_from(connect), &head, &consumed, &reject), 0);
	assert_true(head.is_connect && str_eq(head.authority, STR("a:80")));
	limits.upgrade = H1_UPGRADE_NONE;
	assert_int_equal(h1_request_parse(&p, &pool, str_from(any), &head, &consumed, &reject), 0);
	assert_int_equal(head.upgrade.n, 0);
	assert_int_equal(h1_request_parse(&p, &pool, STR("GET /aaaaaaaaaaaaaaaaaaaaa/. HTTP/1.1\r\n"), &head, &consumed, &reject),
			 -ENOMEM);
	assert_int_equal(h1_request_parse(&p, &pool, STR("GET / HT"), &head, &consumed, &reject), HTTP_E_MORE);
	assert_false(h1_parser_is_idle(&p));
	pool_done(&pool);
}

/* A head of 60 KiB, one byte more each call: work must grow with the bytes, not with their square. */
static void test_drip_is_linear(void **state)
{
	static const char begin[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
	size_t n = 60000;
	char *text = malloc(n);
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head = { .fields = fields, .cap_fields = HTTP_FIELDS_CAP };
	struct h1_parser p;
	struct http_reject reject;
	struct pool pool;
	struct timespec from, to;
	size_t consumed;

	memset(text, 'a', n);
	memcpy(text, begin, sizeof(begin) - 1);
	memcpy(text + 30000, "\r\nY: ", 5);
	pool_init(&pool, 4096);
	h1_parser_init(&p, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (size_t i = 1; i < n; i++)
		assert_int_equal(h1_request_parse(&p, &pool, (struct str){ text, i }, &head, &consumed, &reject), HTTP_E_MORE);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	/* linear: some milliseconds; quadratic: 60000 * 60000 / 2 bytes, over a second even sixteen at a time and unsanitized */
	assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 < 100);
	pool_done(&pool);
	free(text);
}

static void test_body_eof(void **state)
{
	struct http_head head = { .body = HTTP_BODY_LENGTH, .body_bytes = 3 };
	struct h1_body b;
	struct http_reject reject;
	struct str slice;
	size_t consumed;

	h1_body_init(&b, NULL, NULL, &head, true);
	assert_int_equal(h1_body_read(&b, STR("ab"), &slice, &consumed, &reject), 0);
	assert_int_equal(h1_body_eof(&b), HTTP_E_SHORT);
	assert_int_equal(h1_body_read(&b, STR("c"), &slice, &consumed, &reject), HTTP_E_REJECT);
	head.body = HTTP_BODY_UNTIL_CLOSE;
	h1_body_init(&b, NULL, NULL, &head, true);
	assert_int_equal(h1_body_read(&b, STR(""), &slice, &consumed, &reject), HTTP_E_MORE);
	assert_false(h1_body_is_done(&b));
	assert_int_equal(h1_body_eof(&b), HTTP_E_END);
	assert_true(h1_body_is_done(&b));
	head.body = HTTP_BODY_NONE;
	h1_body_init(&b, NULL, NULL, &head, true);
	assert_int_equal(h1_body_read(&b, STR("rest"), &slice, &consumed, &reject), HTTP_E_END);
	assert_int_equal(consumed, 0);
	assert_int_equal(h1_body_eof(&b), HTTP_E_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_ctl_find),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_limits_and_upgrades),
		cmocka_unit_test(test_drip_is_linear),
		cmocka_unit_test(test_body_eof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
