/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows by bandwidth-delay product
 *
 * Two connections with a path between them, simulated: bytes arrive a set time after they were written, and time goes on in
 * steps. What is looked at is how much of it passes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/clock.h"
#include "proxy/http/h2.h"

#define STEP_NS	   NS_PER_MS
#define DELAY_MAX  64
#define BODY_BYTES (24 << 20)

struct end {
	struct h2_conn c;
	struct h2_stream s;
	struct pool pool;
	struct http_head head;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct buf way[DELAY_MAX]; /* towards the other end: what was written in a step */
	uint64_t got;
	bool ended, closed;
};

struct path {
	struct end client, server;
	struct h2_stall_budget budget;
	unsigned delay, at; /* steps, one way */
	uint64_t now_ns, given, per_step; /* per_step: of body, that the client's app has; 0: all at once */
	bool reads; /* the server's owner takes what comes */
	unsigned pings;
};

static char zeroes[256 * 1024];

static struct end *end_of(struct h2_stream *s)
{
	return container_of(s, struct end, s);
}

static struct h2_stream *on_request(struct h2_conn *c)
{
	struct end *e = container_of(c, struct end, c);

	h2_stream_init(&e->s, c, &e->head, &e->pool);
	return &e->s;
}

static void on_head(struct h2_stream *s, struct http_head *head, bool ends)
{
}

static void on_body(struct h2_stream *s, struct str slice)
{
	end_of(s)->got += slice.n;
}

static void on_end(struct h2_stream *s, const struct http_field *trailers, size_t n_trailers)
{
	end_of(s)->ended = true;
}

static void on_reject(struct h2_stream *s, const struct http_reject *reject)
{
	fail();
}

static void on_reset(struct h2_stream *s, uint32_t code, bool unprocessed)
{
	fail();
}

static void on_quiet(struct h2_stream *s)
{
}

static const struct h2_conn_ops ops = { .on_request = on_request, .on_head = on_head, .on_body = on_body, .on_end = on_end,
					.on_reject = on_reject, .on_reset = on_reset, .on_drained = on_quiet,
					.on_batch_end = on_quiet, .on_close = on_quiet };

static void end_init(struct end *e, bool is_server, uint32_t window_max)
{
	struct h2_settings set = h2_settings_default;

	set.window_max = window_max;
	assert_int_equal(h2_conn_init(&e->c, is_server, &set, &ops), 0);
	pool_init(&e->pool, 1 << 20);
	e->head.fields = e->fields;
	e->head.cap_fields = HTTP_FIELDS_CAP;
	for (size_t i = 0; i < DELAY_MAX; i++)
		buf_init(&e->way[i], 8 << 20);
}

static void end_done(struct end *e)
{
	h2_stream_done(&e->s, NGHTTP2_CANCEL);
	h2_conn_done(&e->c);
	pool_done(&e->pool);
	for (size_t i = 0; i < DELAY_MAX; i++)
		buf_done(&e->way[i]);
}

static struct path *path_new(unsigned delay, uint32_t window_max)
{
	struct http_head head = { .method = STR("POST"), .target = STR("/"), .path = STR("/"), .authority = STR("a"),
				  .version = HTTP_2, .body = HTTP_BODY_CHUNKED };
	struct path *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->delay = delay;
	p->now_ns = NS_PER_S;
	p->reads = true;
	end_init(&p->client, false, 0);
	end_init(&p->server, true, window_max);
	p->server.c.budget = &p->budget;
	h2_stream_init(&p->client.s, &p->client.c, &p->client.head, &p->client.pool);
	assert_int_equal(h2_stream_send_request(&p->client.s, &head, false), 0);
	return p;
}

static void path_free(struct path *p)
{
	end_done(&p->client);
	end_done(&p->server);
	assert_int_equal(p->budget.grown, 0);
	free(p);
}

static void arrive(struct path *p, struct end *from, struct end *to)
{
	struct buf *b = &from->way[(p->at - p->delay) % DELAY_MAX];

	if (b->len > 0)
		assert_int_equal(h2_conn_read(&to->c, buf_str(b), p->now_ns), 0);
	buf_consume(b, b->len);
	h2_conn_dispatch(&to->c);
	h2_conn_batch_end(&to->c);
}

static void leave(struct path *p, struct end *e)
{
	size_t n = SIZE_MAX;

	while (n != e->way[p->at % DELAY_MAX].len) {
		n = e->way[p->at % DELAY_MAX].len;
		assert_int_equal(h2_conn_write(&e->c, &e->way[p->at % DELAY_MAX], true), 0);
		h2_conn_dispatch(&e->c);
		if (e == &p->client && !h2_stream_is_full(&e->s) && p->given < BODY_BYTES && p->per_step == 0) {
			assert_int_equal(h2_stream_send_body(&e->s, (struct str){ zeroes, sizeof(zeroes) }, NULL), 0);
			p->given += sizeof(zeroes);
			n = SIZE_MAX;
		}
	}
}

