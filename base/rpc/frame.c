/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC message framing: see frame.h */
#include "base/rpc/frame.h"

void rpc_reader_init(struct rpc_reader *r, uint32_t max_bytes)
{
	r->max_bytes = max_bytes;
	buf_init(&r->part, (size_t)max_bytes + RPC_PREFIX_BYTES);
}

void rpc_reader_done(struct rpc_reader *r)
{
	buf_done(&r->part);
}

void rpc_frame_prefix(uint8_t out[RPC_PREFIX_BYTES], uint32_t n)
{
	out[0] = 0;
	for (int i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(n >> (24 - 8 * i));
}

static int prefix_parse(const struct rpc_reader *r, const uint8_t *p, size_t *ret_n)
{
	uint32_t n = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];

	if (p[0] != 0)
		return RPC_FRAME_E_COMPRESSED;
	if (n > r->max_bytes)
		return RPC_FRAME_E_TOO_LARGE;
	*ret_n = n;
	return 0;
}

/* Moves bytes of [@p, @n) into the part up to the end of its prefix or message; @ret_whole: the message is complete. */
static int part_fill(struct rpc_reader *r, const uint8_t **p, size_t *n, bool *ret_whole)
{
	size_t want = RPC_PREFIX_BYTES, take, len;
	int err;

	*ret_whole = false;
	if (r->part.len >= RPC_PREFIX_BYTES) {
		err = prefix_parse(r, (const uint8_t *)buf_head(&r->part), &len);
		if (err)
			return err;
		want += len;
	}
	take = MIN(want - r->part.len, *n);
	err = buf_append(&r->part, *p, take);
	if (err < 0)
		return err;
	*p += take;
	*n -= take;
	if (r->part.len < RPC_PREFIX_BYTES)
		return 0;
	err = prefix_parse(r, (const uint8_t *)buf_head(&r->part), &len);
	*ret_whole = err == 0 && r->part.len == RPC_PREFIX_BYTES + len;
	return err;
}

/* The part is taken out of the reader first: the callback may free the reader. */
static bool part_deliver(struct rpc_reader *r, bool (*on_message)(const uint8_t *p, size_t n, void *user), void *user)
{
	struct buf whole = r->part;
	bool go_on;

	buf_init(&r->part, whole.max_bytes);
	go_on = on_message((const uint8_t *)buf_head(&whole) + RPC_PREFIX_BYTES, whole.len - RPC_PREFIX_BYTES, user);
	buf_done(&whole);
	return go_on;
}

int rpc_reader_feed(struct rpc_reader *r, const uint8_t *p, size_t n,
		    bool (*on_message)(const uint8_t *p, size_t n, void *user), void *user)
{
	while (n) {
		bool whole;
		size_t len;
		int err;

		if (r->part.len == 0 && n >= RPC_PREFIX_BYTES) {
			err = prefix_parse(r, p, &len);
			if (err)
				return err;
			if (n - RPC_PREFIX_BYTES >= len) {
				const uint8_t *message = p + RPC_PREFIX_BYTES;

				p = message + len;
				n -= RPC_PREFIX_BYTES + len;
				if (!on_message(message, len, user))
					return RPC_FRAME_E_STOPPED;
				continue;
			}
		}
		err = part_fill(r, &p, &n, &whole);
		if (err)
			return err;
		if (whole && !part_deliver(r, on_message, user))
			return RPC_FRAME_E_STOPPED;
	}
	return 0;
}
