/* SPDX-License-Identifier: Apache-2.0 */
/* Replaying message vectors: see replay.h. */
#include "tests/unit/http/replay.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define LONG_BYTES 3000

/* ---- the connection ---- */

struct replay {
	const struct vector *v;
	bool is_response, in_body, over;
	struct h1_parser parser;
	struct h1_body body;
	struct http_head head;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct pool pool;
	FILE *out;
	struct buf body_bytes;
	char *suffix; /* said behind the body */
	bool closes, has_left;
	char *pending;
	size_t n_pending;
};

static void put_escaped(FILE *f, struct str s, bool bare)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\r' || c == '\n' || c == '\t')
			fprintf(f, "\\%c", c == '\r' ? 'r' : c == '\n' ? 'n' : 't');
		else if (c == '\\' || (c == '"' && !bare))
			fprintf(f, "\\%c", c);
		else if (bare && c == ' ')
			fputc('_', f);
		else if (c < 0x20 || c > 0x7e)
			fprintf(f, "\\x%02x", c);
		else
			fputc(c, f);
	}
}

static void put_word(FILE *f, struct str s)
{
	fputc(' ', f);
	if (!s.n)
		fputc('-', f);
	else if (s.n > 1000)
		fprintf(f, "(%zu bytes)", s.n);
	else
		put_escaped(f, s, true);
}

static void put_kind(FILE *f, const struct http_head *h)
{
	static const char *const kinds[] = { "none", "length", "chunked", "until-close", "tunnel" };

	fprintf(f, " %s", kinds[h->body]);
	if (h->body == HTTP_BODY_LENGTH)
		fprintf(f, ":%llu", (unsigned long long)h->body_bytes);
}

static void on_head(struct replay *r)
{
	struct http_head *h = &r->head;
	size_t n_suffix;
	FILE *suffix = open_memstream(&r->suffix, &n_suffix);

	fputs("pass", r->out);
	if (r->is_response) {
		fprintf(r->out, " %u", h->status);
		put_word(r->out, h->phrase);
	} else {
		put_word(r->out, h->method);
		put_word(r->out, h->path);
		put_word(r->out, h->authority);
		if (h->upgrade.n)
			fprintf(suffix, " upgrade=" STR_FMT, STR_ARG(h->upgrade));
		if (h->expect_continue)
			fputs(" expect", suffix);
	}
	put_kind(r->out, h);
	if (!h->keep_alive)
		fputs(" close", suffix);
	for (uint16_t i = 0; i < h->n_fields; i++)
		if (h->fields[i].removed)
			fprintf(suffix, " struck=" STR_FMT, STR_ARG(h->fields[i].name));
	fclose(suffix);
	r->closes = !h->keep_alive && !r->is_response;
	r->in_body = true;
	h1_body_init(&r->body, NULL, &r->pool, h, r->is_response);
}

static void on_message_end(struct replay *r)
{
	struct str body = buf_str(&r->body_bytes);

	if (body.n) {
		fputs(" body=\"", r->out);
		put_escaped(r->out, body, false);
		fputs("\"", r->out);
	}
	for (uint16_t i = 0; i < r->body.n_trailers; i++)
		fprintf(r->out, " trailer=\"" STR_FMT ": " STR_FMT "\"", STR_ARG(r->body.trailers[i].name),
			STR_ARG(r->body.trailers[i].value));
	r->has_left = r->is_response && r->head.status >= 200;
	if (!r->has_left)
		fprintf(r->out, "%s\n", r->suffix);
	else
		r->over = true; /* the rest belongs to nobody: counted at the end */
	if (r->closes)
		r->over = true;
	buf_release(&r->body_bytes);
	if (!r->has_left) {
		free(r->suffix);
		r->suffix = NULL;
	}
	pool_reset(&r->pool);
	r->in_body = false;
}

static int step(struct replay *r, struct str in, size_t *ret_consumed, struct http_reject *reject)
{
	struct h1_asked asked = { r->v->is_head, r->v->is_connect, str_from(r->v->upgrade) };
	struct str slice;
	int e;

	if (!r->in_body) {
		if (r->is_response)
			e = h1_response_parse(&r->parser, &asked, in, &r->head, ret_consumed, reject);
		else
			e = h1_request_parse(&r->parser, &r->pool, in, &r->head, ret_consumed, reject);
		if (!e)
			on_head(r);
		return e;
	}
	e = h1_body_read(&r->body, in, &slice, ret_consumed, reject);
	if (!e && buf_append_str(&r->body_bytes, slice) < 0)
		abort();
	if (e == HTTP_E_END) {
		on_message_end(r);
		e = 0;
	}
	return e;
}

