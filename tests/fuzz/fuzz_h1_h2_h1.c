/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 -> request model -> HTTP/2 -> request model -> HTTP/1.1
 *
 * The first byte: bit 0 a response; what was asked for it: bit 1 HEAD, 2 websocket; from bit 3 on, how the HTTP/2 bytes are
 * cut. The rest is the message. What HTTP/1.1 took is the same message behind HTTP/2, and again as HTTP/1.1.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/message.h"

/* Written as HTTP/1.1 it is read again, and is the same. */
static void back_check(const struct message *m, const struct h1_asked *asked)
{
	struct message again;
	struct buf wire;

	buf_init(&wire, 4 << 20);
	message_init(&again);
	message_write(m, &wire, asked);
	FUZZ_CHECK(message_read(&again, buf_str(&wire), asked));
	message_check_same(m, &again);
	message_done(&again);
	buf_done(&wire);
}

static void request_try(struct str in, size_t part)
{
	struct message first;
	struct pair p;

	message_init(&first);
	pair_init(&p);
	if (message_read(&first, in, NULL) && message_is_small(&first)) {
		if (!first.head.authority.n)
			first.head.authority = STR("from-dst");
		FUZZ_CHECK(message_send(&first, &p.ask, true));
		pair_run(&p, part);
		FUZZ_CHECK(p.request.has_head && !p.request.refused && (p.request.ended || first.head.upgrade.n));
		message_check_same(&first, &p.request);
		back_check(&p.request, NULL);
	}
	pair_done(&p);
	message_done(&first);
}

static void response_try(struct str in, uint8_t how, size_t part)
{
	struct http_head ask = { .method = how & 2 ? STR("HEAD") : STR("GET"), .path = STR("/"), .authority = STR("a"), .is_head = how & 2 };
	struct message first;
	struct h1_asked asked;
	struct pair p;

	if ((how & 6) == 4)
		ask.upgrade = STR("websocket");
	asked = h1_asked_from(&ask);
	message_init(&first);
	pair_init(&p);
	if (message_read(&first, in, &asked) && message_is_small(&first)) {
		FUZZ_CHECK(h2_stream_send_request(&p.ask, &ask, true) == 0);
		pair_run(&p, part);
		FUZZ_CHECK(p.answering && p.request.has_head);
		if (!message_send(&first, &p.answer, false)) {
			FUZZ_CHECK(ask.upgrade.n && first.head.status / 100 == 2); /* would be taken for a 101 */
			goto out;
		}
		pair_run(&p, part);
		FUZZ_CHECK(p.response.has_head && !p.response.refused && (p.response.ended || first.head.status < 200));
		message_check_same(&first, &p.response);
		back_check(&p.response, &asked);
	}
out:
	pair_done(&p);
	message_done(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str in = { (const char *)bytes + 1, n - 1 };
	size_t part;

	if (n < 1 || n > 65536)
		return 0;
	part = bytes[0] >> 3 ? bytes[0] >> 3 : SIZE_MAX;
	if (bytes[0] & 1)
		response_try(in, bytes[0], part);
	else
		request_try(in, part);
	return 0;
}
