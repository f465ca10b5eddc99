/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of an HTTP/2 connection under test: see owner.h. Here: the connection, its turns and its end. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/owner_private.h"

#define SETTLE_TURNS   2000
#define HEADS_PER_TURN 3

void owner_init(struct owner *o, bool is_server, const struct h2_settings *settings)
{
	o->settings = *settings;
	o->n_streams = 0;
	o->told_id = 0;
	o->now_ns = 1000000000;
	o->raw = o->ended = false;
	o->habit = (struct owner_habit){ 0 };
	list_init(&o->streams);
	buf_init(&o->out, 8 << 20);
	wire_reader_init(&o->heard, is_server);
	FUZZ_CHECK(h2_conn_init(&o->c, is_server, settings, is_server ? &owner_ops_server : &owner_ops_client) == 0);
}

static void streams_lose(struct owner *o)
{
	while (!list_is_empty(&o->streams))
		owner_stream_free(list_first(&o->streams, struct owner_stream, link));
}

void owner_done(struct owner *o)
{
	streams_lose(o);
	h2_conn_done(&o->c);
	buf_done(&o->out);
	wire_reader_done(&o->heard);
}

/* What holds whenever nobody is at work. */
static void invariants_check(struct owner *o)
{
	uint64_t unconsumed = 0;
	size_t n = 0;

	for (struct list *at = o->streams.next; at != &o->streams; at = at->next) {
		struct owner_stream *s = list_entry(at, struct owner_stream, link);

		n += s->h2.id != 0;
		unconsumed += s->h2.unconsumed;
		if (s->id)
			FUZZ_CHECK(wire_stream_get(&o->heard, s->id)->data_bytes <= s->given);
	}
	FUZZ_CHECK(n == o->c.n_streams);
	FUZZ_CHECK(o->settings.stalls_alone || unconsumed <= MAX(o->c.window.conn_bytes, 65535u));
	FUZZ_CHECK(nghttp2_session_get_remote_window_size(o->c.session) >= 0);
}

static int give(struct owner *o, bool data_ok)
{
	int r = h2_conn_write(&o->c, &o->out, data_ok);

	FUZZ_CHECK(r == 0 || r == HTTP_E_END);
	wire_read(&o->heard, buf_str(&o->out));
	buf_consume(&o->out, o->out.len);
	FUZZ_CHECK(o->told_id <= o->heard.goaway_id);
	return r;
}

static bool write_turn(struct owner *o, bool data_ok)
{
	int r = 0;

	for (int i = 0; i < 10 && r == 0; i++) {
		r = give(o, data_ok);
		h2_conn_dispatch(&o->c);
		if (r == 0 && !h2_conn_has_news(&o->c) && (!data_ok || !h2_conn_wants_write(&o->c)))
			return true;
	}
	FUZZ_CHECK(r != HTTP_E_END || !o->c.faulty || o->c.reason);
	FUZZ_CHECK(r != HTTP_E_END || !o->c.is_server || o->c.faulty || o->n_streams == 0);
	return r == 0;
}

/* Returns what is left for the next. */
static struct str turn_once(struct owner *o, struct str input, bool data_ok)
{
	size_t unread = 0;
	int r = 0;

	if (input.n) {
		char *copy = malloc(input.n); /* exact, for the sanitizer */

		FUZZ_CHECK(copy);
		o->c.heads_left = HEADS_PER_TURN;
		memcpy(copy, input.p, input.n);
		r = h2_conn_read(&o->c, (struct str){ copy, input.n }, o->now_ns);
		free(copy);
		FUZZ_CHECK(r == 0 || (r == HTTP_E_REJECT && o->c.over && o->c.why && (o->c.reason || !o->c.faulty)));
		unread = o->c.unread;
		FUZZ_CHECK(unread <= input.n && (unread == 0 || (o->c.is_server && o->c.heads_left == 0)));
		h2_conn_dispatch(&o->c);
	}
	if (r != 0) {
		(void)give(o, true);
		FUZZ_CHECK(!o->c.faulty || o->heard.goaway);
		FUZZ_CHECK(h2_conn_read(&o->c, STR("x"), o->now_ns) == HTTP_E_REJECT);
		o->ended = true;
	} else {
		h2_conn_batch_end(&o->c);
		o->ended = !write_turn(o, data_ok);
	}
	if (o->ended)
		streams_lose(o);
	else
		invariants_check(o);
	return (struct str){ input.p + input.n - unread, unread };
}

