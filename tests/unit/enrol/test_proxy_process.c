/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a proxy where something is lacking: nothing stays behind, and it is tried again. The program is never reached. */
#include "tests/unit/base/unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/loop.h"

static int add_fails; /* how many of the next loop_io_add() of a process fail */
static int n_added;

static int loop_io_add_or_fail(struct loop *loop, struct loop_io *io, int fd, uint32_t events, void (*fn)(struct loop_io *io, uint32_t revents));

#define loop_io_add loop_io_add_or_fail
#include "control/enrol/proxy_process.c"
#undef loop_io_add

static int loop_io_add_or_fail(struct loop *loop, struct loop_io *io, int fd, uint32_t events, void (*fn)(struct loop_io *io, uint32_t revents))
{
	if (fn == on_exit_ready) {
		n_added++;
		if (add_fails && add_fails--)
			return -ENOSPC;
	}
	return loop_io_add(loop, io, fd, events, fn);
}

static struct loop *loop;
static struct enrolled w;
static int writer, n_changes;
static char null_path[] = "/dev/null";

static void on_change(struct enrolled *e, void *user)
{
	n_changes++;
}

static struct proxy_process_config config = { .program = "/nowhere/trammel-proxy", .run_dir_fd = -1, .on_change = on_change };

static unsigned int fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int bed_new(void **state)
{
	int ends[2];

	n_added = n_changes = add_fails = 0;
	assert_int_equal(loop_new(&loop), 0);
	config.loop = loop;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	w = (struct enrolled){ .key = "default_web", .access_log = null_path, .proxy_log = null_path, .netns_fd = -1, .proxy_cgroup_fd = -1,
			       .admin_fd = -1 };
	for (int i = 0; i < LISTENERS; i++)
		w.listeners[i] = -1;
	w.listeners[LISTENER_INBOUND] = ends[0];
	writer = ends[1];
	return 0;
}

static int bed_free(void **state)
{
	close(w.listeners[LISTENER_INBOUND]);
	close(writer);
	loop_free(loop);
	return 0;
}

static void turn_ms(uint64_t ms)
{
	uint64_t until = clock_mono_ns() + ms * NS_PER_MS;

	while (clock_mono_ns() < until)
		assert_int_equal(loop_turn(loop, 5), 0);
}

/* No room to watch one more descriptor: the process that was made is ended and waited for, and its pidfd closed. */
static void a_start_that_cannot_be_watched_leaves_nothing(void **state)
{
	struct proxy_process *p;
	unsigned int fds;

	assert_int_equal(proxy_process_new(&config, &w, &p), 0);
	fds = fds_open();
	add_fails = 1000;
	assert_int_equal(write(writer, "x", 1), 1);
	turn_ms(500); /* after 0, 50, 100, 200 ms */
	assert_in_range(n_added, 2, 4);
	assert_int_equal(fds_open(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(n_changes, 0);
	assert_int_equal(w.proxy_pid, 0);
	add_fails = 0; /* and it is tried again */
	for (int i = 0; i < 20 && n_changes < 2; i++)
		turn_ms(50);
	assert_true(n_changes >= 2); /* started, and ended: there is no such program */
	proxy_process_free(p);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_start_that_cannot_be_watched_leaves_nothing, bed_new, bed_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
