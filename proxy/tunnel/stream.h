/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tunnel's stream: what a transport stands on
 *
 * An HTTP/2 stream behind CONNECT as a carrier of bytes, the same at both ends. Its owner is the connection's server or
 * client, which hands on what the codec tells it and frees the stream when both the transport and HTTP/2 have let go.
 *
 * Back pressure: what came is kept here until the transport takes it, and only then is its room in the windows given
 * back, so it is never more than the stream's window. What the transport sends is taken up to H2_STREAM_OUT.
 *
 * Ends: END_STREAM is the end of one direction. A reset with NO_ERROR or CANCEL is an orderly end too, any other is an
 * error; ours is CONNECT_ERROR (RFC 9113 section 8.5).
 */
#ifndef TRAMMEL_PROXY_TUNNEL_STREAM_H
#define TRAMMEL_PROXY_TUNNEL_STREAM_H

#include "proxy/http/h2.h"
#include "proxy/tls/transport.h"

#define TUNNEL_STREAM_WINDOW (256 * 1024) /* at a round trip of 1 ms as much as 256 MB/s */
#define TUNNEL_CONN_WINDOW   (2 * 1024 * 1024)
#define TUNNEL_ORPHAN_MS     5000 /* for the peer to end its direction when our side has closed */

struct tunnel_stream;

struct tunnel_stream_ops {
	/* Frames are to be written, in the connection's next turn. */
	void (*touch)(struct tunnel_stream *s);
	/* Where DATA may be written to at once; NULL: not now. */
	struct buf *(*out)(struct tunnel_stream *s);
	/* The transport is gone, for ever. */
	void (*let_go)(struct tunnel_stream *s, bool reset);
};

struct tunnel_stream {
	struct h2_stream h2;
	struct transport_carrier carrier;
	const struct tunnel_stream_ops *ops;
	struct buf in; /* came, and was not taken yet */
	int error;     /* of a reset that was no orderly end */
	bool end_in;   /* END_STREAM came */
	bool lost;     /* reset, or its connection is gone: nothing can be sent */
};

/** tunnel_stream_init() - @h2 is left to the owner: it knows when there is one */
void tunnel_stream_init(struct tunnel_stream *s, const struct tunnel_stream_ops *ops);
/** tunnel_stream_done() - no transport stands on it; the codec's stream is reset with @code unless it is over */
void tunnel_stream_done(struct tunnel_stream *s, uint32_t code);

/* What the codec told the owner, for the stream. */
void tunnel_stream_on_body(struct tunnel_stream *s, struct str slice);
void tunnel_stream_on_end(struct tunnel_stream *s);
void tunnel_stream_on_reset(struct tunnel_stream *s, uint32_t code);
void tunnel_stream_on_drained(struct tunnel_stream *s);
/** tunnel_stream_lose() - the connection is gone: call it before h2_conn_done() */
void tunnel_stream_lose(struct tunnel_stream *s, int error);

/**
 * tunnel_stream_part() - the transport has let go of a tunnel that stood
 *
 * Return: true: what was given is still to leave and the peer to end: on_close() comes, or the owner's patience ends.
 * false: there is nothing left of it but to free it.
 */
bool tunnel_stream_part(struct tunnel_stream *s, bool reset);

#endif
