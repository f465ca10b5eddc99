/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 connection to an endpoint: one stream at a time
 *
 * The upstream half of an exchange. Taken from the pool or dialled; goes back to the pool when both messages were whole
 * and nothing unasked was left over.
 */
#ifndef TRAMMEL_PROXY_H1_CLIENT_H
#define TRAMMEL_PROXY_H1_CLIENT_H

#include "base/pool.h"
#include "proxy/http/h1.h"
#include "proxy/upstream/deadline.h"
#include "proxy/upstream/pool.h"
#include "proxy/upstream/upstream.h"

struct h1_client {
	struct upstream up;
	struct pool_link link;
	struct worker *w;
	struct transport t;
	struct deadline deadline;
	struct h1_parser parser;
	struct h1_body body;
	struct h1_body_out out;
	struct h1_asked asked;
	struct buf in;		/* bytes of a head that is not whole yet */
	struct http_head *head; /* of the response; the exchange's memory */
	struct pool *pool;	/* of the exchange */
	uint64_t sent_mark;	/* t.sent_bytes when the request began */
	uint8_t state;
	bool blocked;
	bool connected; /* until open: the handshake has begun */
	bool is_local; /* the app, over loopback */
	bool acked;    /* transport_ack_now() was called for this response */
	bool request_done, keep_alive;
	bool busy, dead;
};

/**
 * h1_client_open() - a connection for @target
 * @fresh:       never one from the pool
 * @ret_reason:  why not
 */
MUST_CHECK int h1_client_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
			      enum trm_reason *ret_reason);

#endif
