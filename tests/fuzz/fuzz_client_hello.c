/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes of a connection
 *
 * Once an answer is given it stands, however many bytes follow: a prefix that is decided is never decided otherwise by the whole.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "proxy/listener/sniff.h"
#include "proxy/tls/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct client_hello whole, part;
	char *exact = malloc(n ? n : 1); /* its end is the end of the memory: a read beyond is seen */
	int r, before;

	if (n)
		memcpy(exact, bytes, n);
	r = client_hello_parse((struct str){ exact, n }, &whole);
	FUZZ_CHECK(r >= 0 && r <= CLIENT_HELLO_E_BAD);
	if (r == 0)
		FUZZ_CHECK(strlen(whole.sni) == whole.sni_bytes);
	for (size_t cut = 0; cut < n && cut < 512; cut++) {
		before = client_hello_parse((struct str){ exact, cut }, &part);
		FUZZ_CHECK(before == CLIENT_HELLO_E_MORE || before == r);
		if (before == 0)
			FUZZ_CHECK(part.has_mesh_alpn == whole.has_mesh_alpn && !strcmp(part.sni, whole.sni));
	}
	if (sniff_bytes((struct str){ exact, n }) != SNIFF_MORE)
		for (size_t cut = 0; cut < n && cut < 64; cut++) {
			enum sniff s = sniff_bytes((struct str){ exact, cut });

			FUZZ_CHECK(s == SNIFF_MORE || s == sniff_bytes((struct str){ exact, n }));
		}
	free(exact);
	return 0;
}
