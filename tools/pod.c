/* SPDX-License-Identifier: Apache-2.0 */
/* Entering a workload: see pod.h. */
#include "tools/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/spawn.h"
#include "base/str.h"

/* What the child reports when it cannot become the command. */
struct pod_failure {
	int err;
	char step[120];
};

static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };

static void __attribute__((noreturn)) child_fail(int report_fd, const char *step)
{
	struct pod_failure f = { .err = errno };

	snprintf(f.step, sizeof(f.step), "%s", step);
	(void)!write(report_fd, &f, sizeof(f)); /* the parent sees the end of the pipe at least */
	_exit(127);
}

/* Own view of the two files and of /sys (the network part of sysfs is that of the mounting namespace). */
static void mounts_enter(const char *etc_dir, int report_fd)
{
	static const char *const files[] = { "hosts", "resolv.conf" };

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		child_fail(report_fd, "unshare the mount namespace");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char from[4096], to[64];

		snprintf(from, sizeof(from), "%s/%s", etc_dir, files[i]);
		snprintf(to, sizeof(to), "/etc/%s", files[i]);
		if (mount(from, to, NULL, MS_BIND, NULL) < 0)
			child_fail(report_fd, to);
	}
	/* Best effort: where /sys is not ours to replace, programs see the node's interfaces there. */
	if (umount2("/sys", MNT_DETACH) == 0)
		(void)mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
}

/* Away from the caller's terminal and pipes: whoever reads them sees their end when `trammel run --detach` ends. */
static void detach(const char *log, int report_fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (null_fd < 0 || log_fd < 0)
		child_fail(report_fd, log);
	setsid();
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		child_fail(report_fd, log);
}

static void __attribute__((noreturn)) child_run(const struct pod_command *c, int netns_fd, const char *etc_dir, const char *hostname, int report_fd)
{
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		child_fail(report_fd, "enter the network namespace");
	if (unshare(CLONE_NEWUTS) < 0 || sethostname(hostname, strlen(hostname)) < 0)
		child_fail(report_fd, "set the host name");
	if (c->detach)
		detach(c->log, report_fd);
	mounts_enter(etc_dir, report_fd);
	spawn_reset_signals();
	for (const char **e = c->env; e && *e; e++)
		putenv((char *)*e);
	execvp(c->argv[0], c->argv);
	child_fail(report_fd, c->argv[0]);
}

static int failure_read(int fd, pid_t pid, struct fault *fault)
{
	struct pod_failure f;
	ssize_t k;

	do
		k = read(fd, &f, sizeof(f));
	while (k < 0 && errno == EINTR);
	if (k != (ssize_t)sizeof(f))
		return 0; /* closed by exec */
	(void)waitpid(pid, NULL, 0);
	f.step[sizeof(f.step) - 1] = '\0';
	fault_set(fault, f.step, f.err == ENOENT ? "is it installed, and is its path right?" : NULL, "%s", strerror(f.err));
	return f.err > 0 ? -f.err : -EIO;
}

int pod_start(const json_t *workload, const struct pod_command *command, pid_t *ret_pid, struct fault *fault)
{
	const char *netns = json_string_value(json_object_get(workload, "netns"));
	const char *cgroup = json_string_value(json_object_get(workload, "cgroup"));
	const char *etc_dir = json_string_value(json_object_get(workload, "etc_dir"));
	const char *name = json_string_value(json_object_get(workload, "name"));
	_cleanup_(fd_closep) int netns_fd = -1, cgroup_fd = -1, report_r = -1, report_w = -1;
	int pipe_fds[2], r;
	pid_t pid;

	if (!netns || !cgroup || !etc_dir || !name) {
		fault_set(fault, "agent", "are both of the same version?", "its answer lacks name, netns, cgroup or etc_dir");
		return -EPROTO;
	}
	netns_fd = open(netns, O_RDONLY | O_CLOEXEC);
	cgroup_fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (netns_fd < 0 || cgroup_fd < 0) {
		r = -errno;
		fault_set(fault, netns_fd < 0 ? netns : cgroup, "see `trammel workload list`", "%s", strerror(-r));
		return r;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	report_r = pipe_fds[0], report_w = pipe_fds[1];
	fflush(NULL);
	r = spawn_fork(cgroup_fd, &pid, NULL);
	if (r < 0) {
		fault_set(fault, cgroup, NULL, "cannot start a process there: %s", strerror(-r));
		return r;
	}
	if (pid == 0)
		child_run(command, netns_fd, etc_dir, name, report_w);
	report_w = fd_close(report_w);
	r = failure_read(report_r, pid, fault);
	if (r == 0)
		*ret_pid = pid;
	return r;
}

static volatile sig_atomic_t forward_pid;

static void on_forwarded(int signo)
{
	int err = errno;

	kill((pid_t)forward_pid, signo);
	errno = err;
}

int pod_wait(pid_t pid)
{
	struct sigaction sa = { .sa_handler = on_forwarded };
	int status;

	forward_pid = pid;
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaction(forwarded[i], &sa, NULL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
