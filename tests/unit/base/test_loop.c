/* SPDX-License-Identifier: Apache-2.0 */
/* base: the loop's timers, tasks and sources; the hash table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/loop.h"

#define TIMERS 400

struct timed {
	struct loop_timer timer;
	uint64_t due_ns;
	int fired;
};

static int fired_total, fired_early;
static struct loop *loop;

static void on_timer(struct loop_timer *t)
{
	struct timed *x = container_of(t, struct timed, timer);

	x->fired++;
	fired_total++;
	fired_early += clock_mono_ns() < x->due_ns;
}

/* Many delays, some cancelled, some set again: each fires once, none early, all in time. */
static void timers(void **state)
{
	static struct timed t[TIMERS];
	unsigned int seed = 7;
	int expected = 0;

	assert_int_equal(loop_new(&loop), 0);
	for (int i = 0; i < TIMERS; i++) {
		uint64_t delay = (uint64_t)(rand_r(&seed) % 300);

		t[i].due_ns = clock_mono_ns() + delay * NS_PER_MS;
		loop_timer_set(loop, &t[i].timer, delay, on_timer);
		if (i % 5 == 0)
			loop_timer_cancel(&t[i].timer);
		else
			expected++;
		if (i % 7 == 0 && i % 5)
			loop_timer_set(loop, &t[i].timer, delay + 10, on_timer);
	}
	for (uint64_t end = clock_mono_ns() + 2 * NS_PER_S; fired_total < expected && clock_mono_ns() < end;)
		assert_int_equal(loop_turn(loop, 50), 0);
	assert_int_equal(fired_total, expected);
	assert_int_equal(fired_early, 0);
	for (int i = 0; i < TIMERS; i++)
		assert_int_equal(t[i].fired, i % 5 != 0);
	loop_free(loop);
}

static struct timed other;

static void on_cancel_other(struct loop_timer *t)
{
	loop_timer_cancel(&other.timer);
	loop_stop(loop);
}

/* A callback cancels a timer that is due in the same turn; a far one does not keep the loop awake. */
static void timer_cancelled_in_callback(void **state)
{
	struct loop_timer first = { 0 }, far = { 0 };

	assert_int_equal(loop_new(&loop), 0);
	other = (struct timed){ 0 };
	loop_timer_set(loop, &first, 5, on_cancel_other);
	loop_timer_set(loop, &other.timer, 5, on_timer);
	loop_timer_set(loop, &far, 40ull * 24 * 3600 * 1000, on_timer);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(other.fired, 0);
	assert_false(loop_timer_is_armed(&other.timer));
	assert_true(loop_timer_is_armed(&far));
	loop_free(loop);
}

static int task_runs;

static void on_task(struct loop_task *task)
{
	if (++task_runs < 3)
		loop_task_defer(loop, task, on_task);
	else
		loop_stop(loop);
}

static void tasks(void **state)
{
	struct loop_task a = { 0 }, cancelled = { 0 };

	assert_int_equal(loop_new(&loop), 0);
	loop_task_defer(loop, &a, on_task);
	loop_task_defer(loop, &a, on_task); /* once all the same */
	loop_task_defer(loop, &cancelled, on_task);
	loop_task_cancel(&cancelled);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(task_runs, 3);
	loop_free(loop);
}

static struct loop_io io[2];
static int ready_runs;

static void on_remove_other(struct loop_io *self, uint32_t revents)
{
	ready_runs++;
	loop_io_remove(&io[self == &io[0]]);
}

/* Two sources ready in one batch: the first takes the second out, which then is not called. */
static void source_removed_in_batch(void **state)
{
	int a[2], b[2];

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	assert_int_equal(loop_io_add(loop, &io[0], a[0], EPOLLIN, on_remove_other), 0);
	assert_int_equal(loop_io_add(loop, &io[1], b[0], EPOLLIN, on_remove_other), 0);
	assert_int_equal(write(a[1], "x", 1), 1);
	assert_int_equal(write(b[1], "x", 1), 1);
	assert_int_equal(loop_turn(loop, 1000), 0);
	assert_int_equal(ready_runs, 1);
	loop_free(loop);
	for (int i = 0; i < 2; i++)
		close(a[i]), close(b[i]);
}

struct item {
	struct hash_node node;
	int key;
};

static bool item_eq(const struct hash_node *node, const void *key)
{
	return container_of(node, struct item, node)->key == *(const int *)key;
}

static void hash_tables(void **state)
{
	static struct item items[1000];
	struct hash_table t;
	size_t n = 0;

	hash_table_init(&t);
	for (int i = 0; i < 1000; i++) {
		items[i].key = i;
		assert_int_equal(hash_table_add(&t, &items[i].node, hash_bytes(&i, sizeof(i))), 0);
	}
	for (int i = 0; i < 1000; i += 2)
		hash_table_remove(&t, &items[i].node);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(hash_table_find(&t, hash_bytes(&i, sizeof(i)), item_eq, &i) != NULL, i % 2);
	for (struct hash_node *x = hash_table_first(&t); x; x = hash_table_next(&t, x))
		n++;
	assert_int_equal(n, 500);
	hash_table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers),		  cmocka_unit_test(timer_cancelled_in_callback), cmocka_unit_test(tasks),
		cmocka_unit_test(source_removed_in_batch), cmocka_unit_test(hash_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
