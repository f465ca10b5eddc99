/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 codec, streams: heads, bodies and ends going out: see h2.h
 *
 * Body bytes wait in the stream until nghttp2 asks for them, within the windows and the connection's turn. They go
 * straight from there into the output, behind the frame header: no copy through nghttp2's frame buffer.
 */
#include <errno.h>
#include "proxy/http/h2.h"
#include "proxy/http/h2_private.h"

struct h2_trailers {
	size_t n;
	nghttp2_nv nv[];
};

void h2_stream_init(struct h2_stream *s, struct h2_conn *c, struct http_head *head, struct pool *pool)
{
	*s = (struct h2_stream){ .c = c, .head = head, .pool = pool };
	buf_init(&s->out, SIZE_MAX / 2); /* bounded by who gives: h2_stream_is_full() */
}

static void outgoing_drop(struct h2_stream *s)
{
	s->c->kept -= s->out.len;
	buf_done(&s->out);
	free(s->trailers_out);
	s->trailers_out = NULL;
}

void h2_stream_reset(struct h2_stream *s, uint32_t code)
{
	if (s->id == 0 || s->closed)
		return;
	(void)nghttp2_submit_rst_stream(s->c->session, NGHTTP2_FLAG_NONE, s->id, code); /* no memory: its reads fail too */
}

void h2_stream_reset_after_end(struct h2_stream *s, uint32_t code)
{
	if (s->sent_end) {
		h2_stream_reset(s, code);
		return;
	}
	s->reset_after = true;
	s->reset_code = code;
}

void h2_stream_consume_bytes(struct h2_stream *s, size_t n)
{
	nghttp2_session *session = s->c->session;
	size_t borrowed = MIN(n, (size_t)s->borrowed), own = n - borrowed;

	s->unconsumed -= (uint32_t)n;
	s->borrowed -= (uint32_t)borrowed;
	if (s->c->budget)
		s->c->budget->used -= borrowed;
	if (!session)
		return;
	/* no memory: reads fail too. The connection's room outlives the stream: what is not given back is lost to all. */
	if (borrowed > 0 && s->id)
		(void)nghttp2_session_consume_stream(session, s->id, borrowed);
	if (own > 0 && s->id)
		(void)nghttp2_session_consume(session, s->id, own);
	else if (own > 0)
		(void)nghttp2_session_consume_connection(session, own);
	if (n > 0 && !s->detached)
		h2_stream_stretch(s);
}

void h2_stream_consume(struct h2_stream *s)
{
	h2_stream_consume_bytes(s, s->unconsumed);
}

void h2_stream_done(struct h2_stream *s, uint32_t code)
{
	struct h2_conn *c = s->c;

	if (s->rejected && !c->is_server)
		code = NGHTTP2_PROTOCOL_ERROR; /* a response that is none (RFC 9113 section 8.1.1) */
	s->detached = true;
	list_remove(&s->closed_link);
	list_remove(&s->drained_link);
	list_remove(&s->touched_link);
	h2_stream_unkeep(s);
	h2_stream_consume(s);
	if (s->id && c->session) {
		(void)nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
		if (!s->recv_end || !s->sent_end)
			h2_stream_reset(s, code);
		c->n_streams--;
		s->id = 0;
	}
	h2_stream_unstretch(s);
	outgoing_drop(s);
}

/* Body bytes */

static ssize_t on_data_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags,
			    nghttp2_data_source *source, void *user)
{
	struct h2_stream *s = source->ptr;
	size_t left = s->out.len + s->now.n, n;

	if (nghttp2_session_get_stream_user_data(session, id) != s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* given up: the reset is on its way */
	if (!h2_conn_may_give_data(s->c))
		return NGHTTP2_ERR_PAUSE;
	if (left == 0 && !s->send_ended) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	n = MIN(left, cap);
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n == left && s->send_ended) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->trailers_out) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (nghttp2_submit_trailer(session, id, s->trailers_out->nv, s->trailers_out->n) < 0)
				return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		}
	}
	return (ssize_t)n;
}

