/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 vectors, cut up: h2_cuts FILE
 *
 * FILE holds cases one behind the other: "NAME ROLE LENGTH\n" and LENGTH bytes; ROLE: "server" takes requests, "client" has
 * asked for GET / on stream 1 and gets the bytes as the answer. Each is given to the codec whole, cut in two at every offset
 * (sampled in very long ones) and byte by byte, and what the owner is told and what the peer is sent must be the same.
 * Nothing is written between the parts: what then is on its way, and what is not, is for the live tests.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "proxy/http/h2.h"

#define S	     ((uint64_t)1000000000)
#define CUTS_MAX     2000 /* of one case */
#define BYTEWISE_MAX 65536

struct owner {
	struct h2_conn c;
	struct list streams;
	struct buf told, out;
};

struct caller {
	struct h2_stream h2;
	struct list link;
	struct owner *o;
	int32_t id;
	struct http_head head;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct pool pool;
	struct buf body; /* how much of one that never ends comes depends on when the fault comes */
	struct buf told; /* of this stream */
};

static struct caller *caller_of(struct h2_stream *s)
{
	return container_of(s, struct caller, h2);
}

static void out_of_memory(void)
{
	fputs("memory is out\n", stderr);
	exit(2);
}

static struct caller *caller_new(struct owner *o)
{
	struct caller *l = calloc(1, sizeof(*l));

	if (!l)
		out_of_memory();
	l->o = o;
	l->head.fields = l->fields;
	l->head.cap_fields = ARRAY_SIZE(l->fields);
	pool_init(&l->pool, 64 * 1024);
	buf_init(&l->told, 64 << 20);
	buf_init(&l->body, 64 << 20);
	list_push_back(&o->streams, &l->link);
	h2_stream_init(&l->h2, &o->c, &l->head, &l->pool);
	return l;
}

static struct h2_stream *on_request(struct h2_conn *c)
{
	return &caller_new(container_of(c, struct owner, c))->h2;
}

static void told_fields(struct buf *b, const struct http_field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (buf_printf(b, "  %.*s: %.*s\n", (int)fields[i].name.n, fields[i].name.p, (int)fields[i].value.n, fields[i].value.p) < 0)
			out_of_memory();
}

#define TELL(l, ...)                                                                                                   \
	do {                                                                                                           \
		if (buf_printf(&(l)->told, __VA_ARGS__) < 0)                                                           \
			out_of_memory();                                                                               \
	} while (0)

static void on_head(struct h2_stream *s, struct http_head *head, bool ends)
{
	struct caller *l = caller_of(s);

	l->id = s->id;
	TELL(l, "\nhead %d %.*s %.*s %.*s body %d of %llu%s\n", head->status, (int)head->method.n, head->method.p, (int)head->path.n,
	     head->path.p, (int)head->authority.n, head->authority.p, (int)head->body, (unsigned long long)head->body_bytes,
	     ends ? ", ends" : "");
	told_fields(&l->told, head->fields, head->n_fields);
}

static void on_body(struct h2_stream *s, struct str slice)
{
	if (buf_append_str(&caller_of(s)->body, slice) < 0)
		out_of_memory();
}

static void on_end(struct h2_stream *s, const struct http_field *trailers, size_t n)
{
	TELL(caller_of(s), "\nbody ");
	if (buf_append_str(&caller_of(s)->told, buf_str(&caller_of(s)->body)) < 0)
		out_of_memory();
	TELL(caller_of(s), "\nend\n");
	told_fields(&caller_of(s)->told, trailers, n);
}

static void on_reject(struct h2_stream *s, const struct http_reject *reject)
{
	TELL(caller_of(s), "\nrejected %u %u %s\n", reject->status, reject->reason, reject->what);
}

static void on_reset(struct h2_stream *s, uint32_t code, bool unprocessed)
{
	TELL(caller_of(s), "\nreset %u%s\n", code, unprocessed ? ", unprocessed" : "");
}

static void on_nothing(struct h2_stream *s)
{
}

static const struct h2_conn_ops ops = { .on_request = on_request, .on_head = on_head, .on_body = on_body, .on_end = on_end,
					.on_reject = on_reject, .on_reset = on_reset, .on_drained = on_nothing,
					.on_batch_end = on_nothing, .on_close = on_nothing };

static void ask(struct owner *o)
{
	struct http_head request = { .version = HTTP_2, .method = STR("GET"), .path = STR("/"), .authority = STR("a"), .body = HTTP_BODY_NONE };

	if (h2_stream_send_request(&caller_new(o)->h2, &request, true) < 0 || h2_conn_write(&o->c, &o->out, true) != 0)
		out_of_memory();
	buf_consume(&o->out, o->out.len);
}

