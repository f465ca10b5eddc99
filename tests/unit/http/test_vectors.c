/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of HTTP/1.1 messages through the codec
 *
 * Every case of tests/vectors, whole, cut at every offset and byte by byte: the verdict must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/unit/http/replay.h"

static const char *vector_dir;

static void check_file(const char *name, bool is_response, size_t at_least, size_t legal_at_least)
{
	char *path = str_printf("%s/%s", vector_dir, name);
	struct vectors all = vectors_read(path);
	size_t n_legal = 0;

	for (size_t i = 0; i < all.n; i++)
		n_legal += !strstr(all.v[i].expected, "refuse");
	print_message("%s: %zu cases, %zu legal\n", name, all.n, n_legal);
	assert_int_equal(vector_check_all(&all, is_response), 0);
	/* a file read by half would pass everything */
	assert_true(all.n >= at_least);
	assert_true(n_legal >= legal_at_least);
	vectors_free(&all);
	free(path);
}

static void test_requests(void **state)
{
	check_file("h1_request.txt", false, 580, 200);
}

static void test_responses(void **state)
{
	check_file("h1_response.txt", true, 125, 48);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_responses),
	};

	vector_dir = argc > 1 ? argv[1] : VECTOR_DIR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
