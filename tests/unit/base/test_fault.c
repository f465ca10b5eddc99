/* SPDX-License-Identifier: Apache-2.0 */
/* Faults: texts, and how they look to people and programs. */
#include "tests/unit/base/unit.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fault.h"

static void texts(void **state)
{
	struct fault f = { 0 };

	fault_set(&f, "workload default/web", "stop it", "exists %d times", 2);
	assert_string_equal(f.thing, "workload default/web");
	assert_string_equal(f.reason, "exists 2 times");
	assert_string_equal(f.next, "stop it");
	fault_take(&f, "map", NULL, strdup("is full"));
	assert_string_equal(f.thing, "map");
	assert_string_equal(f.reason, "is full");
	assert_null(f.next);
	fault_take(&f, "map", NULL, NULL);
	assert_string_equal(f.reason, "out of memory");
	fault_done(&f);
	assert_null(f.thing);
	fault_set(NULL, "nobody", NULL, "listens");
	fault_take(NULL, "nobody", NULL, strdup("listens"));
}

/* What fault_print() wrote to stderr. */
static const char *printed(const struct fault *f, bool json)
{
	static char text[512];
	int pipe_fds[2], kept = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	fault_print(f, "trammel", json);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(pipe_fds[1]);
	n = read(pipe_fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(pipe_fds[0]);
	return text;
}

static void for_people_and_programs(void **state)
{
	struct fault f = { 0 };

	fault_set(&f, "a \"b\"", "do c", "is d");
	assert_string_equal(printed(&f, false), "trammel: a \"b\": is d; do c\n");
	assert_string_equal(printed(&f, true), "{\"error\":{\"thing\":\"a \\\"b\\\"\",\"reason\":\"is d\",\"next\":\"do c\"}}\n");
	fault_set(&f, "a", NULL, "is d");
	assert_string_equal(printed(&f, false), "trammel: a: is d\n");
	assert_string_equal(printed(&f, true), "{\"error\":{\"thing\":\"a\",\"reason\":\"is d\",\"next\":null}}\n");
	fault_done(&f);
	assert_non_null(strstr(printed(&f, false), "out of memory"));
	assert_non_null(strstr(printed(&f, true), "out of memory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(for_people_and_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
