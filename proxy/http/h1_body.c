/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: bodies in
 *
 * Framing is eaten byte by byte by a small state machine, so that a cut may fall anywhere; body bytes are handed out
 * where they lie. Chunk extensions are checked and dropped; trailers are copied into the pool.
 */
#include "proxy/http/h1_lex.h"

#include <errno.h>

enum {
	BODY_RAW, /* LENGTH, UNTIL_CLOSE, TUNNEL */
	BODY_SIZE_FIRST,
	BODY_SIZE,
	BODY_EXT_SPACE, /* white space before ';' */
	BODY_EXT,
	BODY_SIZE_LF,
	BODY_CHUNK,
	BODY_CHUNK_CR,
	BODY_CHUNK_LF,
	BODY_TRAILER_START,
	BODY_TRAILER,
	BODY_TRAILER_LF,
	BODY_LAST_LF,
	BODY_DONE,
	BODY_BROKEN,
};

#define TRAILER_LINE_BYTES 256

void h1_body_init(struct h1_body *b, const struct h1_limits *limits, struct pool *pool, const struct http_head *head,
		  bool is_response)
{
	*b = (struct h1_body){
		.limits = limits ? limits : &h1_limits_default,
		.pool = pool,
		.kind = head->body,
		.is_response = is_response,
	};
	switch (head->body) {
	case HTTP_BODY_NONE:
		b->state = BODY_DONE;
		break;
	case HTTP_BODY_LENGTH:
		b->left = head->body_bytes;
		b->state = b->left ? BODY_RAW : BODY_DONE;
		break;
	case HTTP_BODY_CHUNKED:
		b->state = BODY_SIZE_FIRST;
		break;
	case HTTP_BODY_UNTIL_CLOSE:
	case HTTP_BODY_TUNNEL:
		b->left = UINT64_MAX;
		b->state = BODY_RAW;
		break;
	}
}

bool h1_body_is_done(const struct h1_body *b)
{
	return b->state == BODY_DONE;
}

int h1_body_eof(struct h1_body *b)
{
	if (b->state == BODY_DONE)
		return HTTP_E_END;
	if (b->state == BODY_RAW && b->kind != HTTP_BODY_LENGTH) {
		b->state = BODY_DONE;
		return HTTP_E_END;
	}
	b->state = BODY_BROKEN;
	return HTTP_E_SHORT;
}

static int refuse(struct http_reject *r, const char *what)
{
	return http_refuse(r, 400, TRM_REASON_HTTP_FRAMING, what);
}

/* RFC 9112 section 7.1: chunk-size [ chunk-ext ] CRLF. One byte; 0 or HTTP_E_REJECT. */
static int size_line_byte(struct h1_body *b, char c, struct http_reject *ret_reject)
{
	int digit = lex_hex[(unsigned char)c];

	if (++b->line_bytes > b->limits->chunk_line_bytes)
		return refuse(ret_reject, "chunk line is too long");
	switch (b->state) {
	case BODY_SIZE_FIRST:
		if (digit < 0)
			return refuse(ret_reject, "bad chunk size");
		b->left = (uint64_t)digit;
		b->state = BODY_SIZE;
		return 0;
	case BODY_SIZE:
		if (digit >= 0) {
			if (b->left >> 58)
				return refuse(ret_reject, "chunk size is too large");
			b->left = b->left << 4 | (uint64_t)digit;
			return 0;
		}
		if (c == '\r')
			b->state = BODY_SIZE_LF;
		else if (c == ';')
			b->state = BODY_EXT;
		else if (c == ' ' || c == '\t')
			b->state = BODY_EXT_SPACE;
		else
			return refuse(ret_reject, "bad chunk size");
		return 0;
	case BODY_EXT_SPACE:
		if (c == ';')
			b->state = BODY_EXT;
		else if (c != ' ' && c != '\t')
			return refuse(ret_reject, "white space behind the chunk size");
		return 0;
	case BODY_EXT:
		if (c == '\r')
			b->state = BODY_SIZE_LF;
		else if (lex(c) & LEX_CTL || (unsigned char)c >= 0x80)
			return refuse(ret_reject, "byte that may not stand in a chunk extension");
		else if (++b->ext_bytes > b->limits->chunk_ext_bytes)
			return refuse(ret_reject, "too many chunk extensions");
		return 0;
	}
	/* BODY_SIZE_LF */
	if (c != '\n')
		return refuse(ret_reject, "chunk line does not end in CRLF");
	b->state = b->left ? BODY_CHUNK : BODY_TRAILER_START;
	b->line_bytes = 0;
	return 0;
}

/* A forbidden field is dropped, a malformed one refused. */
static int trailer_line(struct h1_body *b, struct http_reject *ret_reject)
{
	struct http_field f;
	int r;

	if (b->n_trailer_lines++ >= b->limits->trailer_fields)
		return http_refuse(ret_reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "too many trailers");
	r = h1_field_split((struct str){ b->line, b->line_n }, &f, ret_reject);
	if (r)
		return r;
	b->line += b->line_n;
	b->line_cap -= b->line_n;
	b->line_n = 0;
	if (!http_trailer_is_allowed(&f))
		return 0;
	if (!b->trailers) {
		b->trailers = pool_alloc(b->pool, sizeof(f) * b->limits->trailer_fields);
		if (!b->trailers)
			return -ENOMEM;
	}
	b->trailers[b->n_trailers++] = f;
	return 0;
}

