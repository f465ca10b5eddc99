/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replaying message vectors
 *
 * Reads a file of tests/vectors and feeds the bytes of a case through the codec, whole or cut, as a connection would. What
 * becomes of them is told in the words of the vector file, so that a case is one string comparison. Each delivery
 * moves the pending bytes to fresh memory of exactly their size: a stale pointer is seen by the sanitizer.
 */
#ifndef TRAMMEL_TESTS_UNIT_HTTP_REPLAY_H
#define TRAMMEL_TESTS_UNIT_HTTP_REPLAY_H

#include "proxy/http/h1.h"

struct vector {
	char *name;
	char *raw;
	size_t n_raw;
	char *expected; /* lines, each with its '\n' */
	bool is_head, is_connect;
	char *upgrade; /* or NULL */
};

struct vectors {
	struct vector *v;
	size_t n;
};

/** vectors_read() - all cases of a file; a malformed file ends the test program with a message */
struct vectors vectors_read(const char *path);
void vectors_free(struct vectors *v);

/**
 * vector_replay() - deliver in parts
 * @next_part: size of the part that begins at @at (1 or more)
 *
 * Return: the verdict lines; to be freed.
 */
char *vector_replay(const struct vector *v, bool is_response, size_t (*next_part)(size_t at, void *user), void *user);

/** vector_check_all() - every case whole, cut at every offset (sampled in very long ones), byte by byte; counts failures */
unsigned vector_check_all(const struct vectors *v, bool is_response);

#endif
