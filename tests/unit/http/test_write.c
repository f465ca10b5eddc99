/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and bodies out: framing is what was sent, hop-by-hop fields stay behind, nothing can split a head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "proxy/http/h1.h"

struct fixture {
	struct pool pool;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head;
	struct buf out;
	struct h1_body_out body;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	pool_init(&f->pool, 64 * 1024);
	buf_init(&f->out, 128 * 1024);
	f->head = (struct http_head){ .fields = f->fields, .cap_fields = HTTP_FIELDS_CAP };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pool_done(&f->pool);
	buf_done(&f->out);
	free(f);
	return 0;
}

static void read_request(struct fixture *f, const char *text)
{
	struct h1_parser p;
	struct http_reject reject;
	size_t consumed;

	h1_parser_init(&p, NULL);
	assert_int_equal(h1_request_parse(&p, &f->pool, str_from(text), &f->head, &consumed, &reject), 0);
	assert_int_equal(consumed, strlen(text));
}

static void read_response(struct fixture *f, const char *text, struct h1_asked asked)
{
	struct h1_parser p;
	struct http_reject reject;
	size_t consumed;

	h1_parser_init(&p, NULL);
	assert_int_equal(h1_response_parse(&p, &asked, str_from(text), &f->head, &consumed, &reject), 0);
}

static void assert_out(struct fixture *f, const char *want)
{
	char *got = str_dup(buf_str(&f->out));

	assert_string_equal(got, want);
	free(got);
	buf_consume(&f->out, f->out.len);
}

static void check_request(struct fixture *f, const char *in, const char *want)
{
	read_request(f, in);
	assert_int_equal(h1_request_write(&f->out, &f->head, NULL, &f->body), 0);
	assert_out(f, want);
}

static void test_request_heads(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} cases[] = {
		{ "plain", "GET /a?b HTTP/1.1\r\nhost: A:80\r\nX-y:  z \r\n\r\n",
		  "GET /a?b HTTP/1.1\r\nhost: A:80\r\nX-y: z\r\n\r\n" },
		{ "normalised path", "GET /a/../b//%63 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b/c HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ "absolute form", "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ "from 1.0", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
		  "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ "length keeps its case and gets one spelling", "PUT / HTTP/1.1\r\nHost: a\r\ncontent-length: 007\r\n\r\n",
		  "PUT / HTTP/1.1\r\nHost: a\r\ncontent-length: 7\r\n\r\n" },
		{ "chunked", "PUT / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
		  "PUT / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ "post without a body", "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
		  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" },
		{ "hop by hop",
		  "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n"
		  "X-Hop: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\nTE: gzip\r\nX: y\r\n\r\n",
		  "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n" },
		{ "te trailers", "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nConnection: TE\r\n\r\n",
		  "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n" },
		{ "websocket", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nTE: x\r\n\r\n",
		  "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" },
		{ "expect passes", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		  "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n" },
		{ "options", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].name);
		check_request(*state, cases[i].in, cases[i].want);
	}
}

static void test_request_changes(void **state)
{
	struct fixture *f = *state;

	read_request(f, "GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nB: c\r\n\r\n");
	http_head_remove(&f->head, HTTP_FIELD_X_FORWARDED_FOR);
	assert_int_equal(http_head_add(&f->head, HTTP_FIELD_X_FORWARDED_FOR, STR("x-forwarded-for"), STR("2")), 0);
	f->head.authority = STR("b:8080");
	f->head.path = STR("/z");
	assert_int_equal(h1_request_write(&f->out, &f->head, &(struct h1_request_options){ .close = true }, &f->body), 0);
	assert_out(f, "GET /z HTTP/1.1\r\nHost: b:8080\r\nB: c\r\nx-forwarded-for: 2\r\nConnection: close\r\n\r\n");
}