static void step(struct path *p)
{
	p->now_ns += STEP_NS;
	p->at++;
	if (p->per_step > 0 && !h2_stream_is_full(&p->client.s)) {
		assert_int_equal(h2_stream_send_body(&p->client.s, (struct str){ zeroes, p->per_step }, NULL), 0);
		p->given += p->per_step;
	}
	if (p->at >= p->delay) {
		bool was = p->server.c.window.sampling;

		arrive(p, &p->client, &p->server);
		p->pings += !was && p->server.c.window.sampling;
		arrive(p, &p->server, &p->client);
	}
	if (p->reads && p->server.s.c)
		h2_stream_consume(&p->server.s);
	leave(p, &p->client);
	leave(p, &p->server);
}

/* Milliseconds until @bytes have arrived. */
static unsigned run(struct path *p, uint64_t bytes, unsigned ms_max)
{
	unsigned ms = 0;

	while (p->server.got < bytes && ms < ms_max) {
		step(p);
		ms += STEP_NS / NS_PER_MS;
	}
	return ms;
}

static void test_a_long_path_is_filled(void **state)
{
	struct path *fixed = path_new(10, 0), *grows = path_new(10, H2_WINDOW_MAX);
	unsigned slow = run(fixed, 16 << 20, 100000), fast = run(grows, 16 << 20, 100000);

	print_message("16 MiB at a round trip of 20 ms: %u ms with 64 KiB, %u ms grown\n", slow, fast);
	assert_true(slow > 5000);
	assert_true(fast * 6 < slow);
	assert_int_equal(grows->server.c.window.stream_bytes, H2_WINDOW_MAX);
	assert_int_equal(grows->budget.grown, 4 * H2_WINDOW_MAX - H2_CONN_WINDOW);
	path_free(fixed);
	path_free(grows);
}

static void test_an_app_that_sends_little_is_not_measured_often(void **state)
{
	struct path *p = path_new(10, H2_WINDOW_MAX);

	p->per_step = 500; /* 500 KB/s: 10 KB in a round trip */
	run(p, 1 << 20, 100000);
	assert_int_equal(p->server.c.window.stream_bytes, H2_STREAM_WINDOW);
	assert_in_range(p->pings, 1, (1 << 20) / (H2_STREAM_WINDOW / 4) + 1);
	path_free(p);
}

static void test_who_does_not_read_gets_no_larger_window(void **state)
{
	struct path *p = path_new(10, H2_WINDOW_MAX);

	run(p, 32 * 1024, 1000);
	p->reads = false;
	run(p, UINT64_MAX, 2000);
	assert_true(p->server.s.unconsumed <= 2 * H2_STREAM_WINDOW);
	assert_true(p->server.c.window.stream_bytes <= 2 * H2_STREAM_WINDOW);
	path_free(p);
}

static void test_all_connections_share_a_bound(void **state)
{
	struct path *p = path_new(10, H2_WINDOW_MAX);

	p->budget.grown = H2_WINDOW_GROWN_MAX - 1000;
	run(p, 8 << 20, 100000);
	/* the stream's may grow to a quarter of what the connection has had from the start */
	assert_int_equal(p->server.c.window.stream_bytes, H2_CONN_WINDOW / 4);
	assert_int_equal(p->server.c.window.conn_bytes, H2_CONN_WINDOW);
	assert_int_equal(p->budget.grown, H2_WINDOW_GROWN_MAX - 1000);
	/* others give back theirs: it grows on, though it is no faster than before */
	p->budget.grown = 0;
	run(p, 20 << 20, 100000);
	assert_int_equal(p->server.c.window.stream_bytes, H2_WINDOW_MAX);
	path_free(p);
}

/* A PING of the owner's is answered by its own answer, not by a measurement's. */
static void test_pings_are_told_apart(void **state)
{
	struct path *p = path_new(10, H2_WINDOW_MAX);
	uint64_t began_ns;

	while (!p->server.c.window.sampling)
		step(p);
	for (int i = 0; i < 10; i++)
		step(p);
	assert_int_equal(h2_conn_ping(&p->server.c, 7), 0);
	began_ns = p->server.c.window.sent_ns;
	while (p->server.c.window.sampling && p->server.c.window.sent_ns == began_ns) /* another may begin at once */
		step(p);
	assert_true(p->server.c.ping_pending);
	for (int i = 0; i < 21; i++)
		step(p);
	assert_false(p->server.c.ping_pending);
	path_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_long_path_is_filled),
		cmocka_unit_test(test_an_app_that_sends_little_is_not_measured_often),
		cmocka_unit_test(test_who_does_not_read_gets_no_larger_window),
		cmocka_unit_test(test_all_connections_share_a_bound),
		cmocka_unit_test(test_pings_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
