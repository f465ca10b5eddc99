/* SPDX-License-Identifier: Apache-2.0 */
/* Preemption: when a worker stops giving way, and when it tries again. The test owns the clock and the account. */
#include "tests/unit/base/unit.h"
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"
#include "proxy/preemption.h"

static struct preemption p;
static struct preemption_use use;
static uint64_t now;

static int begin(void **state)
{
	now = 1000 * NS_PER_S;
	use = (struct preemption_use){ 0 };
	p = (struct preemption){ .schedstat_fd = -1, .gives_way = true, .window_ns = now, .since_ns = now };
	return 0;
}

/* @ms in which each of @runs took @run_us and was waited for for @wait_us: what is decided (-1: nothing yet) is done. */
static int window(unsigned int ms, unsigned int runs, unsigned int run_us, unsigned int wait_us)
{
	bool give_way;

	now += ms * NS_PER_MS;
	use.runs += runs;
	use.run_ns += (uint64_t)runs * run_us * NS_PER_US;
	use.wait_ns += (uint64_t)runs * wait_us * NS_PER_US;
	if (!preemption_review(&p, now, &use, &give_way))
		return -1;
	p.gives_way = give_way;
	return give_way;
}

static void short_waits_are_fine(void **state)
{
	assert_int_equal(window(25, 50, 40, 20), 1);
	assert_int_equal(window(25, 50, 10, 99), 1);	/* much longer than we run, but short */
	assert_int_equal(window(25, 50, 400, 500), 1);	/* long, but a queue of those who do our own calls */
	assert_int_equal(window(25, 50, 400, 800), 1);
	assert_int_equal(window(25, 50, 400, 801), 0);
}

static void a_verdict_needs_time_and_runs(void **state)
{
	assert_int_equal(window(24, 100, 10, 5000), -1);
	assert_int_equal(window(1, 0, 0, 0), 0);
	begin(state);
	assert_int_equal(window(1000, 11, 10, 5000), -1);
	assert_int_equal(window(1000, 1, 10, 10), 0);
}

static void tries_again_later_and_later(void **state)
{
	static const unsigned int windows[] = { 40, 80, 160, 320, 640, 1280, 2560, 2560 }; /* of 25 ms: 1 s to 64 s */

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		unsigned int n = 1;

		assert_int_equal(window(25, 20, 50, 3000), 0);
		while (window(25, 20, 50, 30) == 0)
			n++;
		assert_int_equal(n, windows[i]);
	}
	/* What lasted for ten seconds is forgiven. */
	for (int i = 0; i < 400; i++)
		assert_int_equal(window(25, 20, 50, 30), 1);
	assert_int_equal(window(25, 20, 50, 3000), 0);
	assert_true(p.hold_until_ns == now + NS_PER_S);
}

/* The kernel itself: the policy is set, given back, and an operator's own is left alone. */
static void the_policy_is_set(void **state)
{
	static const char waits[] = "200000000 900000000 112\n";
	const struct sched_param none = { 0 };
	int fd;

	preemption_init(&p, now);
	if (p.schedstat_fd < 0) /* a kernel that keeps no account */
		skip();
	assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
	assert_true(p.gives_way);

	/* The account is the test's from here on: how busy this machine is must not matter. */
	close(p.schedstat_fd);
	fd = p.schedstat_fd = memfd_create("schedstat", MFD_CLOEXEC);
	p.window_use = (struct preemption_use){ 100000000, 100000000, 12 };
	assert_int_equal(pwrite(fd, waits, sizeof(waits) - 1, 0), sizeof(waits) - 1);
	for (int i = 0; i < 30; i++)
		preemption_note(&p, now + 30 * NS_PER_MS);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_false(p.gives_way);
	assert_int_equal(p.n_changes, 2);

	assert_int_equal(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	assert_int_equal(pwrite(fd, "200000000 900000000 224\n", 24, 0), 24);
	for (int i = 0; i < 30; i++)
		preemption_note(&p, now + 90 * NS_PER_S);
	assert_int_equal(sched_getscheduler(0), SCHED_IDLE);
	assert_int_equal(p.schedstat_fd, -1);
	preemption_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(short_waits_are_fine, begin),
		cmocka_unit_test_setup(a_verdict_needs_time_and_runs, begin),
		cmocka_unit_test_setup(tries_again_later_and_later, begin),
		cmocka_unit_test_setup(the_policy_is_set, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
