/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy of one workload: see proxy_process.h. */
#include "control/enrol/proxy_process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/spawn.h"

#define FD_FIRST     3
#define BACKOFF_MS   100
#define BACKOFF_MAX  5000
#define LIVED_NS     (10 * NS_PER_S)
#define OPEN_SLOT(w, i) ((w)->listeners[i] >= 0)

/* Descriptors of the proxy, in the order of TRAMMEL_LISTEN_FDS; listeners first. */
enum {
	FD_ADMIN = LISTENERS,
	FD_ACCESS_LOG,
	FDS,
};

/* A listener that is polled while no proxy runs. */
struct waiting {
	struct loop_io io;
	struct proxy_process *process;
};

struct proxy_process {
	const struct proxy_process_config *config;
	struct enrolled *w;
	struct waiting waiting[LISTENERS];
	struct loop_io exit_io; /* pidfd */
	struct loop_timer timer;
	int pidfd;
	uint64_t started_ns;
	uint32_t restarts, backoff_ms;
	bool started_once;
};

static void on_waiting(struct loop_io *io, uint32_t revents);
static void on_exit_ready(struct loop_io *io, uint32_t revents);

static void listeners_unwatch(struct proxy_process *p)
{
	for (int i = 0; i < LISTENERS; i++)
		loop_io_remove(&p->waiting[i].io);
}

static void listeners_watch(struct proxy_process *p)
{
	for (int i = 0; i < LISTENERS; i++)
		if (OPEN_SLOT(p->w, i) && loop_io_add(p->config->loop, &p->waiting[i].io, p->w->listeners[i], EPOLLIN, on_waiting) < 0)
			log_error("cannot watch a listener", "workload=%s", p->w->key);
}

static void fds_text(const struct enrolled *w, char *text, size_t n)
{
	size_t at = (size_t)snprintf(text, n, "TRAMMEL_LISTEN_FDS=");

	for (int i = 0; i < LISTENERS; i++)
		if (OPEN_SLOT(w, i))
			at += (size_t)snprintf(text + at, n - at, "%s=%d,", listener_specs[i].name, FD_FIRST + i);
	snprintf(text + at, n - at, "admin=%d,access_log=%d", FD_FIRST + FD_ADMIN, FD_FIRST + FD_ACCESS_LOG);
}

/* In the child, already in the proxy's cgroup: network, descriptors, then no rights at all. */
static void __attribute__((noreturn)) child_run(struct proxy_process *p, const int fds[FDS], int log_fd)
{
	const struct proxy_process_config *c = p->config;
	char listen_fds[512], agent[4096], workload[160], *level = getenv("TRAMMEL_LOG"), log_level[64] = "TRAMMEL_LOG=info";
	char *argv[] = { (char *)c->program, NULL };
	char *envp[] = { listen_fds, agent, workload, log_level, (char *)"PATH=/usr/bin:/bin", getenv("TRAMMEL_PROXY_ENV"), NULL };
	int null_fd;

	fds_text(p->w, listen_fds, sizeof(listen_fds));
	snprintf(agent, sizeof(agent), "TRAMMEL_AGENT_SOCKET=%s", c->paths->publish_socket);
	snprintf(workload, sizeof(workload), "TRAMMEL_WORKLOAD=%s/%s", p->w->spec.namespace, p->w->spec.name);
	if (level)
		snprintf(log_level, sizeof(log_level), "TRAMMEL_LOG=%.40s", level);
	if (setns(p->w->netns_fd, CLONE_NEWNET) < 0)
		_exit(126);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd >= 0 ? log_fd : null_fd, 1) < 0 || dup2(1, 2) < 0)
		_exit(126);
	if (spawn_place_fds(fds, FDS, FD_FIRST) < 0)
		_exit(126);
	setsid();
	spawn_reset_signals();
	if (chdir("/") < 0 || setgroups(0, NULL) < 0 || setresgid(c->uid, c->uid, c->uid) < 0 || setresuid(c->uid, c->uid, c->uid) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(126);
	execve(c->program, argv, envp);
	_exit(127);
}

