/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 -> request model -> HTTP/1.1 -> request model -> HTTP/2
 *
 * The first byte: bit 0 a response; what was asked for it: bit 1 HEAD, 2 websocket. The rest is "name=value" lines, then behind
 * a byte of 255 the body, behind another one the trailers. Whatever our HTTP/2 takes of a peer, HTTP/1.1 may be given: it
 * reads the same message, and so does the next HTTP/2.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/message.h"
#include "tests/fuzz/h2/wire.h"

static void section_put(struct buf *out, struct str lines, uint8_t flags)
{
	struct buf block;

	buf_init(&block, 1 << 20);
	wire_fields(&block, lines);
	wire_frame(out, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, 1, buf_str(&block));
	buf_done(&block);
}

/* The frames of the message that @in says. */
static void frames_put(struct buf *out, struct str in)
{
	struct str part[3] = { 0 };
	size_t n = 0;

	while (n < 3 && str_split(&in, '\xff', &part[n]))
		n++;
	section_put(out, part[0], n < 2 ? NGHTTP2_FLAG_END_STREAM : 0);
	if (n >= 2)
		wire_frame(out, NGHTTP2_DATA, n == 2 ? NGHTTP2_FLAG_END_STREAM : 0, 1, part[1]);
	if (n == 3)
		section_put(out, part[2], NGHTTP2_FLAG_END_STREAM);
}

/* On to HTTP/1.1, and from there by HTTP/2 again. */
static void onward_check(const struct message *m, const struct h1_asked *asked)
{
	struct message h1;
	struct buf wire;
	struct pair p;

	buf_init(&wire, 4 << 20);
	message_init(&h1);
	pair_init(&p);
	message_write(m, &wire, asked);
	FUZZ_CHECK(message_read(&h1, buf_str(&wire), asked));
	message_check_same(m, &h1);
	if (!asked) {
		FUZZ_CHECK(message_send(&h1, &p.ask, true));
		pair_run(&p, SIZE_MAX);
		FUZZ_CHECK(p.request.has_head && !p.request.refused && (p.request.ended || m->head.upgrade.n));
		message_check_same(m, &p.request);
	}
	pair_done(&p);
	message_done(&h1);
	buf_done(&wire);
}

/* The frames arrive; what is told only once our answer to them has left is told. */
static void arrive(struct pair *p, struct h2_conn *c, struct buf *wire)
{
	pair_feed(p, c, buf_str(wire));
	FUZZ_CHECK(h2_conn_write(c, wire, true) >= 0);
	h2_conn_dispatch(c);
}

static void request_try(struct str in)
{
	struct pair p;
	struct buf wire;

	buf_init(&wire, 1 << 20);
	pair_init(&p);
	FUZZ_CHECK(buf_append(&wire, NGHTTP2_CLIENT_MAGIC, 24) == 0);
	wire_frame(&wire, NGHTTP2_SETTINGS, 0, 0, STR(""));
	frames_put(&wire, in);
	arrive(&p, &p.server, &wire);
	if (p.request.has_head && !p.request.refused && !p.request.head.is_connect && (p.request.ended || p.request.head.upgrade.n) &&
	    message_is_small(&p.request))
		onward_check(&p.request, NULL);
	pair_done(&p);
	buf_done(&wire);
}

static void response_try(struct str in, uint8_t how)
{
	struct http_head ask = { .method = how & 2 ? STR("HEAD") : STR("GET"), .path = STR("/"), .authority = STR("a"), .is_head = how & 2 };
	struct h1_asked asked;
	struct pair p;
	struct buf wire;

	if ((how & 6) == 4)
		ask.upgrade = STR("websocket");
	asked = h1_asked_from(&ask);
	buf_init(&wire, 1 << 20);
	pair_init(&p);
	FUZZ_CHECK(h2_stream_send_request(&p.ask, &ask, true) == 0 && h2_conn_write(&p.client, &wire, true) == 0);
	buf_consume(&wire, wire.len);
	wire_frame(&wire, NGHTTP2_SETTINGS, 0, 0, STR(""));
	frames_put(&wire, in);
	arrive(&p, &p.client, &wire);
	if (p.response.has_head && !p.response.refused && (p.response.ended || p.response.head.status < 200) &&
	    message_is_small(&p.response))
		onward_check(&p.response, &asked);
	pair_done(&p);
	buf_done(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str in = { (const char *)bytes + 1, n - 1 };

	if (n < 1 || n > 16384)
		return 0;
	if (bytes[0] & 1)
		response_try(in, bytes[0]);
	else
		request_try(in);
	return 0;
}
