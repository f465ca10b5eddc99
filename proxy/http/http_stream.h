/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message exchange as both codecs show it
 *
 * The request model in motion: head, body slices, trailers, end; or a reset with a reason. An HTTP/1.1 connection
 * carries one stream at a time, an HTTP/2 connection many; whoever drives an exchange sees only this. Events go up
 * through struct http_stream_events in the order written there, verbs go down through struct http_stream_ops.
 *
 * Back-pressure: after read_pause() no more body comes up until read_resume(); HTTP/1.1 leaves bytes in the socket,
 * HTTP/2 holds its window back. window() says how many body bytes may be written now; on_window follows when that was 0.
 */
#ifndef TRAMMEL_PROXY_HTTP_STREAM_H
#define TRAMMEL_PROXY_HTTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/http/head.h"
#include "trammel/reason.h"

struct http_stream;

/* From the codec to the owner of the exchange. Strings are borrowed for the call unless the codec says longer. */
struct http_stream_events {
	/* A head: of the request (server side), of an interim or the final response (client side). */
	void (*on_head)(struct http_stream *s, struct http_head *head);
	/* Body bytes, never empty. */
	void (*on_body)(struct http_stream *s, struct str slice);
	/* The message is complete; @trailers may be none. Nothing follows but on_window and on_reset. */
	void (*on_end)(struct http_stream *s, const struct http_field *trailers, size_t n_trailers);
	/* More may be written after window() was 0. */
	void (*on_window)(struct http_stream *s);
	/* The stream ended before its time, by the peer or the connection. The last event; not called for our own reset(). */
	void (*on_reset)(struct http_stream *s, enum trm_reason reason);
};

/* From the owner to the codec. 0 or negative errno; after an error the stream is reset by its owner. */
struct http_stream_ops {
	MUST_CHECK int (*write_head)(struct http_stream *s, const struct http_head *head);
	MUST_CHECK int (*write_body)(struct http_stream *s, struct str slice);
	MUST_CHECK int (*write_end)(struct http_stream *s, const struct http_field *trailers, size_t n_trailers);
	size_t (*window)(const struct http_stream *s);
	void (*read_pause)(struct http_stream *s);
	void (*read_resume)(struct http_stream *s);
	/* HTTP/1.1: the connection goes with it, unless both messages are complete. HTTP/2: RST_STREAM. */
	void (*reset)(struct http_stream *s, enum trm_reason reason);
};

/* Embedded in the codec's own stream; @events is set by the owner of the exchange. */
struct http_stream {
	const struct http_stream_ops *ops;
	const struct http_stream_events *events;
	enum http_version version;
	bool paused;
};

#endif
