/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP message between its two wires: see message.h. */
#include "tests/fuzz/h2/message.h"

#include <errno.h>
#include "tests/fuzz/fuzz.h"

void message_init(struct message *m)
{
	memset(m, 0, sizeof(*m));
	pool_init(&m->pool, 512 * 1024);
	buf_init(&m->body, 1 << 20);
	m->head = (struct http_head){ .fields = m->fields, .cap_fields = HTTP_FIELDS_CAP };
}

void message_done(struct message *m)
{
	pool_done(&m->pool);
	buf_done(&m->body);
}

static bool body_read(struct message *m, struct str in, bool is_response)
{
	struct http_reject reject;
	struct h1_body body;
	struct str slice;
	size_t used;
	int r;

	h1_body_init(&body, NULL, &m->pool, &m->head, is_response);
	while ((r = h1_body_read(&body, in, &slice, &used, &reject)) == 0) {
		FUZZ_CHECK(buf_append_str(&m->body, slice) == 0);
		in = (struct str){ in.p + used, in.n - used };
	}
	m->trailers = body.trailers;
	m->n_trailers = body.n_trailers;
	m->ended = r == HTTP_E_END || (r == HTTP_E_MORE && h1_body_eof(&body) == HTTP_E_END);
	return m->ended;
}

bool message_read(struct message *m, struct str in, const struct h1_asked *asked)
{
	struct http_reject reject;
	struct h1_parser p;
	size_t used;
	int r;

	h1_parser_init(&p, NULL);
	r = asked ? h1_response_parse(&p, asked, in, &m->head, &used, &reject) :
		    h1_request_parse(&p, &m->pool, in, &m->head, &used, &reject);
	if (r != 0)
		return false;
	m->has_head = true;
	if (m->head.upgrade.n || (asked && m->head.status < 200))
		return true;
	return body_read(m, (struct str){ in.p + used, in.n - used }, asked);
}

void message_write(const struct message *m, struct buf *out, const struct h1_asked *asked)
{
	struct h1_response_options how = { .downstream_version = HTTP_1_1, .downstream_keep_alive = true };
	struct h1_body_out body;
	bool close;

	if (asked) {
		how.is_head = asked->is_head;
		FUZZ_CHECK(h1_response_write(out, &m->head, &how, &body, &close) == 0);
	} else {
		FUZZ_CHECK(h1_request_write(out, &m->head, NULL, &body) == 0);
	}
	if (m->head.upgrade.n || (asked && m->head.status < 200))
		return;
	FUZZ_CHECK(h1_body_write(&body, out, buf_str(&m->body)) == 0);
	FUZZ_CHECK(h1_body_end(&body, out, m->trailers, m->n_trailers) == 0);
}

bool message_send(const struct message *m, struct h2_stream *s, bool is_request)
{
	bool tunnel = m->head.upgrade.n, interim = !is_request && m->head.status < 200 && !tunnel;
	bool ends = !tunnel && !interim && (m->head.body == HTTP_BODY_NONE || (!is_request && m->head.is_head));
	int r = is_request ? h2_stream_send_request(s, &m->head, ends) : h2_stream_send_response(s, &m->head, ends);

	FUZZ_CHECK(r == 0 || r == -EINVAL);
	if (r == 0 && !ends && !tunnel && !interim) {
		FUZZ_CHECK(h2_stream_send_body(s, buf_str(&m->body), NULL) == 0);
		FUZZ_CHECK(h2_stream_send_end(s, m->trailers, m->n_trailers) == 0);
	}
	return r == 0;
}

bool message_is_small(const struct message *m)
{
	size_t n = m->head.target.n + m->head.authority.n, trailers = 0;

	for (uint16_t i = 0; i < m->head.n_fields; i++)
		n += m->head.fields[i].name.n + m->head.fields[i].value.n + 40;
	for (size_t i = 0; i < m->n_trailers; i++)
		trailers += m->trailers[i].name.n + m->trailers[i].value.n + 40;
	return n < 30000 && trailers < 6000 && m->head.n_fields < 90 && m->n_trailers < 18;
}

