/* SPDX-License-Identifier: Apache-2.0 */
/* Two HTTP/2 connections of ours, one the other's peer: see message.h. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/message.h"

static struct pair *pair_of(struct h2_stream *s)
{
	return s->c->is_server ? container_of(s, struct pair, answer) : container_of(s, struct pair, ask);
}

static struct message *heard_by(struct h2_stream *s)
{
	struct pair *p = pair_of(s);

	return s->c->is_server ? &p->request : &p->response;
}

static struct h2_stream *on_request(struct h2_conn *c)
{
	struct pair *p = container_of(c, struct pair, server);

	if (p->answering || p->request.has_head)
		return NULL;
	p->answering = true;
	h2_stream_init(&p->answer, c, &p->request.head, &p->request.pool);
	return &p->answer;
}

static void on_head(struct h2_stream *s, struct http_head *head, bool ends)
{
	heard_by(s)->has_head = true;
}

static void on_body(struct h2_stream *s, struct str slice)
{
	FUZZ_CHECK(buf_append_str(&heard_by(s)->body, slice) == 0);
}

static void on_end(struct h2_stream *s, const struct http_field *trailers, size_t n_trailers)
{
	struct message *m = heard_by(s);

	/* they live in the message's own pool */
	m->trailers = (struct http_field *)(uintptr_t)trailers;
	m->n_trailers = n_trailers;
	m->ended = true;
}

static void on_reject(struct h2_stream *s, const struct http_reject *reject)
{
	heard_by(s)->refused = true;
}

static void on_reset(struct h2_stream *s, uint32_t code, bool unprocessed)
{
	heard_by(s)->refused |= !heard_by(s)->ended;
}

static void on_batch_end(struct h2_stream *s)
{
	h2_stream_consume(s);
}

static void on_drained(struct h2_stream *s)
{
}

static void on_close(struct h2_stream *s)
{
	struct pair *p = pair_of(s);

	h2_stream_done(s, NGHTTP2_CANCEL);
	p->answering = false;
}

static const struct h2_conn_ops server_ops = { on_request, on_head, on_body, on_end, on_reject, on_reset, on_drained, on_batch_end, on_close };
static const struct h2_conn_ops client_ops = { NULL, on_head, on_body, on_end, on_reject, on_reset, on_drained, on_batch_end, NULL };

void pair_init(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	message_init(&p->request);
	message_init(&p->response);
	FUZZ_CHECK(h2_conn_init(&p->client, false, &h2_settings_default, &client_ops) == 0);
	FUZZ_CHECK(h2_conn_init(&p->server, true, &h2_settings_default, &server_ops) == 0);
	h2_stream_init(&p->ask, &p->client, &p->response.head, &p->response.pool);
}

void pair_done(struct pair *p)
{
	h2_stream_done(&p->ask, NGHTTP2_CANCEL);
	if (p->answering)
		h2_stream_done(&p->answer, NGHTTP2_CANCEL);
	h2_conn_done(&p->client);
	h2_conn_done(&p->server);
	message_done(&p->request);
	message_done(&p->response);
}

void pair_feed(struct pair *p, struct h2_conn *c, struct str in)
{
	char *copy = malloc(in.n ? in.n : 1); /* exact, for the sanitizer */

	FUZZ_CHECK(copy);
	memcpy(copy, in.p, in.n);
	(void)!h2_conn_read(c, (struct str){ copy, in.n }, 1000000000);
	free(copy);
	h2_conn_dispatch(c);
	h2_conn_batch_end(c);
}

/* What @from has to say arrives at @to; false: nothing. */
static bool carry(struct pair *p, struct h2_conn *from, struct h2_conn *to, size_t part)
{
	struct str all;
	struct buf out;
	size_t n;
	bool any;

	buf_init(&out, 4 << 20);
	FUZZ_CHECK(h2_conn_write(from, &out, true) >= 0);
	h2_conn_dispatch(from);
	all = buf_str(&out);
	any = all.n > 0;
	for (size_t at = 0; at < all.n; at += n) {
		n = MIN(part, all.n - at);
		pair_feed(p, to, (struct str){ all.p + at, n });
	}
	buf_done(&out);
	return any;
}

void pair_run(struct pair *p, size_t part)
{
	bool any = true;

	for (int i = 0; any; i++) {
		FUZZ_CHECK(i < 1000);
		any = carry(p, &p->client, &p->server, part);
		any |= carry(p, &p->server, &p->client, part);
	}
}
