/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that misbehave: plain fds to which frames are written by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "rpc_room.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

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
	assert_int_equal(rpc_server_new(r->loop, fds[0], methods, n_methods, server, &server_ops, r, &r->server), 0);
	*ret_fd = fds[1];
}

static void put(int fd, const void *p, size_t n)
{
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void put_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void *p, uint32_t n)
{
	uint8_t head[9] = {
		(uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,     type, flags, (uint8_t)(stream >> 24),
		(uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream
	};

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
		uint32_t id =
			(uint32_t)p[at + 5] << 24 | (uint32_t)p[at + 6] << 16 | (uint32_t)p[at + 7] << 8 | p[at + 8];

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
	} cases[] = { { "GET", "application/grpc", "405" },
		      { "POST", "text/html", "415" },
		      { "POST", NULL, "415" },
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
	} cases[] = { { 7, RPC_UNAVAILABLE }, { 8, RPC_CANCELLED },          { 11, RPC_RESOURCE_EXHAUSTED },
		      { 2, RPC_INTERNAL },    { 12, RPC_PERMISSION_DENIED }, { 0, RPC_INTERNAL } };

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
		{ "503", "text/html", NULL, RPC_UNAVAILABLE },    { "401", NULL, NULL, RPC_UNAUTHENTICATED },
		{ "404", NULL, NULL, RPC_UNIMPLEMENTED },         { "200", "text/html", NULL, RPC_UNKNOWN },
		{ "200", "application/grpc", NULL, RPC_UNKNOWN }, { "200", "application/grpc", "5", RPC_NOT_FOUND },
		{ "200", "application/grpc", "99", RPC_UNKNOWN }, { "200", "application/grpc", "-1", RPC_UNKNOWN },
		{ "200", "application/grpc", "", RPC_UNKNOWN },   { "200", "application/grpc+proto", "0", RPC_OK },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage),          cmocka_unit_test(test_no_http2),
		cmocka_unit_test(test_bad_messages),     cmocka_unit_test(test_no_grpc),
		cmocka_unit_test(test_head_bound),       cmocka_unit_test(test_reset_midstream),
		cmocka_unit_test(test_goaway),           cmocka_unit_test(test_http_answers),
		cmocka_unit_test(test_peer_never_reads), cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_ping_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
