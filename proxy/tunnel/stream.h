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
 * error (RFC 9113 section 8.5). So ours is CANCEL only behind our END_STREAM: bytes that were given are never cut off by
 * what looks like an end.
 */
#ifndef TRAMMEL_PROXY_TUNNEL_STREAM_H
#define TRAMMEL_PROXY_TUNNEL_STREAM_H

#include "proxy/http/h2.h"
#include "proxy/tls/transport.h"

#define TUNNEL_STREAM_WINDOW (256 * 1024) /* at a round trip of 1 ms as much as 256 MB/s */
#define TUNNEL_CONN_WINDOW   (2 * 1024 * 1024)
#define TUNNEL_ORPHAN_MS     5000 /* for the peer to end its direction when our side has closed */
#define TUNNEL_STALL_MS	     90000 /* for it to take any of what our side gave before; as TCP_USER_TIMEOUT is for sockets */

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
	size_t left;   /* parted: what was still to leave when it was last looked at */
	uint8_t n_stalled; /* looks since then that found no less */
	bool parted;
	bool end_in;   /* END_STREAM came */
	bool lost;     /* reset, or its connection is gone: nothing can be sent */
};

/** tunnel_stream_init() - @h2 is left to the owner: it knows when there is one */
void tunnel_stream_init(struct tunnel_stream *s, const struct tunnel_stream_ops *ops);
/** tunnel_stream_done() - no transport stands on it; the codec's stream is let go first, unless it is over */
void tunnel_stream_done(struct tunnel_stream *s);

/**
 * tunnel_stream_let_go() - nothing more is heard of HTTP/2's stream, or told to it
 *
 * Resets it unless it is over: in order where all that was given has left, else as an error (nobody may take for whole
 * what is cut off). It has no codec's stream afterwards.
 */
void tunnel_stream_let_go(struct tunnel_stream *s);

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
 * Return: true: what was given is still to leave and the peer to end: on_close() comes, or tunnel_stream_waits() says no.
 * false: there is nothing left of it but to free it.
 */
bool tunnel_stream_part(struct tunnel_stream *s, bool reset);

/** tunnel_stream_waits() - every TUNNEL_ORPHAN_MS after it has parted: is it to be waited for on? */
bool tunnel_stream_waits(struct tunnel_stream *s);

#endif
