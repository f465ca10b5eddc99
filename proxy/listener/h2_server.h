/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connection from a caller: what h2_server.c (the connection) and its streams share
 *
 * Streams are requests (h2_server_stream.c) or tunnels (tunnel_server.c): a connection has one kind of them.
 */
#ifndef TRAMMEL_PROXY_H2_SERVER_H
#define TRAMMEL_PROXY_H2_SERVER_H

#include "proxy/http/h2.h"
#include "proxy/listener/downstream.h"

#define H2_SERVER_FIRST_MS 10000 /* the preface; and a field section that was begun */
#define H2_SERVER_IDLE_MS  600000

enum h2_server_phase {
	H2_SERVER_OPEN,
	H2_SERVER_GOING, /* the first GOAWAY was sent */
	H2_SERVER_LAST,  /* the final one: closed with its last stream */
	H2_SERVER_LINGER,
};

struct h2_server;

/* What the streams of a connection are. */
struct h2_server_kind {
	const char *protocol; /* for conn list; constant */
	const struct h2_conn_ops *ops;
	/* The connection is gone, without a word: every stream hears it. None is the connection's afterwards. */
	void (*lose_streams)(struct h2_server *s, enum trm_reason reason);
	/* The caller sends nothing more. Those that cannot go on are reset. */
	void (*end_streams)(struct h2_server *s);
};

struct h2_server {
	struct downstream *d;
	struct h2_conn h2;
	const struct h2_server_kind *kind;
	struct list streams; /* of the kind's */
	struct loop_task write;
	struct buf unread; /* requests for the next turn */
	size_t n_streams, n_streams_max;
	uint64_t old_at_ms;
	uint8_t phase;
	bool greeted; /* the caller's SETTINGS are here */
	bool eof;     /* it sends nothing more, but may read yet */
	bool busy, dead;
};

/* The connection */

/** h2_server_start_kind() - takes over @d; @settings copied */
void h2_server_start_kind(struct downstream *d, const struct h2_server_kind *kind, const struct h2_settings *settings);
/** h2_server_takes_more() - may a new stream begin? Announces the end of an old connection */
bool h2_server_takes_more(struct h2_server *s);
/** h2_server_stream_began() - a stream was added */
void h2_server_stream_began(struct h2_server *s);
/** h2_server_touch() - something is to be written: at the end of this turn */
void h2_server_touch(struct h2_server *s);
/** h2_server_go() - announce the end: streams that are on their way are still taken for a second */
void h2_server_go(struct h2_server *s);
/** h2_server_gone() - it is over, without a word. Frees it, or has the frame that is at work do so */
void h2_server_gone(struct h2_server *s, enum trm_reason reason);
/** h2_server_idle_look() - a stream has ended: it may have been the last */
void h2_server_idle_look(struct h2_server *s);

#endif
