/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner of an HTTP/2 connection under test
 *
 * Does what the proxy's own do (proxy/listener/h2_server.c, proxy/upstream/h2_client.c): answers, resets, blocks, drains,
 * lets go, whenever the input says so. It holds the connection to what h2.h promises: what is told, how often, in which
 * order, and never after the end; the windows; the bytes.
 */
#ifndef TRAMMEL_TESTS_FUZZ_H2_OWNER_H
#define TRAMMEL_TESTS_FUZZ_H2_OWNER_H

#include "proxy/http/h2.h"
#include "tests/fuzz/h2/wire.h"

/* When a stream does something by itself. */
enum owner_when {
	OWNER_NEVER,
	OWNER_AT_HEAD,
	OWNER_AT_BODY,
	OWNER_AT_END,
};

/* What it does. */
enum owner_act {
	OWNER_HEAD,	  /* our head; a body is to follow */
	OWNER_BODY,	  /* bytes of it */
	OWNER_END,	  /* the end, after a head if there was none */
	OWNER_TRAILERS,	  /* the same with trailers */
	OWNER_RESET,
	OWNER_RESET_LATER, /* once our end has left */
	OWNER_LET_GO,	  /* what comes is for nobody */
	OWNER_CONSUME,
	OWNER_INTERIM,
	OWNER_WHOLE, /* head, body, end */
	OWNER_ACTS,
};

struct owner_habit {
	enum owner_when when;
	enum owner_act act;
	uint32_t body_bytes; /* of OWNER_BODY and OWNER_WHOLE */
	bool consume;	     /* at the end of each batch */
	bool refuse;	     /* take no new streams */
};

struct owner_stream {
	struct h2_stream h2;
	struct list link;
	struct owner *o;
	struct pool pool;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head;
	struct owner_habit habit;
	uint32_t id;
	uint64_t body_in, given;
	bool has_head, ends, ended, rejected, was_reset, let_go, gone;
	bool acted, told_full, head_sent, end_sent, reset_sent;
	bool upgrade;
};

struct owner {
	struct h2_conn c;
	struct h2_settings settings;
	struct list streams; /* struct owner_stream */
	size_t n_streams;
	struct buf out;
	struct wire_reader heard; /* what the peer makes of it */
	struct owner_habit habit; /* of the streams to come */
	uint64_t now_ns;
	uint32_t told_id; /* server: the highest stream whose request we were told of */
	bool raw; /* bytes came that nobody here understands: no pattern is expected */
	bool ended; /* the connection is over */
};

void owner_init(struct owner *o, bool is_server, const struct h2_settings *settings);
void owner_done(struct owner *o);

/** owner_turn() - as the proxies: read, dispatch, tell the end of the batch, write, dispatch */
void owner_turn(struct owner *o, struct str input, bool data_ok);

/** owner_open() - client: a request, @how chooses which */
void owner_open(struct owner *o, uint8_t how);

/** owner_stream_at() - one of the streams that are there, NULL without any */
struct owner_stream *owner_stream_at(struct owner *o, uint8_t which);

/** owner_do() - @s may be gone after it */
void owner_do(struct owner_stream *s, enum owner_act act, uint32_t body_bytes);

/** owner_settle() - everything that waits is given; the peer gives all room: whoever was heard whole and answered is gone */
void owner_settle(struct owner *o, uint64_t data_bytes);

#endif
