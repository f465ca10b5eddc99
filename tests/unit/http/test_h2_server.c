/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec, server half: what nghttp2 is not asked, cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "proxy/http/h2.h"

#define S ((uint64_t)1000000000)

/* Of a request: GET http / a */
#define FIELDS	   "\x82\x86\x84\x01\1a"
#define N_FIELDS   6
#define STREAMS	   64
#define PREFACE	   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define N_PREFACE  33
#define FRAME_HEAD 9

struct caller {
	struct h2_stream h2;
	struct http_head head;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct pool pool;
};

struct owner {
	struct h2_conn c;
	struct caller callers[STREAMS];
	size_t n_callers, n_heads;
	struct buf in, out;
};

static struct h2_stream *on_request(struct h2_conn *c)
{
	struct owner *o = container_of(c, struct owner, c);
	struct caller *l = &o->callers[o->n_callers];

	if (o->n_callers == STREAMS)
		return NULL;
	o->n_callers++;
	l->head.fields = l->fields;
	l->head.cap_fields = ARRAY_SIZE(l->fields);
	pool_init(&l->pool, 64 * 1024);
	h2_stream_init(&l->h2, c, &l->head, &l->pool);
	return &l->h2;
}

static void on_head(struct h2_stream *s, struct http_head *head, bool ends)
{
	container_of(s->c, struct owner, c)->n_heads++;
}

static void on_body(struct h2_stream *s, struct str slice)
{
}

static void on_end(struct h2_stream *s, const struct http_field *trailers, size_t n)
{
}

static void on_reject(struct h2_stream *s, const struct http_reject *reject)
{
	fail_msg("%s", reject->what);
}

static void on_reset(struct h2_stream *s, uint32_t code, bool unprocessed)
{
}

static void on_nothing(struct h2_stream *s)
{
}

static const struct h2_conn_ops ops = { .on_request = on_request, .on_head = on_head, .on_body = on_body, .on_end = on_end,
					.on_reject = on_reject, .on_reset = on_reset, .on_drained = on_nothing,
					.on_batch_end = on_nothing, .on_close = on_nothing };

static void frame(struct owner *o, uint8_t type, uint8_t flags, uint8_t id, const char *payload, size_t n)
{
	const char head[FRAME_HEAD] = { 0, (char)(n >> 8), (char)n, (char)type, (char)flags, 0, 0, 0, (char)id };

	assert_int_equal(buf_append(&o->in, head, sizeof(head)), 0);
	assert_int_equal(buf_append(&o->in, payload, n), 0);
}

static void request(struct owner *o, uint8_t id)
{
	frame(o, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, FIELDS, N_FIELDS);
}

static int setup(void **state)
{
	struct owner *o = calloc(1, sizeof(*o));

	buf_init(&o->in, 1 << 20);
	buf_init(&o->out, 1 << 20);
	*state = o;
	return buf_append(&o->in, PREFACE, N_PREFACE);
}

static void conn_begin(struct owner *o)
{
	assert_int_equal(h2_conn_init(&o->c, true, &h2_settings_default, &ops), 0);
	o->n_callers = o->n_heads = 0;
	memset(o->callers, 0, sizeof(o->callers));
}

static void conn_end(struct owner *o)
{
	for (size_t i = 0; i < o->n_callers; i++) {
		h2_stream_done(&o->callers[i].h2, NGHTTP2_CANCEL);
		pool_done(&o->callers[i].pool);
	}
	h2_conn_done(&o->c);
	buf_consume(&o->out, o->out.len);
}

static int teardown(void **state)
{
	struct owner *o = *state;

	buf_done(&o->in);
	buf_done(&o->out);
	free(o);
	return 0;
}

/* All that came, in two parts; as h2_conn_read(). */
static int feed(struct owner *o, size_t cut)
{
	struct str all = buf_str(&o->in);
	int r = cut ? h2_conn_read(&o->c, (struct str){ all.p, cut }, S) : 0;

	return r == 0 && cut < all.n ? h2_conn_read(&o->c, (struct str){ all.p + cut, all.n - cut }, S) : r;
}

