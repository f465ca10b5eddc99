/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC client and server in one loop: see rpc_room.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rpc_room.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"

void room_turn(struct room *r, int turns)
{
	for (int i = 0; i < turns; i++)
		assert_int_equal(loop_turn(r->loop, 0), 0);
}

/* Turns until *@flag or 3 s. */
void room_wait(struct room *r, const int *flag)
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

const struct rpc_conn_ops client_ops = { on_client_close }, server_ops = { on_server_close };

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

const struct rpc_method methods[] = {
	{ .path = "/t.S/Echo", .on_request = on_echo },        { .path = "/t.S/Fail", .on_request = on_fail },
	{ .path = "/t.S/Silent", .on_request = on_silent },    { .path = "/t.S/Stream", .on_stream = on_stream },
	{ .path = "/t.S/Unserved", .on_stream = on_unserved },
};
const size_t n_methods = ARRAY_SIZE(methods);

void room_init(struct room *r)
{
	memset(r, 0, sizeof(*r));
	buf_init(&r->got, 64 << 20);
	assert_int_equal(loop_new(&r->loop), 0);
}

void fds_make(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

void room_open(struct room *r, const struct rpc_settings *client, const struct rpc_settings *server)
{
	int fds[2];

	room_init(r);
	fds_make(fds);
	assert_int_equal(rpc_client_new(r->loop, fds[0], client, &client_ops, r, &r->client), 0);
	assert_int_equal(
		rpc_server_new(r->loop, fds[1], methods, ARRAY_SIZE(methods), server, &server_ops, r, &r->server), 0);
}

void room_close(struct room *r)
{
	r->client = rpc_conn_free(r->client);
	r->server = rpc_conn_free(r->server);
	buf_done(&r->got);
	loop_free(r->loop);
}

void on_reply(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user)
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

void room_unary(struct room *r, const char *path, const void *p, size_t n)
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

void room_stream(struct room *r, const char *path)
{
	const struct rpc_target t = { .path = path };

	assert_int_equal(rpc_stream_new(r->client, &t, &call_ops, r, &r->call), 0);
}
