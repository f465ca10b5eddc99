/* SPDX-License-Identifier: Apache-2.0 */
/* A SPIFFE ID: what is accepted has one spelling, splits where it should, and holds no byte that could mislead. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "base/x509/spiffe_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str text = { (const char *)bytes, n };
	struct spiffe_id id, again;
	char *copy;

	if (spiffe_id_parse(text, &id) < 0)
		return 0;
	FUZZ_CHECK(n <= SPIFFE_ID_MAX_BYTES && str_eq(id.text, text) && str_starts(text, STR("spiffe://")));
	FUZZ_CHECK(id.trust_domain.n >= 1 && id.trust_domain.n <= SPIFFE_TRUST_DOMAIN_MAX_BYTES);
	FUZZ_CHECK(9 + id.trust_domain.n + id.path.n == n && (id.path.n == 0 || (id.path.n >= 2 && id.path.p[0] == '/')));
	FUZZ_CHECK(!memchr(bytes, '\0', n) && !memchr(bytes, '%', n) && !memchr(bytes, '@', n) && !memchr(bytes, '?', n) &&
		   !memchr(bytes, '#', n) && !memmem(bytes + 9, n - 9, "//", 2) && !memmem(bytes, n, "/../", 4) &&
		   !memmem(bytes, n, "/./", 3) && bytes[n - 1] != '/' && !memchr(bytes + 9, ':', n - 9));
	copy = str_dup(text);
	if (!copy)
		abort();
	FUZZ_CHECK(strlen(copy) == n && spiffe_id_parse(str_from(copy), &again) == 0 && spiffe_id_eq(&id, &again));
	free(copy);
	return 0;
}
