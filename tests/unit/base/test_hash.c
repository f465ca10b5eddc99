/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed hash against known values, hash table against a plain array. Includes the file under test to set its key. */
#include "tests/unit/base/unit.h"
#include "base/hash.c"

static void hash_is_siphash_1_3(void **state)
{
	/* Key of zeros; values of CPython 3.11's siphash13 with PYTHONHASHSEED=0. */
	static const struct {
		struct str text;
		uint64_t hash;
	} cases[] = {
		{{"a", 1}, 0x407448d2b89b1813},
		{{"abc", 3}, 0xc03bc3a0042630f2},
		{{"12345678", 8}, 0x3489982430560a87},
		{{"hello world, this is", 20}, 0x06c40284f89d59c6},
	};
	uint64_t key[2];

	(void)hash_bytes("", 0);
	memcpy(key, sip_key, sizeof(key));
	assert_true(key[0] || key[1]);
	memset(sip_key, 0, sizeof(sip_key));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (hash_str(cases[i].text) != cases[i].hash)
			fail_msg("%s: %llx", cases[i].text.p, (unsigned long long)hash_str(cases[i].text));
	memcpy(sip_key, key, sizeof(key));
	assert_true(hash_bytes("abc", 3) != cases[1].hash);
}

struct number {
	struct hash_node node;
	unsigned int v;
	bool in;
};

static bool number_eq(const struct hash_node *node, const void *key)
{
	return container_of(node, struct number, node)->v == *(const unsigned int *)key;
}

/* All of a round of iteration is met exactly once, also when nodes share hashes. */
static void table_agrees_with_array(void **state)
{
	enum { N = 1500 };
	static struct number numbers[N];
	unsigned int seed = 4711, in = 0;
	struct hash_table t;

	hash_table_init(&t);
	assert_null(hash_table_first(&t));
	for (unsigned int i = 0; i < N; i++)
		numbers[i].v = i;
	for (int step = 0; step < 20000; step++) {
		struct number *n = &numbers[(seed = seed * 1103515245 + 12345) / 65536 % N];
		uint64_t hash = n->v % 100 * 0x9e3779b97f4a7c15ull; /* collisions on purpose */

		assert_true((hash_table_find(&t, hash, number_eq, &n->v) == &n->node) == n->in);
		if (n->in)
			hash_table_remove(&t, &n->node), in--;
		else
			assert_int_equal(hash_table_add(&t, &n->node, hash), 0), in++;
		n->in = !n->in;
		assert_int_equal(t.n_nodes, in);
	}
	for (struct hash_node *n = hash_table_first(&t), *next; n; n = next) {
		next = hash_table_next(&t, n);
		assert_true(container_of(n, struct number, node)->in);
		container_of(n, struct number, node)->in = false;
		hash_table_remove(&t, n);
		in--;
	}
	assert_int_equal(in, 0);
	assert_int_equal(t.n_nodes, 0);
	hash_table_done(&t);
}

static void remove_from_empty(void **state)
{
	struct hash_table t;
	struct hash_node n = {0};

	hash_table_init(&t);
	hash_table_remove(&t, &n);
	assert_int_equal(hash_table_add(&t, &n, 5), 0);
	hash_table_remove(&t, &n);
	hash_table_remove(&t, &n);
	assert_int_equal(t.n_nodes, 0);
	hash_table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_siphash_1_3),
		cmocka_unit_test(table_agrees_with_array),
		cmocka_unit_test(remove_from_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
