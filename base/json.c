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

/* Room for @n > 0 bytes, to be given back by room_done(); NULL: the writer has failed. */
static inline char *room(struct json_writer *w, size_t n)
{
	if (!w->err)
		w->err = buf_reserve(w->out, n);
	return w->err ? NULL : buf_tail(w->out, NULL);
}

static inline void room_done(struct json_writer *w, const char *end)
{
	buf_commit(w->out, (size_t)(end - buf_tail(w->out, NULL)));
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

/*
 * Has one of these eight bytes to be looked at? True for each that is >= 0x80, < 0x20, DEL, quote or backslash and, by a
 * carry, perhaps for one behind such a byte: a byte by byte look has the last word.
 */
static inline bool is_odd(const unsigned char *p)
{
	const uint64_t ones = 0x0101010101010101ull, high = 0x80 * ones;
	uint64_t w, quote, slash, del;

	memcpy(&w, p, 8);
	quote = w ^ ('"' * ones);
	slash = w ^ ('\\' * ones);
	del = w ^ (0x7f * ones);
	return (w | (w - 0x20 * ones) | (quote - ones) | (slash - ones) | (del - ones)) & high;
}

/* Length of what stands at the start of @p and may be written as it is: ASCII but controls, quote and backslash. */
static size_t plain_len(const unsigned char *p, size_t n)
{
	size_t i = 0;

	while (i + 8 <= n && !is_odd(p + i))
		i += 8;
	if (n >= 8 && i + 8 > n && !is_odd(p + n - 8)) /* the rest, with some of what was seen */
		return n;
	while (i < n && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
}

static void put_escape(struct json_writer *w, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char esc[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (c == '"' || c == '\\')
		put(w, c == '"' ? "\\\"" : "\\\\", 2);
	else
		put(w, esc, sizeof(esc));
}

/* What a string becomes that holds more than plain bytes, of which @i stand at its start. */
static void put_odd(struct json_writer *w, struct str s, size_t i)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t from = 0;

	put(w, "\"", 1);
	for (; i < s.n; i += plain_len(p + i, s.n - i)) {
		size_t len = utf8_len(p + i, s.n - i);

		if (len > 1) {
			i += len;
			continue;
		}
		put(w, s.p + from, i - from);
		if (len)
			put_escape(w, p[i]);
		else
			put(w, "\\ufffd", 6);
		from = ++i;
	}
	put(w, s.p + from, i - from);
	put(w, "\"", 1);
}

static char *quoted(char *p, struct str s)
{
	*p++ = '"';
	if (s.n)
		p = mempcpy(p, s.p, s.n);
	*p++ = '"';
	return p;
}

static void put_escaped(struct json_writer *w, struct str s)
{
	size_t plain = plain_len((const unsigned char *)s.p, s.n);
	char *p;

	if (UNLIKELY(plain < s.n)) {
		put_odd(w, s, plain);
		return;
	}
	p = room(w, s.n + 2);
	if (p)
		room_done(w, quoted(p, s));
}

/* What stands before a value: a comma where one is due, the key. */
static void item(struct json_writer *w, const char *key)
{
	bool comma = w->has_item & (1ull << w->depth);
	struct str k = str_from(key);
	size_t n = (comma ? 1 : 0) + (key ? k.n + 3 : 0);
	char *p = n ? room(w, n) : NULL;

	w->has_item |= 1ull << w->depth;
	if (!p)
		return;
	if (comma)
		*p++ = ',';
	if (key) {
		p = quoted(p, k);
		*p++ = ':';
	}
	room_done(w, p);
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

static void put_number(struct json_writer *w, const char *key, struct str text)
{
	item(w, key);
	put(w, text.p, text.n);
}

void json_u64(struct json_writer *w, const char *key, uint64_t value)
{
	char t[STR_U64_BYTES];

	put_number(w, key, str_format_u64(t, value));
}

void json_i64(struct json_writer *w, const char *key, int64_t value)
{
	char t[24];

	put_number(w, key, (struct str){ t, (size_t)snprintf(t, sizeof(t), "%" PRId64, value) });
}

void json_ms(struct json_writer *w, const char *key, uint64_t ns)
{
	char whole[STR_U64_BYTES], part[STR_U64_BYTES];
	struct str fraction = str_format_u64(part, 1000000 + ns % 1000000); /* its 1 keeps the zeros behind it */

	put_number(w, key, str_format_u64(whole, ns / 1000000));
	while (fraction.n > 1 && fraction.p[fraction.n - 1] == '0')
		fraction.n--;
	if (fraction.n > 1) {
		put(w, ".", 1);
		put(w, fraction.p + 1, fraction.n - 1);
	}
}

void json_f64(struct json_writer *w, const char *key, double value)
{
	char t[40];

	if (!isfinite(value))
		json_none(w, key);
	else
		put_number(w, key, (struct str){ t, (size_t)snprintf(t, sizeof(t), "%.15g", value) });
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
