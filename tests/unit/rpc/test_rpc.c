/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC over a socketpair: calls of all kinds, their ends, and the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/rpc/frame.h"
#include "rpc_room.h"

/* In order */

static void test_unary(void **state)
{
	struct room r;

	room_open(&r, NULL, NULL);
	room_unary(&r, "/t.S/Echo", "hello", 5);
	assert_int_equal(r.status, RPC_OK);
	assert_int_equal(r.got.len, 5);
	assert_memory_equal(buf_head(&r.got), "hello", 5);
	r.replies = 0;
	room_unary(&r, "/t.S/Echo", "", 0); /* an empty message is a message */
	assert_int_equal(r.status, RPC_OK);
	assert_int_equal(r.replies, 1);
	assert_int_equal(r.got.len, 5);
	room_close(&r);
}

static void test_status(void **state)
{
	static const struct {
		const char *path, *text;
		enum rpc_status status;
	} cases[] = {
		{ "/t.S/Fail", "not you: 100 %\n\xc3\xa4", RPC_PERMISSION_DENIED },
		{ "/t.S/None", "unknown method", RPC_UNIMPLEMENTED },
		{ "/t.S/Unserved", "method is not served", RPC_UNIMPLEMENTED },
		{ "/t.S/Echo2", "unknown method", RPC_UNIMPLEMENTED },
	};
	struct room r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		room_open(&r, NULL, NULL);
		room_unary(&r, cases[i].path, "x", 1);
		assert_int_equal(r.status, cases[i].status);
		assert_string_equal(r.message, cases[i].text);
		room_close(&r);
	}
}

static void test_large(void **state)
{
	const size_t n = 9 << 20;
	uint8_t *p = malloc(n);
	struct room r;

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 7 ^ i >> 11);
	room_open(&r, NULL, &(struct rpc_settings){ .window_bytes = 1 << 20 });
	room_unary(&r, "/t.S/Echo", p, n);
	assert_int_equal(r.status, RPC_OK);
	assert_int_equal(r.got.len, n);
	assert_memory_equal(buf_head(&r.got), p, n);
	room_close(&r);
	free(p);
}

static void test_stream(void **state)
{
	struct room r;

	room_open(&r, NULL, NULL);
	room_stream(&r, "/t.S/Stream");
	for (int i = 0; i < 200; i++) {
		assert_int_equal(rpc_call_send(r.call, "0123456789", 10), 0);
		if (i % 3 == 0)
			room_turn(&r, 1);
	}
	room_turn(&r, 30);
	assert_int_equal(r.messages, 200);
	assert_int_equal(r.got.len, 2000);
	assert_int_equal(r.ends, 0);
	rpc_call_half_close(r.call);
	assert_int_equal(rpc_call_send(r.call, "x", 1), -EPIPE);
	room_wait(&r, &r.ends);
	assert_int_equal(r.status, RPC_OK);
	assert_int_equal(r.half_closes, 1);
	assert_int_equal(r.server_ends, 0); /* it finished itself */
	room_turn(&r, 5);
	assert_int_equal(r.client_closed + r.server_closed, 0);
	room_close(&r);
}

/* The server ends a stream on which the client could still speak; the connection stays good. */
static void test_server_ends(void **state)
{
	struct room r;

	room_open(&r, NULL, NULL);
	for (int i = 1; i <= 50; i++) {
		room_stream(&r, "/t.S/Stream");
		assert_int_equal(rpc_call_send(r.call, "quit", 4), 0);
		r.ends = 0;
		room_wait(&r, &r.ends);
		assert_int_equal(r.status, RPC_ABORTED);
		assert_string_equal(r.message, "asked to");
	}
	room_unary(&r, "/t.S/Echo", "a", 1);
	assert_int_equal(r.status, RPC_OK);
	assert_int_equal(r.client_closed + r.server_closed, 0);
	room_close(&r);
}

static void test_cancel(void **state)
{
	struct room r;

	room_open(&r, NULL, NULL);
	room_stream(&r, "/t.S/Stream");
	r.call = rpc_call_cancel(r.call); /* before anything left */
	room_turn(&r, 5);
	assert_int_equal(r.server_ends, 0);
	room_stream(&r, "/t.S/Stream");
	assert_int_equal(rpc_call_send(r.call, "a", 1), 0);
	room_turn(&r, 8);
	assert_non_null(r.held);
	r.call = rpc_call_cancel(r.call);
	room_wait(&r, &r.server_ends);
	assert_int_equal(r.server_end_status, RPC_CANCELLED);
	assert_int_equal(r.ends, 0);
	room_close(&r);
}

static void test_inside_callbacks(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct room r;

		room_open(&r, NULL, NULL);
		r.cancel_in_message = i == 0;
		r.free_in_message = i == 1;
		r.free_in_end = i == 2;
		room_stream(&r, "/t.S/Stream");
		assert_int_equal(rpc_call_send(r.call, "a", 1), 0);
		assert_int_equal(rpc_call_send(r.call, "b", 1), 0);
		assert_int_equal(rpc_call_send(r.call, "quit", 4), 0);
		room_turn(&r, 20);
		assert_int_equal(r.messages, i == 2 ? 2 : 1);
		assert_int_equal(r.ends, i == 2 ? 1 : 0);
		assert_true((r.client == NULL) == (i > 0));
		if (i > 0)
			assert_int_equal(r.server_closed, 1);
		room_close(&r);
	}
}

