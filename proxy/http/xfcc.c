/* SPDX-License-Identifier: Apache-2.0 */
/* x-forwarded-client-cert: see xfcc.h. The format is Envoy's: key=value pairs with ';' between them. */
#include "proxy/http/xfcc.h"

#include <errno.h>
#include "proxy/http/lex.h"

#define HASH_BYTES 32

/* Separators and quotes force a quoted value; so does what a subject usually holds. */
static bool needs_quotes(struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		switch (v.p[i]) {
		case ',':
		case ';':
		case '=':
		case '"':
		case ' ':
		case '\\':
			return true;
		default:
			break;
		}
	return false;
}

static bool is_clean(struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		if (lex(v.p[i]) & LEX_CTL || v.p[i] == '\t')
			return false;
	return true;
}

static char *put_pair(char *p, const char *start, const char *key, struct str value, bool quoted)
{
	if (!value.n)
		return p;
	if (p != start)
		*p++ = ';';
	p = stpcpy(p, key);
	*p++ = '=';
	if (!quoted && !needs_quotes(value))
		return mempcpy(p, value.p, value.n);
	*p++ = '"';
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '"' || value.p[i] == '\\')
			*p++ = '\\';
		*p++ = value.p[i];
	}
	*p++ = '"';
	return p;
}

int xfcc_format(const struct xfcc *x, struct pool *pool, struct str *ret)
{
	size_t need = 64 + 2 * (x->by.n + x->subject.n + x->uri.n) + 2 * HASH_BYTES;
	char hex[2 * HASH_BYTES], *mem, *p;
	struct str hash = { hex, x->hash ? sizeof(hex) : 0 };

	if (!is_clean(x->by) || !is_clean(x->subject) || !is_clean(x->uri))
		return -EINVAL;
	for (size_t i = 0; i < hash.n; i++)
		hex[i] = "0123456789abcdef"[x->hash[i / 2] >> (i % 2 ? 0 : 4) & 15];
	p = mem = pool_alloc(pool, need);
	if (!mem)
		return -ENOMEM;
	p = put_pair(p, mem, "By", x->by, false);
	p = put_pair(p, mem, "Hash", hash, false);
	p = put_pair(p, mem, "Subject", x->subject, true);
	p = put_pair(p, mem, "URI", x->uri, false);
	*ret = (struct str){ mem, (size_t)(p - mem) };
	return 0;
}

int xfcc_set(struct http_head *head, const struct xfcc *x, struct pool *pool)
{
	struct str value;
	int r;

	http_head_remove(head, HTTP_FIELD_X_FORWARDED_CLIENT_CERT);
	if (!x)
		return 0;
	r = xfcc_format(x, pool, &value);
	if (r < 0)
		return r;
	return http_head_add(head, HTTP_FIELD_X_FORWARDED_CLIENT_CERT, STR("x-forwarded-client-cert"), value);
}
