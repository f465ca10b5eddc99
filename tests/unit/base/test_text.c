/* SPDX-License-Identifier: Apache-2.0 */
/* base: strings, addresses, buffers, pools, JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include "base/addr.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/str.h"

static void addresses(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		const char *again;
	} cases[] = {
		{"10.0.0.1:80", true, "10.0.0.1:80"},
		{"[fd00::1]:80", true, "[fd00::1]:80"},
		{"[::ffff:10.0.0.1]:80", true, "10.0.0.1:80"},
		{"10.0.0.1", false, NULL},
		{"10.0.0.1:0", false, NULL},
		{"10.0.0.1:65536", false, NULL},
		{"10.0.0.1:+1", false, NULL},
		{"fd00::1:80", false, NULL},
		{"[fd00::1:80", false, NULL},
		{"", false, NULL},
		{":80", false, NULL},
		{"10.0.0.256:80", false, NULL},
		{"[]:80", false, NULL},
		{"10.0.0.1:8 ", false, NULL},
	};
	char text[ADDR_TEXT_BYTES];
	struct addr a;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(addr_parse(str_from(cases[i].text), &a), cases[i].ok ? 0 : -EINVAL);
		if (cases[i].ok)
			assert_string_equal(addr_format(&a, text), cases[i].again);
	}
}

static void networks(void **state)
{
	static const struct {
		const char *cidr, *ip;
		bool has;
	} cases[] = {
		{"10.0.0.0/8", "10.255.1.2", true}, {"10.0.0.0/8", "11.0.0.1", false},
		{"0.0.0.0/0", "1.2.3.4", true},     {"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.4", false},    {"10.128.0.0/9", "10.127.0.1", false},
		{"fd00::/8", "fdff::1", true},      {"fd00::/8", "fe00::1", false},
		{"::/0", "10.0.0.1", true},
	};
	struct cidr c;
	struct addr a;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(cidr_parse(str_from(cases[i].cidr), &c), 0);
		assert_int_equal(addr_parse_ip(str_from(cases[i].ip), &a), 0);
		assert_int_equal(cidr_has(&c, a.ip), cases[i].has);
	}
	assert_int_equal(cidr_parse(STR("10.0.0.1/8"), &c), -EINVAL); /* host bits */
	assert_int_equal(cidr_parse(STR("10.0.0.0/33"), &c), -EINVAL);
	assert_int_equal(cidr_parse(STR("10.0.0.0/"), &c), -EINVAL);
}

static void numbers(void **state)
{
	uint64_t v;

	assert_int_equal(str_parse_u64(STR("18446744073709551615"), UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_parse_u64(STR("18446744073709551616"), UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_parse_u64(STR("256"), 255, &v), -ERANGE);
	assert_int_equal(str_parse_u64(STR(""), 255, &v), -EINVAL);
	assert_int_equal(str_parse_u64(STR("-1"), 255, &v), -EINVAL);
	assert_int_equal(str_parse_u64(STR(" 1"), 255, &v), -EINVAL);
}

static void splitting(void **state)
{
	struct str rest = STR("a,,b"), part;

	assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("a")));
	assert_true(str_split(&rest, ',', &part) && part.n == 0);
	assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("b")));
	assert_false(str_split(&rest, ',', &part));
	assert_true(str_eq_nocase(STR("HoSt"), STR("hOsT")));
	assert_false(str_eq_nocase(STR("K"), STR("\xe2\x84\xaa"))); /* Kelvin sign: never folded */
	assert_true(str_eq(str_trim_ows(STR(" \t a b\t")), STR("a b")));
}

