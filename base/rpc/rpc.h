/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2
 *
 * Calls and a server on one connected socket, in one loop, no threads. A message is bytes: what it means is the caller's
 * business. See the gRPC project's PROTOCOL-HTTP2 and statuscodes documents. Compression is neither offered nor
 * accepted. A peer cannot make this keep more than its limits: every queue has a maximum.
 *
 * Callbacks run from the loop and may call anything here, also rpc_conn_free() and rpc_call_cancel() on what they are called for.
 */
#ifndef TRAMMEL_BASE_RPC_H
#define TRAMMEL_BASE_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/rpc/status.h"

#define RPC_MESSAGE_MAX_BYTES (16u * 1024 * 1024)

struct rpc_conn;
struct rpc_call;

/* Bytes under HTTP/2, for transports that are no plain socket. Both return 0, -EAGAIN or another negative errno. */
struct rpc_transport {
	int (*read)(void *transport, void *p, size_t n, size_t *ret_n); /* @ret_n 0: end of stream */
	int (*write)(void *transport, const void *p, size_t n, size_t *ret_n);
	void (*close)(void *transport); /* its fd is closed by the connection */
};

/* Zero in any field means its default. */
struct rpc_settings {
	uint32_t message_max_bytes; /* received; RPC_MESSAGE_MAX_BYTES */
	uint32_t queue_max_bytes;   /* sent and not on the wire yet, per call; RPC_MESSAGE_MAX_BYTES + 5 */
	uint32_t window_bytes;	    /* flow control window of a stream and of the connection; 65535 */
	uint32_t calls_max;	    /* server: open at a time; 100 */
	uint32_t keepalive_ms;	    /* silence after which a PING is sent; 0 = never */
	uint32_t keepalive_timeout_ms; /* its answer must come within; 10,000 */
	const struct rpc_transport *transport; /* NULL: read and write the fd */
	void *transport_user;
};

/* A service's method. One of both functions is set. */
struct rpc_method {
	const char *path; /* "/package.Service/Method" */
	/* One request, one answer: answer with rpc_call_reply() or rpc_call_finish(), now or later. @p is borrowed for the call. */
	void (*on_request)(struct rpc_call *call, const uint8_t *p, size_t n, void *user);
	/* A stream begins: give it callbacks with rpc_call_set_ops(). Without them it is ended as UNIMPLEMENTED. */
	void (*on_stream)(struct rpc_call *call, void *user);
};

struct rpc_conn_ops {
	/* The connection is over (@err 0: in order) and all its calls have ended before. rpc_conn_free() is still the owner's. */
	void (*on_close)(struct rpc_conn *c, int err, void *user);
};

/**
 * rpc_client_new(), rpc_server_new() - speak over a connected socket
 * @fd:       non-blocking; taken, also on failure
 * @settings: copied; NULL for all defaults
 * @methods:  borrowed for the life of the connection
 * @user:     for @ops and, on a server, for the methods
 */
MUST_CHECK int rpc_client_new(struct loop *loop, int fd, const struct rpc_settings *settings, const struct rpc_conn_ops *ops,
			      void *user, struct rpc_conn **ret);
MUST_CHECK int rpc_server_new(struct loop *loop, int fd, const struct rpc_method *methods, size_t n_methods,
			      const struct rpc_settings *settings, const struct rpc_conn_ops *ops, void *user,
			      struct rpc_conn **ret);

/** rpc_conn_free() - at once and silently: neither on_end() of its calls nor on_close() run. What is queued is lost. */
struct rpc_conn *rpc_conn_free(struct rpc_conn *c);
DEFINE_CLEANUP(struct rpc_conn, rpc_conn_free)

/** rpc_conn_drain() - GOAWAY: no new calls, running ones go on, on_close(0) after the last one */
void rpc_conn_drain(struct rpc_conn *c);

/** rpc_conn_is_usable() - may new calls begin? Not after the peer's GOAWAY, rpc_conn_drain() or the end. */
bool rpc_conn_is_usable(const struct rpc_conn *c);

/* What happens to a stream. Any function may be NULL. */
struct rpc_call_ops {
	void (*on_message)(struct rpc_call *call, const uint8_t *p, size_t n, void *user); /* one whole message; borrowed */
	void (*on_half_close)(struct rpc_call *call, void *user); /* server: the caller has said all */
	void (*on_writable)(struct rpc_call *call, void *user);	  /* after -ENOBUFS: the queue is empty again */
	/* Over; called exactly once, and @call is gone after it. @message may be "". Not after the own cancel, finish or reply. */
	void (*on_end)(struct rpc_call *call, enum rpc_status status, const char *message, void *user);
};

struct rpc_header {
	const char *name, *value; /* name in lower case */
};

#define RPC_METADATA_MAX 16

struct rpc_target {
	const char *path;	/* "/package.Service/Method" */
	const char *authority;	/* NULL: "localhost" */
	const char *scheme;	/* NULL: "http" */
	uint32_t timeout_ms;	/* 0: none; else DEADLINE_EXCEEDED after it */
	const struct rpc_header *metadata;
	size_t n_metadata;	/* at most RPC_METADATA_MAX */
};

/**
 * rpc_stream_new() - client: begin a call with any number of messages both ways
 * @target:  borrowed for the call, as all its strings
 * @ops:     borrowed for the life of the stream
 *
 * Return: 0, -ENOTCONN when the connection is not usable, -EINVAL, -ENOMEM.
 */
MUST_CHECK int rpc_stream_new(struct rpc_conn *c, const struct rpc_target *target, const struct rpc_call_ops *ops, void *user,
			      struct rpc_call **ret);

/**
 * rpc_unary() - client: one request, one answer
 * @on_reply:  called exactly once unless cancelled; @p is NULL unless @status is RPC_OK, and borrowed
 */
MUST_CHECK int rpc_unary(struct rpc_conn *c, const struct rpc_target *target, const void *p, size_t n,
			 void (*on_reply)(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user),
			 void *user, struct rpc_call **ret);

/** rpc_call_send() - queue one message; -ENOBUFS: the queue is full (on_writable() follows), -EMSGSIZE, -EPIPE: the stream is over */
MUST_CHECK int rpc_call_send(struct rpc_call *call, const void *p, size_t n);

/** rpc_call_queued() - bytes of this call that are not on their way yet */
size_t rpc_call_queued(const struct rpc_call *call);

/** rpc_call_half_close() - client: all is said */
void rpc_call_half_close(struct rpc_call *call);

/** rpc_call_cancel() - RST_STREAM(CANCEL); @call is gone, no callback follows; NULL is accepted; returns NULL */
struct rpc_call *rpc_call_cancel(struct rpc_call *call);

/** rpc_call_set_ops() - server, within on_stream() */
void rpc_call_set_ops(struct rpc_call *call, const struct rpc_call_ops *ops, void *user);

/** rpc_call_finish() - server: end with a status after what is queued; @call is gone; @message is copied, may be NULL */
void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *message);

/** rpc_call_reply() - server: the one answer of a unary call, then RPC_OK; @call is gone */
void rpc_call_reply(struct rpc_call *call, const void *p, size_t n);

#endif
