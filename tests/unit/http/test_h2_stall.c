/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that stall beside one that is read, on a connection whose windows have grown
 *
 * Two connections with a path of 10 ms each way between them. nghttp2 gives the connection's room back when half of it was
 * taken: what stalled streams hold must never come near the other half.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/clock.h"
#include "proxy/http/h2.h"

#define STREAMS	 80
#define DELAY	 10 /* steps of a millisecond */
#define BULK	 (16u << 20)

struct half {
	struct h2_stream h2;
	struct pool pool;
	struct http_head head;
	struct http_field fields[HTTP_FIELDS_CAP];
	uint64_t got, given, limit;
	bool reads;
};

struct end {
	struct h2_conn c;
	struct half *halves; /* STREAMS */
	size_t n;
	struct buf way[DELAY];
};

struct scene {
	struct end sender, taker;
	struct h2_stall_budget budget;
	uint64_t now_ns;
	unsigned at;
};

static char zeroes[64 * 1024];

static struct half *half_of(struct h2_stream *s)
{
	return container_of(s, struct half, h2);
}

static struct half *half_new(struct end *e)
{
	struct half *h = &e->halves[e->n++];

	assert_true(e->n <= STREAMS);
	pool_init(&h->pool, 1 << 20);
	h->head.fields = h->fields;
	h->head.cap_fields = HTTP_FIELDS_CAP;
	h2_stream_init(&h->h2, &e->c, &h->head, &h->pool);
	return h;
}

static struct h2_stream *on_request(struct h2_conn *c)
{
	return &half_new(container_of(c, struct end, c))->h2;
}

static void on_head(struct h2_stream *s, struct http_head *head, bool ends)
{
}

static void on_body(struct h2_stream *s, struct str slice)
{
	half_of(s)->got += slice.n;
}

static void on_end(struct h2_stream *s, const struct http_field *trailers, size_t n)
{
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

static void end_init(struct end *e, bool is_server, const struct h2_settings *set)
{
	assert_int_equal(h2_conn_init(&e->c, is_server, set, &ops), 0);
	e->halves = calloc(STREAMS, sizeof(*e->halves));
	assert_non_null(e->halves);
	for (size_t i = 0; i < DELAY; i++)
		buf_init(&e->way[i], 32 << 20);
}

/* Requests with bodies to a server whose streams count against its connection, or are lent room from a budget. */
static struct scene *scene_new(bool stalls_alone)
{
	struct h2_settings set = h2_settings_default, taker = stalls_alone ? h2_settings_client : h2_settings_default;
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->now_ns = NS_PER_S;
	s->budget.max_bytes = 16 << 20;
	end_init(&s->sender, false, &set);
	taker.streams_max = STREAMS;
	taker.window_max = H2_WINDOW_MAX;
	end_init(&s->taker, true, &taker);
	s->taker.c.budget = &s->budget;
	return s;
}

static void scene_free(struct scene *s)
{
	struct end *ends[] = { &s->sender, &s->taker };

	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < ends[k]->n; i++) {
			h2_stream_done(&ends[k]->halves[i].h2, NGHTTP2_CANCEL);
			pool_done(&ends[k]->halves[i].pool);
		}
		assert_int_equal(ends[k]->c.stretched, 0);
		h2_conn_done(&ends[k]->c);
		free(ends[k]->halves);
		for (size_t i = 0; i < DELAY; i++)
			buf_done(&ends[k]->way[i]);
	}
	assert_int_equal(s->budget.used, 0);
	assert_int_equal(s->budget.grown, 0);
	free(s);
}

static void arrive(struct scene *s, struct end *from, struct end *to)
{
	struct buf *b = &from->way[s->at % DELAY];

	if (b->len > 0)
		assert_int_equal(h2_conn_read(&to->c, buf_str(b), s->now_ns), 0);
	buf_consume(b, b->len);
	h2_conn_dispatch(&to->c);
	h2_conn_batch_end(&to->c);
}

static void leave(struct scene *s, struct end *e)
{
	struct buf *b = &e->way[s->at % DELAY];
	size_t n;

	do {
		n = b->len;
		for (size_t i = 0; e == &s->sender && i < e->n; i++) {
			struct half *h = &e->halves[i];

			if (h->given >= h->limit || h2_stream_is_full(&h->h2))
				continue;
			assert_int_equal(h2_stream_send_body(&h->h2, (struct str){ zeroes, sizeof(zeroes) }, NULL), 0);
			h->given += sizeof(zeroes);
		}
		assert_int_equal(h2_conn_write(&e->c, b, true), 0);
		h2_conn_dispatch(&e->c);
	} while (b->len != n);
}

static void run(struct scene *s, unsigned steps)
{
	while (steps-- > 0) {
		s->now_ns += NS_PER_MS;
		s->at++;
		arrive(s, &s->sender, &s->taker);
		arrive(s, &s->taker, &s->sender);
		for (size_t i = 0; i < s->taker.n; i++)
			if (s->taker.halves[i].reads)
				h2_stream_consume(&s->taker.halves[i].h2);
		leave(s, &s->sender);
		leave(s, &s->taker);
	}
}

/* A request with a body without end; what it is at the taker. */
static struct half *ask(struct scene *s, bool reads)
{
	struct http_head head = { .method = STR("POST"), .target = STR("/"), .path = STR("/"), .authority = STR("a"),
				  .version = HTTP_2, .body = HTTP_BODY_CHUNKED };
	struct half *h = half_new(&s->sender);

	h->limit = UINT64_MAX;
	assert_int_equal(h2_stream_send_request(&h->h2, &head, false), 0);
	h = &s->taker.halves[s->sender.n - 1];
	h->reads = reads;
	return h;
}

/* Four that are read let the windows grow; then they and others, @n in all, stall, and yet another passes. */
static void stall(bool stalls_alone, size_t n)
{
	struct scene *s = scene_new(stalls_alone);
	struct half *last;

	for (size_t i = 0; i < 4; i++)
		(void)ask(s, true);
	run(s, 2000);
	assert_int_equal(s->taker.c.window.stream_bytes, H2_WINDOW_MAX);
	for (size_t i = 0; i < 4; i++)
		s->taker.halves[i].reads = false;
	for (size_t i = 4; i < n; i++)
		(void)ask(s, false);
	run(s, 200);
	last = ask(s, true);
	run(s, 5000);
	assert_true(last->got > BULK / 4); /* by 64 KiB a round trip: the stalled ones have all that there is to grow by */
	scene_free(s);
}

static void test_windows_that_count(void **state)
{
	stall(false, 7);
}

static void test_windows_that_are_lent(void **state)
{
	stall(true, STREAMS - 1);
}

/* Many that are read share what is there to grow; when they end others have it. */
static void test_shares(void **state)
{
	struct scene *s = scene_new(false);

	for (size_t i = 0; i < 20; i++)
		(void)ask(s, true);
	run(s, 2000);
	assert_in_range(s->taker.c.stretched, 1, h2_window_stretch(&s->taker.c.window));
	for (size_t i = 0; i < 20; i++)
		assert_true(s->taker.halves[i].got > 1 << 20);
	scene_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_windows_that_count),
		cmocka_unit_test(test_windows_that_are_lent),
		cmocka_unit_test(test_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
