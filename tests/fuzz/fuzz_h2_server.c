/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/2 connection, server's side: the input is a script of what its peer writes and its owner does (h2/script.h). */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	script_run(true, bytes, n);
	return 0;
}
