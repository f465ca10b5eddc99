/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop: the wheel against plain comparison, on a clock of the test's own, and real turns. Includes the file under
 * test to move its wheel.
 */
#include "tests/unit/base/unit.h"
#include <stdio.h>
#include <sys/socket.h>
#include "base/loop.c"

/* ---- the wheel, driven by hand ---- */

struct alarm {
	struct loop_timer timer;
	uint64_t due_ms;
	unsigned int fired;
	uint64_t fired_ms;
};

static uint64_t wheel_clock_ms;

static void on_alarm(struct loop_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	assert_false(loop_timer_is_armed(timer));
	a->fired++;
	a->fired_ms = timer->loop ? 0 : wheel_clock_ms;
}

static void alarm_at(struct loop *l, struct alarm *a, uint64_t due_ms)
{
	*a = (struct alarm){.due_ms = due_ms};
	a->timer = (struct loop_timer){.loop = l, .expires_ms = due_ms, .on_expire = on_alarm};
	l->n_timers++;
	wheel_insert(l, &a->timer);
}

static void wheel_to(struct loop *l, uint64_t now_ms)
{
	wheel_clock_ms = now_ms;
	wheel_advance(l, now_ms);
}

static struct loop *loop_at(uint64_t wheel_ms)
{
	struct loop *l;

	assert_int_equal(loop_new(&l), 0);
	l->wheel_ms = wheel_ms;
	return l;
}

static uint64_t seed = 20261124;

static uint64_t random_below(uint64_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 16) % n;
}

/* Every timer fires in the first advance that reaches it, wherever the wheel stands. */
static void wheel_fires_in_time(void **state)
{
	static const uint64_t starts[] = {
		0, 1, 63, 64, 4095, 4096, 262143, (1ull << 30) - 5, (1ull << 36) - 3, (1ull << 36) - 100000, 123456789};
	static const uint64_t reaches[] = {10, 200, 10000, 1000000, 100000000, 1ull << 37};
	static struct alarm alarms[300];

	for (size_t s = 0; s < ARRAY_SIZE(starts) * ARRAY_SIZE(reaches); s++) {
		uint64_t start = starts[s % ARRAY_SIZE(starts)], reach = reaches[s / ARRAY_SIZE(starts)], now = start;
		struct loop *l = loop_at(start);

		for (size_t i = 0; i < ARRAY_SIZE(alarms); i++)
			alarm_at(l, &alarms[i], start + 1 + random_below(reach));
		for (size_t i = 0; i < ARRAY_SIZE(alarms); i += 7)
			loop_timer_cancel(&alarms[i].timer);
		while (now < start + reach) {
			uint64_t before = now;

			now += 1 + random_below(reach / 20 + 1);
			wheel_to(l, now);
			for (size_t i = 0; i < ARRAY_SIZE(alarms); i++) {
				bool due = i % 7 && alarms[i].due_ms <= now;

				if (alarms[i].fired != due)
					fail_msg("start %llu reach %llu: timer for %llu fired %u times at %llu (turn "
						 "before: %llu)",
						 (unsigned long long)start, (unsigned long long)reach,
						 (unsigned long long)alarms[i].due_ms, alarms[i].fired,
						 (unsigned long long)now, (unsigned long long)before);
			}
		}
		assert_int_equal(l->n_timers, 0);
		loop_free(l);
	}
}

/* The next look at the wheel is never later than the next expiry. */
static void wheel_never_sleeps_too_long(void **state)
{
	for (int round = 0; round < 2000; round++) {
		struct loop *l = loop_at(random_below(1ull << 38));
		uint64_t due = UINT64_MAX, looks = 0;
		struct alarm a[5];

		for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
			alarm_at(l, &a[i], l->wheel_ms + 1 + random_below(1ull << random_below(40)));
			due = MIN(due, a[i].due_ms);
		}
		while (wheel_next_ms(l) < due) {
			uint64_t next = wheel_next_ms(l);

			assert_true(next > l->wheel_ms);
			wheel_to(l, next);
			assert_true(++looks < 100);
		}
		assert_true(wheel_next_ms(l) == due);
		loop_free(l);
	}
}

static struct alarm other;

static void on_cancel_other(struct loop_timer *timer)
{
	loop_timer_cancel(&other.timer);
	on_alarm(timer);
}

/* Both due in the same advance, the same slot; the first to fire takes the second out. */
static void timer_cancelled_by_another(void **state)
{
	struct loop *l = loop_at(1000);
	struct alarm a;

	alarm_at(l, &a, 1010);
	a.timer.on_expire = on_cancel_other;
	alarm_at(l, &other, 1010);
	wheel_to(l, 2000);
	assert_int_equal(a.fired, 1);
	assert_int_equal(other.fired, 0);
	assert_int_equal(l->n_timers, 0);
	loop_free(l);
}

static unsigned int again_left;

static void on_again(struct loop_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);
	struct loop *l = other.timer.loop;

	a->fired++;
	if (--again_left)
		loop_timer_set(l, timer, 0, on_again);
}

