/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC message framing
 *
 * A message is a flag byte, a length of four bytes (big endian) and that many bytes. Frames of HTTP/2 cut it anywhere. A
 * message that arrives in one piece is handed on where it lies; parts are collected in a buffer that grows with what came,
 * not with what was announced.
 */
#ifndef TRAMMEL_BASE_RPC_FRAME_H
#define TRAMMEL_BASE_RPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

#define RPC_PREFIX_BYTES 5

enum {
	RPC_FRAME_E_COMPRESSED = 1, /* the flag is not 0 */
	RPC_FRAME_E_TOO_LARGE = 2,  /* announced length is over the limit */
	RPC_FRAME_E_STOPPED = 3,    /* @on_message said so */
};

struct rpc_reader {
	struct buf part;
	uint32_t max_bytes;
};

void rpc_reader_init(struct rpc_reader *r, uint32_t max_bytes);
void rpc_reader_done(struct rpc_reader *r);

/** rpc_reader_is_between() - nothing is half read */
static inline bool rpc_reader_is_between(const struct rpc_reader *r)
{
	return r->part.len == 0;
}

/**
 * rpc_reader_feed() - take bytes of a stream
 * @on_message:  called with each whole message, borrowed; returns false to stop, and may have freed @r then
 *
 * Return: 0, RPC_FRAME_E_*, -ENOMEM.
 */
MUST_CHECK int rpc_reader_feed(struct rpc_reader *r, const uint8_t *p, size_t n,
			       bool (*on_message)(const uint8_t *p, size_t n, void *user), void *user);

/** rpc_frame_prefix() - the five bytes before a message of @n bytes */
void rpc_frame_prefix(uint8_t out[RPC_PREFIX_BYTES], uint32_t n);

#endif
