/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, buffers and pools. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include "base/buf.h"
#include "base/pool.h"
#include "base/str.h"

static void str_compares(void **state)
{
	const struct str none = {NULL, 0};

	assert_true(str_eq(none, STR("")));
	assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
	assert_false(str_eq_nocase(STR("@"), STR("`"))); /* differ by bit 5, are no letters */
	assert_false(str_eq_nocase(STR("a"), STR("ab")));
	assert_true(str_starts(none, none) && str_ends(none, none));
	assert_true(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
	assert_true(str_ends(STR("abc"), STR("bc")) && !str_ends(STR("c"), STR("bc")));
	assert_int_equal(str_find_char(none, 'a'), -1);
	assert_int_equal(str_find_char(STR("xa"), 'a'), 1);
	assert_true(str_eq(str_trim_ows(STR(" \t a b \t")), STR("a b")));
	assert_int_equal(str_trim_ows(STR(" \t ")).n, 0);
	assert_true(str_eq(str_trim_ows(STR("\ra\n")), STR("\ra\n")));
}

static void str_splits(void **state)
{
	static const char *const want[] = {"a", "", "b", ""};
	struct str rest = STR("a,,b,"), part;
	size_t n = 0;

	while (str_split(&rest, ',', &part)) {
		assert_in_range(n, 0, 3);
		assert_true(str_eq(part, str_from(want[n])));
		n++;
	}
	assert_int_equal(n, 4);
	rest = STR("");
	assert_true(str_split(&rest, ',', &part));
	assert_int_equal(part.n, 0);
	assert_false(str_split(&rest, ',', &part));
}

static void numbers_parse(void **state)
{
	uint64_t v = 99;

	assert_int_equal(str_parse_u64(STR("0"), 10, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_parse_u64(STR("007"), 10, &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(str_parse_u64(STR("18446744073709551615"), UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_parse_u64(STR("18446744073709551616"), UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_parse_u64(STR("99999999999999999999999"), UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_parse_u64(STR("11"), 10, &v), -ERANGE);
	for (size_t i = 0; i < 6; i++) {
		static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1"};

		assert_int_equal(str_parse_u64(str_from(bad[i]), UINT64_MAX, &v), -EINVAL);
	}
	assert_true(v == UINT64_MAX); /* untouched on failure */
}

static void buf_keeps_its_maximum(void **state)
{
	struct buf b;

	buf_init(&b, 1000);
	assert_int_equal(buf_append(&b, NULL, 0), 0);
	for (int i = 0; i < 10; i++) {
		char block[100];

		memset(block, 'a' + i, sizeof(block));
		assert_int_equal(buf_append(&b, block, sizeof(block)), 0);
	}
	assert_int_equal(b.len, 1000);
	assert_true(b.cap <= 1000);
	assert_int_equal(buf_append(&b, "x", 1), -ENOBUFS);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOBUFS);
	assert_int_equal(b.len, 1000);
	buf_consume(&b, 150);
	assert_int_equal(buf_head(&b)[0], 'b');
	assert_int_equal(buf_append(&b, "0123456789", 10), 0); /* moves to the front */
	assert_int_equal(b.len, 860);
	assert_int_equal(buf_head(&b)[0], 'b');
	assert_memory_equal(buf_head(&b) + 850, "0123456789", 10);
	buf_consume(&b, 860);
	assert_int_equal(b.off, 0);
	buf_release(&b);
	assert_null(b.mem);
	assert_int_equal(buf_append_str(&b, STR("again")), 0);
	buf_done(&b);
}

static void buf_prints_up_to_the_last_byte(void **state)
{
	char want[701];
	struct buf b;

	memset(want, 'z', 700);
	want[700] = '\0';
	buf_init(&b, 700);
	assert_int_equal(buf_printf(&b, "%s", want), 0); /* no room for a NUL behind it */
	assert_int_equal(b.len, 700);
	assert_memory_equal(buf_head(&b), want, 700);
	assert_int_equal(buf_printf(&b, "%d", 1), -ENOBUFS);
	buf_consume(&b, 300);
	assert_int_equal(buf_printf(&b, "%.301s", want), -ENOBUFS);
	assert_int_equal(buf_printf(&b, "%.300s", want), 0);
	assert_int_equal(b.len, 700);
	buf_done(&b);
}

static void buf_tail_and_commit(void **state)
{
	size_t room;
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(buf_reserve(&b, 512), 0);
	memcpy(buf_tail(&b, &room), "hello", 5);
	assert_true(room >= 512);
	buf_commit(&b, 5);
	assert_true(str_eq(buf_str(&b), STR("hello")));
	buf_done(&b);
}

static void pool_charges_and_aligns(void **state)
{
	struct pool p;
	char *a, *z;
	struct str s;

	pool_init(&p, 10000);
	a = pool_alloc(&p, 1);
	assert_non_null(a);
	assert_int_equal((uintptr_t)a % 8, 0);
	assert_int_equal((uintptr_t)pool_alloc(&p, 3) % 8, 0);
	z = pool_zalloc(&p, 5000); /* larger than a chunk */
	assert_non_null(z);
	for (int i = 0; i < 5000; i++)
		assert_int_equal(z[i], 0);
	memset(z, 'x', 5000);
	assert_null(pool_alloc(&p, 5000));
	assert_null(pool_alloc(&p, SIZE_MAX));
	assert_null(pool_alloc(&p, SIZE_MAX - 3));
	s = pool_str_dup(&p, STR("text"));
	assert_string_equal(s.p, "text");
	assert_int_equal(s.n, 4);
	assert_int_equal(pool_str_dup(&p, (struct str){NULL, 0}).n, 0);
	pool_reset(&p);
	assert_int_equal(p.used_bytes, 0);
	assert_non_null(pool_alloc(&p, 10000 / 8 * 8));
	assert_null(pool_alloc(&p, 1));
	pool_done(&p);
	assert_non_null(pool_alloc(&p, 8)); /* stays usable */
	pool_done(&p);
}

static void pool_pieces_do_not_overlap(void **state)
{
	unsigned char *piece[400];
	struct pool p;

	pool_init(&p, 1 << 20);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 400; i++) {
			piece[i] = pool_alloc(&p, (size_t)(i % 97 + 1));
			assert_non_null(piece[i]);
			memset(piece[i], i & 0xff, (size_t)(i % 97 + 1));
		}
		for (int i = 0; i < 400; i++)
			for (int k = 0; k < i % 97 + 1; k++)
				assert_int_equal(piece[i][k], i & 0xff);
		pool_reset(&p);
	}
	pool_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(str_compares),
		cmocka_unit_test(str_splits),
		cmocka_unit_test(numbers_parse),
		cmocka_unit_test(buf_keeps_its_maximum),
		cmocka_unit_test(buf_prints_up_to_the_last_byte),
		cmocka_unit_test(buf_tail_and_commit),
		cmocka_unit_test(pool_charges_and_aligns),
		cmocka_unit_test(pool_pieces_do_not_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