/* CVE-2023-27493: values from configuration were written without a look */
static void test_request_refuses_splits(void **state)
{
	static const struct str bad[] = { { "a\r\nX: y", 7 }, { "a\nb", 3 }, { "a\rb", 3 }, { "a\0b", 3 }, { "\x7f", 1 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_head *h = &f->head;

		read_request(f, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_int_equal(http_head_add(h, HTTP_FIELD_OTHER, STR("x"), bad[i]), 0);
		assert_int_equal(h1_request_write(&f->out, h, NULL, &f->body), -EINVAL);
		h->fields[h->n_fields - 1] = (struct http_field){ .name = bad[i], .value = STR("x") };
		assert_int_equal(h1_request_write(&f->out, h, NULL, &f->body), -EINVAL);
		h->n_fields--;
		h->path = bad[i];
		assert_int_equal(h1_request_write(&f->out, h, NULL, &f->body), -EINVAL);
		h->path = STR("/");
		h->authority = bad[i];
		assert_int_equal(h1_request_write(&f->out, h, NULL, &f->body), -EINVAL);
		h->authority = STR("a");
		h->method = bad[i];
		assert_int_equal(h1_request_write(&f->out, h, NULL, &f->body), -EINVAL);
		assert_int_equal(f->out.len, 0);
	}
	read_request(f, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
	f->head.path = STR("/a b");
	assert_int_equal(h1_request_write(&f->out, &f->head, NULL, &f->body), -EINVAL);
}

struct response_case {
	const char *name, *in;
	struct h1_asked asked;
	struct h1_response_options opts;
	const char *want;
	bool want_close;
};

static const struct response_case response_cases[] = {
	{ "length", "HTTP/1.1 200 Fine\r\nserver: x\r\nContent-Length: 3\r\n\r\n", { 0 }, { HTTP_1_1, true },
	  "HTTP/1.1 200 Fine\r\nserver: x\r\nContent-Length: 3\r\n\r\n", false },
	{ "upstream close is not passed on", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", { 0 },
	  { HTTP_1_1, true }, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false },
	{ "our close", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", { 0 }, { HTTP_1_1, true, .close = true },
	  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", true },
	{ "caller's close", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", { 0 }, { HTTP_1_1, false },
	  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", true },
	{ "1.0 upstream", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", { 0 }, { HTTP_1_1, true },
	  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false },
	{ "chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", { 0 }, { HTTP_1_1, true },
	  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false },
	{ "chunked to 1.0", "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n", { 0 }, { HTTP_1_0, true },
	  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", true },
	{ "until close to 1.1", "HTTP/1.1 200 OK\r\n\r\n", { 0 }, { HTTP_1_1, true },
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false },
	{ "until close to 1.0", "HTTP/1.1 200 OK\r\n\r\n", { 0 }, { HTTP_1_0, true },
	  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", true },
	{ "keep-alive to 1.0", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", { 0 }, { HTTP_1_0, true },
	  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n", false },
	{ "head", "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", { .is_head = true }, { HTTP_1_1, true, true },
	  "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", false },
	{ "head without a length", "HTTP/1.1 200 OK\r\n\r\n", { .is_head = true }, { HTTP_1_1, true, true },
	  "HTTP/1.1 200 OK\r\n\r\n", false },
	{ "head chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", { .is_head = true },
	  { HTTP_1_1, true, true }, "HTTP/1.1 200 OK\r\n\r\n", false },
	{ "304", "HTTP/1.1 304 NM\r\nContent-Length: 300\r\nETag: x\r\n\r\n", { 0 }, { HTTP_1_1, true },
	  "HTTP/1.1 304 NM\r\nETag: x\r\nContent-Length: 300\r\n\r\n", false },
	{ "204", "HTTP/1.1 204 NC\r\nContent-Length: 0\r\n\r\n", { 0 }, { HTTP_1_1, true }, "HTTP/1.1 204 NC\r\n\r\n", false },
	{ "100", "HTTP/1.1 100 Continue\r\n\r\n", { 0 }, { HTTP_1_1, false }, "HTTP/1.1 100 Continue\r\n\r\n", false },
	{ "100 to 1.0", "HTTP/1.1 100 Continue\r\n\r\n", { 0 }, { HTTP_1_0, false }, "", false },
	{ "101", "HTTP/1.1 101 SP\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nS: k\r\n\r\n",
	  { .upgrade = { "websocket", 9 } }, { HTTP_1_1, true },
	  "HTTP/1.1 101 SP\r\nS: k\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", false },
	{ "connect", "HTTP/1.1 200 OK\r\n\r\n", { .is_connect = true }, { HTTP_1_1, true, .is_connect = true },
	  "HTTP/1.1 200 OK\r\n\r\n", false },
	{ "hop by hop", "HTTP/1.1 200 OK\r\nKeep-Alive: x\r\nConnection: X-A\r\nX-A: b\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
	  { 0 }, { HTTP_1_1, true }, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false },
};

static void test_response_heads(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(response_cases); i++) {
		const struct response_case *c = &response_cases[i];
		bool close = !c->want_close;

		print_message("%s\n", c->name);
		read_response(f, c->in, c->asked);
		assert_int_equal(h1_response_write(&f->out, &f->head, &c->opts, &f->body, &close), 0);
		assert_int_equal(close, c->want_close);
		assert_out(f, c->want);
	}
}

static void test_no_room_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct buf small;
	bool close;

	buf_init(&small, 64);
	assert_int_equal(buf_append(&small, "x", 1), 0);
	read_request(f, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(h1_request_write(&small, &f->head, NULL, &f->body), -ENOBUFS);
	read_response(f, "HTTP/1.1 200 OK\r\n\r\n", (struct h1_asked){ 0 });
	assert_int_equal(h1_response_write(&small, &f->head, &(struct h1_response_options){ HTTP_1_1 }, &f->body, &close),
			 -ENOBUFS);
	assert_int_equal(h1_body_write(&f->body, &small, (struct str){ "0123456789012345678901234567890123456789012345678901234567890", 60 }), -ENOBUFS);
	assert_int_equal(small.len, 1);
	buf_done(&small);
}

static void test_body_length(void **state)
{
	struct fixture *f = *state;
	struct h1_body_out b = { .kind = HTTP_BODY_LENGTH, .left = 5 };

	assert_int_equal(h1_body_write(&b, &f->out, STR("hel")), 0);
	/* CVE-2026-90678: the promise is held against what is there */
	assert_int_equal(h1_body_write(&b, &f->out, STR("lo!")), -EMSGSIZE);
	assert_int_equal(h1_body_end(&b, &f->out, NULL, 0), HTTP_E_SHORT);
	assert_int_equal(h1_body_write(&b, &f->out, STR("")), 0);
	assert_int_equal(h1_body_open(&b, &f->out, 3), -EMSGSIZE);
	assert_int_equal(h1_body_write(&b, &f->out, STR("lo")), 0);
	assert_int_equal(h1_body_end(&b, &f->out, NULL, 0), 0);
	assert_int_equal(h1_body_write(&b, &f->out, STR("x")), -EMSGSIZE);
	assert_out(f, "hello");
}

static void test_body_chunked(void **state)
{
	const struct http_field trailers[] = {
		{ STR("X-Sum"), STR("9"), HTTP_FIELD_OTHER },
		{ STR("Content-Length"), STR("9"), HTTP_FIELD_CONTENT_LENGTH },
		{ STR("X-Gone"), STR("9"), HTTP_FIELD_OTHER, true },
		{ STR("X-Bad"), STR("9\r\nX: y"), HTTP_FIELD_OTHER },
		{ STR("Bad Name"), STR("9"), HTTP_FIELD_OTHER },
		{ STR("X-Empty"), STR(""), HTTP_FIELD_OTHER },
	};
	struct fixture *f = *state;
	struct h1_body_out b = { .kind = HTTP_BODY_CHUNKED };
	char big[0x12345];
	struct str out;

	assert_int_equal(h1_body_write(&b, &f->out, STR("")), 0);
	assert_int_equal(h1_body_write(&b, &f->out, STR("hello")), 0);
	assert_int_equal(h1_body_open(&b, &f->out, 16), 0);
	assert_int_equal(h1_body_write(&b, &f->out, STR("x")), -EMSGSIZE);
	assert_int_equal(h1_body_end(&b, &f->out, NULL, 0), HTTP_E_SHORT);
	assert_int_equal(buf_append(&f->out, "0123456789abcdef", 16), 0);
	assert_int_equal(h1_body_close(&b, &f->out), 0);
	assert_int_equal(h1_body_end(&b, &f->out, trailers, ARRAY_SIZE(trailers)), 0);
	assert_int_equal(h1_body_write(&b, &f->out, STR("x")), -EMSGSIZE);
	assert_out(f, "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 9\r\nX-Empty: \r\n\r\n");

	memset(big, 'a', sizeof(big));
	b = (struct h1_body_out){ .kind = HTTP_BODY_CHUNKED };
	assert_int_equal(h1_body_write(&b, &f->out, (struct str){ big, sizeof(big) }), 0);
	out = buf_str(&f->out);
	assert_true(str_starts(out, STR("12345\r\naaa")) && str_ends(out, STR("aaa\r\n")));
}

static void test_local_reply(void **state)
{
	struct fixture *f = *state;
	struct h1_local_reply r = { .status = 503, .reason = TRM_REASON_NO_READY_ENDPOINT, .version = HTTP_1_1 };

	assert_int_equal(h1_local_reply(&f->out, &r), 0);
	assert_out(f, "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 30\r\n\r\n"
		      "service has no ready endpoint\n");
	r.show_reason = r.close = r.is_head = true;
	assert_int_equal(h1_local_reply(&f->out, &r), 0);
	assert_out(f, "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 30\r\n"
		      "x-trammel-reason: no_ready_endpoint\r\nconnection: close\r\n\r\n");
	r = (struct h1_local_reply){ .status = 100, .version = HTTP_1_1 };
	assert_int_equal(h1_local_reply(&f->out, &r), 0);
	assert_out(f, "HTTP/1.1 100 Continue\r\n\r\n");
	r = (struct h1_local_reply){ .status = 405, .reason = TRM_REASON_HTTP_METHOD, .version = HTTP_1_0 };
	assert_int_equal(h1_local_reply(&f->out, &r), 0);
	assert_non_null(memmem(f->out.mem, f->out.len, "\r\nallow: GET", 12));
	assert_non_null(memmem(f->out.mem, f->out.len, "\r\nconnection: keep-alive\r\n", 26));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_request_heads),	T(test_request_changes), T(test_request_refuses_splits),
		T(test_response_heads), T(test_no_room_changes_nothing), T(test_body_length),
		T(test_body_chunked),	T(test_local_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
