/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz input as a script: what the peer of an HTTP/2 connection writes and what its owner does
 *
 * The first byte chooses our settings. Then one byte a step (its low half; SCRIPT_* in script.c) with its arguments:
 * frames, well-formed or not, raw bytes, acts of the owner, and when what was written so far arrives, and how it is cut.
 */
#ifndef TRAMMEL_TESTS_FUZZ_H2_SCRIPT_H
#define TRAMMEL_TESTS_FUZZ_H2_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** script_run() - @is_server: the connection under test is a server's */
void script_run(bool is_server, const uint8_t *bytes, size_t n);

#endif
