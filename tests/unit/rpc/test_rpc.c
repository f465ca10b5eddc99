/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over a socketpair: calls of all kinds, then peers that misbehave
 *
 * Client and server live in one loop. A hostile peer is a plain fd to which bytes are written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/rpc/frame.h"
#include "base/rpc/rpc.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct room {
	struct loop *loop;
	struct rpc_conn *client, *server;
	int client_closed, server_closed; /* times */
	int client_err, server_err;

	/* server side */
	struct rpc_call *held; /* stream or request that the test answers itself */
	int server_ends, half_closes;
	enum rpc_status server_end_status;
	size_t server_messages, server_bytes;

	/* client side */
	int ends, replies;
	enum rpc_status status;
	char message[256];
	struct buf got;
	size_t messages, writables;
	struct rpc_call *call;
	bool cancel_in_message, free_in_message, free_in_end;
};

static void room_turn(struct room *r, int turns)
{
	for (int i = 0; i < turns; i++)
		assert_int_equal(loop_turn(r->loop, 0), 0);
}

/* Turns until *@flag or 3 s. */
static void room_wait(struct room *r, const int *flag)
{
	uint64_t end = clock_mono_ns() + 3 * NS_PER_S;

	while (!*flag && clock_mono_ns() < end)
		assert_int_equal(loop_turn(r->loop, 10), 0);
	assert_true(*flag);
}

static void on_client_close(struct rpc_conn *c, int err, void *user)
{
	struct room *r = user;

	r->client_closed++;
	r->client_err = err;
	r->client = rpc_conn_free(c);
}

static void on_server_close(struct rpc_conn *c, int err, void *user)
{
	struct room *r = user;

	r->server_closed++;
	r->server_err = err;
	r->server = rpc_conn_free(c);
}

static const struct rpc_conn_ops client_ops = { on_client_close }, server_ops = { on_server_close };

static void on_echo(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	rpc_call_reply(call, p, n);
}

static void on_fail(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	rpc_call_finish(call, RPC_PERMISSION_DENIED, "not you: 100 %\n\xc3\xa4");
}

static void on_silent_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	struct room *r = user;

	r->server_ends++;
	r->server_end_status = status;
	r->held = NULL;
}

static const struct rpc_call_ops silent_ops = { .on_end = on_silent_end };

static void on_silent(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	((struct room *)user)->held = call;
	rpc_call_set_ops(call, &silent_ops, user);
}

static void on_stream_message(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	struct room *r = user;

	r->server_messages++;
	r->server_bytes += n;
	if (n == 4 && memcmp(p, "quit", 4) == 0) {
		rpc_call_finish(call, RPC_ABORTED, "asked to");
		return;
	}
	if (n < 1000)
		assert_int_equal(rpc_call_send(call, p, n), 0);
}

static void on_stream_half_close(struct rpc_call *call, void *user)
{
	((struct room *)user)->half_closes++;
	rpc_call_finish(call, RPC_OK, NULL);
}

static const struct rpc_call_ops stream_ops = {
	.on_message = on_stream_message,
	.on_half_close = on_stream_half_close,
	.on_end = on_silent_end,
};

static void on_stream(struct rpc_call *call, void *user)
{
	((struct room *)user)->held = call;
	rpc_call_set_ops(call, &stream_ops, user);
}

static void on_unserved(struct rpc_call *call, void *user)
{
}

static const struct rpc_method methods[] = {
	{ .path = "/t.S/Echo", .on_request = on_echo },	    { .path = "/t.S/Fail", .on_request = on_fail },
	{ .path = "/t.S/Silent", .on_request = on_silent }, { .path = "/t.S/Stream", .on_stream = on_stream },
	{ .path = "/t.S/Unserved", .on_stream = on_unserved },
};

static void room_init(struct room *r)
{
	memset(r, 0, sizeof(*r));
	buf_init(&r->got, 64 << 20);
	assert_int_equal(loop_new(&r->loop), 0);
}

