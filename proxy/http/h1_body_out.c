/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: bodies out
 *
 * A chunk's size is that of the slice at hand. A promised length is held against what is written: more is an error
 * here, less is an error at the end, and both end the connection.
 */
#include "proxy/http/h1_lex.h"

#include <errno.h>

#define CHUNK_HEAD_BYTES 18 /* 16 digits and CRLF */

static size_t chunk_head_format(char text[CHUNK_HEAD_BYTES], size_t n)
{
	int digits = (63 - __builtin_clzll(n)) / 4 + 1;

	for (int i = 0; i < digits; i++)
		text[i] = "0123456789abcdef"[(n >> (4 * (digits - 1 - i))) & 15];
	memcpy(text + digits, "\r\n", 2);
	return (size_t)digits + 2;
}

/* May @n bytes more be sent? Takes them from what was promised. */
static int body_account(struct h1_body_out *b, size_t n)
{
	if (b->done || b->in_chunk)
		return -EMSGSIZE;
	if (b->kind != HTTP_BODY_LENGTH)
		return 0;
	if (n > b->left)
		return -EMSGSIZE;
	b->left -= n;
	return 0;
}

int h1_body_write(struct h1_body_out *b, struct buf *out, struct str slice)
{
	char text[CHUNK_HEAD_BYTES];
	size_t n;
	int r;

	if (!slice.n)
		return 0;
	r = buf_reserve(out, slice.n + CHUNK_HEAD_BYTES + 2);
	if (r < 0)
		return r;
	r = body_account(b, slice.n);
	if (r < 0)
		return r;
	if (b->kind != HTTP_BODY_CHUNKED)
		return buf_append_str(out, slice);
	n = chunk_head_format(text, slice.n);
	memcpy(buf_tail(out, NULL), text, n);
	memcpy(buf_tail(out, NULL) + n, slice.p, slice.n);
	memcpy(buf_tail(out, NULL) + n + slice.n, "\r\n", 2);
	buf_commit(out, n + slice.n + 2);
	return 0;
}

int h1_body_open(struct h1_body_out *b, struct buf *out, size_t n)
{
	char text[CHUNK_HEAD_BYTES];
	int r;

	if (!n)
		return 0;
	r = buf_reserve(out, CHUNK_HEAD_BYTES + 2);
	if (r < 0)
		return r;
	r = body_account(b, n);
	if (r < 0 || b->kind != HTTP_BODY_CHUNKED)
		return r;
	b->in_chunk = true;
	return buf_append(out, text, chunk_head_format(text, n));
}

int h1_body_close(struct h1_body_out *b, struct buf *out)
{
	int r;

	if (!b->in_chunk)
		return 0;
	r = buf_append(out, "\r\n", 2);
	if (!r)
		b->in_chunk = false;
	return r;
}

static bool trailer_is_clean(const struct http_field *f)
{
	const char *end = f->value.p + f->value.n;

	for (size_t i = 0; i < f->name.n; i++)
		if (!(lex(f->name.p[i]) & LEX_TOKEN))
			return false;
	return f->name.n && (!f->value.n || lex_ctl_find(f->value.p, end) == end);
}

static int last_chunk(struct buf *out, const struct http_field *trailers, size_t n_trailers)
{
	size_t need = 5;
	char *p, *at;
	int r;

	for (size_t i = 0; i < n_trailers; i++)
		need += trailers[i].name.n + trailers[i].value.n + 4;
	r = buf_reserve(out, need);
	if (r < 0)
		return r;
	p = at = buf_tail(out, NULL);
	at = mempcpy(at, "0\r\n", 3);
	for (size_t i = 0; i < n_trailers; i++) {
		const struct http_field *f = &trailers[i];

		if (!http_trailer_is_allowed(f) || !trailer_is_clean(f))
			continue;
		at = mempcpy(at, f->name.p, f->name.n);
		at = mempcpy(at, ": ", 2);
		if (f->value.n)
			at = mempcpy(at, f->value.p, f->value.n);
		at = mempcpy(at, "\r\n", 2);
	}
	at = mempcpy(at, "\r\n", 2);
	buf_commit(out, (size_t)(at - p));
	return 0;
}

int h1_body_end(struct h1_body_out *b, struct buf *out, const struct http_field *trailers, size_t n_trailers)
{
	int r = 0;

	if (b->in_chunk || (b->kind == HTTP_BODY_LENGTH && b->left))
		return HTTP_E_SHORT;
	if (b->kind == HTTP_BODY_CHUNKED && !b->done)
		r = last_chunk(out, trailers, n_trailers);
	if (!r)
		b->done = true;
	return r;
}
