/* SPDX-License-Identifier: Apache-2.0 */
/* Connections by their source: counted while they live, limited, and none left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "proxy/listener/conn_registry.h"

static struct conn conn_from(const char *client, enum observe_direction direction)
{
	struct conn c = { .direction = direction };

	assert_int_equal(addr_parse(str_from(client), &c.client), 0);
	return c;
}

static void test_limit_is_for_each_source(void **state)
{
	struct conn crowd[4], other = conn_from("10.0.0.2:1", OBSERVE_INBOUND);
	struct conn six = conn_from("[fd00::1]:1", OBSERVE_INBOUND);
	struct conn_registry r;

	conn_registry_init(&r, 1);
	for (uint16_t i = 0; i < 4; i++) {
		crowd[i] = conn_from("10.0.0.1:1", OBSERVE_INBOUND);
		crowd[i].client.port = (uint16_t)(1000 + i); /* another port is no other source */
		assert_int_equal(conn_registry_add(&r, &crowd[i]), 0);
		assert_int_equal(conn_is_over_source_limit(&crowd[i], 6), i == 3);
	}
	assert_int_equal(conn_registry_add(&r, &other), 0);
	assert_int_equal(conn_registry_add(&r, &six), 0);
	assert_false(conn_is_over_source_limit(&other, 6));
	assert_false(conn_is_over_source_limit(&six, 6));
	assert_int_equal(r.sources.n_nodes, 3);

	/* one leaves: there is room for one again */
	conn_registry_remove(&r, &crowd[3]);
	conn_registry_remove(&r, &crowd[0]);
	conn_registry_remove(&r, &crowd[0]); /* twice is once */
	assert_int_equal(conn_registry_add(&r, &crowd[0]), 0);
	assert_false(conn_is_over_source_limit(&crowd[0], 6));

	for (int i = 0; i < 3; i++)
		conn_registry_remove(&r, &crowd[i]);
	assert_int_equal(r.sources.n_nodes, 2);
	conn_registry_remove(&r, &other);
	conn_registry_remove(&r, &six);
	assert_int_equal(r.sources.n_nodes, 0);
	assert_null(r.sources.slots); /* no memory stays behind a crowd */
	assert_int_equal(r.n_conns, 0);
}

static void test_own_app_is_no_source(void **state)
{
	struct conn own[3];
	struct conn_registry r;

	conn_registry_init(&r, 1);
	for (int i = 0; i < 3; i++) {
		own[i] = conn_from("10.0.0.1:1", OBSERVE_OUTBOUND);
		assert_int_equal(conn_registry_add(&r, &own[i]), 0);
		assert_false(conn_is_over_source_limit(&own[i], 1));
	}
	assert_int_equal(r.sources.n_nodes, 0);
	for (int i = 0; i < 3; i++)
		conn_registry_remove(&r, &own[i]);
}

static void test_limit_of_many(void **state)
{
	struct conn *all = calloc(CONN_SOURCE_MAX + 1, sizeof(*all)), one = conn_from("10.0.0.2:1", OBSERVE_INBOUND);
	struct conn_registry r;

	conn_registry_init(&r, 1);
	/* where there is room for many more, the fixed number holds; one connection is always let in */
	for (size_t i = 0; i <= CONN_SOURCE_MAX; i++) {
		all[i] = conn_from("10.0.0.1:1", OBSERVE_INBOUND);
		assert_int_equal(conn_registry_add(&r, &all[i]), 0);
		assert_int_equal(conn_is_over_source_limit(&all[i], 1000000), i == CONN_SOURCE_MAX);
	}
	assert_int_equal(conn_registry_add(&r, &one), 0);
	assert_false(conn_is_over_source_limit(&one, 1));
	conn_registry_remove(&r, &one);
	for (size_t i = 0; i <= CONN_SOURCE_MAX; i++)
		conn_registry_remove(&r, &all[i]);
	assert_null(r.sources.slots);
	free(all);
}

/* Ten thousand addresses: a node each while they are here, found again, and gone with them. */
static void test_many_sources(void **state)
{
	enum { N = 10000 };
	struct conn *all = calloc(2 * N, sizeof(*all));
	struct conn_registry r;

	conn_registry_init(&r, 1);
	for (size_t i = 0; i < 2 * N; i++) {
		all[i] = conn_from("10.0.0.1:1", OBSERVE_INBOUND);
		all[i].client.ip[13] = (uint8_t)(i % N);
		all[i].client.ip[14] = (uint8_t)(i % N >> 8);
		assert_int_equal(conn_registry_add(&r, &all[i]), 0);
	}
	assert_int_equal(r.sources.n_nodes, N);
	for (size_t i = 0; i < 2 * N; i++) {
		assert_int_equal(conn_is_over_source_limit(&all[i], 2), i < N); /* two each, then one */
		conn_registry_remove(&r, &all[i]);
		if (i < N)
			assert_false(conn_is_over_source_limit(&all[i + N], 2));
	}
	assert_null(r.sources.slots);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit_is_for_each_source),
		cmocka_unit_test(test_own_app_is_no_source),
		cmocka_unit_test(test_limit_of_many),
		cmocka_unit_test(test_many_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
