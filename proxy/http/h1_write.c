/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: heads out
 *
 * Room for the whole head is reserved once, then lines are copied. Fields that belong to one hop are left out, and our
 * own written instead. Every line is looked at for control bytes after it was written: a value made from configuration
 * cannot split a head either.
 */
#include "proxy/http/h1_lex.h"

#include <errno.h>

/* First line's fixed part, and everything the codec may add by itself. */
#define OWN_LINES_BYTES 320

/* Never copied from the fields: written by the codec from what is really done. */
#define HOP_IDS                                                                                                        \
	(1ull << HTTP_FIELD_CONNECTION | 1ull << HTTP_FIELD_KEEP_ALIVE | 1ull << HTTP_FIELD_PROXY_CONNECTION |         \
	 1ull << HTTP_FIELD_UPGRADE | 1ull << HTTP_FIELD_TE | 1ull << HTTP_FIELD_HTTP2_SETTINGS |                      \
	 1ull << HTTP_FIELD_CONTENT_LENGTH | 1ull << HTTP_FIELD_TRANSFER_ENCODING | 1ull << HTTP_FIELD_HOST)

struct writer {
	char *p; /* next free byte; room was reserved */
	bool bad;
};

static inline void put(struct writer *w, struct str s)
{
	if (s.n)
		memcpy(w->p, s.p, s.n);
	w->p += s.n;
}

static inline void put_line_end(struct writer *w, const char *line)
{
	w->bad |= lex_ctl_find(line, w->p) != w->p;
	*w->p++ = '\r';
	*w->p++ = '\n';
}

static void put_field(struct writer *w, struct str name, struct str value)
{
	const char *line = w->p;

	put(w, name);
	*w->p++ = ':';
	*w->p++ = ' ';
	put(w, value);
	put_line_end(w, line);
}

static size_t fields_bytes(const struct http_head *head)
{
	size_t n = 0;

	for (uint16_t i = 0; i < head->n_fields; i++)
		n += head->fields[i].name.n + head->fields[i].value.n + 4;
	return n;
}

/* What stands for the body in the head being written. */
struct framing {
	enum http_body_kind kind;
	bool write_length; /* Content-Length: length */
	uint64_t length;
};

/* The name in the case the sender used, where there was one. */
static struct str name_or(const struct http_head *head, enum http_field_id id, struct str otherwise)
{
	const struct http_field *f = http_head_find(head, id);

	return f ? f->name : otherwise;
}

static void put_framing(struct writer *w, const struct http_head *head, const struct framing *fr)
{
	char text[STR_U64_BYTES];

	if (fr->write_length)
		put_field(w, name_or(head, HTTP_FIELD_CONTENT_LENGTH, STR("Content-Length")), str_format_u64(text, fr->length));
	else if (fr->kind == HTTP_BODY_CHUNKED)
		put_field(w, name_or(head, HTTP_FIELD_TRANSFER_ENCODING, STR("Transfer-Encoding")), STR("chunked"));
}

static void put_fields(struct writer *w, const struct http_head *head, const struct framing *fr)
{
	uint64_t skip = HOP_IDS;

	if (fr->kind != HTTP_BODY_CHUNKED)
		skip |= 1ull << HTTP_FIELD_TRAILER;
	for (uint16_t i = 0; i < head->n_fields; i++) {
		const struct http_field *f = &head->fields[i];

		if (f->removed || (skip >> f->id) & 1)
			continue;
		w->bad |= !f->name.n;
		put_field(w, f->name, f->value);
	}
}

static struct h1_body_out body_out(const struct framing *fr)
{
	return (struct h1_body_out){
		.kind = fr->kind,
		.left = fr->kind == HTTP_BODY_LENGTH ? fr->length : 0,
		.done = fr->kind == HTTP_BODY_NONE || (fr->kind == HTTP_BODY_LENGTH && !fr->length),
	};
}

static int writer_finish(struct writer *w, struct buf *out)
{
	if (w->bad)
		return -EINVAL;
	*w->p++ = '\r';
	*w->p++ = '\n';
	buf_commit(out, (size_t)(w->p - buf_tail(out, NULL)));
	return 0;
}

static bool is_class(struct str s, uint8_t bits)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(lex(s.p[i]) & bits))
			return false;
	return s.n > 0;
}

static bool wants_length(struct str method)
{
	return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) || str_eq(method, STR("PATCH"));
}

static bool te_is_trailers(const struct http_head *head)
{
	if (!http_head_has(head, HTTP_FIELD_TE))
		return false;
	for (uint16_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == HTTP_FIELD_TE && !head->fields[i].removed &&
		    http_list_has(head->fields[i].value, STR("trailers")))
			return true;
	return false;
}

static void put_request_hop(struct writer *w, const struct http_head *head, bool close)
{
	bool te = te_is_trailers(head), up = head->upgrade.n > 0;

	if (up)
		put_field(w, STR("Upgrade"), head->upgrade);
	if (te)
		put_field(w, STR("TE"), STR("trailers"));
	if (up)
		put_field(w, STR("Connection"), te ? STR("Upgrade, TE") : STR("Upgrade"));
	else if (te)
		put_field(w, STR("Connection"), close ? STR("close, TE") : STR("TE"));
	else if (close)
		put_field(w, STR("Connection"), STR("close"));
}

