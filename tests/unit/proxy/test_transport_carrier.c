/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport on a carrier
 *
 * Two carriers back to back, each with a bounded room, as the two ends of a tunnel's stream: what a socket's owner counts on holds here too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "proxy/tls/transport.h"

#define ROOM 1000

struct end {
	struct transport_carrier carrier;
	struct transport t;
	struct end *other;
	char room[ROOM]; /* towards us */
	size_t n, n_events, n_got;
	bool ended, reset, closed, closed_by_reset, close_at_event;
	uint64_t sum;
};

struct scene {
	struct loop *loop;
	struct transport_shared shared;
	struct end a, b;
};

static struct end *end_of(struct transport_carrier *c)
{
	return container_of(c, struct end, carrier);
}

static int on_recv(struct transport_carrier *c, char *dst, size_t cap, size_t *ret_n)
{
	struct end *e = end_of(c);
	size_t n = MIN(cap, e->n);

	if (e->reset)
		return -ECONNRESET;
	if (n == 0)
		return e->ended ? TRANSPORT_E_END : TRANSPORT_E_AGAIN;
	memcpy(dst, e->room, n);
	memmove(e->room, e->room + n, e->n - n);
	if (e->n == ROOM)
		transport_carrier_ready(&e->other->carrier, TRANSPORT_WRITABLE);
	e->n -= n;
	*ret_n = n;
	return 0;
}

static int on_send(struct transport_carrier *c, const char *p, size_t n, size_t *ret_n)
{
	struct end *to = end_of(c)->other;
	size_t k = MIN(n, ROOM - to->n);

	if (end_of(c)->reset || to->closed)
		return -EPIPE;
	memcpy(to->room + to->n, p, k);
	to->n += k;
	*ret_n = k;
	transport_carrier_ready(&to->carrier, TRANSPORT_READABLE);
	return 0;
}

static void on_end(struct transport_carrier *c)
{
	end_of(c)->other->ended = true;
	transport_carrier_ready(&end_of(c)->other->carrier, TRANSPORT_READABLE);
}

static void on_close(struct transport_carrier *c, bool reset)
{
	struct end *e = end_of(c);

	assert_null(c->t);
	assert_false(e->closed);
	e->closed = true;
	e->closed_by_reset = reset;
	if (!reset) {
		e->other->ended = true;
		transport_carrier_ready(&e->other->carrier, TRANSPORT_READABLE);
		return;
	}
	e->other->reset = true;
	transport_carrier_ready(&e->other->carrier, TRANSPORT_BROKEN);
}

static const struct transport_carrier_ops ops = { .recv = on_recv, .send = on_send, .end = on_end, .close = on_close };

static void on_event(struct transport *t)
{
	struct end *e = container_of(t, struct end, t);

	e->n_events++;
	if (e->close_at_event)
		transport_close(t);
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_int_equal(loop_new(&s->loop), 0);
	assert_int_equal(transport_shared_init(&s->shared, s->loop, NULL), 0);
	s->a.other = &s->b;
	s->b.other = &s->a;
	s->a.carrier.ops = s->b.carrier.ops = &ops;
	transport_attach(&s->a.t, &s->shared, &s->a.carrier, on_event);
	transport_attach(&s->b.t, &s->shared, &s->b.carrier, on_event);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	transport_close(&s->a.t);
	transport_close(&s->b.t);
	assert_true(s->a.closed && s->b.closed);
	transport_shared_done(&s->shared);
	loop_free(s->loop);
	free(s);
	return 0;
}

static void turn(struct scene *s)
{
	assert_int_equal(loop_turn(s->loop, 0), 0);
}

static void open_both(struct scene *s)
{
	transport_carrier_opened(&s->a.carrier, NULL);
	transport_carrier_opened(&s->b.carrier, NULL);
	turn(s);
	assert_int_equal(s->a.t.state, TRANSPORT_OPEN);
}

static void assert_read(struct end *e, const char *want)
{
	char got[64];
	size_t n = 0;

	assert_int_equal(transport_read(&e->t, got, sizeof(got), &n), 0);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(got, want, n);
}

static void test_bytes_and_ends(void **state)
{
	struct scene *s = *state;
	char c;
	size_t n;

	open_both(s);
	assert_int_equal(transport_send(&s->a.t, "ping", 4), 0);
	assert_int_equal(s->b.n_events, 1); /* not before the next turn */
	turn(s);
	assert_int_equal(s->b.n_events, 2);
	assert_true(transport_may_read(&s->b.t));
	assert_read(&s->b, "ping");
	assert_int_equal(transport_read(&s->b.t, &c, 1, &n), TRANSPORT_E_AGAIN);
	assert_false(transport_may_read(&s->b.t));
	transport_end(&s->a.t);
	assert_true(s->a.t.end_sent);
	turn(s);
	assert_int_equal(transport_read(&s->b.t, &c, 1, &n), TRANSPORT_E_END);
	assert_int_equal(transport_send(&s->b.t, "late", 4), 0); /* the other direction goes on */
	turn(s);
	assert_read(&s->a, "late");
	transport_end(&s->b.t);
	turn(s);
	assert_int_equal(transport_read(&s->a.t, &c, 1, &n), TRANSPORT_E_END);
	assert_int_equal(s->a.t.sent_bytes, 4);
	assert_int_equal(s->a.t.received_bytes, 4);
	assert_int_equal(transport_unacked(&s->a.t), 0);
	transport_ack_now(&s->a.t);
	transport_close(&s->a.t);
	assert_false(s->a.closed_by_reset);
}

