/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client and server on a socketpair in one loop, for the tests of base/rpc
 *
 * The service "t.S": Echo, Fail, Silent (never answers), Stream (echoes what is short; "quit" ends it), Unserved.
 */
#ifndef TRAMMEL_TESTS_RPC_ROOM_H
#define TRAMMEL_TESTS_RPC_ROOM_H

#include "base/buf.h"
#include "base/rpc/rpc.h"

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

extern const struct rpc_conn_ops client_ops, server_ops;
extern const struct rpc_method methods[];
extern const size_t n_methods;

void room_turn(struct room *r, int turns);
void room_wait(struct room *r, const int *flag);
void room_init(struct room *r);
void fds_make(int fds[2]);
void room_open(struct room *r, const struct rpc_settings *client, const struct rpc_settings *server);
void room_close(struct room *r);
void room_unary(struct room *r, const char *path, const void *p, size_t n);
void room_stream(struct room *r, const char *path);
void on_reply(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user);

#endif