/* The pending bytes are replaced by what is left of them. */
static void keep_rest(struct replay *r, const char *p, size_t n)
{
	char *rest = malloc(n ? n : 1);

	if (n)
		memcpy(rest, p, n);
	free(r->pending);
	r->pending = rest;
	r->n_pending = n;
}

static void deliver(struct replay *r, const char *p, size_t n)
{
	char *all = malloc(r->n_pending + n + 1);
	struct str in = { all, r->n_pending + n };
	struct http_reject reject = { 0 };
	size_t consumed;
	int e;

	if (r->n_pending)
		memcpy(all, r->pending, r->n_pending);
	memcpy(all + r->n_pending, p, n);
	all = realloc(all, in.n ? in.n : 1);
	in.p = all;
	free(r->pending);
	r->pending = NULL;
	while (!r->over) {
		consumed = 0;
		e = step(r, in, &consumed, &reject);
		if (e == HTTP_E_REJECT) {
			if (r->in_body) { /* the head was told: what is refused is the message */
				fflush(r->out);
				fputs(" THEN ", r->out);
			}
			fprintf(r->out, "refuse %u\n", reject.status);
			r->over = true;
			break;
		}
		if (e < 0)
			abort();
		in.p += consumed;
		in.n -= consumed;
		if (e == HTTP_E_MORE)
			break;
	}
	r->pending = all;
	keep_rest(r, in.p, in.n);
}

static void finish(struct replay *r, size_t n_undelivered)
{
	if (r->in_body && !r->over && r->body.kind >= HTTP_BODY_UNTIL_CLOSE && h1_body_eof(&r->body) == HTTP_E_END)
		on_message_end(r);
	if (r->has_left) {
		if (r->n_pending + n_undelivered)
			fprintf(r->out, " left=%zu", r->n_pending + n_undelivered);
		fprintf(r->out, "%s\n", r->suffix);
	} else if (!r->over && (r->in_body || r->n_pending || r->v->n_raw == 0)) {
		fputs("more\n", r->out);
	}
}

/* A head whose body is then refused or unfinished was never a message: only the last verdict stays on the line. */
static char *tidy(char *text)
{
	char *out = NULL, *line = text, *end;
	size_t n_out;
	FILE *f = open_memstream(&out, &n_out);

	while ((end = strchr(line, '\n'))) {
		char *then;

		*end = '\0';
		then = strstr(line, " THEN ");
		if (then)
			line = then + 6;
		else if (end - line > 4 && !strcmp(end - 4, "more"))
			line = end - 4;
		fprintf(f, "%s\n", line);
		line = end + 1;
	}
	fclose(f);
	free(text);
	return out;
}

char *vector_replay(const struct vector *v, bool is_response, size_t (*next_part)(size_t at, void *user), void *user)
{
	struct replay *r = calloc(1, sizeof(*r));
	char *text = NULL;
	size_t n_text, at = 0;

	r->v = v;
	r->is_response = is_response;
	r->head = (struct http_head){ .fields = r->fields, .cap_fields = HTTP_FIELDS_CAP };
	r->out = open_memstream(&text, &n_text);
	h1_parser_init(&r->parser, NULL);
	pool_init(&r->pool, 256 * 1024);
	buf_init(&r->body_bytes, 1 << 20);
	while (at < v->n_raw && !r->over) {
		size_t n = MIN(next_part(at, user), v->n_raw - at);

		deliver(r, v->raw + at, n);
		at += n;
	}
	finish(r, v->n_raw - at);
	fclose(r->out);
	free(r->suffix);
	free(r->pending);
	buf_done(&r->body_bytes);
	pool_done(&r->pool);
	free(r);
	return tidy(text);
}

/* ---- checking ---- */

static size_t part_whole(size_t at, void *user)
{
	return SIZE_MAX;
}

static size_t part_cut(size_t at, void *user)
{
	size_t cut = *(size_t *)user;

	return at < cut ? cut - at : SIZE_MAX;
}

static size_t part_byte(size_t at, void *user)
{
	return 1;
}

static bool check(const struct vector *v, bool is_response, const char *how, size_t cut,
		  size_t (*next_part)(size_t, void *))
{
	char *got = vector_replay(v, is_response, next_part, &cut);
	bool same = !strcmp(got, v->expected);

	if (!same)
		fprintf(stderr, "%s, %s %zu:\n  want %s  got  %s", v->name, how, cut, v->expected, got);
	free(got);
	return same;
}

