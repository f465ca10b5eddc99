/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connections to an endpoint: many streams on each
 *
 * A connection is in the pool while it has room for another stream; streams that come while it is being dialled wait on
 * it, none dials a second one. It leaves the pool when the peer says GOAWAY, when it is old, or when its certificate is
 * replaced, and ends with its last stream.
 *
 * Streams are requests (h2_client_stream.c) or tunnels (tunnel_client.c): a connection has one kind of them.
 */
#ifndef TRAMMEL_PROXY_H2_CLIENT_H
#define TRAMMEL_PROXY_H2_CLIENT_H

#include "proxy/http/h2.h"
#include "proxy/upstream/deadline.h"
#include "proxy/upstream/pool.h"
#include "proxy/upstream/upstream.h"

#define H2_CLIENT_IDLE_MS      300000
#define H2_CLIENT_LOCAL_IDLE_MS 60000
#define H2_CLIENT_AGE_MS       3600000 /* less up to a fifth, at random */
#define H2_PING_QUIET_MS       10000 /* to proxies, with streams open: nothing came for so long */

struct h2_client;

/* What the streams of a connection are. */
struct h2_client_kind {
	enum tls_alpn alpn; /* under the mesh's TLS: what it must have agreed on */
	const struct h2_settings *settings;
	const struct h2_conn_ops *ops;
	/* The connection stands; may be NULL. */
	void (*on_opened)(struct h2_client *c);
	/* The peer's SETTINGS are here, and with them its bound on streams; may be NULL. */
	void (*on_settled)(struct h2_client *c);
	/* It takes no new streams from now on; may be NULL. */
	void (*on_going)(struct h2_client *c);
	/* The connection is lost: every stream hears why. None is the connection's afterwards. */
	void (*lose_streams)(struct h2_client *c, enum trm_reason reason, uint16_t status);
};

struct h2_client {
	struct pool_link link;
	struct worker *w;
	const struct h2_client_kind *kind;
	struct transport t;
	struct deadline deadline; /* connect, handshake; then quiet, then idle */
	struct h2_conn h2;
	struct list streams; /* of the kind's */
	struct loop_task write;
	uint64_t old_at_ms;
	uint64_t heard_bytes; /* t.received_bytes at the last look */
	size_t n_streams;
	bool connected; /* until open: the handshake has begun */
	bool settled;	/* the peer's SETTINGS are here */
	bool opened, going; /* going: no new streams */
	bool is_app; /* no proxy is at the other end */
	bool ack_wanted; /* an app's response has come in part: see transport_ack_now() */
	bool busy, dead;
};

/**
 * h2_client_get() - a connection with room for a stream, from the pool or dialled now
 * @fresh:       dialled now
 * @ret_reused:  it stood already
 * @ret_reason:  why there is none
 *
 * The caller adds a stream to @ret->streams and says so (h2_client_stream_added()), or lets it go (h2_client_go()).
 *
 * Return: 0 or negative errno.
 */
MUST_CHECK int h2_client_get(struct worker *w, const struct target *target, const struct h2_client_kind *kind, bool fresh,
			     struct h2_client **ret, bool *ret_reused, enum trm_reason *ret_reason);
void h2_client_stream_added(struct h2_client *c);
/** h2_client_stream_removed() - it is out of the list, and HTTP/2 was told. May free @c */
void h2_client_stream_removed(struct h2_client *c);
/** h2_client_touch() - something is to be written: at the end of this turn */
void h2_client_touch(struct h2_client *c);
/** h2_client_go() - no new streams; it is closed once the last has ended. May free @c */
void h2_client_go(struct h2_client *c);

/** h2_client_open() - a request's stream: see upstream_open() */
MUST_CHECK int h2_client_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
			      enum trm_reason *ret_reason);

#endif