/* A timer that arms itself with no delay fires once per advance: the loop cannot hang in it. */
static void timer_rearmed_in_callback(void **state)
{
	uint64_t now = clock_mono_ns() / NS_PER_MS;
	struct loop *l = loop_at(now - 500);
	struct alarm a;

	alarm_at(l, &other, now + 100000);
	alarm_at(l, &a, now - 400);
	a.timer.on_expire = on_again;
	again_left = 3;
	wheel_to(l, now);
	assert_int_equal(a.fired, 1);
	assert_true(loop_timer_is_armed(&a.timer));
	loop_timer_cancel(&a.timer);
	loop_timer_cancel(&a.timer);
	loop_timer_cancel(&other.timer);
	loop_free(l);
}

/* ---- real turns ---- */

static void on_tick(struct loop_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	a->fired++;
	a->fired_ms = clock_mono_ns() / NS_PER_MS;
}

/* What was done between loop_new() and the first turn, or in a callback, does not shorten a delay. */
static void timer_waits_its_whole_delay(void **state)
{
	struct alarm a = {0};
	struct loop *l;
	uint64_t from;

	assert_int_equal(loop_new(&l), 0);
	usleep(60000);
	from = clock_mono_ns() / NS_PER_MS;
	loop_timer_set(l, &a.timer, 40, on_tick);
	while (!a.fired)
		assert_int_equal(loop_turn(l, 1000), 0);
	assert_in_range(a.fired_ms - from, 40, 1000);
	loop_free(l);
}

static void timer_of_centuries(void **state)
{
	struct alarm a = {0};
	struct loop *l;

	assert_int_equal(loop_new(&l), 0);
	loop_timer_set(l, &a.timer, UINT64_MAX, on_tick);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(loop_turn(l, 5), 0);
	assert_int_equal(a.fired, 0);
	loop_timer_set(l, &a.timer, 1, on_tick); /* re-armed */
	while (!a.fired)
		assert_int_equal(loop_turn(l, 1000), 0);
	assert_int_equal(a.fired, 1);
	loop_free(l);
}

struct runs {
	struct loop_task task;
	struct loop *loop;
	struct loop_task *cancel;
	unsigned int n, again;
};

static void on_run(struct loop_task *task)
{
	struct runs *r = container_of(task, struct runs, task);

	r->n++;
	if (r->cancel)
		loop_task_cancel(r->cancel);
	if (r->again) {
		r->again--;
		loop_task_defer(r->loop, task, on_run);
	}
}

static void tasks_run_once_per_turn(void **state)
{
	struct runs a = {0}, b = {0};
	struct loop *l;

	assert_int_equal(loop_new(&l), 0);
	a.loop = b.loop = l;
	a.cancel = &b.task;
	a.again = 1;
	loop_task_defer(l, &a.task, on_run);
	loop_task_defer(l, &a.task, on_run);
	loop_task_defer(l, &b.task, on_run);
	assert_int_equal(loop_turn(l, -1), 0); /* does not sleep: a task was put off to the next turn */
	assert_int_equal(a.n, 1);
	assert_int_equal(b.n, 0);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(a.n, 2);
	loop_task_cancel(&a.task);
	loop_free(l);
}

struct end {
	struct loop_io io;
	struct end *peer;
	unsigned int n;
};

static void on_end_ready(struct loop_io *io, uint32_t revents)
{
	struct end *e = container_of(io, struct end, io);

	e->n++;
	loop_io_remove(&e->peer->io);
	memset(e->peer, 0xa5, sizeof(*e->peer)); /* as if freed and used again */
}

/* Both are ready in one batch; the first takes the second out, whose event must not be delivered. */
static void io_removed_in_its_batch(void **state)
{
	struct end a = {0}, b = {0};
	struct loop *l;
	int fds[2];

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(write(fds[0], "x", 1) + write(fds[1], "x", 1), 2);
	a.peer = &b;
	b.peer = &a;
	assert_int_equal(loop_io_add(l, &a.io, fds[0], EPOLLIN, on_end_ready), 0);
	assert_int_equal(loop_io_add(l, &b.io, fds[1], EPOLLIN, on_end_ready), 0);
	assert_int_equal(loop_turn(l, 100), 0);
	assert_true(a.n == 1 || b.n == 1);
	if (a.n == 1)
		loop_io_remove(&a.io);
	else
		loop_io_remove(&b.io);
	loop_io_remove(&(struct loop_io){0});
	close(fds[0]);
	close(fds[1]);
	loop_free(l);
}

static void on_signal_stop(int signo, void *user)
{
	assert_int_equal(signo, SIGUSR1);
	loop_stop(user);
}

static void signals_and_wakes(void **state)
{
	struct loop *l;

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(loop_signal_add(l, SIGUSR1, on_signal_stop, l), 0);
	assert_int_equal(loop_signal_add(l, SIGUSR1, on_signal_stop, l), -EEXIST);
	assert_int_equal(loop_signal_add(l, 0, on_signal_stop, l), -EINVAL);
	loop_wake(l);
	loop_wake(l);
	assert_int_equal(loop_turn(l, 10000), 0); /* the wake-up ends it */
	raise(SIGUSR1);
	assert_int_equal(loop_run(l), 0);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wheel_fires_in_time),         cmocka_unit_test(wheel_never_sleeps_too_long),
		cmocka_unit_test(timer_cancelled_by_another),  cmocka_unit_test(timer_rearmed_in_callback),
		cmocka_unit_test(timer_waits_its_whole_delay), cmocka_unit_test(timer_of_centuries),
		cmocka_unit_test(tasks_run_once_per_turn),     cmocka_unit_test(io_removed_in_its_batch),
		cmocka_unit_test(signals_and_wakes),
	};

	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