/* Of one connection, or said anew from what is sent. */
static bool is_hop(const struct message *m, const struct http_field *f)
{
	static const uint64_t ids = 1ull << HTTP_FIELD_HOST | 1ull << HTTP_FIELD_CONTENT_LENGTH | 1ull << HTTP_FIELD_TRANSFER_ENCODING |
				    1ull << HTTP_FIELD_CONNECTION | 1ull << HTTP_FIELD_KEEP_ALIVE | 1ull << HTTP_FIELD_PROXY_CONNECTION |
				    1ull << HTTP_FIELD_UPGRADE | 1ull << HTTP_FIELD_TE | 1ull << HTTP_FIELD_TRAILER |
				    1ull << HTTP_FIELD_HTTP2_SETTINGS;

	return f->removed || (ids >> f->id) & 1 ||
	       (m->head.upgrade.n && (str_eq_nocase(f->name, STR("sec-websocket-key")) || str_eq_nocase(f->name, STR("sec-websocket-accept"))));
}

static void put(struct buf *out, struct str name, struct str value)
{
	for (size_t i = 0; i < name.n; i++)
		FUZZ_CHECK(buf_append(out, (char[]){ ascii_lower(name.p[i]) }, 1) == 0);
	FUZZ_CHECK(buf_append(out, "=", 1) == 0 && buf_append_str(out, value) == 0 && buf_append(out, "\n", 1) == 0);
}

/* The crumbs that are something: the "; " behind an empty last one ends as white space around a value does. */
static void crumbs_put(struct buf *out, struct str value)
{
	struct str crumb;

	while (str_split(&value, ';', &crumb)) {
		crumb = str_trim_ows(crumb);
		if (crumb.n)
			FUZZ_CHECK(buf_append_str(out, crumb) == 0 && buf_append(out, "; ", 2) == 0);
	}
}

/* Every field and trailer in one text; the crumbs of a cookie are one, wherever they stood (RFC 9113 section 8.2.3). */
static void text_of(const struct message *m, struct buf *out, bool with_trailers)
{
	struct buf cookie;

	buf_init(&cookie, 1 << 20);
	for (uint16_t i = 0; i < m->head.n_fields; i++) {
		const struct http_field *f = &m->head.fields[i];

		if (is_hop(m, f))
			continue;
		if (str_eq_nocase(f->name, STR("cookie")))
			crumbs_put(&cookie, f->value);
		else
			put(out, f->name, f->value);
	}
	put(out, STR("cookie"), buf_str(&cookie));
	for (size_t i = 0; with_trailers && i < m->n_trailers; i++)
		put(out, m->trailers[i].name, m->trailers[i].value);
	buf_done(&cookie);
}

void message_check_same(const struct message *a, const struct message *b)
{
	bool chunked = a->head.body == HTTP_BODY_CHUNKED && b->head.body == HTTP_BODY_CHUNKED;
	struct buf x, y;

	FUZZ_CHECK(str_eq(a->head.method, b->head.method) && str_eq(a->head.path, b->head.path));
	FUZZ_CHECK(str_eq(a->head.authority, b->head.authority) && a->head.status == b->head.status);
	FUZZ_CHECK(str_eq_nocase(a->head.upgrade, b->head.upgrade) && a->head.expect_continue == b->head.expect_continue);
	FUZZ_CHECK(a->head.is_head == b->head.is_head);
	FUZZ_CHECK(a->head.upgrade.n || str_eq(buf_str(&a->body), buf_str(&b->body))); /* else it is the tunnel's */
	buf_init(&x, 1 << 20);
	buf_init(&y, 1 << 20);
	text_of(a, &x, chunked);
	text_of(b, &y, chunked);
	if (!str_eq(buf_str(&x), buf_str(&y)))
		fprintf(stderr, "-- one\n" STR_FMT "-- other\n" STR_FMT, STR_ARG(buf_str(&x)), STR_ARG(buf_str(&y)));
	FUZZ_CHECK(str_eq(buf_str(&x), buf_str(&y)));
	buf_done(&x);
	buf_done(&y);
}
