/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a peer may send before it hears from us again: the windows of a connection, by what its path holds
 *
 * The bandwidth-delay product is measured, not guessed: a PING goes out behind some DATA, and what has come by the time of
 * its answer is what one round trip brings. Where that nearly fills a window, and more came in that time than ever before,
 * it was the window that held the peer back, and it is doubled (as gRPC does it; RFC 9113 section 5.2 leaves the
 * algorithm open). A peer that is held back by its own app, by the network or by who reads here never gets there. No PING
 * goes out for little: at most one for a quarter of a window. Pure; time is a parameter.
 *
 * The window of the connection grows, and that of each stream whose bytes are taken, as far as a quarter of the connection's
 * goes for all that such streams have beyond the others: streams that stall hold no more of it than before, and cannot stop
 * their neighbours (whose room comes back only when half of the connection's window was taken).
 */
#ifndef TRAMMEL_PROXY_HTTP_H2_WINDOW_H
#define TRAMMEL_PROXY_HTTP_H2_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_WINDOW_MAX	    (512 * 1024) /* of a stream; a connection's is four times that. 50 MB/s at a round trip of 10 ms */
#define H2_WINDOW_GROWN_MAX (32 * 1024 * 1024) /* of a worker: all that its connections' windows have grown by */

struct h2_window {
	uint32_t stream_bytes, conn_bytes; /* what a stream's may be; what the connection's is */
	uint32_t stream_max;		   /* 0: they stay */
	uint64_t bytes;			   /* of DATA since the sample began, or since the last one ended */
	uint64_t sent_ns;		   /* when its PING went out */
	uint64_t best_per_s;		   /* bytes */
	bool sampling;
};

/** h2_window_received() - @n bytes of DATA have come; true: send a PING now, a sample has begun */
bool h2_window_received(struct h2_window *w, size_t n, uint64_t now_ns);

/** h2_window_answered() - the PING's answer; what the stream's window is to become, or 0: it stays */
uint32_t h2_window_answered(struct h2_window *w, uint64_t now_ns);

/** h2_window_stretch() - what all streams together may have beyond what they begin with */
static inline uint32_t h2_window_stretch(const struct h2_window *w)
{
	return w->conn_bytes / 4;
}

/** h2_window_conn() - the connection's window beside @stream_bytes; never less than it is */
uint32_t h2_window_conn(const struct h2_window *w, uint32_t stream_bytes);

#endif