static void test_early_bytes_wait(void **state)
{
	struct scene *s = *state;

	assert_int_equal(transport_send(&s->a.t, "early", 5), 0);
	transport_end(&s->a.t);
	assert_true(transport_is_full(&s->a.t));
	assert_int_equal(transport_pending(&s->a.t), 5);
	turn(s);
	assert_int_equal(s->b.n, 0);
	open_both(s);
	assert_int_equal(transport_pending(&s->a.t), 0);
	assert_true(s->b.ended);
	assert_read(&s->b, "early");
}

static void test_back_pressure(void **state)
{
	struct scene *s = *state;
	char out[10 * ROOM], got[ROOM];
	size_t n_read = 0, n;

	open_both(s);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i % 251);
	assert_int_equal(transport_send(&s->a.t, out, sizeof(out)), 0);
	transport_end(&s->a.t);
	assert_true(transport_is_full(&s->a.t));
	assert_int_equal(transport_pending(&s->a.t), sizeof(out) - ROOM);
	for (int i = 0; i < 100 && n_read < sizeof(out); i++) {
		turn(s);
		while (transport_read(&s->b.t, got, 700, &n) == 0) {
			assert_memory_equal(got, out + n_read, n);
			n_read += n;
		}
	}
	assert_int_equal(n_read, sizeof(out));
	turn(s);
	assert_false(transport_is_full(&s->a.t));
	assert_true(s->a.t.end_sent && s->b.ended);
}

static void test_unread_and_peek(void **state)
{
	struct scene *s = *state;
	size_t n;

	open_both(s);
	assert_int_equal(transport_send(&s->a.t, "GET /", 5), 0);
	turn(s);
	assert_int_equal(transport_peek_more(&s->b.t, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(transport_peek_more(&s->b.t, &n), TRANSPORT_E_AGAIN);
	assert_int_equal(transport_unread(&s->b.t, "> ", 2), 0);
	assert_read(&s->b, "> GET /");
}

static void test_reset(void **state)
{
	struct scene *s = *state;
	char c;
	size_t n;

	open_both(s);
	transport_reset(&s->a.t);
	assert_true(s->a.closed_by_reset);
	turn(s);
	assert_true(s->b.t.broken);
	assert_int_equal(transport_read(&s->b.t, &c, 1, &n), -ECONNRESET);
	assert_int_equal(transport_read(&s->b.t, &c, 1, &n), -ECONNRESET); /* and again */
	assert_true(transport_send(&s->b.t, "x", 1) < 0);
	assert_true(s->b.t.write_failed);
}

static void test_failed(void **state)
{
	struct scene *s = *state;

	transport_carrier_failed(&s->a.carrier, -ECONNREFUSED, TRM_REASON_CONNECT_FAILED);
	assert_int_equal(s->a.n_events, 0);
	turn(s);
	assert_int_equal(s->a.n_events, 1);
	assert_int_equal(s->a.t.state, TRANSPORT_FAILED);
	assert_int_equal(s->a.t.error, -ECONNREFUSED);
	assert_int_equal(s->a.t.reason, TRM_REASON_CONNECT_FAILED);
	transport_carrier_opened(&s->a.carrier, NULL); /* too late */
	assert_int_equal(s->a.t.state, TRANSPORT_FAILED);
}

static void test_closed_while_news_is_under_way(void **state)
{
	struct scene *s = *state;

	open_both(s);
	assert_int_equal(transport_send(&s->a.t, "x", 1), 0);
	transport_close(&s->b.t); /* its event is due in the next turn */
	turn(s);
	assert_int_equal(s->b.n_events, 1);
	transport_carrier_ready(&s->b.carrier, TRANSPORT_READABLE | TRANSPORT_WRITABLE | TRANSPORT_BROKEN);
	transport_carrier_failed(&s->b.carrier, -EIO, TRM_REASON_INTERNAL);
	turn(s);
	assert_int_equal(s->b.n_events, 1);
	s->a.close_at_event = true;
	transport_poke(&s->a.t);
	turn(s);
	assert_true(s->a.closed);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_bytes_and_ends), CASE(test_early_bytes_wait), CASE(test_back_pressure),
		CASE(test_unread_and_peek), CASE(test_reset),		CASE(test_failed),
		CASE(test_closed_while_news_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
