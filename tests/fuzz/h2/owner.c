/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of an HTTP/2 connection under test: see owner.h. Here: its streams. */
#include "tests/fuzz/h2/owner.h"

#include "proxy/http/field_rules.h"
#include "proxy/http/uri.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/owner_private.h"

static struct owner_stream *stream_of(struct h2_stream *h2)
{
	struct owner_stream *s = container_of(h2, struct owner_stream, h2);

	FUZZ_CHECK(!s->gone);
	return s;
}

struct owner_stream *owner_stream_new(struct owner *o)
{
	struct owner_stream *s = calloc(1, sizeof(*s));

	FUZZ_CHECK(s);
	s->o = o;
	s->habit = o->habit;
	pool_init(&s->pool, 128 * 1024);
	s->head = (struct http_head){ .fields = s->fields, .cap_fields = HTTP_FIELDS_CAP };
	h2_stream_init(&s->h2, &o->c, &s->head, &s->pool);
	list_push_back(&o->streams, &s->link);
	o->n_streams++;
	return s;
}

void owner_stream_free(struct owner_stream *s)
{
	h2_stream_done(&s->h2, NGHTTP2_CANCEL);
	s->gone = true;
	s->o->n_streams--;
	list_remove(&s->link);
	pool_done(&s->pool);
	free(s);
}

/* Acts where its habit says so, once. false: @s is gone. */
static bool act_at(struct owner_stream *s, enum owner_when when)
{
	bool stays = s->o->c.is_server || s->habit.act != OWNER_LET_GO;

	if (s->acted || s->habit.when != when)
		return true;
	s->acted = true;
	owner_do(s, s->habit.act, s->habit.body_bytes);
	return stays;
}

/* What comes in: struct h2_conn_ops */

static struct h2_stream *on_request(struct h2_conn *c)
{
	struct owner *o = container_of(c, struct owner, c);

	if (o->habit.refuse || o->n_streams >= H2_STREAMS_MAX)
		return NULL;
	return &owner_stream_new(o)->h2;
}

static void request_check(const struct http_head *h)
{
	FUZZ_CHECK(h->method.n && h->method.n <= 32 && !str_eq_c(h->method, "TRACE"));
	FUZZ_CHECK(uri_authority_is_valid(h->authority));
	FUZZ_CHECK(h->is_connect || str_eq_c(h->path, "*") || (h->path.n && h->path.p[0] == '/'));
	FUZZ_CHECK(!h->upgrade.n || (str_eq_c(h->method, "GET") && h->body == HTTP_BODY_NONE));
	FUZZ_CHECK(http_head_find(h, HTTP_FIELD_HOST) == NULL);
}

static void on_head(struct h2_stream *h2, struct http_head *head, bool ends)
{
	struct owner_stream *s = stream_of(h2);
	bool is_server = s->o->c.is_server;

	FUZZ_CHECK(!s->has_head && !s->ended && !s->rejected && !s->was_reset && !s->let_go && head == &s->head);
	FUZZ_CHECK(head->n_fields <= HTTP_FIELDS_CAP && (!is_server || s->id == 0));
	if (is_server) {
		request_check(head);
		s->id = (uint32_t)h2->id;
		s->o->told_id = MAX(s->o->told_id, s->id);
	} else {
		FUZZ_CHECK(head->status >= 100 && head->status <= 599 && (head->status != 101 || head->upgrade.n));
	}
	s->has_head = is_server || head->status >= 200 || head->status == 101;
	s->ends = ends;
	s->upgrade = is_server && head->upgrade.n;
	FUZZ_CHECK(!s->ends || s->has_head);
	if (s->has_head)
		(void)act_at(s, OWNER_AT_HEAD);
}

static bool takes_body(const struct owner_stream *s)
{
	return !s->ends && (s->upgrade || s->head.is_connect || s->head.body != HTTP_BODY_NONE);
}

