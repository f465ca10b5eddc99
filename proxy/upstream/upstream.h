/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream: one attempt's stream to an endpoint, whatever the wire
 *
 * An HTTP/1.1 connection of its own, or one of many streams of an HTTP/2 connection; taken from the worker's pool or
 * dialled. What exchanges know of it.
 */
#ifndef TRAMMEL_PROXY_UPSTREAM_H
#define TRAMMEL_PROXY_UPSTREAM_H

#include "base/pool.h"
#include "proxy/route/target.h"
#include "proxy/upstream/message_stream.h"
#include "proxy/worker.h"

struct upstream;

struct upstream_ops {
	/* Start a message pair; @sink, @pool and @response (with its fields) live until release(). */
	void (*begin)(struct upstream *u, struct message_sink *sink, struct pool *pool, struct http_head *response);
	/* Has the peer done nothing with the request, as far as can be known? */
	bool (*is_unseen)(const struct upstream *u);
	/* Proven by mTLS, or NULL; borrowed until release(). */
	const struct tls_peer *(*peer)(const struct upstream *u);
};

struct upstream {
	struct message_stream stream;
	const struct upstream_ops *ops;
	bool reused;	  /* the connection stood already */
	bool opened;	  /* it stands */
	bool answered;	  /* a byte of the response has come */
	bool may_refuse;  /* the peer can say at any time that it has done nothing with it (HTTP/2) */
	bool unprocessed; /* and has said so */
	bool was_reset;	  /* by the peer, HTTP/2 */
	uint32_t reset_code;
};

/**
 * upstream_open() - a stream to @target, in the version it says
 * @fresh:       on a connection that is dialled now
 * @ret_reason:  why not
 *
 * Return: 0 or negative errno.
 */
MUST_CHECK int upstream_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
			     enum trm_reason *ret_reason);

#endif