static void labels(void **state)
{
	static const char a63[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char *const good[] = {"a", "0", "web-1", "9-9", a63}, *const bad[] = {"", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "\xc3\xa4", "a/b"};
	char a64[65];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(str_is_label(str_from(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_is_label(str_from(bad[i])));
	snprintf(a64, sizeof(a64), "%sa", a63);
	assert_false(str_is_label(str_from(a64)));
	assert_false(str_is_label((struct str){"a\0b", 3}));
}

static void buffers(void **state)
{
	struct buf b;
	char big[300];

	memset(big, 'x', sizeof(big));
	buf_init(&b, 512);
	assert_int_equal(buf_append(&b, "abc", 3), 0);
	buf_consume(&b, 1);
	assert_true(str_eq(buf_str(&b), STR("bc")));
	assert_int_equal(buf_append(&b, big, sizeof(big)), 0);
	assert_int_equal(b.len, 302);
	assert_int_equal(buf_append(&b, big, sizeof(big)), -ENOBUFS); /* over the maximum: nothing changes */
	assert_int_equal(b.len, 302);
	buf_consume(&b, 302);
	assert_int_equal(buf_printf(&b, "%s-%d", "n", 7), 0);
	assert_true(str_eq(buf_str(&b), STR("n-7")));
	assert_int_equal(buf_printf(&b, "%.*s", 300, big), 0);
	assert_int_equal(b.len, 303);
	buf_done(&b);
}

static void pools(void **state)
{
	struct pool p;
	char *a, *c;

	pool_init(&p, 8192);
	a = pool_alloc(&p, 3);
	c = pool_alloc(&p, 5000);
	assert_non_null(a);
	assert_non_null(c);
	assert_int_equal((uintptr_t)c % 8, 0);
	memset(c, 1, 5000);
	assert_null(pool_alloc(&p, 4000)); /* over the maximum */
	assert_null(pool_alloc(&p, SIZE_MAX - 3));
	pool_reset(&p);
	assert_non_null(pool_alloc(&p, 8000));
	pool_done(&p);
}

static void json_escapes(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{{"plain", 5}, "\"plain\""},
		{{"a\"b\\c", 5}, "\"a\\\"b\\\\c\""},
		{{"\0\n\x1f", 3}, "\"\\u0000\\u000a\\u001f\""},
		{{"\xc3\xa9", 2}, "\"\xc3\xa9\""},
		{{"\xff", 1}, "\"\\ufffd\""},
		{{"\xc0\x80", 2}, "\"\\ufffd\\ufffd\""},
		{{"\xed\xa0\x80", 3}, "\"\\ufffd\\ufffd\\ufffd\""},
		{{"\x7f", 1}, "\"\\u007f\""},
	};
	struct json_writer w;
	struct buf b;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_init(&b, 256);
		json_writer_init(&w, &b);
		json_str(&w, NULL, cases[i].in);
		assert_int_equal(json_writer_end(&w), 0);
		assert_true(str_eq_c(buf_str(&b), cases[i].out));
		buf_done(&b);
	}
}

static void json_nesting(void **state)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, 256);
	json_writer_init(&w, &b);
	json_open_object(&w, NULL);
	json_u64(&w, "a", 1);
	json_open_array(&w, "b");
	json_i64(&w, NULL, -2);
	json_bool(&w, NULL, true);
	json_close_array(&w);
	json_cstr(&w, "c", NULL);
	json_close_object(&w);
	assert_int_equal(json_writer_end(&w), 0);
	assert_true(str_eq(buf_str(&b), STR("{\"a\":1,\"b\":[-2,true],\"c\":null}")));
	json_close_object(&w);
	assert_int_equal(json_writer_end(&w), -EINVAL); /* closed once too often */
	buf_done(&b);
	buf_init(&b, 16);
	json_writer_init(&w, &b);
	json_cstr(&w, NULL, "longer than the buffer may be");
	assert_int_equal(json_writer_end(&w), -ENOBUFS);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),    cmocka_unit_test(networks),     cmocka_unit_test(numbers),
		cmocka_unit_test(splitting), cmocka_unit_test(labels),    cmocka_unit_test(buffers),      cmocka_unit_test(pools),
		cmocka_unit_test(json_escapes), cmocka_unit_test(json_nesting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
