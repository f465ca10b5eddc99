/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths and authorities: one spelling for each
 *
 * Policy, routing and the application must read the same path. Most paths are plain and are borrowed as they came; the
 * others are decoded, checked and resolved into the pool, once. What has no safe single reading is refused. See
 * h1_request_parse() for the rules.
 */
#include "proxy/http/uri.h"

#include <errno.h>
#include "base/addr.h"
#include "proxy/http/lex.h"

static int refuse_path(struct http_reject *r, const char *what)
{
	return http_refuse(r, 400, TRM_REASON_HTTP_SYNTAX, what);
}

/* Index of '?' or the length; @ret_plain: nothing to decode or resolve. -1 for bytes that may not stand in a path. */
static ptrdiff_t path_scan(struct str t, bool *ret_plain)
{
	bool plain = true;
	size_t i;

	for (i = 0; i < t.n; i++) {
		if (LIKELY(lex(t.p[i]) & LEX_PATH))
			continue;
		if (t.p[i] == '/') {
			if (i + 1 < t.n && (t.p[i + 1] == '/' || t.p[i + 1] == '.'))
				plain = false;
		} else if (t.p[i] == '%') {
			plain = false;
		} else if (t.p[i] == '?') {
			break;
		} else {
			return -1;
		}
	}
	*ret_plain = plain;
	return (ptrdiff_t)i;
}

/* An overlong form (RFC 3629 section 3) decodes to something shorter in a careless reader: "%c0%af" is a slash. */
static bool is_overlong(int lead, struct str rest)
{
	int next;

	if (rest.n < 3 || rest.p[0] != '%')
		return false;
	next = lex_hex[(unsigned char)rest.p[1]] * 16 + lex_hex[(unsigned char)rest.p[2]];
	if (next < 0x80 || next > 0xbf)
		return false;
	return lead == 0xc0 || lead == 0xc1 || (lead == 0xe0 && next < 0xa0) || (lead == 0xf0 && next < 0x90);
}

/* Decode unreserved characters, put other triplets in upper case; 0 with *ret_n, or HTTP_E_REJECT. */
static int path_decode(struct str in, char *out, size_t *ret_n, struct http_reject *ret_reject)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		int hi, lo, c;

		if (in.p[i] != '%') {
			out[n++] = in.p[i];
			continue;
		}
		if (in.n - i < 3)
			return refuse_path(ret_reject, "broken percent triplet");
		hi = lex_hex[(unsigned char)in.p[i + 1]];
		lo = lex_hex[(unsigned char)in.p[i + 2]];
		if (hi < 0 || lo < 0)
			return refuse_path(ret_reject, "broken percent triplet");
		c = hi * 16 + lo;
		if (c < 0x20 || c == 0x7f)
			return refuse_path(ret_reject, "encoded control character in path");
		if (is_overlong(c, (struct str){ in.p + i + 3, in.n - i - 3 }))
			return refuse_path(ret_reject, "overlong UTF-8 in path");
		if (lex_class[c] & LEX_UNRESERVED) {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = "0123456789ABCDEF"[hi];
			out[n++] = "0123456789ABCDEF"[lo];
		}
		i += 2;
	}
	*ret_n = n;
	return 0;
}

static bool is_dots(struct str s)
{
	return (s.n == 1 || (s.n == 2 && s.p[1] == '.')) && s.p[0] == '.';
}

/*
 * A segment that some readers would take for a dot segment and others not: "..;x" (path parameters dropped), and dots
 * beside an encoded slash or backslash, as in "..%2Fadmin".
 */
static bool segment_poses(struct str seg)
{
	size_t from = 0, n_parts = 0;

	for (size_t i = 0; i <= seg.n; i++) {
		bool sep = i < seg.n && seg.n - i >= 3 && (!memcmp(seg.p + i, "%2F", 3) || !memcmp(seg.p + i, "%5C", 3));
		bool semi = i < seg.n && (seg.p[i] == ';' || (seg.n - i >= 3 && !memcmp(seg.p + i, "%3B", 3)));

		if (!sep && !semi && i < seg.n)
			continue;
		if ((n_parts || sep || semi) && is_dots((struct str){ seg.p + from, i - from }))
			return true;
		n_parts++;
		if (semi && !sep) {
			/* parameters run up to the next separator */
			while (i < seg.n && !(seg.n - i >= 3 && (!memcmp(seg.p + i, "%2F", 3) || !memcmp(seg.p + i, "%5C", 3))))
				i++;
			if (i >= seg.n)
				break;
		}
		i += 2;
		from = i + 1;
	}
	return false;
}