static int log_open(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static void pid_set(struct proxy_process *p, pid_t pid)
{
	p->w->proxy_pid = pid;
	p->w->proxy_start = pid ? spawn_start_time(pid) : 0;
	p->config->on_change(p->w, p->config->user);
}

static void on_retry(struct loop_timer *timer)
{
	listeners_watch(container_of(timer, struct proxy_process, timer));
}

/* Not now: look at the listeners again after the back-off. */
static void retry_later(struct proxy_process *p)
{
	listeners_unwatch(p);
	p->backoff_ms = p->backoff_ms ? MIN(p->backoff_ms * 2, (uint32_t)BACKOFF_MAX) : BACKOFF_MS;
	loop_timer_set(p->config->loop, &p->timer, p->backoff_ms, on_retry);
}

static void process_start(struct proxy_process *p)
{
	struct enrolled *w = p->w;
	_cleanup_(fd_closep) int access_fd = log_open(w->access_log), log_fd = log_open(w->proxy_log);
	int fds[FDS], r;
	pid_t pid;

	memcpy(fds, w->listeners, sizeof(w->listeners));
	fds[FD_ADMIN] = w->admin_fd;
	fds[FD_ACCESS_LOG] = access_fd;
	r = spawn_fork(w->proxy_cgroup_fd, &pid, &p->pidfd);
	if (r == 0 && pid == 0)
		child_run(p, fds, log_fd);
	if (r == 0)
		r = loop_io_add(p->config->loop, &p->exit_io, p->pidfd, EPOLLIN, on_exit_ready);
	if (r < 0) {
		log_error("proxy not started", "workload=%s err=%s", w->key, strerror(-r));
		retry_later(p);
		return;
	}
	listeners_unwatch(p);
	p->started_ns = clock_mono_ns();
	p->restarts += p->started_once;
	p->started_once = true;
	log_info("proxy started", "workload=%s/%s pid=%d", w->spec.namespace, w->spec.name, (int)pid);
	pid_set(p, pid);
}

static void on_waiting(struct loop_io *io, uint32_t revents)
{
	process_start(container_of(io, struct waiting, io)->process);
}

static void on_exit_ready(struct loop_io *io, uint32_t revents)
{
	struct proxy_process *p = container_of(io, struct proxy_process, exit_io);
	int status = 0;
	pid_t pid = p->w->proxy_pid;

	loop_io_remove(&p->exit_io);
	p->pidfd = fd_close(p->pidfd);
	if (waitpid(pid, &status, WNOHANG) <= 0)
		status = 0; /* adopted: it is not our child */
	log_write(WIFSIGNALED(status) || WEXITSTATUS(status) ? LOG_WARN : LOG_INFO, "proxy ended", "workload=%s/%s pid=%d %s=%d", p->w->spec.namespace,
		  p->w->spec.name, (int)pid, WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	pid_set(p, 0);
	if (clock_mono_ns() - p->started_ns >= LIVED_NS)
		p->backoff_ms = 0;
	if (p->backoff_ms)
		retry_later(p);
	else {
		p->backoff_ms = BACKOFF_MS / 2; /* the next early end waits 100 ms */
		listeners_watch(p);
	}
}

int proxy_process_new(const struct proxy_process_config *config, struct enrolled *w, struct proxy_process **ret)
{
	struct proxy_process *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return -ENOMEM;
	*p = (struct proxy_process){ .config = config, .w = w, .pidfd = -1 };
	for (int i = 0; i < LISTENERS; i++)
		p->waiting[i].process = p;
	if (w->proxy_pid) {
		p->started_ns = clock_mono_ns();
		p->started_once = true;
		r = spawn_pidfd_open(w->proxy_pid, &p->pidfd);
		r = r ? r : loop_io_add(config->loop, &p->exit_io, p->pidfd, EPOLLIN, on_exit_ready);
		if (r == -ESRCH)
			w->proxy_pid = 0;
		else if (r < 0) {
			proxy_process_free(p);
			return r;
		}
	}
	if (!w->proxy_pid)
		listeners_watch(p);
	*ret = p;
	return 0;
}

struct proxy_process *proxy_process_free(struct proxy_process *p)
{
	if (!p)
		return NULL;
	listeners_unwatch(p);
	loop_io_remove(&p->exit_io);
	loop_timer_cancel(&p->timer);
	fd_close(p->pidfd);
	free(p);
	return NULL;
}

uint32_t proxy_process_restarts(const struct proxy_process *p)
{
	return p->restarts;
}

int proxy_process_take_listeners(struct enrolled *w)
{
	_cleanup_(fd_closep) int pidfd = -1;
	int r;

	if (!w->proxy_pid)
		return -ESRCH;
	r = spawn_pidfd_open(w->proxy_pid, &pidfd);
	for (int i = 0; i < LISTENERS && r == 0; i++) {
		r = spawn_pidfd_take_fd(pidfd, FD_FIRST + i, &w->listeners[i]);
		if (r == -EBADF && strcmp(listener_specs[i].address, "::1") == 0)
			r = 0; /* a kernel without IPv6 */
	}
	return r ? r : spawn_pidfd_take_fd(pidfd, FD_FIRST + FD_ADMIN, &w->admin_fd);
}