unsigned vector_check_all(const struct vectors *all, bool is_response)
{
	unsigned n_failed = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct vector *v = &all->v[i];
		size_t step_bytes = v->n_raw > LONG_BYTES ? v->n_raw / 41 + 1 : 1;

		if (!check(v, is_response, "whole", 0, part_whole)) {
			n_failed++;
			continue;
		}
		for (size_t cut = 1; cut < v->n_raw; cut += step_bytes)
			if (!check(v, is_response, "cut at", cut, part_cut)) {
				n_failed++;
				break;
			}
		/* moving the pending bytes at each byte makes very long ones quadratic here (not in the codec) */
		if (v->n_raw <= 4 * LONG_BYTES && !check(v, is_response, "byte by byte", 0, part_byte))
			n_failed++;
	}
	return n_failed;
}

/* ---- the file ---- */

static void fail(const char *path, unsigned line, const char *what)
{
	fprintf(stderr, "%s:%u: %s\n", path, line, what);
	exit(1);
}

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Appends the "quoted" bytes that @p points at, @times. */
static void append_quoted(struct vector *v, const char *p, unsigned long times, const char *path, unsigned line)
{
	char *bytes = malloc(strlen(p) + 1);
	size_t n = 0;

	if (*p++ != '"')
		fail(path, line, "no quote");
	while (*p != '"') {
		if (!*p)
			fail(path, line, "no closing quote");
		if (*p != '\\') {
			bytes[n++] = *p++;
			continue;
		}
		switch (p[1]) {
		case 'r':
			bytes[n++] = '\r';
			break;
		case 'n':
			bytes[n++] = '\n';
			break;
		case 't':
			bytes[n++] = '\t';
			break;
		case 'x':
			bytes[n++] = (char)(hex(p[2]) * 16 + hex(p[3]));
			p += 2;
			break;
		default:
			bytes[n++] = p[1];
		}
		p += 2;
	}
	v->raw = realloc(v->raw, v->n_raw + n * times + 1);
	for (; times; times--, v->n_raw += n)
		memcpy(v->raw + v->n_raw, bytes, n);
	free(bytes);
}

static void case_line(struct vector *v, char *text, const char *path, unsigned line)
{
	char *end, *more;

	if (!strncmp(text, "times ", 6)) {
		unsigned long times = strtoul(text + 6, &end, 10);

		while (times--)
			case_line(v, end + 1, path, line);
	} else if (!strncmp(text, "raw ", 4)) {
		append_quoted(v, text + 4, 1, path, line);
	} else if (!strncmp(text, "repeat ", 7)) {
		unsigned long times = strtoul(text + 7, &end, 10);

		append_quoted(v, end + 1, times, path, line);
	} else if (!strcmp(text, "head")) {
		v->is_head = true;
	} else if (!strcmp(text, "connect")) {
		v->is_connect = true;
	} else if (!strncmp(text, "upgrade ", 8)) {
		v->upgrade = strdup(text + 8);
	} else if (!strncmp(text, "pass ", 5) || !strncmp(text, "refuse ", 7) || !strcmp(text, "more")) {
		more = str_printf("%s%s\n", v->expected ? v->expected : "", text);
		free(v->expected);
		v->expected = more;
	} else {
		fail(path, line, "unknown line");
	}
}

struct vectors vectors_read(const char *path)
{
	struct vectors all = { 0 };
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!f)
		fail(path, 0, strerror(errno));
	for (unsigned line = 1; (n = getline(&text, &cap, f)) > 0; line++) {
		if (text[n - 1] == '\n')
			text[n - 1] = '\0';
		if (!text[0] || text[0] == '#')
			continue;
		if (!strncmp(text, "case ", 5)) {
			all.v = realloc(all.v, (all.n + 1) * sizeof(*all.v));
			all.v[all.n++] = (struct vector){ .name = strdup(text + 5) };
			continue;
		}
		if (!all.n)
			fail(path, line, "line before the first case");
		case_line(&all.v[all.n - 1], text, path, line);
	}
	free(text);
	fclose(f);
	for (size_t i = 0; i < all.n; i++)
		if (!all.v[i].expected)
			fail(path, 0, all.v[i].name);
	return all;
}

void vectors_free(struct vectors *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->v[i].name);
		free(all->v[i].raw);
		free(all->v[i].expected);
		free(all->v[i].upgrade);
	}
	free(all->v);
}