int h1_request_write(struct buf *out, const struct http_head *head, const struct h1_request_options *opts,
		     struct h1_body_out *ret_body)
{
	struct str target = head->is_connect ? head->authority : head->path;
	struct framing fr = { .kind = head->body };
	struct writer w = { 0 };
	const char *line;
	int r;

	if (!is_class(head->method, LEX_TOKEN) || !is_class(target, LEX_QUERY))
		return -EINVAL;
	if (head->body == HTTP_BODY_LENGTH) {
		fr.write_length = true;
		fr.length = head->body_bytes;
	} else if (head->body == HTTP_BODY_NONE) {
		fr.write_length = wants_length(head->method);
	} else if (head->body != HTTP_BODY_CHUNKED) {
		return -EINVAL;
	}
	r = buf_reserve(out, head->method.n + target.n + head->authority.n + head->upgrade.n + fields_bytes(head) +
				     OWN_LINES_BYTES);
	if (r < 0)
		return r;
	line = w.p = buf_tail(out, NULL);
	put(&w, head->method);
	*w.p++ = ' ';
	put(&w, target);
	put(&w, STR(" HTTP/1.1"));
	put_line_end(&w, line);
	put_field(&w, name_or(head, HTTP_FIELD_HOST, STR("Host")), head->authority);
	put_fields(&w, head, &fr);
	put_framing(&w, head, &fr);
	put_request_hop(&w, head, opts && opts->close);
	r = writer_finish(&w, out);
	if (r < 0)
		return r;
	*ret_body = body_out(&fr);
	return 0;
}

/* RFC 9112 section 6.3 from the other side: which framing can this caller read? */
static struct framing response_framing(const struct http_head *head, const struct h1_response_options *opts)
{
	struct framing fr = { .kind = head->body, .length = head->body_bytes };

	if (head->status < 200 || head->status == 204) {
		fr.kind = head->body == HTTP_BODY_TUNNEL ? HTTP_BODY_TUNNEL : HTTP_BODY_NONE;
	} else if (opts->is_head || head->status == 304) {
		/* the length a GET would have: a statement about the resource, not about this message */
		fr.write_length = http_head_has(head, HTTP_FIELD_CONTENT_LENGTH) || head->body == HTTP_BODY_LENGTH;
		fr.kind = HTTP_BODY_NONE;
	} else if (head->body == HTTP_BODY_TUNNEL) {
		fr.kind = HTTP_BODY_TUNNEL;
	} else if (head->body == HTTP_BODY_NONE || head->body == HTTP_BODY_LENGTH) {
		fr.write_length = true;
		if (head->body == HTTP_BODY_NONE)
			fr.length = 0;
	} else {
		fr.kind = opts->downstream_version == HTTP_1_0 ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_CHUNKED;
	}
	return fr;
}

static void put_status_line(struct writer *w, const struct http_head *head)
{
	const char *line = w->p;
	char text[STR_U64_BYTES];

	put(w, STR("HTTP/1.1 "));
	put(w, str_format_u64(text, head->status));
	*w->p++ = ' ';
	put(w, head->phrase);
	put_line_end(w, line);
}

static void put_response_hop(struct writer *w, const struct http_head *head, const struct framing *fr,
			     const struct h1_response_options *opts, bool close)
{
	if (fr->kind == HTTP_BODY_TUNNEL) {
		if (head->status == 101) {
			put_field(w, STR("Upgrade"), head->upgrade);
			put_field(w, STR("Connection"), STR("Upgrade"));
		}
	} else if (close) {
		put_field(w, STR("Connection"), STR("close"));
	} else if (opts->downstream_version == HTTP_1_0) {
		put_field(w, STR("Connection"), STR("keep-alive"));
	}
}

int h1_response_write(struct buf *out, const struct http_head *head, const struct h1_response_options *opts,
		      struct h1_body_out *ret_body, bool *ret_close)
{
	struct framing fr = response_framing(head, opts);
	bool interim = head->status < 200 && head->status != 101;
	bool close = !interim && fr.kind != HTTP_BODY_TUNNEL &&
		     (opts->close || !opts->downstream_keep_alive || fr.kind == HTTP_BODY_UNTIL_CLOSE);
	struct writer w = { 0 };
	int r;

	if (head->status < 100 || head->status > 599)
		return -EINVAL;
	if (interim && opts->downstream_version == HTTP_1_0) {
		*ret_body = body_out(&fr);
		*ret_close = false;
		return 0;
	}
	r = buf_reserve(out, head->phrase.n + head->upgrade.n + fields_bytes(head) + OWN_LINES_BYTES);
	if (r < 0)
		return r;
	w.p = buf_tail(out, NULL);
	put_status_line(&w, head);
	put_fields(&w, head, &fr);
	put_framing(&w, head, &fr);
	if (!interim)
		put_response_hop(&w, head, &fr, opts, close);
	r = writer_finish(&w, out);
	if (r < 0)
		return r;
	*ret_body = body_out(&fr);
	*ret_close = close;
	return 0;
}
