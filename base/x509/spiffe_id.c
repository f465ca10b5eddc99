/* SPDX-License-Identifier: Apache-2.0 */
/* SPIFFE IDs: see spiffe_id.h. Pure; every byte is looked at once. */
#include "base/x509/spiffe_id.h"

#include <errno.h>

static bool is_trust_domain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_path_char(char c)
{
	return is_trust_domain_char(c) || (c >= 'A' && c <= 'Z');
}

bool spiffe_trust_domain_is_valid(struct str name)
{
	if (name.n == 0 || name.n > SPIFFE_TRUST_DOMAIN_MAX_BYTES || str_eq(name, STR(".")) || str_eq(name, STR("..")))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!is_trust_domain_char(name.p[i]))
			return false;
	return true;
}

/* @path is empty, or a sequence of "/" segment (SPIFFE-ID section 2.2). */
static bool path_is_valid(struct str path)
{
	size_t i = 0;

	while (i < path.n) {
		size_t start = ++i; /* behind the slash */

		while (i < path.n && path.p[i] != '/')
			if (!is_path_char(path.p[i++]))
				return false;
		if (i == start)
			return false; /* empty segment, or a slash at the end */
		if (i - start <= 2 && path.p[start] == '.' && path.p[i - 1] == '.')
			return false; /* "." and ".." */
	}
	return true;
}

int spiffe_id_parse(struct str text, struct spiffe_id *ret)
{
	const struct str scheme = STR("spiffe://");
	struct str rest, domain, path;
	ptrdiff_t slash;

	if (text.n > SPIFFE_ID_MAX_BYTES || !str_starts(text, scheme))
		return -EINVAL;
	rest = (struct str){ text.p + scheme.n, text.n - scheme.n };
	slash = str_find_char(rest, '/');
	domain = slash < 0 ? rest : (struct str){ rest.p, (size_t)slash };
	path = (struct str){ rest.p + domain.n, rest.n - domain.n };
	if (!spiffe_trust_domain_is_valid(domain) || !path_is_valid(path))
		return -EINVAL;
	*ret = (struct spiffe_id){ .text = text, .trust_domain = domain, .path = path };
	return 0;
}