static void test_deadline(void **state)
{
	struct room r;
	const struct rpc_target t = { .path = "/t.S/Silent", .timeout_ms = 30 };

	room_open(&r, NULL, NULL);
	assert_int_equal(rpc_unary(r.client, &t, "a", 1, on_reply, &r, &r.call), 0);
	room_wait(&r, &r.replies);
	assert_int_equal(r.status, RPC_DEADLINE_EXCEEDED);
	room_wait(&r, &r.server_ends);
	assert_int_equal(r.server_end_status, RPC_CANCELLED);
	room_close(&r);
}

/* A server that holds back lets the queue fill: the send is refused, and told when it is empty again. */
static void test_queue_bound(void **state)
{
	static uint8_t p[30000];
	struct room r;
	int sent = 0, err;

	room_open(&r, &(struct rpc_settings){ .queue_max_bytes = 100000 }, NULL);
	room_stream(&r, "/t.S/Stream");
	assert_int_equal(rpc_call_send(r.call, p, 100000), -EMSGSIZE);
	while ((err = rpc_call_send(r.call, p, sizeof(p))) == 0)
		sent++;
	assert_int_equal(err, -ENOBUFS);
	assert_int_equal(sent, 3);
	assert_true(rpc_call_queued(r.call) <= 100000);
	room_turn(&r, 40);
	assert_int_equal(r.writables, 1);
	assert_int_equal(r.server_messages, 3);
	assert_int_equal(rpc_call_send(r.call, p, sizeof(p)), 0);
	room_close(&r);
}

static void test_drain(void **state)
{
	const struct rpc_target t = { .path = "/t.S/Echo" };
	struct room r;

	room_open(&r, NULL, NULL);
	room_stream(&r, "/t.S/Stream");
	assert_int_equal(rpc_call_send(r.call, "a", 1), 0);
	room_turn(&r, 8);
	rpc_conn_drain(r.server);
	room_turn(&r, 4);
	assert_false(rpc_conn_is_usable(r.client));
	assert_int_equal(rpc_unary(r.client, &t, "a", 1, on_reply, &r, &r.call), -ENOTCONN);
	assert_int_equal(rpc_call_send(r.held ? r.call : NULL, "b", 1), 0); /* the running call goes on */
	room_turn(&r, 8);
	assert_int_equal(r.messages, 2);
	assert_int_equal(r.server_closed, 0);
	rpc_call_half_close(r.call);
	room_wait(&r, &r.ends);
	assert_int_equal(r.status, RPC_OK);
	room_wait(&r, &r.server_closed);
	room_wait(&r, &r.client_closed);
	assert_int_equal(r.server_err, 0);
	assert_int_equal(r.client_err, 0);
	room_close(&r);
}

static void test_refused_above_limit(void **state)
{
	const struct rpc_target t = { .path = "/t.S/Silent" };
	struct room r;
	struct rpc_call *calls[3];

	room_open(&r, NULL, &(struct rpc_settings){ .calls_max = 2 });
	for (int i = 0; i < 3; i++) /* before the client has seen the limit */
		assert_int_equal(rpc_unary(r.client, &t, "a", 1, on_reply, &r, &calls[i]), 0);
	room_wait(&r, &r.replies);
	assert_int_equal(r.replies, 1);
	assert_int_equal(r.status, RPC_UNAVAILABLE);
	room_close(&r);
}

/* The framing alone: every cut of three messages, the empty one among them. */
struct collected {
	size_t n, bytes;
};

static bool on_collect(const uint8_t *p, size_t n, void *user)
{
	struct collected *c = user;

	c->n++;
	c->bytes += n;
	return true;
}

static void test_frame_cuts(void **state)
{
	static const uint8_t bytes[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'z' };

	for (size_t a = 0; a <= sizeof(bytes); a++)
		for (size_t b = a; b <= sizeof(bytes); b++) {
			struct collected c = { 0 };
			struct rpc_reader r;

			rpc_reader_init(&r, 8);
			assert_int_equal(rpc_reader_feed(&r, bytes, a, on_collect, &c), 0);
			assert_int_equal(rpc_reader_feed(&r, bytes + a, b - a, on_collect, &c), 0);
			assert_int_equal(rpc_reader_feed(&r, bytes + b, sizeof(bytes) - b, on_collect, &c), 0);
			assert_int_equal(c.n, 3);
			assert_int_equal(c.bytes, 4);
			assert_true(rpc_reader_is_between(&r));
			rpc_reader_done(&r);
		}
}

static void test_message_text(void **state)
{
	static const struct {
		const char *text, *encoded;
	} cases[] = {
		{ "plain", "plain" }, { "100 %", "100 %25" }, { "a\nb", "a%0Ab" }, { "\xff~", "%FF~" }, { "", "" }
	};
	char *t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		t = rpc_message_encode(cases[i].text);
		assert_string_equal(t, cases[i].encoded);
		free(t);
		t = rpc_message_decode(str_from(cases[i].encoded));
		assert_string_equal(t, cases[i].text);
		free(t);
	}
	t = rpc_message_decode(STR("%zz%4%00%4a%"));
	assert_string_equal(t, "%zz%4 J%");
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unary),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_server_ends),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_inside_callbacks),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_queue_bound),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_refused_above_limit),
		cmocka_unit_test(test_frame_cuts),
		cmocka_unit_test(test_message_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
