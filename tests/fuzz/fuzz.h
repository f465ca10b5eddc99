/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target has in common. */
#ifndef TRAMMEL_TESTS_FUZZ_H
#define TRAMMEL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* An oracle: not about memory but about meaning, so it stays in every build. */
#define FUZZ_CHECK(cond)                                                                                               \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);                     \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
