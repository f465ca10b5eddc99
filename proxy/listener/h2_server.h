/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connection from a caller: what h2_server.c (the connection) and h2_server_stream.c (its streams) share. */
#ifndef TRAMMEL_PROXY_H2_SERVER_H
#define TRAMMEL_PROXY_H2_SERVER_H

#include "proxy/http/h2.h"
#include "proxy/listener/downstream.h"
#include "proxy/upstream/message_stream.h"

struct exchange;

#define H2_SERVER_FIRST_MS 10000 /* the preface; and a field section that was begun */
#define H2_SERVER_IDLE_MS  600000

enum h2_server_phase {
	H2_SERVER_OPEN,
	H2_SERVER_GOING, /* the first GOAWAY was sent */
	H2_SERVER_LAST,  /* the final one: closed with its last stream */
	H2_SERVER_LINGER,
};

struct h2_server {
	struct downstream *d;
	struct h2_conn h2;
	struct list streams; /* struct h2_server_stream */
	struct loop_task write;
	size_t n_streams, n_streams_max;
	uint64_t old_at_ms;
	uint8_t phase;
	bool greeted; /* the caller's SETTINGS are here */
	bool eof;     /* it sends nothing more, but may read yet */
	bool busy, dead;
};

struct h2_server_stream {
	struct message_stream stream;
	struct h2_stream h2;
	struct h2_server *s;
	struct exchange *x; /* NULL once it is over */
	struct deadline deadline;
	struct list link;
	struct buf held; /* of a tunnel that is not open yet */
	bool held_end;
	bool begun;	  /* the exchange has the head: it ends by itself */
	bool dispatching; /* on_close() comes next */
	bool lost;	  /* with its connection */
	bool tunnel, upgrade;
};

/* The connection */

/** h2_server_touch() - something is to be written: at the end of this turn */
void h2_server_touch(struct h2_server *s);
/** h2_server_go() - announce the end: streams that are on their way are still taken for a second */
void h2_server_go(struct h2_server *s);
/** h2_server_gone() - it is over, without a word. Frees it, or has the frame that is at work do so */
void h2_server_gone(struct h2_server *s, enum trm_reason reason);
/** h2_server_idle_look() - a stream has ended: it may have been the last */
void h2_server_idle_look(struct h2_server *s);

/* Its streams */

extern const struct h2_conn_ops h2_server_conn_ops;

/** h2_server_lose_streams() - every exchange hears that its caller is gone */
void h2_server_lose_streams(struct h2_server *s, enum trm_reason reason);

#endif