void owner_turn(struct owner *o, struct str input, bool data_ok)
{
	for (bool first = true; !o->ended && (first || input.n); first = false)
		input = turn_once(o, input, data_ok);
}

void owner_open(struct owner *o, uint8_t how)
{
	static const char *const methods[] = { "GET", "POST", "HEAD", "PUT", "GET", "CONNECT", "OPTIONS", "DELETE" };
	static const enum http_body_kind bodies[] = { HTTP_BODY_NONE, HTTP_BODY_CHUNKED, HTTP_BODY_NONE,    HTTP_BODY_LENGTH,
						      HTTP_BODY_NONE, HTTP_BODY_NONE,	 HTTP_BODY_CHUNKED, HTTP_BODY_NONE };
	struct http_head head = { .method = str_from(methods[how & 7]), .path = STR("/a?b"), .authority = STR("web:80"),
				  .body = bodies[how & 7], .body_bytes = 5, .is_head = (how & 7) == 2, .is_connect = (how & 7) == 5 };
	struct owner_stream *s;

	if ((how & 7) == 4)
		head.upgrade = STR("websocket");
	if (o->ended || o->n_streams > H2_STREAMS_MAX || (!(how & 8) && h2_conn_room(&o->c) == 0))
		return;
	s = owner_stream_new(o);
	if (h2_stream_send_request(&s->h2, &head, head.body == HTTP_BODY_NONE) < 0) {
		FUZZ_CHECK(h2_conn_room(&o->c) == 0);
		owner_stream_free(s);
		return;
	}
	s->id = (uint32_t)s->h2.id;
	s->head_sent = true;
	s->end_sent = head.body == HTTP_BODY_NONE && !head.upgrade.n && !head.is_connect;
}

struct owner_stream *owner_stream_at(struct owner *o, uint8_t which)
{
	struct list *at = o->streams.next;

	if (o->n_streams == 0)
		return NULL;
	for (size_t n = which % o->n_streams; n > 0; n--)
		at = at->next;
	return list_entry(at, struct owner_stream, link);
}

/* Room that came in and was let go of has gone back: never more than half a window is kept from the peer. */
static void room_check(struct owner *o, uint64_t data_bytes)
{
	uint64_t window = MAX(o->c.window.conn_bytes, 65535u);

	FUZZ_CHECK(65535 + o->heard.credit + window / 2 + 1 >= data_bytes + window);
}

void owner_settle(struct owner *o, uint64_t data_bytes)
{
	struct owner_stream *s, *tmp;
	struct buf in;
	int turn;

	buf_init(&in, 1 << 20);
	wire_frame(&in, NGHTTP2_WINDOW_UPDATE, 0, 0, (struct str){ "\0\x7f\0\0", 4 });
	list_for_each_entry_safe(s, tmp, &o->streams, link) {
		if (s->h2.id)
			wire_frame(&in, NGHTTP2_WINDOW_UPDATE, 0, (uint32_t)s->h2.id, (struct str){ "\0\x7f\0\0", 4 });
		owner_do(s, OWNER_CONSUME, 0);
		owner_do(s, OWNER_END, 0);
	}
	owner_turn(o, buf_str(&in), true);
	buf_done(&in);
	for (turn = 0; turn < SETTLE_TURNS && !o->ended && h2_conn_wants_write(&o->c); turn++)
		owner_turn(o, STR(""), true);
	FUZZ_CHECK(turn < SETTLE_TURNS);
	if (o->ended || o->c.over)
		return;
	room_check(o, data_bytes);
	list_for_each_entry_safe(s, tmp, &o->streams, link) {
		if (s->let_go || s->rejected || !s->ended)
			continue;
		FUZZ_CHECK(s->h2.closed);
	}
}
