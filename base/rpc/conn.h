/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of base/rpc: what connection, streams and calls know of each other
 *
 *   conn.c     socket <-> HTTP/2 session, keepalive, end of the connection
 *   session.c  the session's callbacks: frames and fields -> calls
 *   call.c     the user's verbs on a call
 *
 * While @depth is above 0 we are inside a callback of the session: nothing is freed before it is back at 0. A call that is
 * over waits in @dead for that.
 */
#ifndef TRAMMEL_BASE_RPC_CONN_H
#define TRAMMEL_BASE_RPC_CONN_H

#include <nghttp2/nghttp2.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/rpc/frame.h"
#include "base/rpc/rpc.h"

struct rpc_conn {
	struct loop *loop;
	struct loop_io io;
	int fd;
	nghttp2_session *session;
	struct rpc_settings set;
	const struct rpc_conn_ops *ops;
	const struct rpc_method *methods;
	size_t n_methods;
	void *user;

	bool server, closed, draining, freed;
	bool read_closed; /* the peer sent its end of stream */
	int depth;
	struct buf wire; /* framed, not written yet */
	struct loop_task flush;
	struct loop_timer keepalive;
	uint64_t last_read_ns;
	bool ping_sent;

	struct list calls, dead;
	uint32_t n_calls;
};

struct rpc_call {
	struct list link;
	struct rpc_conn *conn;
	int32_t stream_id;
	const struct rpc_call_ops *ops;
	void *user;
	const struct rpc_method *method;
	struct loop_timer deadline;

	struct rpc_reader reader;
	struct buf out;
	bool over;	     /* no callback any more: on_end() was called, or the user gave it up */
	bool said_all;	     /* we half-close after @out */
	bool heard_all;	     /* the peer has half-closed */
	bool head_sent;	     /* server: response header is submitted */
	bool finishing;	     /* server: the user has set the status */
	bool wants_writable; /* a send was refused */

	/* of the peer's header and trailer */
	uint32_t head_bytes;
	int http_status;
	bool has_status, is_grpc, is_post;
	enum rpc_status status; /* the peer's; when finishing: ours */
	char *message;		/* its text, decoded; when finishing: ours, encoded. NULL for "" */

	/* unary, either side */
	bool unary, has_message;
	struct buf single;
	void (*on_reply)(enum rpc_status status, const char *message, const uint8_t *p, size_t n, void *user);
};

/* conn.c */
void rpc_conn_flush_soon(struct rpc_conn *c);
void rpc_conn_enter(struct rpc_conn *c);
/* Leave a callback: reaps dead calls, and the connection where it was freed inside; true when it is gone. */
bool rpc_conn_leave(struct rpc_conn *c);

/* session.c */
MUST_CHECK int rpc_session_new(struct rpc_conn *c);

/* call.c */
struct rpc_call *rpc_call_new(struct rpc_conn *c);
/* Tell the user that the call is over, once. Does not touch the stream. */
void rpc_call_end(struct rpc_call *call, enum rpc_status status, const char *message);
/* Cut the tie to the stream; the memory goes when the session is out of its callbacks. */
void rpc_call_bury(struct rpc_call *call);
void rpc_call_free(struct rpc_call *call);
/* Bytes of the peer's body; may end the call. */
void rpc_call_take(struct rpc_call *call, const uint8_t *p, size_t n);
/* The peer has half-closed. */
void rpc_call_heard_all(struct rpc_call *call);

#endif