static void fds_make(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void room_open(struct room *r, const struct rpc_settings *client, const struct rpc_settings *server)
{
	int fds[2];

	room_init(r);
	fds_make(fds);
	assert_int_equal(rpc_client_new(r->loop, fds[0], client, &client_ops, r, &r->client), 0);
	assert_int_equal(rpc_server_new(r->loop, fds[1], methods, ARRAY_SIZE(methods), server, &server_ops, r, &r->server), 0);
}

static void room_close(struct room *r)
{
	r->client = rpc_conn_free(r->client);
	r->server = rpc_conn_free(r->server);
	buf_done(&r->got);
	loop_free(r->loop);
}

static void on_reply(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user)
{
	struct room *r = user;

	r->replies++;
	r->status = status;
	snprintf(r->message, sizeof(r->message), "%s", message);
	if (status == RPC_OK)
		assert_int_equal(buf_append(&r->got, p, n), 0);
	else
		assert_null(p);
}

static void room_unary(struct room *r, const char *path, const void *p, size_t n)
{
	const struct rpc_target t = { .path = path };

	assert_int_equal(rpc_unary(r->client, &t, p, n, on_reply, r, &r->call), 0);
	room_wait(r, &r->replies);
}

static void on_message(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	struct room *r = user;

	r->messages++;
	assert_int_equal(buf_append(&r->got, p, n), 0);
	if (r->cancel_in_message)
		r->call = rpc_call_cancel(call);
	if (r->free_in_message)
		r->client = rpc_conn_free(r->client);
}

static void on_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	struct room *r = user;

	r->ends++;
	r->status = status;
	snprintf(r->message, sizeof(r->message), "%s", message);
	r->call = NULL;
	if (r->free_in_end)
		r->client = rpc_conn_free(r->client);
}

static void on_writable(struct rpc_call *call, void *user)
{
	((struct room *)user)->writables++;
}

static const struct rpc_call_ops call_ops = { .on_message = on_message, .on_writable = on_writable, .on_end = on_end };

static void room_stream(struct room *r, const char *path)
{
	const struct rpc_target t = { .path = path };

	assert_int_equal(rpc_stream_new(r->client, &t, &call_ops, r, &r->call), 0);
}

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

/* Peers that misbehave */

static void hostile_server_open(struct room *r, const struct rpc_settings *client, int *ret_fd)
{
	int fds[2];

	room_init(r);
	fds_make(fds);
	assert_int_equal(rpc_client_new(r->loop, fds[0], client, &client_ops, r, &r->client), 0);
	*ret_fd = fds[1];
}

static void hostile_client_open(struct room *r, const struct rpc_settings *server, int *ret_fd)
{
	int fds[2];

	room_init(r);
	fds_make(fds);
	assert_int_equal(rpc_server_new(r->loop, fds[0], methods, ARRAY_SIZE(methods), server, &server_ops, r, &r->server), 0);
	*ret_fd = fds[1];
}

static void put(int fd, const void *p, size_t n)
{
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void put_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void *p, uint32_t n)
{
	uint8_t head[9] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags, (uint8_t)(stream >> 24),
			    (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream };

	put(fd, head, sizeof(head));
	if (n)
		put(fd, p, n);
}

/* HPACK: literal without indexing, new name, no Huffman. */
static void field(struct buf *b, const char *name, const char *value)
{
	uint8_t head[2] = { 0, (uint8_t)strlen(name) }, n = (uint8_t)strlen(value);

	assert_int_equal(buf_append(b, head, 2), 0);
	assert_int_equal(buf_append(b, name, head[1]), 0);
	assert_int_equal(buf_append(b, &n, 1), 0);
	assert_int_equal(buf_append(b, value, n), 0);
}

static void put_request(int fd, uint32_t stream, const char *method, const char *path, const char *type, uint8_t flags)
{
	struct buf b;

	buf_init(&b, 4096);
	field(&b, ":method", method);
	field(&b, ":scheme", "http");
	field(&b, ":path", path);
	field(&b, ":authority", "x");
	if (type)
		field(&b, "content-type", type);
	put_frame(fd, 1, (uint8_t)(4 | flags), stream, buf_head(&b), (uint32_t)b.len);
	buf_done(&b);
}

/* Reads what the server said so far; returns its length. */
static size_t drink(int fd, uint8_t *p, size_t n)
{
	size_t at = 0;
	ssize_t k;

	while (at < n && (k = read(fd, p + at, n - at)) > 0)
		at += (size_t)k;
	return at;
}

/* Is there a frame of @type for @stream in the bytes? */
static bool has_frame(const uint8_t *p, size_t n, uint8_t type, uint32_t stream)
{
	for (size_t at = 0; at + 9 <= n;) {
		size_t len = (size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2];
		uint32_t id = (uint32_t)p[at + 5] << 24 | (uint32_t)p[at + 6] << 16 | (uint32_t)p[at + 7] << 8 | p[at + 8];

		if (p[at + 3] == type && id == stream)
			return true;
		at += 9 + len;
	}
	return false;
}

