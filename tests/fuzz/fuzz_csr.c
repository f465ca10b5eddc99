/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate signing request: refused with a reason, or a key that is strong enough. */
#include "tests/fuzz/fuzz.h"

#include "control/identity/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const char *why = NULL;
	EVP_PKEY *key = NULL;
	int r = csr_key_take(bytes, n, &key, &why);

	FUZZ_CHECK((r == 0 && key && !why) || (r < 0 && !key && why));
	FUZZ_CHECK(!key || EVP_PKEY_get_security_bits(key) >= 112);
	EVP_PKEY_free(key);
	return 0;
}
