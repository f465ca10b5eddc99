/* SPDX-License-Identifier: Apache-2.0 */
/* JSON writer: what it writes, byte by byte. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <math.h>
#include "base/json.h"

static struct buf out;
static struct json_writer w;

static int begin(void **state)
{
	buf_init(&out, 65536);
	json_writer_init(&w, &out);
	return 0;
}

static int end(void **state)
{
	buf_done(&out);
	return 0;
}

static void expect(const char *text)
{
	assert_int_equal(json_writer_end(&w), 0);
	if (!str_eq(buf_str(&out), str_from(text)))
		fail_msg("wrote %.*s, not %s", (int)out.len, buf_head(&out), text);
}

static void nesting_and_commas(void **state)
{
	json_open_object(&w, NULL);
	json_open_array(&w, "empty");
	json_close_array(&w);
	json_open_array(&w, "a");
	json_u64(&w, NULL, UINT64_MAX);
	json_i64(&w, NULL, INT64_MIN);
	json_open_object(&w, NULL);
	json_close_object(&w);
	json_none(&w, NULL);
	json_close_array(&w);
	json_bool(&w, "t", true);
	json_bool(&w, "f", false);
	json_cstr(&w, "n", NULL);
	json_close_object(&w);
	expect("{\"empty\":[],\"a\":[18446744073709551615,-9223372036854775808,{},null],\"t\":true,\"f\":false,\"n\":"
	       "null}");
}

static void numbers(void **state)
{
	json_open_array(&w, NULL);
	json_f64(&w, NULL, 0);
	json_f64(&w, NULL, 0.1);
	json_f64(&w, NULL, 1234567.875);
	json_f64(&w, NULL, 1795478400.123);
	json_f64(&w, NULL, NAN);
	json_f64(&w, NULL, INFINITY);
	json_close_array(&w);
	expect("[0,0.1,1234567.875,1795478400.123,null,null]");
}

static void milliseconds(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0" },	       { 1, "0.000001" },	{ 1000000, "1" },
		{ 1500000, "1.5" },    { 12003450, "12.00345" }, { 999999, "0.999999" },
		{ 100000000, "100" },  { UINT64_MAX, "18446744073709.551615" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_ms(&w, NULL, cases[i].ns);
		expect(cases[i].text);
		buf_consume(&out, out.len);
		json_writer_init(&w, &out);
	}
}

/* Eight bytes are looked at together: an odd one is found wherever it stands, in strings of every length. */
static void odd_bytes_are_found_anywhere(void **state)
{
	static const unsigned char odd[] = { 0, 0x1f, '"', '\\', 0x7f, 0x80, 0xff };
	static const char *const becomes[] = { "\\u0000", "\\u001f", "\\\"", "\\\\", "\\u007f", "\\ufffd", "\\ufffd" };

	for (size_t n = 1; n <= 40; n++)
		for (size_t at = 0; at < n; at++)
			for (size_t k = 0; k < ARRAY_SIZE(odd); k++) {
				char in[40], text[64];

				for (size_t i = 0; i < n; i++)
					in[i] = (char)(" !#[]~z0"[i % 8]); /* neighbours of the odd ones */
				in[at] = (char)odd[k];
				snprintf(text, sizeof(text), "\"%.*s%s%.*s\"", (int)at, in, becomes[k], (int)(n - at - 1),
					 in + at + 1);
				json_str(&w, NULL, (struct str){ in, n });
				expect(text);
				buf_consume(&out, out.len);
				json_writer_init(&w, &out);
			}
}

static void strings_are_escaped(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{{"", 0}, "\"\""},
		{{NULL, 0}, "\"\""},
		{{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
		{{"\0\n\x1f\x7f", 4}, "\"\\u0000\\u000a\\u001f\\u007f\""},
		{{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{{"\xc3", 1}, "\"\\ufffd\""},                       /* cut short */
		{{"\xc0\xaf", 2}, "\"\\ufffd\\ufffd\""},            /* overlong */
		{{"\xed\xa0\x80", 3}, "\"\\ufffd\\ufffd\\ufffd\""}, /* surrogate */
		{{"\xe0\x9f\xbf", 3}, "\"\\ufffd\\ufffd\\ufffd\""},
		{{"\xf4\x90\x80\x80", 4}, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* above U+10FFFF */
		{{"\xffx", 2}, "\"\\ufffdx\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_str(&w, NULL, cases[i].in);
		expect(cases[i].out);
		buf_consume(&out, out.len);
		json_writer_init(&w, &out);
	}
}

static void failures_stick(void **state)
{
	struct buf small;

	json_open_object(&w, NULL);
	assert_int_equal(json_writer_end(&w), -EINVAL);
	json_close_object(&w);
	json_close_object(&w);
	assert_int_equal(json_writer_end(&w), -EINVAL);

	buf_init(&small, 10);
	json_writer_init(&w, &small);
	json_cstr(&w, NULL, "longer than ten bytes");
	json_cstr(&w, NULL, "x");
	assert_int_equal(json_writer_end(&w), -ENOBUFS);
	buf_done(&small);

	json_writer_init(&w, &out);
	for (int i = 0; i < 70; i++)
		json_open_array(&w, NULL);
	assert_int_equal(json_writer_end(&w), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nesting_and_commas, begin, end),
		cmocka_unit_test_setup_teardown(numbers, begin, end),
		cmocka_unit_test_setup_teardown(milliseconds, begin, end),
		cmocka_unit_test_setup_teardown(odd_bytes_are_found_anywhere, begin, end),
		cmocka_unit_test_setup_teardown(strings_are_escaped, begin, end),
		cmocka_unit_test_setup_teardown(failures_stick, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
