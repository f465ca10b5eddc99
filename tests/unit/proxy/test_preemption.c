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

/* Four windows in which each run was waited for so long: the last decides. */
static int bad_windows(unsigned int run_us, unsigned int wait_us)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(window(25, 20, run_us, wait_us), 1);
	return window(25, 20, run_us, wait_us);
}

static void short_waits_are_fine(void **state)
{
	assert_int_equal(bad_windows(40, 20), 1);
	assert_int_equal(bad_windows(10, 99), 1);   /* much longer than we run, but short */
	assert_int_equal(bad_windows(400, 500), 1); /* long, but a queue of those who do our own calls */
	assert_int_equal(bad_windows(400, 800), 1);
	assert_int_equal(bad_windows(400, 801), 0);
}

static void a_moment_is_forgiven(void **state)
{
	for (int i = 0; i < 100; i++)
		assert_int_equal(window(25, 20, 50, i % 4 ? 3000 : 30), 1);
	assert_int_equal(window(25, 20, 50, 3000), 0); /* the fourth since the last good one */
}

static void a_verdict_needs_time_and_runs(void **state)
{
	assert_int_equal(window(24, 100, 10, 5000), -1);
	assert_int_equal(window(1, 0, 0, 0), 1);
	assert_int_equal(window(1000, 11, 10, 5000), -1);
	assert_int_equal(window(1000, 1, 10, 10), 1);
	assert_int_equal(window(25, 12, 10, 5000), 1);
	assert_int_equal(window(25, 12, 10, 5000), 0); /* four windows */
}

static void tries_again_later_and_later(void **state)
{
	static const unsigned int windows[] = { 40, 80, 160, 320, 640, 1280, 1280 }; /* of 25 ms: 1 s to 32 s */

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		unsigned int n = 1;

		assert_int_equal(bad_windows(50, 3000), 0);
		while (window(25, 20, 50, 30) == 0)
			n++;
		assert_int_equal(n, windows[i]);
	}
	/* What lasted for ten seconds is forgiven. */
	for (int i = 0; i < 400; i++)
		assert_int_equal(window(25, 20, 50, 30), 1);
	assert_int_equal(bad_windows(50, 3000), 0);
	assert_true(p.hold_until_ns == now + NS_PER_S);
}

/* The kernel itself: the policy is set, given back, and an operator's own is left alone. */
static void the_policy_is_set(void **state)
{
	const struct sched_param none = { 0 };
	char account[64];
	int fd, n;

	preemption_init(&p, now);
	if (p.schedstat_fd < 0) /* a kernel that keeps no account */
		skip();
	assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
	assert_true(p.gives_way);

	/* The account is the test's from here on: how busy this machine is must not matter. */
	close(p.schedstat_fd);
	fd = p.schedstat_fd = memfd_create("schedstat", MFD_CLOEXEC);
	p.window_use = (struct preemption_use){ 100000000, 100000000, 12 };
	for (int i = 1; i <= 4; i++) {
		n = snprintf(account, sizeof(account), "%d00000000 %d00000000 %d\n", 1 + i, 1 + 9 * i, 12 + 100 * i);
		assert_int_equal(pwrite(fd, account, (size_t)n, 0), n);
		assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
		for (int k = 0; k < 20; k++)
			preemption_note(&p, now + (uint64_t)i * 30 * NS_PER_MS);
	}
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_false(p.gives_way);
	assert_int_equal(p.n_changes, 2);

	assert_int_equal(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	n = snprintf(account, sizeof(account), "900000000 9900000000 900\n");
	assert_int_equal(pwrite(fd, account, (size_t)n, 0), n);
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
		cmocka_unit_test_setup(a_moment_is_forgiven, begin),
		cmocka_unit_test_setup(a_verdict_needs_time_and_runs, begin),
		cmocka_unit_test_setup(tries_again_later_and_later, begin),
		cmocka_unit_test_setup(the_policy_is_set, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
