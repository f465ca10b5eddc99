/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec, client half: a server that answers oddly, and an owner that is rid of a stream as soon as it has heard enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "proxy/http/h2.h"

#define S ((uint64_t)1000000000)

struct owner {
	struct h2_conn c;
	struct pool pool;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head;
	struct buf out;
	bool free_at_head, free_at_end;
	struct h2_stream *stream;
	uint16_t status, rejected;
	unsigned n_heads, n_ends, n_resets;
	size_t n_body;
};

static struct owner *owner_of(struct h2_stream *s)
{
	return container_of(s->c, struct owner, c);
}

static void stream_end(struct owner *o)
{
	h2_stream_done(o->stream, NGHTTP2_CANCEL);
	free(o->stream);
	o->stream = NULL;
}

static void on_head(struct h2_stream *s, struct http_head *head, bool ends)
{
	struct owner *o = owner_of(s);

	o->n_heads++;
	o->status = head->status;
	if (o->free_at_head)
		stream_end(o);
}

static void on_body(struct h2_stream *s, struct str slice)
{
	owner_of(s)->n_body += slice.n;
}

static void on_end(struct h2_stream *s, const struct http_field *trailers, size_t n_trailers)
{
	struct owner *o = owner_of(s);

	o->n_ends++;
	if (o->free_at_end)
		stream_end(o);
}

static void on_reject(struct h2_stream *s, const struct http_reject *reject)
{
	struct owner *o = owner_of(s);

	o->rejected = reject->status;
	stream_end(o);
}

static void on_reset(struct h2_stream *s, uint32_t code, bool unprocessed)
{
	struct owner *o = owner_of(s);

	o->n_resets++;
	stream_end(o);
}

static void on_drained(struct h2_stream *s)
{
}

static const struct h2_conn_ops ops = { .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_reject = on_reject,
					.on_reset = on_reset, .on_drained = on_drained, .on_batch_end = on_drained };

static void feed(struct owner *o, const char *p, size_t n)
{
	assert_int_equal(h2_conn_read(&o->c, (struct str){ p, n }, S), 0);
	h2_conn_batch_end(&o->c);
	h2_conn_dispatch(&o->c);
}

#define FEED(o, bytes) feed(o, bytes, sizeof(bytes) - 1)

static void ask(struct owner *o)
{
	struct http_head request = { .version = HTTP_2, .method = STR("GET"), .path = STR("/"), .authority = STR("a") };

	o->head = (struct http_head){ .fields = o->fields, .cap_fields = HTTP_FIELDS_CAP };
	o->stream = calloc(1, sizeof(*o->stream));
	h2_stream_init(o->stream, &o->c, &o->head, &o->pool);
	assert_int_equal(h2_stream_send_request(o->stream, &request, true), 0);
	assert_int_equal(h2_conn_write(&o->c, &o->out, true), 0);
}

static int setup(void **state)
{
	struct owner *o = calloc(1, sizeof(*o));

	pool_init(&o->pool, 64 * 1024);
	buf_init(&o->out, 256 * 1024);
	*state = o;
	if (h2_conn_init(&o->c, false, &h2_settings_default, &ops) < 0)
		return -1;
	FEED(o, "\0\0\0\4\0\0\0\0\0"); /* SETTINGS */
	ask(o);
	return 0;
}

static int teardown(void **state)
{
	struct owner *o = *state;

	if (o->stream)
		stream_end(o);
	h2_conn_done(&o->c);
	pool_done(&o->pool);
	buf_done(&o->out);
	free(o);
	return 0;
}

/* The code of the RST_STREAM that h2_conn_write() gives, or -1. */
static int reset_code(struct owner *o)
{
	const uint8_t *p;

	buf_consume(&o->out, o->out.len);
	assert_int_equal(h2_conn_write(&o->c, &o->out, true), 0);
	p = (const uint8_t *)buf_head(&o->out);
	for (size_t at = 0; at + 9 <= o->out.len; at += 9 + (size_t)(p[at] << 16 | p[at + 1] << 8 | p[at + 2]))
		if (p[at + 3] == NGHTTP2_RST_STREAM)
			return p[at + 12];
	return -1;
}

/* The connection goes on: the next request gets its answer. */
static void assert_goes_on(struct owner *o, const char *answer, size_t n)
{
	o->free_at_head = false;
	o->free_at_end = true;
	o->n_ends = 0;
	ask(o);
	feed(o, answer, n);
	assert_int_equal(o->n_ends, 1);
	assert_int_equal(o->status, 204);
	assert_int_equal(o->c.n_streams, 0);
}

static void test_answer(void **state)
{
	struct owner *o = *state;

	o->free_at_end = true;
	FEED(o, "\0\0\1\1\4\0\0\0\1\x88" "\0\0\5\0\1\0\0\0\1hello");
	assert_int_equal(o->status, 200);
	assert_int_equal(o->n_body, 5);
	assert_int_equal(o->n_ends, 1);
	assert_int_equal(reset_code(o), -1);
	assert_goes_on(o, "\0\0\1\1\5\0\0\0\3\x89", 10);
}

