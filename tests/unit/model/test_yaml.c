/* SPDX-License-Identifier: Apache-2.0 */
/* Policy files into trees: what is read how, where it stood, and what is refused at which line. */
#include "policy_lib.h"

static void scalars_by_core_schema(void **state)
{
	static const struct {
		const char *text, *json; /* NULL: refused */
	} cases[] = {
		{"true", "true"},
		{"False", "false"},
		{"null", "null"},
		{"~", "null"},
		{"12", "12"},
		{"-3", "-3"},
		{"+3", "3"},
		{"0", "0"},
		{"1.5", "1.5"},
		{".5", "0.5"},
		{"1e3", "1000.0"},
		{"abc", "\"abc\""},
		{"tRue", "\"tRue\""},
		{"1.2.3", "\"1.2.3\""},
		{"10.0.0.1", "\"10.0.0.1\""},
		{"-", "\"-\""},
		{"1e", "\"1e\""},
		{"fd00::1", "\"fd00::1\""},
		{"9223372036854775807", "9223372036854775807"},
		{"9223372036854775808", NULL},
		{"1e999", NULL},
		{"yes", NULL},
		{"on", NULL},
		{"N", NULL},
		{"Off", NULL},
		{"0755", NULL},
		{"0x1f", NULL},
		{"0o17", NULL},
		{"0b11", NULL},
		{"1_000", NULL},
		{".inf", NULL},
		{".NaN", NULL},
		{"-.inf", NULL},
		{"yess", "\"yess\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = NULL;
		json_t *v = NULL;
		int r = yaml_scalar_parse(str_from(cases[i].text), &v, &why);
		char *json;

		if (r != (cases[i].json ? 0 : YAML_E_REFUSED))
			fail_msg("%s: %d", cases[i].text, r);
		if (!cases[i].json) {
			assert_non_null(why);
			continue;
		}
		json = json_dumps(v, JSON_ENCODE_ANY);
		assert_string_equal(json, cases[i].json);
		free(json);
		json_decref(v);
	}
}

static void documents_and_lines(void **state)
{
	static const char text[] = "# head\n"
				   "kind: A\n"
				   "spec:\n"
				   "  ports:\n"
				   "    - port: 80\n"
				   "    - port: \"81\"\n"
				   "---\n"
				   "# nothing here\n"
				   "---\n"
				   "\n"
				   "kind: B\n"
				   "list: [1,\n"
				   "  {a: 2}]\n";
	struct yaml_error error;
	struct yaml_file f;
	const struct line_table *t;
	uint64_t spec, ports;

	assert_int_equal(yaml_parse(str_from(text), &f, &error), 0);
	assert_int_equal(f.n, 2);
	assert_int_equal(f.documents[0].line, 2);
	assert_int_equal(f.documents[1].line, 11);
	t = &f.documents[0].lines;
	spec = line_path_key(LINE_PATH_ROOT, STR("spec"));
	ports = line_path_key(spec, STR("ports"));
	assert_int_equal(line_table_find(t, line_path_key(line_path_item(ports, 1), STR("port"))), 6);
	assert_int_equal(line_table_find(t, line_path_item(ports, 2)), 0);
	t = &f.documents[1].lines;
	assert_int_equal(line_table_find(t, line_path_key(line_path_item(line_path_key(0, STR("list")), 1), STR("a"))),
			 13);
	assert_true(json_is_string(json_object_get(
		json_array_get(json_object_get(json_object_get(f.documents[0].root, "spec"), "ports"), 1), "port")));
	yaml_file_done(&f);
}

static char *repeat(const char *s, size_t n)
{
	char *out = calloc(n, strlen(s) + 1), *p = out;

	assert_non_null(out);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, s);
	return out;
}