static void test_garbage(void **state)
{
	unsigned int seed = (unsigned int)clock_mono_ns();

	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 300; round++) {
		uint8_t bytes[600];
		struct room r;
		int fd;

		if (round % 2) {
			hostile_server_open(&r, NULL, &fd);
			room_stream(&r, "/t.S/Stream");
			put_frame(fd, 4, 0, 0, NULL, 0);
		} else {
			hostile_client_open(&r, NULL, &fd);
			put(fd, PREFACE, sizeof(PREFACE) - 1);
			put_frame(fd, 4, 0, 0, NULL, 0);
			put_request(fd, 1, "POST", "/t.S/Stream", "application/grpc", 0);
		}
		room_turn(&r, 3);
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)rand();
		bytes[0] = bytes[1] = 0; /* a short frame of any type, so that more than its head is looked at */
		bytes[3] %= 10;
		bytes[5] = bytes[6] = bytes[7] = 0;
		bytes[8] %= 4;
		put(fd, bytes, sizeof(bytes));
		room_turn(&r, 6);
		close(fd);
		room_turn(&r, 6);
		assert_int_equal(round % 2 ? r.client_closed : r.server_closed, 1);
		if (round % 2)
			assert_int_equal(r.ends, 1);
		room_close(&r);
	}
}

