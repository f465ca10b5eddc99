/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 peer of base/rpc: the input's first byte says whether it is a client or a server, the rest is what it sends
 *
 * Every call ends exactly once, whatever comes.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include "base/rpc/rpc.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static int streams, ends, closes;

static void on_message(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	(void)!rpc_call_send(call, p, n); /* an echo; a full queue is a fine answer */
}

static void on_half_close(struct rpc_call *call, void *user)
{
	ends++;
	rpc_call_finish(call, RPC_OK, "bye");
}

static void on_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	FUZZ_CHECK(message);
	ends++;
}

static const struct rpc_call_ops server_ops = { .on_message = on_message, .on_half_close = on_half_close, .on_end = on_end };
static const struct rpc_call_ops client_ops = { .on_end = on_end };

static void on_stream(struct rpc_call *call, void *user)
{
	streams++;
	rpc_call_set_ops(call, &server_ops, NULL);
}

static void on_request(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	rpc_call_reply(call, p, n);
}

static const struct rpc_method methods[] = { { .path = "/S", .on_stream = on_stream }, { .path = "/U", .on_request = on_request } };

static void on_close(struct rpc_conn *c, int err, void *user)
{
	closes++;
	*(struct rpc_conn **)user = rpc_conn_free(c);
}

static const struct rpc_conn_ops conn_ops = { on_close };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct rpc_settings settings = { .message_max_bytes = 4096, .queue_max_bytes = 16384, .calls_max = 8 };
	struct rpc_conn *conn = NULL;
	struct rpc_call *call;
	struct loop *loop;
	int fds[2];

	if (n < 1 || n > 65536)
		return 0;
	streams = ends = closes = 0;
	if (loop_new(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	if (bytes[0] & 1) {
		FUZZ_CHECK(rpc_server_new(loop, fds[0], methods, ARRAY_SIZE(methods), &settings, &conn_ops, &conn, &conn) == 0);
		(void)!write(fds[1], PREFACE, sizeof(PREFACE) - 1);
	} else {
		FUZZ_CHECK(rpc_client_new(loop, fds[0], &settings, &conn_ops, &conn, &conn) == 0);
		FUZZ_CHECK(rpc_stream_new(conn, &(struct rpc_target){ .path = "/S" }, &client_ops, NULL, &call) == 0);
		streams = 1;
	}
	FUZZ_CHECK(loop_turn(loop, 0) == 0);
	(void)!write(fds[1], bytes + 1, n - 1);
	for (int i = 0; i < 8; i++)
		FUZZ_CHECK(loop_turn(loop, 0) == 0);
	close(fds[1]);
	for (int i = 0; i < 4; i++)
		FUZZ_CHECK(loop_turn(loop, 0) == 0);
	FUZZ_CHECK(closes == 1 && !conn && ends == streams);
	loop_free(loop);
	return 0;
}
