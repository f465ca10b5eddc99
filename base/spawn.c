/* SPDX-License-Identifier: Apache-2.0 */
/* Starting processes: see spawn.h. */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

/* The fields of struct clone_args up to cgroup (Linux 5.7). */
struct clone_v2 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

#define CLONE_INTO_CGROUP_ 0x200000000ull

int spawn_fork(int cgroup_fd, pid_t *ret_pid, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_v2 args = {
		.flags = (cgroup_fd >= 0 ? CLONE_INTO_CGROUP_ : 0) | (ret_pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)(cgroup_fd >= 0 ? cgroup_fd : 0),
	};
	long r = syscall(SYS_clone3, &args, sizeof(args));

	if (r < 0)
		return -errno;
	*ret_pid = (pid_t)r;
	if (r > 0 && ret_pidfd)
		*ret_pidfd = pidfd;
	return 0;
}

void spawn_reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int spawn_place_fds(const int *fds, size_t n, int first)
{
	int high[32];

	if (n > sizeof(high) / sizeof(high[0]))
		return -E2BIG;
	/* 1. out of the way of the targets; 2. to the targets; 3. the rest away */
	for (size_t i = 0; i < n; i++) {
		high[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, first + (int)n);
		if (fds[i] >= 0 && high[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < n; i++) {
		if (high[i] < 0)
			close(first + (int)i);
		else if (dup2(high[i], first + (int)i) < 0)
			return -errno;
	}
	if (syscall(SYS_close_range, (unsigned int)first + (unsigned int)n, ~0u, 0) < 0)
		return -errno;
	return 0;
}

int spawn_pidfd_open(pid_t pid, int *ret)
{
	long fd = pid > 0 ? syscall(SYS_pidfd_open, pid, 0) : (errno = ESRCH, -1);

	if (fd < 0)
		return -errno;
	*ret = (int)fd;
	return 0;
}

int spawn_pidfd_signal(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

int spawn_pidfd_take_fd(int pidfd, int fd, int *ret)
{
	long r = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (r < 0)
		return -errno;
	*ret = (int)r;
	return 0;
}

unsigned long long spawn_start_time(pid_t pid)
{
	char path[64], line[1024], *p;
	unsigned long long start = 0;
	_cleanup_(file_closep) FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	/* The name in parentheses may hold anything: fields are counted from its last ')', which ends field 2. */
	p = strrchr(line, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (p)
		start = strtoull(p + 1, NULL, 10);
	return start;
}