static void yaml_refused(void **state)
{
	static const struct {
		const char *name, *text;
		int line;
		const char *says;
	} cases[] = {
		{"duplicate key", "a: 1\nb: 2\na: 3\n", 3, "\"a\" is given twice"},
		{"duplicate in flow", "a: {x: 1,\n x: 2}\n", 2, "\"x\" is given twice"},
		{"merge key", "a:\n  <<: {b: 1}\n", 2, "merge keys"},
		{"anchor", "a: &x 1\n", 1, "anchors and aliases"},
		{"alias", "b: 1\na: *x\n", 2, "anchors and aliases"},
		{"anchored map", "a: &x\n  b: 1\n", 1, "anchors and aliases"},
		{"tag", "a: !!binary aGk=\n", 1, "tag"},
		{"own tag", "a: !thing {}\n", 1, "tag"},
		{"object as key", "? {a: 1}\n: 2\n", 1, "key is an object"},
		{"list as key", "? [a]\n: 2\n", 1, "key is a list"},
		{"old boolean", "a: 1\nb: yes\n", 2, "kubectl reads this as a boolean"},
		{"octal", "mode: 0755\n", 1, "readers take differently"},
		{"tab", "a:\n\tb: 1\n", 2, "is not YAML"},
		{"bad indent", "a:\n  b: 1\n c: 2\n", 3, "is not YAML"},
		{"unclosed", "a: [1, 2\n", 2, "is not YAML"},
		{"unclosed quote", "a: \"abc\n", 2, "is not YAML"},
		{"NUL", "a: \"x\\0y\"\n", 1, "NUL"},
		{"not UTF-8", "a: 1\nb: \xff\xfe\n", 2, "is not UTF-8"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct yaml_error error = {0};
		struct yaml_file f;

		if (yaml_parse(str_from(cases[i].text), &f, &error) != YAML_E_REFUSED)
			fail_msg("%s: not refused", cases[i].name);
		if (error.line != cases[i].line || !strstr(error.text, cases[i].says))
			fail_msg("%s: line %d: %s", cases[i].name, error.line, error.text);
	}
}

static void yaml_bounds(void **state)
{
	struct yaml_error error;
	struct yaml_file f;
	char *text;

	text = repeat("[", YAML_DEPTH_MAX + 1);
	assert_int_equal(yaml_parse(str_from(text), &f, &error), YAML_E_REFUSED);
	assert_non_null(strstr(error.text, "nested deeper"));
	free(text);
	text = repeat("- a\n", YAML_VALUES_MAX + 1);
	assert_int_equal(yaml_parse(str_from(text), &f, &error), YAML_E_REFUSED);
	assert_non_null(strstr(error.text, "values"));
	free(text);
	text = repeat("# comment\n", YAML_FILE_MAX_BYTES / 10 + 2);
	assert_int_equal(yaml_parse(str_from(text), &f, &error), YAML_E_REFUSED);
	assert_non_null(strstr(error.text, "larger"));
	text[1000] = '\0';
	assert_int_equal(yaml_parse(str_from(text), &f, &error), 0);
	assert_int_equal(f.n, 0);
	yaml_file_done(&f);
	free(text);
}

static void json_documents_and_lines(void **state)
{
	static const char text[] = "\n{\n \"kind\": \"A\\u0062\",\n \"l\\u0069st\": [1,\n  {\"a\": [], \"b\\\"\": "
				   "{}}],\n \"emoji\": \"\\ud83d\\ude00\",\n \"t\":\n  true\n}\n";
	struct yaml_error error;
	struct yaml_file f;
	const struct line_table *t;
	uint64_t item;

	assert_int_equal(yaml_parse_json(str_from(text), &f, &error), 0);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.documents[0].line, 2);
	t = &f.documents[0].lines;
	item = line_path_item(line_path_key(0, STR("list")), 1);
	assert_int_equal(line_table_find(t, line_path_key(0, STR("kind"))), 3);
	assert_int_equal(line_table_find(t, item), 5);
	assert_int_equal(line_table_find(t, line_path_key(item, STR("b\""))), 5);
	assert_int_equal(line_table_find(t, line_path_key(0, STR("t"))), 8);
	yaml_file_done(&f);
}

static void json_refused(void **state)
{
	static const struct {
		const char *text;
		int line;
	} cases[] = {
		{"", 1},
		{"{\n\"a\": 1,\n}", 3},
		{"{\"a\": 1}\n{}", 2},
		{"{\n\"a\": 1,\n\"a\": 2}", 3},
		{"{a: 1}", 1},
		{"[1\n", 2},
	};
	struct yaml_error error;
	struct yaml_file f;
	char *deep;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (yaml_parse_json(str_from(cases[i].text), &f, &error) != YAML_E_REFUSED)
			fail_msg("%s: not refused", cases[i].text);
		if (error.line != cases[i].line)
			fail_msg("%s: line %d: %s", cases[i].text, error.line, error.text);
	}
	deep = repeat("[", 200);
	memset(deep + 100, ']', 100);
	assert_int_equal(yaml_parse_json(str_from(deep), &f, &error), YAML_E_REFUSED);
	assert_non_null(strstr(error.text, "nested deeper"));
	free(deep);
	/* which jansson would pass over */
	assert_int_equal(yaml_parse_json((struct str){"{\"a\": 7\0}", 9}, &f, &error), YAML_E_REFUSED);
	assert_non_null(strstr(error.text, "NUL"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars_by_core_schema),
		cmocka_unit_test(documents_and_lines),
		cmocka_unit_test(yaml_refused),
		cmocka_unit_test(yaml_bounds),
		cmocka_unit_test(json_documents_and_lines),
		cmocka_unit_test(json_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