static int trailer_keep(struct h1_body *b, struct str part, struct http_reject *ret_reject)
{
	if (part.n > b->limits->trailer_bytes - b->trailer_bytes)
		return http_refuse(ret_reject, 431, TRM_REASON_HTTP_HEADERS_TOO_LARGE, "trailers are too long");
	b->trailer_bytes += (uint32_t)part.n;
	if (part.n > b->line_cap - b->line_n) {
		uint32_t cap = MAX(2 * (b->line_n + (uint32_t)part.n), (uint32_t)TRAILER_LINE_BYTES);
		char *mem = pool_alloc(b->pool, cap);

		if (!mem)
			return -ENOMEM;
		if (b->line_n)
			memcpy(mem, b->line, b->line_n);
		b->line = mem;
		b->line_cap = cap;
	}
	if (part.n)
		memcpy(b->line + b->line_n, part.p, part.n);
	b->line_n += (uint32_t)part.n;
	return 0;
}

/* Reads what there is of a trailer line; *p moves behind what was used. */
static int trailer_read(struct h1_body *b, const char **p, const char *end, struct http_reject *ret_reject)
{
	const char *at = lex_ctl_find(*p, end);
	int r = trailer_keep(b, (struct str){ *p, (size_t)(at - *p) }, ret_reject);

	if (r)
		return r;
	*p = at;
	if (at == end)
		return 0;
	if (*at != '\r')
		return refuse(ret_reject, "control character in trailer");
	*p = at + 1;
	b->state = BODY_TRAILER_LF;
	return 0;
}

/* One step over framing; *p moves by at least one byte. 0, HTTP_E_REJECT, -ENOMEM */
static int framing_read(struct h1_body *b, const char **p, const char *end, struct http_reject *ret_reject)
{
	char c = **p;

	switch (b->state) {
	case BODY_CHUNK_CR:
		if (c != '\r')
			return refuse(ret_reject, "chunk is longer than its size");
		b->state = BODY_CHUNK_LF;
		break;
	case BODY_CHUNK_LF:
		if (c != '\n')
			return refuse(ret_reject, "chunk does not end in CRLF");
		b->state = BODY_SIZE_FIRST;
		break;
	case BODY_TRAILER_START:
		if (c != '\r') {
			b->state = BODY_TRAILER;
			return trailer_read(b, p, end, ret_reject);
		}
		b->state = BODY_LAST_LF;
		break;
	case BODY_TRAILER:
		return trailer_read(b, p, end, ret_reject);
	case BODY_TRAILER_LF:
		if (c != '\n')
			return refuse(ret_reject, "bare CR in trailer");
		b->state = BODY_TRAILER_START;
		(*p)++;
		return trailer_line(b, ret_reject);
	case BODY_LAST_LF:
		if (c != '\n')
			return refuse(ret_reject, "bare CR behind the last chunk");
		b->state = BODY_DONE;
		break;
	default:
		(*p)++;
		return size_line_byte(b, c, ret_reject);
	}
	(*p)++;
	return 0;
}

static int body_refused(struct h1_body *b, int r, struct http_reject *ret_reject)
{
	b->state = BODY_BROKEN;
	if (r == HTTP_E_REJECT && b->is_response) {
		ret_reject->status = 502;
		ret_reject->reason = TRM_REASON_HTTP_UPSTREAM_MALFORMED;
	}
	return r;
}

int h1_body_read(struct h1_body *b, struct str input, struct str *ret_slice, size_t *ret_consumed,
		 struct http_reject *ret_reject)
{
	const char *p, *end;
	int r;

	input = h1_input(input);
	p = input.p;
	end = p + input.n;
	if (b->state == BODY_BROKEN)
		return body_refused(b, refuse(ret_reject, "body was refused before"), ret_reject);
	for (;;) {
		if (b->state == BODY_DONE) {
			*ret_consumed = (size_t)(p - input.p);
			return HTTP_E_END;
		}
		if (p == end) {
			*ret_consumed = input.n;
			return HTTP_E_MORE;
		}
		if (b->state == BODY_RAW || b->state == BODY_CHUNK)
			break;
		r = framing_read(b, &p, end, ret_reject);
		if (r)
			return body_refused(b, r, ret_reject);
	}
	*ret_slice = (struct str){ p, (size_t)MIN((uint64_t)(end - p), b->left) };
	*ret_consumed = (size_t)(p - input.p) + ret_slice->n;
	b->total_bytes += ret_slice->n;
	if (b->state == BODY_RAW && b->kind != HTTP_BODY_LENGTH)
		return 0;
	b->left -= ret_slice->n;
	if (!b->left)
		b->state = b->state == BODY_RAW ? BODY_DONE : BODY_CHUNK_CR;
	return 0;
}
