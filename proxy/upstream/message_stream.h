/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message pair on one connection, whatever the codec
 *
 * The exchange stands between two streams: one on which the request comes in (downstream), one on which it goes out
 * (upstream). A codec's connection embeds a struct message_stream, answers its ops, and tells a struct message_sink what
 * comes in: a head, slices of body, an end with trailers; or a reset with a reason. HTTP/1.1 has one stream at a time on
 * a connection, HTTP/2 many.
 *
 * Back pressure: send_body() never falls short, what the wire does not take is kept. While is_blocked() the exchange
 * asks the other side for nothing more (may_read), and on_drained() says when to go on (read_resume).
 *
 * Re-entrancy: a stream may be ended from within a call to its sink. It is not freed before that call has returned.
 */
#ifndef TRAMMEL_PROXY_MESSAGE_STREAM_H
#define TRAMMEL_PROXY_MESSAGE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"
#include "proxy/http/head.h"
#include "trammel/reason.h"

struct message_stream;
struct message_sink;

struct message_sink_ops {
	/*
	 * Downstream: @head and its strings live as long as the exchange. Upstream: borrowed for the call; comes once per
	 * interim response and once for the final one.
	 */
	void (*on_head)(struct message_sink *k, struct http_head *head);
	void (*on_body)(struct message_sink *k, struct str slice);
	void (*on_end)(struct message_sink *k, const struct http_field *trailers, size_t n_trailers);
	/* Nothing more comes and nothing can be sent. @status: what to answer the caller if it can still be answered. */
	void (*on_reset)(struct message_sink *k, enum trm_reason reason, uint16_t status);
	void (*on_drained)(struct message_sink *k);
	/* All that came with this wake-up has been told: send on what was gathered. */
	void (*on_batch_end)(struct message_sink *k);
	/* May on_body() be called now? */
	bool (*may_read)(struct message_sink *k);
};

struct message_sink {
	const struct message_sink_ops *ops;
};

struct message_send {
	bool close; /* the connection is not to be used again */
};

struct message_stream_ops {
	/* Negative errno: broken (the sink gets no reset for it). Upstream: -EINVAL for a head that cannot be sent. */
	int (*send_head)(struct message_stream *s, const struct http_head *head, const struct message_send *how);
	int (*send_body)(struct message_stream *s, struct str slice);
	/* The message is complete. In a tunnel: our direction is. */
	int (*send_end)(struct message_stream *s, const struct http_field *trailers, size_t n_trailers);
	/* Bytes given so far are to leave now; called once per wake-up. */
	int (*flush)(struct message_stream *s);
	bool (*is_blocked)(const struct message_stream *s);
	/* The sink may read again. */
	void (*read_resume)(struct message_stream *s);
	/* 101 or CONNECT was answered: bytes alone from here on, both ways. */
	void (*tunnel)(struct message_stream *s);
	/* The exchange lets go. @whole: both messages were complete, the connection may be used again. */
	void (*release)(struct message_stream *s, bool whole);
};

struct message_stream {
	const struct message_stream_ops *ops;
	struct message_sink *sink; /* NULL: nobody listens */
};

#endif