static void test_freed_at_a_head_that_ends(void **state)
{
	struct owner *o = *state;

	o->free_at_head = true;
	FEED(o, "\0\0\1\1\5\0\0\0\1\x88");
	assert_int_equal(o->n_heads, 1);
	assert_int_equal(o->n_ends, 0);
	assert_goes_on(o, "\0\0\1\1\5\0\0\0\3\x89", 10);
}

static void test_freed_at_a_head_with_a_body(void **state)
{
	struct owner *o = *state;

	o->free_at_head = true;
	FEED(o, "\0\0\1\1\4\0\0\0\1\x88" "\0\0\5\0\1\0\0\0\1hello");
	assert_int_equal(o->n_body, 0);
	assert_int_equal(o->n_ends, 0);
	assert_goes_on(o, "\0\0\1\1\5\0\0\0\3\x89", 10);
}

/* A field that poses as another; the stream is freed where it is told. */
static void test_response_that_is_none(void **state)
{
	struct owner *o = *state;

	FEED(o, "\0\0\x13\1\4\0\0\0\1\x88\0\x0e" "content_length" "\1" "5");
	assert_int_equal(o->rejected, 502);
	assert_int_equal(reset_code(o), NGHTTP2_PROTOCOL_ERROR);
	assert_goes_on(o, "\0\0\1\1\5\0\0\0\3\x89", 10);
}

static void test_interim_responses_without_end(void **state)
{
	struct owner *o = *state;

	for (int i = 0; i < H2_INTERIM_MAX; i++)
		FEED(o, "\0\0\5\1\4\0\0\0\1\x08\x03" "103");
	assert_int_equal(o->n_heads, H2_INTERIM_MAX);
	assert_int_equal(o->rejected, 0);
	FEED(o, "\0\0\5\1\4\0\0\0\1\x08\x03" "103");
	assert_int_equal(o->rejected, 502);
	assert_goes_on(o, "\0\0\1\1\5\0\0\0\3\x89", 10);
}

static void test_reset(void **state)
{
	struct owner *o = *state;

	FEED(o, "\0\0\4\3\0\0\0\0\1\0\0\0\7"); /* REFUSED_STREAM */
	assert_int_equal(o->n_resets, 1);
	assert_goes_on(o, "\0\0\1\1\5\0\0\0\3\x89", 10);
}

/* Bytes of a stream that ended before they were given on are room of the connection: it comes back. */
static void test_room_comes_back(void **state)
{
	static const char frame[] = "\0\x40\0\0\0\0\0\0\1", last[] = "\0\0\0\0\1\0\0\0\1";
	static char payload[16384];
	struct owner *o = *state;
	int32_t before;

	FEED(o, "\0\0\1\1\4\0\0\0\1\x88");
	before = nghttp2_session_get_effective_recv_data_length(o->c.session);
	o->free_at_end = true;
	for (int i = 0; i < 3; i++) {
		/* no batch end between: nobody has given anything on */
		assert_int_equal(h2_conn_read(&o->c, (struct str){ frame, 9 }, S), 0);
		assert_int_equal(h2_conn_read(&o->c, (struct str){ payload, sizeof(payload) }, S), 0);
	}
	assert_int_equal(nghttp2_session_get_effective_recv_data_length(o->c.session), before + 3 * 16384);
	o->free_at_end = false;
	assert_int_equal(h2_conn_read(&o->c, (struct str){ last, 9 }, S), 0);
	assert_int_equal(o->n_ends, 1);
	assert_int_equal(o->stream->id, 0); /* closed, and not let go of yet */
	stream_end(o);
	/* more than the connection's window, all of it let go of in this way */
	for (int round = 0; round < 20; round++) {
		char head[] = "\0\0\1\1\4\0\0\0\0\x88", data[] = "\0\x40\0\0\0\0\0\0\0", end[] = "\0\0\0\0\1\0\0\0\0";
		int id = 3 + 2 * round;

		head[8] = data[8] = end[8] = (char)id;
		ask(o);
		feed(o, head, 10);
		for (int i = 0; i < 4; i++) {
			assert_int_equal(h2_conn_read(&o->c, (struct str){ data, 9 }, S), 0);
			assert_int_equal(h2_conn_read(&o->c, (struct str){ payload, sizeof(payload) }, S), 0);
		}
		assert_int_equal(h2_conn_read(&o->c, (struct str){ end, 9 }, S), 0);
		stream_end(o);
		buf_consume(&o->out, o->out.len);
		assert_int_equal(h2_conn_write(&o->c, &o->out, true), 0);
	}
	assert_int_equal(o->n_body, (3 + 20 * 4) * 16384);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_at_a_head_that_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_at_a_head_with_a_body, setup, teardown),
		cmocka_unit_test_setup_teardown(test_response_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interim_responses_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room_comes_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