static void on_body(struct h2_stream *h2, struct str slice)
{
	struct owner_stream *s = stream_of(h2);
	struct owner *o = s->o;

	FUZZ_CHECK(slice.n && s->has_head && takes_body(s) && !s->ended && !s->rejected && !s->was_reset && !s->let_go);
	/* nghttp2 hands on the frame that goes beyond, and resets the stream with it */
	FUZZ_CHECK(h2->unconsumed <= MAX(o->c.window.stream_bytes, 65535u) + slice.n);
	if (!o->raw)
		for (size_t i = 0; i < slice.n; i++)
			FUZZ_CHECK(slice.p[i] == wire_pattern(!o->c.is_server, s->id, s->body_in + i));
	s->body_in += slice.n;
	FUZZ_CHECK(s->head.body != HTTP_BODY_LENGTH || s->body_in <= s->head.body_bytes);
	(void)act_at(s, OWNER_AT_BODY);
}

static void on_end(struct h2_stream *h2, const struct http_field *trailers, size_t n_trailers)
{
	struct owner_stream *s = stream_of(h2);

	FUZZ_CHECK(s->has_head && !s->ended && !s->rejected && !s->was_reset && !s->let_go);
	FUZZ_CHECK(s->head.body != HTTP_BODY_LENGTH || s->body_in == s->head.body_bytes);
	FUZZ_CHECK(n_trailers <= H2_TRAILERS && (n_trailers == 0 || !s->ends));
	for (size_t i = 0; i < n_trailers; i++)
		FUZZ_CHECK(http_trailer_is_allowed(&trailers[i]));
	s->ended = true;
	(void)act_at(s, OWNER_AT_END);
}

static void on_reject(struct h2_stream *h2, const struct http_reject *reject)
{
	struct owner_stream *s = stream_of(h2);
	bool is_server = s->o->c.is_server;

	FUZZ_CHECK(!s->ended && !s->rejected && !s->was_reset && !s->let_go && reject->reason && reject->what);
	FUZZ_CHECK(is_server ? reject->status >= 400 && reject->status <= 501 : reject->status == 502);
	s->rejected = true;
	if (is_server) {
		owner_do(s, OWNER_END, 0);
		owner_do(s, OWNER_RESET_LATER, 0);
	} else if (s->habit.consume) { /* else at the end of the batch */
		owner_do(s, OWNER_LET_GO, 0);
	}
}

static void on_reset(struct h2_stream *h2, uint32_t code, bool unprocessed)
{
	struct owner_stream *s = stream_of(h2);

	FUZZ_CHECK(!s->was_reset && !s->let_go && !(s->ended && h2->sent_end));
	s->was_reset = true;
	if (!s->o->c.is_server)
		owner_do(s, OWNER_LET_GO, 0);
}

static void on_drained(struct h2_stream *h2)
{
	struct owner_stream *s = stream_of(h2);

	FUZZ_CHECK(s->told_full && !s->let_go && !s->was_reset && h2->out.len == 0);
	s->told_full = false;
	FUZZ_CHECK(!h2_stream_is_full(h2));
}

static void on_batch_end(struct h2_stream *h2)
{
	struct owner_stream *s = stream_of(h2);

	FUZZ_CHECK(!s->was_reset);
	if (s->let_go)
		return;
	if (s->habit.consume)
		h2_stream_consume(h2);
	if (!s->o->c.is_server && (s->rejected || (s->ended && h2->closed)))
		owner_do(s, OWNER_LET_GO, 0);
}

static void on_close(struct h2_stream *h2)
{
	struct owner_stream *s = stream_of(h2);

	FUZZ_CHECK(h2->closed && h2->id == 0);
	owner_stream_free(s);
}

const struct h2_conn_ops owner_ops_server = { on_request, on_head, on_body, on_end, on_reject, on_reset, on_drained, on_batch_end, on_close };
const struct h2_conn_ops owner_ops_client = { NULL, on_head, on_body, on_end, on_reject, on_reset, on_drained, on_batch_end, NULL };

/* What goes out */