static void test_no_http2(void **state)
{
	struct room r;
	int fd;

	hostile_client_open(&r, NULL, &fd);
	put(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
	room_wait(&r, &r.server_closed);
	assert_true(r.server_err < 0);
	close(fd);
	room_close(&r);
}

/* A bad message ends its call, not the connection. */
static void test_bad_messages(void **state)
{
	static const uint8_t compressed[] = { 1, 0, 0, 0, 1, 'x' }, huge[] = { 0, 0xff, 0xff, 0xff, 0xff, 'x' };
	static const uint8_t cut[] = { 0, 0, 0, 0, 9, 'x' }, over[] = { 0, 0, 0, 4, 1 };
	static const uint8_t two[] = { 0, 0, 0, 0, 1, 'x', 0, 0, 0, 0, 1, 'y' };
	static const struct {
		const void *p;
		uint32_t n;
		const char *path, *status;
	} cases[] = {
		{ compressed, sizeof(compressed), "/t.S/Stream", "12" },
		{ huge, sizeof(huge), "/t.S/Stream", "8" },
		{ over, sizeof(over), "/t.S/Stream", "8" },
		{ cut, sizeof(cut), "/t.S/Stream", "3" },
		{ cut, 3, "/t.S/Stream", "3" },
		{ two, sizeof(two), "/t.S/Echo", "3" },
		{ NULL, 0, "/t.S/Echo", "3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[4096], want[32];
		struct room r;
		size_t n;
		int fd;

		hostile_client_open(&r, &(struct rpc_settings){ .message_max_bytes = 1024 }, &fd);
		put(fd, PREFACE, sizeof(PREFACE) - 1);
		put_frame(fd, 4, 0, 0, NULL, 0);
		put_request(fd, 1, "POST", cases[i].path, "application/grpc", 0);
		put_frame(fd, 0, 1, 1, cases[i].p, cases[i].n);
		room_turn(&r, 6);
		n = drink(fd, bytes, sizeof(bytes));
		assert_true(has_frame(bytes, n, 1, 1));
		snprintf((char *)want, sizeof(want), "%s", cases[i].status);
		assert_non_null(memmem(bytes, n, want, strlen((char *)want)));
		assert_int_equal(r.server_closed, 0);
		put_request(fd, 3, "POST", "/t.S/Echo", "application/grpc", 0);
		put_frame(fd, 0, 1, 3, "\0\0\0\0\1z", 6);
		room_turn(&r, 6);
		n = drink(fd, bytes, sizeof(bytes));
		assert_true(has_frame(bytes, n, 0, 3));
		close(fd);
		room_close(&r);
	}
}

static void test_no_grpc(void **state)
{
	static const struct {
		const char *method, *type, *status;
	} cases[] = { { "GET", "application/grpc", "405" }, { "POST", "text/html", "415" }, { "POST", NULL, "415" },
		      { "POST", "application/grpcx", "415" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[4096];
		struct room r;
		size_t n;
		int fd;

		hostile_client_open(&r, NULL, &fd);
		put(fd, PREFACE, sizeof(PREFACE) - 1);
		put_frame(fd, 4, 0, 0, NULL, 0);
		put_request(fd, 1, cases[i].method, "/t.S/Stream", cases[i].type, 1);
		room_turn(&r, 6);
		n = drink(fd, bytes, sizeof(bytes));
		assert_true(has_frame(bytes, n, 1, 1));
		assert_null(r.held);
		assert_int_equal(r.server_closed, 0);
		close(fd);
		room_close(&r);
	}
}

static void test_head_bound(void **state)
{
	struct room r;
	struct buf b;
	char big[120];
	uint8_t bytes[4096];
	size_t n;
	int fd;

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	buf_init(&b, 1 << 20);
	field(&b, ":method", "POST");
	field(&b, ":scheme", "http");
	field(&b, ":path", "/t.S/Stream");
	field(&b, "content-type", "application/grpc");
	while (b.len < 16300)
		field(&b, "x", big);
	hostile_client_open(&r, NULL, &fd);
	put(fd, PREFACE, sizeof(PREFACE) - 1);
	put_frame(fd, 4, 0, 0, NULL, 0);
	put_frame(fd, 1, 4, 1, buf_head(&b), (uint32_t)b.len);
	room_turn(&r, 6);
	n = drink(fd, bytes, sizeof(bytes));
	assert_true(has_frame(bytes, n, 3, 1));
	assert_null(r.held);
	close(fd);
	buf_done(&b);
	room_close(&r);
}

static void test_reset_midstream(void **state)
{
	static const struct {
		uint8_t code;
		enum rpc_status status;
	} cases[] = { { 7, RPC_UNAVAILABLE }, { 8, RPC_CANCELLED }, { 11, RPC_RESOURCE_EXHAUSTED }, { 2, RPC_INTERNAL },
		      { 12, RPC_PERMISSION_DENIED }, { 0, RPC_INTERNAL } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct room r;
		int fd;

		hostile_server_open(&r, NULL, &fd);
		room_stream(&r, "/t.S/Stream");
		assert_int_equal(rpc_call_send(r.call, "a", 1), 0);
		room_turn(&r, 3);
		put_frame(fd, 4, 0, 0, NULL, 0);
		put_frame(fd, 3, 0, 1, (uint8_t[]){ 0, 0, 0, cases[i].code }, 4);
		room_wait(&r, &r.ends);
		assert_int_equal(r.status, cases[i].status);
		assert_int_equal(r.client_closed, 0);
		close(fd);
		room_close(&r);
	}
}

/* GOAWAY with last id 0: the stream never ran. */
static void test_goaway(void **state)
{
	struct room r;
	int fd;

	hostile_server_open(&r, NULL, &fd);
	room_stream(&r, "/t.S/Stream");
	room_turn(&r, 3);
	put_frame(fd, 4, 0, 0, NULL, 0);
	put_frame(fd, 7, 0, 0, (uint8_t[]){ 0, 0, 0, 0, 0, 0, 0, 0 }, 8);
	room_wait(&r, &r.ends);
	assert_int_equal(r.status, RPC_UNAVAILABLE);
	room_wait(&r, &r.client_closed);
	close(fd);
	room_close(&r);
}

static void test_http_answers(void **state)
{
	static const struct {
		const char *http, *type, *grpc;
		enum rpc_status status;
	} cases[] = {
		{ "503", "text/html", NULL, RPC_UNAVAILABLE }, { "401", NULL, NULL, RPC_UNAUTHENTICATED },
		{ "404", NULL, NULL, RPC_UNIMPLEMENTED },      { "200", "text/html", NULL, RPC_UNKNOWN },
		{ "200", "application/grpc", NULL, RPC_UNKNOWN }, { "200", "application/grpc", "5", RPC_NOT_FOUND },
		{ "200", "application/grpc", "99", RPC_UNKNOWN }, { "200", "application/grpc", "-1", RPC_UNKNOWN },
		{ "200", "application/grpc", "", RPC_UNKNOWN }, { "200", "application/grpc+proto", "0", RPC_OK },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct room r;
		struct buf b;
		int fd;

		hostile_server_open(&r, NULL, &fd);
		room_stream(&r, "/t.S/Stream");
		room_turn(&r, 3);
		buf_init(&b, 4096);
		field(&b, ":status", cases[i].http);
		if (cases[i].type)
			field(&b, "content-type", cases[i].type);
		if (cases[i].grpc)
			field(&b, "grpc-status", cases[i].grpc);
		put_frame(fd, 4, 0, 0, NULL, 0);
		put_frame(fd, 1, 5, 1, buf_head(&b), (uint32_t)b.len);
		buf_done(&b);
		room_wait(&r, &r.ends);
		assert_int_equal(r.status, cases[i].status);
		close(fd);
		room_close(&r);
	}
}

/* Nothing is framed beyond a batch and the window for a peer that never reads. */
static void test_peer_never_reads(void **state)
{
	static uint8_t p[60000];
	struct room r;
	int fd, err = 0, sent = 0;

	hostile_server_open(&r, &(struct rpc_settings){ .queue_max_bytes = 1 << 20 }, &fd);
	room_stream(&r, "/t.S/Stream");
	put_frame(fd, 4, 0, 0, (uint8_t[]){ 0, 4, 0x7f, 0xff, 0xff, 0xff }, 6); /* a window of 2 GiB */
	put_frame(fd, 8, 0, 0, (uint8_t[]){ 0x7f, 0, 0, 0 }, 4);
	for (int i = 0; i < 400 && err == 0; i++) {
		err = rpc_call_send(r.call, p, sizeof(p));
		sent += err == 0;
		room_turn(&r, 2);
	}
	assert_int_equal(err, -ENOBUFS);
	assert_true(sent < 60);
	assert_true(rpc_call_queued(r.call) <= 1 << 20);
	close(fd);
	room_wait(&r, &r.client_closed);
	assert_int_equal(r.ends, 1);
	room_close(&r);
}

static void test_keepalive(void **state)
{
	struct room r;
	int fd;

	hostile_server_open(&r, &(struct rpc_settings){ .keepalive_ms = 20, .keepalive_timeout_ms = 20 }, &fd);
	room_stream(&r, "/t.S/Stream");
	put_frame(fd, 4, 0, 0, NULL, 0);
	room_wait(&r, &r.client_closed);
	assert_int_equal(r.client_err, -ETIMEDOUT);
	assert_int_equal(r.status, RPC_UNAVAILABLE);
	close(fd);
	room_close(&r);

	room_open(&r, &(struct rpc_settings){ .keepalive_ms = 10, .keepalive_timeout_ms = 100 }, NULL);
	for (uint64_t end = clock_mono_ns() + 150 * NS_PER_MS; clock_mono_ns() < end;)
		assert_int_equal(loop_turn(r.loop, 5), 0);
	assert_int_equal(r.client_closed, 0);
	room_close(&r);
}

static void test_ping_flood(void **state)
{
	struct room r;
	int fd;

	hostile_client_open(&r, NULL, &fd);
	put(fd, PREFACE, sizeof(PREFACE) - 1);
	put_frame(fd, 4, 0, 0, NULL, 0);
	for (int i = 0; i < 20000 && !r.server_closed; i++) { /* and nothing is read */
		uint8_t ping[17] = { 0, 0, 8, 6 };

		if (send(fd, ping, sizeof(ping), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE)
			break;
		if (i % 64 == 0)
			room_turn(&r, 1);
	}
	room_turn(&r, 50);
	assert_int_equal(r.server_closed, 1);
	close(fd);
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
	} cases[] = { { "plain", "plain" }, { "100 %", "100 %25" }, { "a\nb", "a%0Ab" }, { "\xff~", "%FF~" }, { "", "" } };
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
		cmocka_unit_test(test_unary), cmocka_unit_test(test_status), cmocka_unit_test(test_large),
		cmocka_unit_test(test_stream), cmocka_unit_test(test_server_ends), cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_inside_callbacks), cmocka_unit_test(test_deadline), cmocka_unit_test(test_queue_bound),
		cmocka_unit_test(test_drain), cmocka_unit_test(test_refused_above_limit), cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_no_http2), cmocka_unit_test(test_bad_messages), cmocka_unit_test(test_no_grpc),
		cmocka_unit_test(test_head_bound), cmocka_unit_test(test_reset_midstream), cmocka_unit_test(test_goaway),
		cmocka_unit_test(test_http_answers), cmocka_unit_test(test_peer_never_reads), cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_ping_flood), cmocka_unit_test(test_frame_cuts), cmocka_unit_test(test_message_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
