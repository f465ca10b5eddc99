/* SPDX-License-Identifier: Apache-2.0 */
/* The wait before a proxy is started again, on a clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "control/enrol/restart.h"

#define EXITED(code) W_EXITCODE(code, 0)
#define KILLED(signo) W_EXITCODE(0, signo)
#define MS(n) ((uint64_t)(n) * 1000000)

/* One life: started, perhaps ready, ended after @lived_ms; the wait that follows passes too. */
static uint32_t life(struct restart *r, uint64_t *now_ns, uint64_t lived_ms, bool is_ready, int status)
{
	uint32_t wait_ms;

	restart_started(r, *now_ns, false);
	*now_ns += MS(lived_ms);
	if (is_ready)
		restart_ready(r);
	wait_ms = restart_ended(r, *now_ns, status);
	*now_ns += MS(wait_ms);
	return wait_ms;
}

static void first_end_waits_for_nothing(void **state)
{
	static const int status[] = { EXITED(0), EXITED(1), KILLED(SIGKILL), KILLED(SIGSEGV) };

	for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
		struct restart r = { 0 };
		uint64_t now = MS(1);

		assert_int_equal(life(&r, &now, 5, false, status[i]), 0);
	}
}

/* Whatever the moments, and however long the start takes: each is back long before a second has gone. */
static void killed_again_and_again_it_is_soon_back(void **state)
{
	unsigned int seed = 1234567;
	struct restart r = { 0 };
	uint64_t now = MS(1);

	for (int i = 0; i < 1000; i++) {
		uint64_t lived_ms = 100 + (uint64_t)rand_r(&seed) % 800;

		assert_in_range(life(&r, &now, lived_ms, rand_r(&seed) % 2, KILLED(SIGKILL)), 0, 200);
	}
}

static void one_that_served_is_soon_back_however_it_ends(void **state)
{
	static const int status[] = { EXITED(0), EXITED(1), EXITED(127), KILLED(SIGKILL), KILLED(SIGSEGV), KILLED(SIGABRT) };
	struct restart r = { 0 };
	uint64_t now = MS(1);

	for (size_t i = 0; i < 60; i++)
		assert_in_range(life(&r, &now, 20, true, status[i % ARRAY_SIZE(status)]), 0, 200);
}

static void own_fault_at_start_waits_twice_as_long_each_time(void **state)
{
	static const uint32_t waits_ms[] = { 0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000 };
	static const int status[] = { EXITED(1), EXITED(127), KILLED(SIGSEGV), KILLED(SIGABRT), KILLED(SIGSYS) };

	for (size_t s = 0; s < ARRAY_SIZE(status); s++) {
		struct restart r = { 0 };
		uint64_t now = MS(1);

		for (size_t i = 0; i < ARRAY_SIZE(waits_ms); i++)
			assert_int_equal(life(&r, &now, 3, false, status[s]), waits_ms[i]);
	}
}

/* One minute of a proxy that ends at once: what it costs. */
static void no_storm(void **state)
{
	struct restart fault = { 0 }, killed = { 0 };
	unsigned int n_fault = 0, n_killed = 0;
	uint64_t now;

	for (now = MS(1); now < MS(60000); n_fault++)
		(void)life(&fault, &now, 1, false, EXITED(1));
	for (now = MS(1); now < MS(60000); n_killed++)
		(void)life(&killed, &now, 1, false, KILLED(SIGKILL));
	assert_in_range(n_fault, 1, 20);
	assert_in_range(n_killed, 1, 5 * 60 + 5);
}

static void serving_once_ends_a_long_wait(void **state)
{
	struct restart r = { 0 };
	uint64_t now = MS(1);

	for (int i = 0; i < 9; i++)
		(void)life(&r, &now, 3, false, EXITED(1));
	assert_int_equal(life(&r, &now, 500, true, KILLED(SIGKILL)), 200);
	assert_int_equal(life(&r, &now, 3, false, EXITED(1)), 200);
	assert_int_equal(life(&r, &now, 3, false, EXITED(1)), 400);
}

static void a_long_life_forgets(void **state)
{
	struct restart r = { 0 };
	uint64_t now = MS(1);

	for (int i = 0; i < 9; i++)
		(void)life(&r, &now, 3, false, EXITED(1));
	assert_int_equal(life(&r, &now, 10000, true, KILLED(SIGKILL)), 0);
	assert_int_equal(life(&r, &now, 9999, true, KILLED(SIGKILL)), 50);
}

static void what_was_found_serving_counts_as_such(void **state)
{
	struct restart r = { 0 };

	restart_started(&r, MS(1), true);
	assert_int_equal(restart_ended(&r, MS(2), EXITED(1)), 0);
	restart_started(&r, MS(3), true);
	assert_int_equal(restart_ended(&r, MS(4), EXITED(1)), 50);
	restart_started(&r, MS(5), false); /* its successor begins anew */
	assert_int_equal(restart_ended(&r, MS(6), EXITED(1)), 100);
}

static void what_cannot_be_started_always_waits(void **state)
{
	static const uint32_t waits_ms[] = { 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000 };
	struct restart r = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(waits_ms); i++)
		assert_int_equal(restart_failed(&r), waits_ms[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_end_waits_for_nothing),
		cmocka_unit_test(killed_again_and_again_it_is_soon_back),
		cmocka_unit_test(one_that_served_is_soon_back_however_it_ends),
		cmocka_unit_test(own_fault_at_start_waits_twice_as_long_each_time),
		cmocka_unit_test(no_storm),
		cmocka_unit_test(serving_once_ends_a_long_wait),
		cmocka_unit_test(a_long_life_forgets),
		cmocka_unit_test(what_was_found_serving_counts_as_such),
		cmocka_unit_test(what_cannot_be_started_always_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
