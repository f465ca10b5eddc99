/* SPDX-License-Identifier: Apache-2.0 */
/* JSON writer: see json.h. */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#define DEPTH_MAX 60

void json_writer_init(struct json_writer *w, struct buf *out)
{
	*w = (struct json_writer){ .out = out };
}

int json_writer_end(struct json_writer *w)
{
	return w->err ? w->err : w->depth ? -EINVAL : 0;
}

static void put(struct json_writer *w, const char *p, size_t n)
{
	if (!w->err)
		w->err = buf_append(w->out, p, n);
}

/* Length of the UTF-8 sequence at @p (RFC 3629), or 0 when it is none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static void put_escaped(struct json_writer *w, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t from = 0, i = 0;

	put(w, "\"", 1);
	while (i < s.n) {
		size_t len = utf8_len(p + i, s.n - i);
		char esc[8];

		if (len && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f) {
			i += len;
			continue;
		}
		put(w, s.p + from, i - from);
		if (!len)
			put(w, "\\ufffd", 6);
		else if (p[i] == '"' || p[i] == '\\')
			put(w, p[i] == '"' ? "\\\"" : "\\\\", 2);
		else
			put(w, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", p[i]));
		from = ++i;
	}
	put(w, s.p + from, i - from);
	put(w, "\"", 1);
}

static void item(struct json_writer *w, const char *key)
{
	if (w->has_item & (1ull << w->depth))
		put(w, ",", 1);
	w->has_item |= 1ull << w->depth;
	if (key) {
		put_escaped(w, str_from(key));
		put(w, ":", 1);
	}
}

static void open_level(struct json_writer *w, const char *key, const char *bracket)
{
	item(w, key);
	put(w, bracket, 1);
	if (w->depth >= DEPTH_MAX) {
		w->err = w->err ? w->err : -EINVAL;
		return;
	}
	w->depth++;
	w->has_item &= ~(1ull << w->depth);
}

static void close_level(struct json_writer *w, const char *bracket)
{
	put(w, bracket, 1);
	if (w->depth)
		w->depth--;
	else
		w->err = w->err ? w->err : -EINVAL;
}

void json_open_object(struct json_writer *w, const char *key)
{
	open_level(w, key, "{");
}

void json_close_object(struct json_writer *w)
{
	close_level(w, "}");
}

void json_open_array(struct json_writer *w, const char *key)
{
	open_level(w, key, "[");
}

void json_close_array(struct json_writer *w)
{
	close_level(w, "]");
}

void json_str(struct json_writer *w, const char *key, struct str value)
{
	item(w, key);
	put_escaped(w, value);
}

void json_cstr(struct json_writer *w, const char *key, const char *value)
{
	if (value)
		json_str(w, key, str_from(value));
	else
		json_none(w, key);
}

static void put_number(struct json_writer *w, const char *key, const char *text, int n)
{
	item(w, key);
	put(w, text, (size_t)n);
}

void json_u64(struct json_writer *w, const char *key, uint64_t value)
{
	char t[24];

	put_number(w, key, t, snprintf(t, sizeof(t), "%" PRIu64, value));
}

void json_i64(struct json_writer *w, const char *key, int64_t value)
{
	char t[24];

	put_number(w, key, t, snprintf(t, sizeof(t), "%" PRId64, value));
}

void json_f64(struct json_writer *w, const char *key, double value)
{
	char t[40];

	if (!isfinite(value))
		json_none(w, key);
	else
		put_number(w, key, t, snprintf(t, sizeof(t), "%.15g", value));
}

void json_bool(struct json_writer *w, const char *key, bool value)
{
	item(w, key);
	put(w, value ? "true" : "false", value ? 4 : 5);
}

void json_none(struct json_writer *w, const char *key)
{
	item(w, key);
	put(w, "null", 4);
}