static bool part_read(struct owner *o, struct str part)
{
	char *copy = malloc(part.n); /* exact, for the sanitizer */
	int r;

	if (!copy)
		out_of_memory();
	memcpy(copy, part.p, part.n);
	r = h2_conn_read(&o->c, (struct str){ copy, part.n }, S);
	free(copy);
	h2_conn_dispatch(&o->c);
	if (r == 0)
		h2_conn_batch_end(&o->c);
	return r == 0;
}

/* RST_STREAM and GOAWAY as they are sent. What is acknowledged and how room is given back depends on when. */
static void told_sent(struct owner *o)
{
	struct str out;

	(void)!h2_conn_write(&o->c, &o->out, true);
	out = buf_str(&o->out);
	for (size_t at = 0; at + H2_FRAME_HEAD_BYTES <= out.n;) {
		const uint8_t *p = (const uint8_t *)out.p + at;
		size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

		if (p[3] == NGHTTP2_RST_STREAM || p[3] == NGHTTP2_GOAWAY)
			TELL(o, "sent %u on %u: %u\n", p[3], p[8], p[H2_FRAME_HEAD_BYTES + (p[3] == NGHTTP2_GOAWAY ? 7 : 3)]);
		at += H2_FRAME_HEAD_BYTES + n;
	}
}

static char *text_of(struct buf *b)
{
	char *text = malloc(b->len + 1);

	if (!text)
		out_of_memory();
	memcpy(text, buf_str(b).p, b->len);
	text[b->len] = '\0';
	for (size_t i = 0; i < b->len; i++)
		if (!text[i])
			text[i] = '0';
	buf_done(b);
	return text;
}

/* What became of @raw, given in two parts, or byte by byte; to be freed. */
static char *replay(bool is_server, struct str raw, size_t cut, bool bytewise)
{
	struct owner o = { 0 };
	struct caller *l, *tmp;
	bool goes_on = true;

	if (h2_conn_init(&o.c, is_server, is_server ? &h2_settings_default : &h2_settings_client, &ops) < 0)
		out_of_memory();
	list_init(&o.streams);
	buf_init(&o.told, 64 << 20);
	buf_init(&o.out, 64 << 20);
	if (!is_server)
		ask(&o);
	for (size_t at = 0, n; at < raw.n && goes_on; at += n) {
		n = bytewise ? 1 : at < cut ? cut - at : raw.n - at;
		goes_on = part_read(&o, (struct str){ raw.p + at, n });
	}
	told_sent(&o);
	list_for_each_entry_safe(l, tmp, &o.streams, link) {
		TELL(&o, "stream %d", l->id);
		if (buf_append_str(&o.told, buf_str(&l->told)) < 0)
			out_of_memory();
		h2_stream_done(&l->h2, NGHTTP2_CANCEL);
		list_remove(&l->link);
		pool_done(&l->pool);
		buf_done(&l->told);
		buf_done(&l->body);
		free(l);
	}
	h2_conn_done(&o.c);
	buf_done(&o.out);
	return text_of(&o.told);
}

static unsigned case_check(const char *name, bool is_server, struct str raw)
{
	char *whole = replay(is_server, raw, 0, false), *other;
	size_t step = raw.n / CUTS_MAX + 1;
	unsigned failed = 0;

	for (size_t cut = 1; cut <= raw.n && !failed; cut += step) {
		bool bytewise = cut + step > raw.n; /* the last round */

		if (bytewise && raw.n > BYTEWISE_MAX)
			break;
		other = replay(is_server, raw, cut, bytewise);
		if (strcmp(whole, other) != 0) {
			printf("%s: %s at %zu of %zu: whole it is\n%s\nand now\n%s\n", name, bytewise ? "byte by byte" : "cut", cut, raw.n, whole, other);
			failed = 1;
		}
		free(other);
	}
	free(whole);
	return failed;
}

int main(int argc, char **argv)
{
	char name[128], role[16];
	unsigned n = 0, failed = 0;
	size_t bytes;
	FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;

	if (!f) {
		fputs("usage: h2_cuts FILE\n", stderr);
		return 2;
	}
	while (fscanf(f, "%127s %15s %zu", name, role, &bytes) == 3 && fgetc(f) == '\n') {
		char *raw = malloc(bytes + 1);

		if (!raw || fread(raw, 1, bytes, f) != bytes) {
			fprintf(stderr, "%s: %s: the file is cut off\n", argv[1], name);
			return 2;
		}
		failed += case_check(name, strcmp(role, "server") == 0, (struct str){ raw, bytes });
		n++;
		free(raw);
	}
	fclose(f);
	printf("%u cases, %u failed\n", n, failed);
	return failed > 0 || n == 0;
}
