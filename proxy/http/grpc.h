/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2, as far as a proxy must know it. Pure
 *
 * Source: gRPC's PROTOCOL-HTTP2.md and http-grpc-status-mapping.md. A call is a POST with content-type
 * application/grpc; messages are frames of one flag byte and four of length; the status comes in a trailer, or in the
 * only head of an answer without a body ("trailers-only").
 */
#ifndef TRAMMEL_PROXY_HTTP_GRPC_H
#define TRAMMEL_PROXY_HTTP_GRPC_H

#include "proxy/http/head.h"

#define GRPC_TIMEOUT_BYTES 24 /* of a formatted grpc-timeout, with room */
#define GRPC_STATUS_NONE   (-1)

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

/** grpc_is_call() - application/grpc, application/grpc+proto, application/grpc;... */
bool grpc_is_call(const struct http_head *request);

/**
 * grpc_timeout_parse() - "100m" and the like: at most 8 digits and one of H M S m u n
 *
 * Return: 0, or -EINVAL. Never above 2^63 ns.
 */
MUST_CHECK int grpc_timeout_parse(struct str text, uint64_t *ret_ns);

/** grpc_timeout_format() - at most 8 digits: the finest unit that fits, rounded down but never to nothing */
struct str grpc_timeout_format(char text[GRPC_TIMEOUT_BYTES], uint64_t ns);

/** grpc_status_of_http() - of an answer that came without grpc-status */
enum grpc_status grpc_status_of_http(uint16_t status);

/** grpc_status_of_reset() - of a stream that its peer reset with @code (PROTOCOL-HTTP2.md, "Errors") */
enum grpc_status grpc_status_of_reset(uint32_t code);

/** grpc_status_find() - value of grpc-status among @fields: 0 to 16, GRPC_UNKNOWN for other numbers; GRPC_STATUS_NONE without */
int grpc_status_find(const struct http_field *fields, size_t n);

/* Counts messages in one direction of a call; zeroed at its start. */
struct grpc_frames {
	uint64_t n_messages; /* whole ones */
	uint32_t left;	     /* bytes of the message under way */
	uint8_t n_head;	     /* bytes of its 5-byte head that have come */
	uint8_t head[5];
};

void grpc_frames_add(struct grpc_frames *f, struct str slice);

#endif
