/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: options by their tables, words behind "--", names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int trammel_main(int argc, char **argv);
#define main trammel_main
#include "tools/main.c"
#undef main
#include "tools/workload_name.c"

static struct invocation last;
static int last_exit;

static int verb_keep(struct invocation *inv)
{
	last = *inv;
	return last_exit;
}

static const struct option_spec options[] = {
	{ "--name", "NAME", "a name", false },
	{ "--label", "K=V", "a label", true },
	{ "--detach", NULL, "a flag", false },
	{ NULL, NULL, NULL, false },
};

/* main.c's tables name these; here every one keeps what it was called with. */
#define COMMAND(name) const struct verb command_##name = { #name, verb_keep, "", "help of " #name, options }
COMMAND(up);
COMMAND(down);
COMMAND(run);
COMMAND(exec);
COMMAND(stop);
static const struct verb list_verbs[] = { { "list", verb_keep, "[NAME]", "lists", options }, { NULL, NULL, NULL, NULL, NULL } };
#define NOUN(name) const struct noun noun_##name = { #name, "help of " #name, list_verbs }
NOUN(workload);
NOUN(service);
NOUN(endpoint);
NOUN(conn);
NOUN(cert);
NOUN(listener);
NOUN(prog);
NOUN(map);
NOUN(snapshot);
NOUN(stats);
NOUN(feature);

static char captured[8192];

/* Calls main() with @words (one string, split at spaces); what it writes to @stream_fd lands in captured. */
static int call(const char *words, int stream_fd)
{
	static char copy[512];
	char *argv[64] = { (char *)"trammel" }, path[] = "/tmp/trammel-out-XXXXXX";
	int argc = 1, fd = mkstemp(path), saved = dup(stream_fd), r;
	ssize_t n;

	assert_true(fd >= 0 && saved >= 0);
	unlink(path);
	memset(&last, 0, sizeof(last));
	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	fflush(NULL);
	dup2(fd, stream_fd);
	r = trammel_main(argc, argv);
	fflush(NULL);
	dup2(saved, stream_fd);
	close(saved);
	n = pread(fd, captured, sizeof(captured) - 1, 0);
	captured[n > 0 ? n : 0] = '\0';
	close(fd);
	return r;
}

static void options_are_taken(void **state)
{
	assert_int_equal(call("run --name web --label a=b --label=c=d --detach -- cmd --name x", STDERR_FILENO), 0);
	assert_ptr_equal(last.verb, &command_run);
	assert_string_equal(option_value(&last, "--name"), "web");
	assert_string_equal(option_value(&last, "--label"), "c=d");
	assert_string_equal(option_value(&last, "--detach"), "");
	assert_int_equal(last.n_options, 4);
	assert_int_equal(last.n_args, 0);
	assert_int_equal(last.n_rest, 3);
	assert_string_equal(last.rest[0], "cmd");
	assert_string_equal(last.rest[1], "--name");
	assert_false(last.json);
}

static void words_may_stand_anywhere(void **state)
{
	assert_int_equal(call("exec default/web --detach more -- true", STDERR_FILENO), 0);
	assert_int_equal(last.n_args, 2);
	assert_string_equal(last.args[0], "default/web");
	assert_string_equal(last.args[1], "more");
	assert_null(option_value(&last, "--name"));
	assert_int_equal(call("stop -", STDERR_FILENO), 0); /* "-" alone is a word */
	assert_int_equal(last.n_args, 1);
}

static void json_may_stand_anywhere(void **state)
{
	static const char *const calls[] = { "--json workload list", "workload --json list", "workload list --json" };

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_int_equal(call(calls[i], STDERR_FILENO), 0);
		assert_true(last.json);
		assert_string_equal(last.noun, "workload");
		assert_string_equal(last.verb->name, "list");
	}
	assert_int_equal(call("run -- cmd --json", STDERR_FILENO), 0);
	assert_false(last.json); /* that one is the command's */
}

static void misuse_is_two_and_names_the_word(void **state)
{
	static const struct {
		const char *words, *named;
	} cases[] = {
		{ "run --nmae web -- x", "--nmae" },   { "run --name", "--name" },	    { "run --detach=yes -- x", "--detach" },
		{ "run --name a --name b", "--name" }, { "fly", "fly" },		    { "workload fly", "fly" },
		{ "workload list --nmae", "--nmae" },  { "run --detach --detach", "--detach" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(call(cases[i].words, STDERR_FILENO), EXIT_MISUSE);
		assert_non_null(strstr(captured, cases[i].named));
		assert_non_null(strstr(captured, "--help"));
		assert_null(last.verb); /* nothing was run */
	}
	assert_int_equal(call("", STDERR_FILENO), EXIT_MISUSE);
	assert_int_equal(call("workload", STDERR_FILENO), EXIT_MISUSE);
}

static void errors_are_objects_with_json(void **state)
{
	json_t *o;

	assert_int_equal(call("--json workload fly", STDERR_FILENO), EXIT_MISUSE);
	o = json_loads(captured, 0, NULL);
	assert_non_null(json_string_value(json_object_get(json_object_get(o, "error"), "thing")));
	assert_non_null(strstr(json_string_value(json_object_get(json_object_get(o, "error"), "reason")), "fly"));
	assert_non_null(json_string_value(json_object_get(json_object_get(o, "error"), "next")));
	json_decref(o);
}

static void help_shows_the_tables(void **state)
{
	assert_int_equal(call("--help", STDOUT_FILENO), 0);
	assert_non_null(strstr(captured, "help of up"));
	assert_non_null(strstr(captured, "help of feature"));
	assert_int_equal(call("run --help", STDOUT_FILENO), 0);
	assert_non_null(strstr(captured, "--label K=V"));
	assert_int_equal(call("workload --help", STDOUT_FILENO), 0);
	assert_non_null(strstr(captured, "lists"));
	assert_int_equal(call("workload list --help", STDOUT_FILENO), 0);
	assert_non_null(strstr(captured, "[NAME]"));
	assert_int_equal(call("--version", STDOUT_FILENO), 0);
	assert_int_equal(strncmp(captured, "trammel ", 8), 0);
	assert_null(last.verb);
}

static void exit_status_is_the_verbs(void **state)
{
	last_exit = 37;
	assert_int_equal(call("run -- x", STDERR_FILENO), 37);
	last_exit = 0;
}

static void workload_names(void **state)
{
	static const char *const refused[] = { "",	   "/",	       "a/",	  "/a",	    "A",     "a_b",   "a.b", "-a",
					       "a-",	   "a/b/c",    "a b",	  "a/..",   "../a",  "a/b_c", "\xc3\xa4",
					       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 64 */ };
	struct workload_name w;

	assert_true(workload_name_parse("shop/web-1", &w));
	assert_string_equal(w.namespace, "shop");
	assert_string_equal(w.name, "web-1");
	assert_true(workload_name_parse("web", &w));
	assert_string_equal(w.namespace, "default");
	assert_true(workload_name_parse("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/0", &w));
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (workload_name_parse(refused[i], &w))
			fail_msg("%s was taken", refused[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_taken),
		cmocka_unit_test(words_may_stand_anywhere),
		cmocka_unit_test(json_may_stand_anywhere),
		cmocka_unit_test(misuse_is_two_and_names_the_word),
		cmocka_unit_test(errors_are_objects_with_json),
		cmocka_unit_test(help_shows_the_tables),
		cmocka_unit_test(exit_status_is_the_verbs),
		cmocka_unit_test(workload_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