int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd, size_t n,
		    nghttp2_data_source *source, void *user)
{
	struct h2_stream *s = source->ptr;
	struct buf *out = s->c->out;
	size_t kept = MIN(n, s->out.len);

	if (buf_reserve(out, 9 + n) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	(void)!buf_append(out, framehd, 9);
	(void)!buf_append(out, buf_head(&s->out), kept);
	buf_consume(&s->out, kept);
	s->c->kept -= kept;
	if (n > kept) {
		(void)!buf_append(out, s->now.p, n - kept);
		s->now.p += n - kept;
		s->now.n -= n - kept;
	}
	if (s->out.len == 0) {
		buf_release(&s->out);
		if (s->full && !list_is_linked(&s->drained_link))
			list_push_back(&s->c->drained, &s->drained_link);
	}
	return 0;
}

static void data_resume(struct h2_stream *s)
{
	if (!s->deferred || s->closed)
		return;
	s->deferred = false;
	(void)nghttp2_session_resume_data(s->c->session, s->id); /* no memory: the stream's time-out ends it */
}

int h2_stream_send_body(struct h2_stream *s, struct str slice, struct buf *out)
{
	int r = 0;

	if (s->closed || s->send_ended || slice.n == 0)
		return 0;
	if (out && !s->c->in_call) {
		s->now = slice;
		data_resume(s);
		r = h2_conn_write(s->c, out, true);
		slice = s->now;
		s->now = (struct str){ 0 };
		if (r < 0)
			return r;
	}
	if (slice.n && buf_append(&s->out, slice.p, slice.n) < 0)
		return -ENOMEM;
	s->c->kept += slice.n;
	data_resume(s);
	return 0;
}

bool h2_stream_is_full(struct h2_stream *s)
{
	s->full = !s->closed && (s->out.len >= H2_STREAM_OUT || (s->out.len > 0 && s->c->kept >= H2_CONN_OUT));
	return s->full;
}

/* Heads and ends */

static nghttp2_data_provider provider_of(struct h2_stream *s)
{
	return (nghttp2_data_provider){ .source.ptr = s, .read_callback = on_data_read };
}

int h2_stream_send_request(struct h2_stream *s, const struct http_head *head, bool ends)
{
	nghttp2_data_provider body = provider_of(s);
	struct h2_head_out fields;
	int32_t id;
	int r;

	s->asked = h1_asked_from(head);
	if (head->upgrade.n || head->is_connect)
		ends = false;
	r = h2_head_out_request(&fields, head);
	if (r < 0)
		return r;
	id = nghttp2_submit_request(s->c->session, NULL, fields.nv, fields.n, ends ? NULL : &body, s);
	if (id < 0)
		return -ENOMEM;
	h2_stream_opened(s, id);
	s->send_begun = true;
	s->send_ended = ends;
	return 0;
}

int h2_stream_send_response(struct h2_stream *s, const struct http_head *head, bool ends)
{
	nghttp2_data_provider body = provider_of(s);
	struct h2_head_out fields;
	int r;

	/* RFC 8441 section 4: any 2xx grants the tunnel. From HTTP/1.1 it is a server that paid no heed to Upgrade: none is there. */
	if (s->head && s->head->upgrade.n && head->status >= 200 && head->status < 300)
		return -EINVAL;
	r = h2_head_out_response(&fields, head);
	if (r < 0)
		return r;
	if (s->closed)
		return 0;
	if (head->status < 200 && head->status != 101)
		return nghttp2_submit_headers(s->c->session, NGHTTP2_FLAG_NONE, s->id, NULL, fields.nv, fields.n, NULL) < 0 ?
			       -ENOMEM :
			       0;
	if (nghttp2_submit_response(s->c->session, s->id, fields.nv, fields.n, ends ? NULL : &body) < 0)
		return -ENOMEM;
	s->send_begun = true;
	s->send_ended = ends;
	return 0;
}

static struct h2_trailers *trailers_new(const struct http_field *f, size_t n)
{
	size_t bytes = sizeof(struct h2_trailers) + n * sizeof(nghttp2_nv);
	struct h2_trailers *t;
	char *p;

	for (size_t i = 0; i < n; i++)
		bytes += f[i].name.n + f[i].value.n;
	t = malloc(bytes);
	if (!t)
		return NULL;
	p = (char *)&t->nv[n];
	t->n = 0;
	for (size_t i = 0; i < n; i++) {
		nghttp2_nv *nv = &t->nv[t->n];

		if (f[i].removed || !f[i].name.n)
			continue;
		*nv = (nghttp2_nv){ (uint8_t *)p, (uint8_t *)p + f[i].name.n, f[i].name.n, f[i].value.n, NGHTTP2_NV_FLAG_NONE };
		p = mempcpy(p, f[i].name.p, f[i].name.n);
		if (f[i].value.n)
			p = mempcpy(p, f[i].value.p, f[i].value.n);
		t->n++;
	}
	return t;
}

int h2_stream_send_end(struct h2_stream *s, const struct http_field *trailers, size_t n_trailers)
{
	if (s->closed || s->send_ended)
		return 0;
	if (n_trailers > 0) {
		s->trailers_out = trailers_new(trailers, n_trailers);
		if (!s->trailers_out)
			return -ENOMEM;
	}
	s->send_ended = true;
	data_resume(s);
	return 0;
}