static void answer(struct owner_stream *s, uint16_t status, bool ends)
{
	struct http_field fields[] = { { STR("Content-Type"), STR("text/plain"), HTTP_FIELD_CONTENT_TYPE, false },
				       { STR("Connection"), STR("close"), HTTP_FIELD_CONNECTION, false },
				       { STR("x-gone"), STR("1"), HTTP_FIELD_OTHER, true } };
	struct http_head head = { .status = status, .fields = fields, .n_fields = ARRAY_SIZE(fields),
				  .body = ends ? HTTP_BODY_NONE : HTTP_BODY_CHUNKED };

	if (s->head_sent)
		return;
	head.known = 1ull << HTTP_FIELD_CONTENT_TYPE | 1ull << HTTP_FIELD_CONNECTION;
	FUZZ_CHECK(h2_stream_send_response(&s->h2, &head, ends) == 0);
	if (status >= 200 || status == 101) {
		s->head_sent = true;
		s->end_sent = ends;
	}
}

static void body_give(struct owner_stream *s, uint32_t n)
{
	char *bytes;
	bool was_closed = s->h2.closed;

	if (!s->head_sent || s->end_sent || s->told_full || n == 0)
		return;
	bytes = malloc(n);
	FUZZ_CHECK(bytes);
	for (uint32_t i = 0; i < n; i++)
		bytes[i] = wire_pattern(s->o->c.is_server, s->id, s->given + i);
	FUZZ_CHECK(h2_stream_send_body(&s->h2, (struct str){ bytes, n }, n >= 4096 ? &s->o->out : NULL) == 0);
	free(bytes);
	if (!was_closed)
		s->given += n;
	s->told_full = h2_stream_is_full(&s->h2);
}

static void end_give(struct owner_stream *s, bool with_trailers)
{
	static const struct http_field trailers[] = { { { "x-sum", 5 }, { "1", 1 }, HTTP_FIELD_OTHER, false },
						      { { "x-gone", 6 }, { "1", 1 }, HTTP_FIELD_OTHER, true } };

	if (!s->head_sent && s->o->c.is_server)
		answer(s, s->rejected ? 400 : s->upgrade ? 404 : 204, true);
	if (!s->head_sent || s->end_sent)
		return;
	FUZZ_CHECK(h2_stream_send_end(&s->h2, trailers, with_trailers ? ARRAY_SIZE(trailers) : 0) == 0);
	s->end_sent = true;
}

/* As stream_release() of the proxies: a server's stream lives on until on_close(). */
static void let_go(struct owner_stream *s)
{
	if (!s->o->c.is_server) {
		owner_stream_free(s);
		return;
	}
	s->let_go = true;
	s->h2.detached = true;
	s->h2.pool = NULL;
	if (s->h2.closed)
		return;
	if (!s->head_sent || !s->end_sent)
		h2_stream_reset(&s->h2, NGHTTP2_CANCEL);
	else if (!s->h2.recv_end)
		h2_stream_reset_after_end(&s->h2, NGHTTP2_NO_ERROR);
}

void owner_do(struct owner_stream *s, enum owner_act act, uint32_t body_bytes)
{
	bool is_server = s->o->c.is_server;

	if (s->let_go || (is_server && !s->has_head && !s->rejected)) /* nobody answers what was not asked yet */
		return;
	if (is_server && (act == OWNER_HEAD || act == OWNER_WHOLE))
		answer(s, s->upgrade ? 101 : 200, false);
	if (is_server && act == OWNER_INTERIM)
		answer(s, 103, false);
	if (act == OWNER_BODY || act == OWNER_WHOLE)
		body_give(s, body_bytes);
	if (act == OWNER_END || act == OWNER_WHOLE || act == OWNER_TRAILERS)
		end_give(s, act == OWNER_TRAILERS);
	if (act == OWNER_RESET) {
		s->reset_sent = true;
		h2_stream_reset(&s->h2, NGHTTP2_CANCEL);
	}
	if (act == OWNER_RESET_LATER && s->end_sent && !s->ended)
		h2_stream_reset_after_end(&s->h2, NGHTTP2_NO_ERROR);
	if (act == OWNER_CONSUME)
		h2_stream_consume(&s->h2);
	if (act == OWNER_LET_GO)
		let_go(s);
}