/* Resolve dot segments (RFC 3986 section 5.2.4) and merge slashes, in place; 0 with *n, or HTTP_E_REJECT. */
static int path_resolve(char *p, size_t *n, struct http_reject *ret_reject)
{
	size_t in = 0, out = 0, end = *n;

	/* p[0] is '/'; each turn reads one "/segment" and writes it, or takes the last one back. */
	while (in < end) {
		size_t at = ++in, len;
		struct str seg;
		bool last;

		while (in < end && p[in] != '/')
			in++;
		len = in - at;
		last = in == end;
		seg = (struct str){ p + at, len };
		if (segment_poses(seg))
			return refuse_path(ret_reject, "ambiguous dot segment");
		if (is_dots(seg)) {
			if (len == 2 && out == 0)
				return refuse_path(ret_reject, "path climbs above the root");
			if (len == 2)
				while (p[--out] != '/')
					;
			if (last)
				p[out++] = '/';
			continue;
		}
		if (!len && !last)
			continue;
		p[out++] = '/';
		memmove(p + out, p + at, len);
		out += len;
	}
	*n = out;
	return 0;
}

int uri_path_normalise(struct pool *pool, struct str target, struct str *ret, struct http_reject *ret_reject)
{
	bool plain;
	ptrdiff_t path_n = path_scan(target, &plain);
	char *mem;
	size_t n;
	int r;

	if (path_n < 0)
		return refuse_path(ret_reject, "byte that may not stand in a path");
	for (size_t i = (size_t)path_n; i < target.n; i++)
		if (UNLIKELY(!(lex(target.p[i]) & LEX_QUERY)))
			return refuse_path(ret_reject, "byte that may not stand in a query");
	if (LIKELY(plain)) {
		*ret = target;
		return 0;
	}
	mem = pool_alloc(pool, target.n);
	if (!mem)
		return -ENOMEM;
	r = path_decode((struct str){ target.p, (size_t)path_n }, mem, &n, ret_reject);
	if (r)
		return r;
	r = path_resolve(mem, &n, ret_reject);
	if (r)
		return r;
	memcpy(mem + n, target.p + path_n, target.n - (size_t)path_n);
	*ret = (struct str){ mem, n + target.n - (size_t)path_n };
	return 0;
}

static bool port_is_valid(struct str s)
{
	uint64_t port;

	return s.n <= 5 && str_parse_u64(s, 65535, &port) == 0 && port > 0;
}

bool uri_authority_is_valid(struct str a)
{
	struct addr ip;
	ptrdiff_t close;
	size_t i = 0;

	if (!a.n)
		return false;
	if (a.p[0] == '[') {
		close = str_find_char(a, ']');
		if (close < 0 || addr_parse_ip((struct str){ a.p + 1, (size_t)close - 1 }, &ip) < 0 ||
		    str_find_char((struct str){ a.p, (size_t)close }, ':') < 0)
			return false;
		i = (size_t)close + 1;
	} else {
		while (i < a.n && lex(a.p[i]) & LEX_HOST)
			i++;
		if (i == 0 || i > 255)
			return false;
	}
	if (i == a.n)
		return true;
	return a.p[i] == ':' && port_is_valid((struct str){ a.p + i + 1, a.n - i - 1 });
}

static struct str authority_bare(struct str a, struct str default_port)
{
	return str_ends(a, default_port) ? (struct str){ a.p, a.n - default_port.n } : a;
}

bool uri_authority_is_same(struct str a, struct str b, struct str default_port)
{
	return str_eq_nocase(authority_bare(a, default_port), authority_bare(b, default_port));
}
