/* SPDX-License-Identifier: Apache-2.0 */
/* Forwarded: see forwarded.h. */
#include "proxy/tunnel/forwarded.h"

#include <errno.h>

#define HOST_MAX_BYTES 253

static bool is_host(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
			return false;
	}
	return s.n >= 1 && s.n <= HOST_MAX_BYTES;
}

int forwarded_format(const struct forwarded *f, struct pool *pool, struct str *ret)
{
	char text[ADDR_TEXT_BYTES], *mem, *p;
	struct str client = str_from(addr_format(&f->client, text));

	if (f->host.n && !is_host(f->host))
		return -EINVAL;
	p = mem = pool_alloc(pool, client.n + f->host.n + sizeof("for=\"\";host="));
	if (!mem)
		return -ENOMEM;
	p = mempcpy(p, "for=\"", 5); /* quoted: a colon is no token (RFC 7239 section 4) */
	p = mempcpy(p, client.p, client.n);
	*p++ = '"';
	if (f->host.n) {
		p = mempcpy(p, ";host=", 6);
		p = mempcpy(p, f->host.p, f->host.n);
	}
	*ret = (struct str){ mem, (size_t)(p - mem) };
	return 0;
}

/* Token or quoted string. No value of ours needs a quoted pair: one is refused. Commas part elements, of which there is one. */
static int value_parse(struct str raw, struct str *ret)
{
	bool quoted = raw.n >= 2 && raw.p[0] == '"' && raw.p[raw.n - 1] == '"';

	if (quoted)
		raw = (struct str){ raw.p + 1, raw.n - 2 };
	for (size_t i = 0; i < raw.n; i++)
		if (raw.p[i] < '!' || raw.p[i] > '~' || raw.p[i] == '"' || raw.p[i] == '\\' || raw.p[i] == ',')
			return -EINVAL;
	*ret = raw;
	return raw.n ? 0 : -EINVAL;
}

/* @ret_seen: bit 0 for, bit 1 host */
static int parameter_take(struct str part, struct forwarded *f, unsigned int *ret_seen)
{
	ptrdiff_t at = str_find_char(part, '=');
	struct str name, value;
	unsigned int bit;

	if (at <= 0)
		return -EINVAL;
	name = (struct str){ part.p, (size_t)at };
	if (value_parse((struct str){ part.p + at + 1, part.n - (size_t)at - 1 }, &value) < 0)
		return -EINVAL;
	bit = str_eq_nocase(name, STR("for")) ? 1 : str_eq_nocase(name, STR("host")) ? 2 : 0;
	if (*ret_seen & bit)
		return -EINVAL;
	*ret_seen |= bit;
	if (bit == 1 && addr_parse(value, &f->client) < 0)
		return -EINVAL;
	if (bit == 2 && !is_host(value))
		return -EINVAL;
	if (bit == 2)
		f->host = value;
	return 0;
}

int forwarded_parse(struct str text, struct forwarded *ret)
{
	struct forwarded f = { .host = STR("") };
	struct str rest = text, part;
	unsigned int seen = 0;

	if (text.n > FORWARDED_MAX_BYTES)
		return -EINVAL;
	while (str_split(&rest, ';', &part)) /* no value of ours holds a semicolon */
		if (parameter_take(str_trim_ows(part), &f, &seen) < 0)
			return -EINVAL;
	if (!(seen & 1))
		return -EINVAL;
	*ret = f;
	return 0;
}
