/* SPDX-License-Identifier: Apache-2.0 */
/* Baggage: see baggage.h. */
#include "proxy/tunnel/baggage.h"

#include <errno.h>
#include <stddef.h>

static const struct {
	struct str key;
	size_t at;
} members[] = {
	{ { "k8s.cluster.name", 16 }, offsetof(struct baggage, cluster) },
	{ { "k8s.namespace.name", 18 }, offsetof(struct baggage, namespace) },
	{ { NULL, 0 }, offsetof(struct baggage, workload) }, /* its key tells its kind */
	{ { "service.name", 12 }, offsetof(struct baggage, service) },
	{ { "service.version", 15 }, offsetof(struct baggage, version) },
	{ { "cloud.region", 12 }, offsetof(struct baggage, region) },
	{ { "cloud.availability_zone", 23 }, offsetof(struct baggage, zone) },
};

static const struct str kinds[] = {
	[BAGGAGE_DEPLOYMENT] = { "k8s.deployment.name", 19 },
	[BAGGAGE_CRONJOB] = { "k8s.cronjob.name", 16 },
	[BAGGAGE_POD] = { "k8s.pod.name", 12 },
	[BAGGAGE_JOB] = { "k8s.job.name", 12 },
};

/* baggage-octet, without '%', which begins an encoded byte */
static bool is_octet(char c)
{
	return c > ' ' && c <= '~' && c != '"' && c != ',' && c != ';' && c != '\\' && c != '%';
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

static const struct str *value_of(const struct baggage *b, size_t i)
{
	return (const struct str *)((const char *)b + members[i].at);
}

static char *value_put(char *p, struct str v)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (is_octet(v.p[i])) {
			*p++ = v.p[i];
			continue;
		}
		*p++ = '%';
		*p++ = hex[c >> 4];
		*p++ = hex[c & 15];
	}
	return p;
}

int baggage_format(const struct baggage *b, struct pool *pool, struct str *ret)
{
	size_t need = 0;
	char *mem, *p;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct str *v = value_of(b, i);

		if (v->n > BAGGAGE_VALUE_BYTES)
			return -EINVAL;
		for (size_t k = 0; k < v->n; k++)
			if (is_control(v->p[k]))
				return -EINVAL;
		need += 32 + 3 * v->n;
	}
	p = mem = pool_alloc(pool, need);
	if (!mem)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct str v = *value_of(b, i), key = members[i].key.n ? members[i].key : kinds[b->kind];

		if (!v.n)
			continue;
		if (p != mem)
			*p++ = ',';
		p = mempcpy(p, key.p, key.n);
		*p++ = '=';
		p = value_put(p, v);
	}
	*ret = (struct str){ mem, (size_t)(p - mem) };
	return ret->n <= BAGGAGE_MAX_BYTES ? 0 : -EINVAL;
}

static int value_decode(struct str raw, struct pool *pool, struct str *ret)
{
	char *mem = pool_alloc(pool, raw.n + 1), *p = mem;

	if (!mem)
		return -ENOMEM;
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c == '%') {
			if (raw.n - i < 3 || str_hex_digit(raw.p[i + 1]) < 0 || str_hex_digit(raw.p[i + 2]) < 0)
				return -EINVAL;
			c = (char)(str_hex_digit(raw.p[i + 1]) << 4 | str_hex_digit(raw.p[i + 2]));
			i += 2;
		} else if (!is_octet(c)) {
			return -EINVAL;
		}
		if (is_control(c))
			return -EINVAL;
		*p++ = c;
	}
	*ret = (struct str){ mem, (size_t)(p - mem) };
	return ret->n <= BAGGAGE_VALUE_BYTES ? 0 : -EINVAL;
}

/* Where the value of @key goes, or NULL; *@ret_kind is set where the key tells it. */
static struct str *place_of(struct baggage *b, struct str key, enum baggage_kind *ret_kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(key, kinds[i])) {
			*ret_kind = (enum baggage_kind)i;
			return &b->workload;
		}
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].key.n && str_eq(key, members[i].key))
			return (struct str *)((char *)b + members[i].at);
	return NULL;
}

static int member_take(struct str member, struct pool *pool, struct baggage *b)
{
	ptrdiff_t at = str_find_char(member, '='), end = str_find_char(member, ';');
	enum baggage_kind kind = b->kind;
	struct str value, *place;
	int r;

	if (end >= 0) /* properties */
		member.n = (size_t)end;
	if (at <= 0 || (size_t)at >= member.n)
		return -EINVAL;
	place = place_of(b, str_trim_ows((struct str){ member.p, (size_t)at }), &kind);
	r = value_decode(str_trim_ows((struct str){ member.p + at + 1, member.n - (size_t)at - 1 }), pool, &value);
	if (r < 0 || !place || place->n)
		return r;
	*place = value;
	b->kind = kind;
	return 0;
}

int baggage_parse(struct str text, struct pool *pool, struct baggage *ret)
{
	struct baggage b = { 0 };
	struct str rest = text, member;
	size_t n = 0;

	if (text.n > BAGGAGE_MAX_BYTES)
		return -EINVAL;
	while (str_split(&rest, ',', &member)) {
		int r = ++n > BAGGAGE_MEMBERS_MAX ? -EINVAL : member_take(str_trim_ows(member), pool, &b);

		if (r < 0)
			return r;
	}
	*ret = b;
	return 0;
}