/* Go's clients, on their way out, name the last stream they asked on, not the last they answer. */
static void test_goaway_that_names_our_own(void **state)
{
	struct owner *o = *state;
	struct http_head answer = { .version = HTTP_2, .status = 200, .body = HTTP_BODY_NONE };

	request(o, 1);
	frame(o, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0bye", 11);
	frame(o, NGHTTP2_PING, 0, 0, "12345678", 8);
	for (size_t cut = 0; cut <= o->in.len; cut++) {
		size_t before;

		conn_begin(o);
		assert_int_equal(feed(o, cut), 0);
		assert_int_equal(h2_conn_write(&o->c, &o->out, true), 0);
		before = o->out.len;
		assert_non_null(memmem(buf_str(&o->out).p, before, "12345678", 8)); /* what is behind it is a frame */
		assert_int_equal(h2_stream_send_response(&o->callers[0].h2, &answer, true), 0);
		assert_int_equal(h2_conn_write(&o->c, &o->out, true), HTTP_E_END);
		assert_false(o->c.faulty);
		assert_int_equal(buf_str(&o->out).p[before + 3], NGHTTP2_HEADERS);
		conn_end(o);
	}
}

static void test_few_requests_at_a_time(void **state)
{
	struct owner *o = *state;

	for (uint8_t i = 0; i < 30; i++)
		request(o, (uint8_t)(1 + 2 * i));
	for (size_t cut = 0; cut <= o->in.len; cut++) {
		struct str all = buf_str(&o->in), part = { all.p, cut };
		size_t at = 0;

		conn_begin(o);
		for (unsigned turn = 1; at < all.n; turn++) {
			if (part.n == 0)
				part = (struct str){ all.p + at, all.n - at };
			o->c.heads_left = 7;
			assert_int_equal(h2_conn_read(&o->c, part, S), 0);
			assert_true(o->n_heads <= 7 * turn);
			assert_true(o->c.unread == 0 || o->c.heads_left == 0);
			at += part.n - o->c.unread;
			part = (struct str){ part.p + part.n - o->c.unread, o->c.unread };
			assert_true(turn < 10);
		}
		assert_int_equal(o->n_heads, 30);
		conn_end(o);
	}
}

/* RFC 7541 section 4.2: two changes of the table's size at most, at the head of a field block, however it is cut up. */
static void test_table_updates(void **state)
{
	static const struct {
		const char *first, *second; /* HEADERS; CONTINUATION */
		uint8_t n_first, n_second, flags;
		bool ok;
	} cases[] = {
		{ "\x20" FIELDS, NULL, 1 + N_FIELDS, 0, 0, true },
		{ "\x20\x3f\x01" FIELDS, NULL, 3 + N_FIELDS, 0, 0, true },
		{ "\x20\x21\x20" FIELDS, NULL, 3 + N_FIELDS, 0, 0, false },
		{ "\x3f\x01\x3f\x01\x3f\x01" FIELDS, NULL, 6 + N_FIELDS, 0, 0, false },
		{ "\x3f\x80\x01\x20" FIELDS, NULL, 4 + N_FIELDS, 0, 0, true },
		{ "\x20\x20", FIELDS, 2, N_FIELDS, 0, true },
		{ "\x20\x20", "\x20" FIELDS, 2, 1 + N_FIELDS, 0, false },
		{ "", "\x20\x20\x20" FIELDS, 0, 3 + N_FIELDS, 0, false },
		{ "\x3f", "\x01\x20" FIELDS, 1, 2 + N_FIELDS, 0, true },
		{ "\0\0\0\0\x10\x20\x20" FIELDS, NULL, 7 + N_FIELDS, 0, NGHTTP2_FLAG_PRIORITY, true },
		{ "\0\0\0\0\x10\x20\x20\x20" FIELDS, NULL, 8 + N_FIELDS, 0, NGHTTP2_FLAG_PRIORITY, false },
		{ "\2\x20\x20" FIELDS "\0\0", NULL, 5 + N_FIELDS, 0, NGHTTP2_FLAG_PADDED, true },
		{ "\2\x20\x20\0\0", FIELDS, 5, N_FIELDS, NGHTTP2_FLAG_PADDED, true },
		{ "\2\x20\x20\0\0", "\x20" FIELDS, 5, 1 + N_FIELDS, NGHTTP2_FLAG_PADDED, false },
		{ "\1\0\0\0\0\x10\x20\x20\x20\0", FIELDS, 10, N_FIELDS, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, false },
	};
	struct owner *o = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_consume(&o->in, o->in.len);
		assert_int_equal(buf_append(&o->in, PREFACE, N_PREFACE), 0);
		frame(o, NGHTTP2_HEADERS,
		      (uint8_t)(cases[i].flags | NGHTTP2_FLAG_END_STREAM | (cases[i].second ? 0 : NGHTTP2_FLAG_END_HEADERS)), 1,
		      cases[i].first, cases[i].n_first);
		if (cases[i].second)
			frame(o, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, cases[i].second, cases[i].n_second);
		request(o, 3);
		for (size_t cut = 0; cut <= o->in.len; cut++) {
			conn_begin(o);
			assert_int_equal(feed(o, cut), cases[i].ok ? 0 : HTTP_E_REJECT);
			assert_int_equal(o->n_heads, cases[i].ok ? 2 : 0);
			assert_int_equal(o->c.reason, cases[i].ok ? TRM_REASON_NONE : TRM_REASON_H2_PROTOCOL);
			conn_end(o);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_goaway_that_names_our_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_requests_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table_updates, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
