/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: when a worker goes to its callers' CPU, and when it leaves. The test owns the clock and the account. */
#include "tests/unit/base/unit.h"
#include <arpa/inet.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "proxy/placement.h"

static struct placement p;
static struct placement_use use;
static uint64_t now;

static int begin(void **state)
{
	p = (struct placement){ .schedstat_fd = -1, .home = -1 };
	use = (struct placement_use){ 0 };
	now = 1000 * NS_PER_S;
	p.window_ns = now;
	return 0;
}

static void votes(int cpu, int n)
{
	while (n-- > 0)
		placement_vote(&p, cpu);
}

/* 100 ms in which we ran @run_percent of the time and waited @wait_us for each of @runs. Goes where it is told. */
static int window(unsigned int run_percent, unsigned int wait_us, unsigned int runs)
{
	int home = -2;

	now += 100 * NS_PER_MS;
	use.run_ns += run_percent * NS_PER_MS;
	use.wait_ns += (uint64_t)wait_us * NS_PER_US * runs;
	use.runs += runs;
	if (!placement_review(&p, now, &use, &home))
		return -2;
	p.home = home;
	return home;
}

static void goes_where_the_calls_come_from(void **state)
{
	votes(1, 9);
	votes(0, 3);
	assert_int_equal(window(5, 5, 24), 1);
	votes(1, 4);
	votes(0, 4);
	assert_int_equal(window(5, 5, 24), 1); /* half of them: stays */
	votes(0, 8);
	assert_int_equal(window(5, 5, 24), 0);
	votes(1, 5);
	votes(2, 5);
	assert_int_equal(window(5, 5, 24), -1); /* nobody calls from here any more, and no one place */
}

static void few_calls_are_gathered(void **state)
{
	votes(1, 3);
	assert_int_equal(window(1, 5, 3), -2);
	votes(1, 2);
	assert_int_equal(window(1, 5, 3), -2);
	votes(1, 1);
	assert_int_equal(window(1, 5, 3), 1);
}

static void a_window_has_its_length(void **state)
{
	int home;

	votes(1, 20);
	assert_false(placement_review(&p, now + 99 * NS_PER_MS, &use, &home));
	assert_true(placement_review(&p, now + 100 * NS_PER_MS, &use, &home));
	assert_int_equal(home, 1);
}

static void a_busy_worker_is_let_go(void **state)
{
	votes(1, 10);
	assert_int_equal(window(20, 5, 100), 1);
	votes(1, 10);
	assert_int_equal(window(51, 5, 100), -1);
	for (int i = 0; i < 9; i++) { /* for a second */
		votes(1, 10);
		assert_int_equal(window(5, 5, 100), -1);
	}
	votes(1, 10);
	assert_int_equal(window(5, 5, 100), 1);
}

static void a_worker_that_waits_is_let_go_for_longer_each_time(void **state)
{
	unsigned int held[9], n;

	for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
		votes(1, 10);
		assert_int_equal(window(5, 79, 100), 1);
		votes(1, 10);
		assert_int_equal(window(5, 81, 100), -1); /* each wait as long as waking another CPU */
		for (n = 0; p.home < 0 && n < 10000; n++) {
			votes(1, 10);
			(void)window(5, 5, 100);
		}
		held[i] = n;
		p.home = -1;
	}
	assert_int_equal(held[0], 10);
	assert_int_equal(held[1], 20);
	assert_int_equal(held[8], 640); /* 64 s at most */

	/* One that lasted is forgiven. */
	votes(1, 10);
	assert_int_equal(window(5, 5, 100), 1);
	for (int i = 0; i < 100; i++) {
		votes(1, 10);
		assert_int_equal(window(5, 5, 100), 1);
	}
	votes(1, 10);
	assert_int_equal(window(60, 5, 100), -1);
	assert_true(p.hold_until_ns == now + NS_PER_S);
}

static void odd_votes_do_no_harm(void **state)
{
	placement_vote(&p, -1);
	placement_vote(&p, PLACEMENT_CPUS);
	assert_int_equal(p.n_votes, 0);
	votes(3, 70000);
	assert_int_equal(p.votes[3], UINT16_MAX);
	assert_int_equal(window(1, 1, 1), 3);
}

/* A connection on loopback whose caller keeps to one CPU: the real kernel is asked, and we are moved there. */
static void the_kernel_is_asked(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(to);
	cpu_set_t all, one, got;
	int listener, caller, accepted, cpu;
	char byte;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	placement_init(&p);
	if (p.schedstat_fd < 0) { /* one CPU alone, or a kernel that keeps no account */
		placement_done(&p);
		skip();
	}
	/* The account is the test's: how busy this machine is must not matter. */
	close(p.schedstat_fd);
	p.schedstat_fd = memfd_create("schedstat", MFD_CLOEXEC);
	assert_int_equal(write(p.schedstat_fd, "1000 20 3\n", 10), 10);
	p.window_use = (struct placement_use){ 1000, 20, 3 };
	for (cpu = PLACEMENT_CPUS - 1; !CPU_ISSET(cpu, &all); cpu--)
		;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &n), 0);
	assert_int_equal(connect(caller, (struct sockaddr *)&to, sizeof(to)), 0);
	accepted = accept(listener, NULL, NULL);
	assert_true(accepted >= 0);
	for (int i = 0; i < 8 && p.home < 0; i++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		assert_int_equal(send(caller, "x", 1, 0), 1);
		assert_int_equal(recv(accepted, &byte, 1, 0), 1);
		assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
		now += 20 * NS_PER_MS;
		placement_note(&p, accepted, now);
	}
	assert_int_equal(p.home, cpu);
	assert_int_equal(sched_getaffinity(0, sizeof(got), &got), 0);
	assert_true(CPU_EQUAL(&got, &one));

	/* An operator's word is heeded: it is no home of ours. */
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	placement_note(&p, accepted, now + NS_PER_S);
	assert_int_equal(p.home, -1);
	placement_done(&p);
	close(accepted);
	close(caller);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(goes_where_the_calls_come_from, begin),
		cmocka_unit_test_setup(few_calls_are_gathered, begin),
		cmocka_unit_test_setup(a_window_has_its_length, begin),
		cmocka_unit_test_setup(a_busy_worker_is_let_go, begin),
		cmocka_unit_test_setup(a_worker_that_waits_is_let_go_for_longer_each_time, begin),
		cmocka_unit_test_setup(odd_votes_do_no_harm, begin),
		cmocka_unit_test_setup(the_kernel_is_asked, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
