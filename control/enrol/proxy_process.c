/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy of one workload: see proxy_process.h. */
#include "control/enrol/proxy_process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/spawn.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/restart.h"

#define FD_FIRST     3
#define GONE_WAITS   200
#define GONE_WAIT_US 5000
#define OPEN_SLOT(w, i) ((w)->listeners[i] >= 0)

/* Descriptors of the proxy, in the order of TRAMMEL_LISTEN_FDS; listeners first. */
enum {
	FD_ADMIN = LISTENERS,
	FD_ACCESS_LOG,
	FD_RUN_DIR, /* not listed there: TRAMMEL_AGENT_SOCKET leads through it */
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
	struct restart restart;
	uint32_t restarts;
	bool started_once, stopping;
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

/* The agent's environment, as far as it concerns a proxy: ours, the sanitizers', and where libraries are. NULL when memory is out. */
static char **environment_make(const char *listen_fds, const char *agent, const char *workload)
{
	static const char *const prefixes[] = { "TRAMMEL_LOG=", "ASAN_", "LSAN_", "UBSAN_", "TSAN_", "LD_LIBRARY_PATH=", "MALLOC_", "TZ=" };
	size_t n = 0, at = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 5, sizeof(*env));
	if (!env)
		return NULL;
	env[at++] = (char *)listen_fds;
	env[at++] = (char *)agent;
	env[at++] = (char *)workload;
	env[at++] = (char *)"PATH=/usr/bin:/bin";
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(prefixes); k++)
			if (strncmp(environ[i], prefixes[k], strlen(prefixes[k])) == 0)
				env[at++] = environ[i];
	return env;
}

static int rights_drop(uid_t uid)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
	    setresuid(uid, uid, uid) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static void __attribute__((noreturn)) child_fail(const char *step, int err)
{
	log_error("proxy cannot be started", "step=\"%s\" err=\"%s\"", step, strerror(err));
	_exit(127);
}

/* In the child, already in the proxy's cgroup: network, descriptors, then no rights at all. */
static void __attribute__((noreturn)) child_run(struct proxy_process *p, const int fds[FDS], int log_fd)
{
	const struct proxy_process_config *c = p->config;
	char listen_fds[512], agent[80], workload[160];
	char *argv[] = { (char *)c->program, NULL }, **env;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), program_fd, r;

	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd >= 0 ? log_fd : null_fd, 1) < 0 || dup2(1, 2) < 0)
		_exit(126);
	fds_text(p->w, listen_fds, sizeof(listen_fds));
	snprintf(agent, sizeof(agent), "TRAMMEL_AGENT_SOCKET=/proc/self/fd/%d/publish.sock", FD_FIRST + FD_RUN_DIR);
	snprintf(workload, sizeof(workload), "TRAMMEL_WORKLOAD=%s/%s", p->w->spec.namespace, p->w->spec.name);
	env = environment_make(listen_fds, agent, workload);
	if (!env)
		child_fail("environment", ENOMEM);
	if (setns(p->w->netns_fd, CLONE_NEWNET) < 0)
		child_fail("network namespace", errno);
	r = spawn_place_fds(fds, FDS, FD_FIRST);
	if (r < 0)
		child_fail("descriptors", -r);
	/* opened with the agent's rights: a program below a folder that is closed to others can still be run */
	program_fd = open(c->program, O_PATH | O_CLOEXEC);
	setsid();
	spawn_reset_signals();
	if (chdir("/") < 0)
		child_fail("folder", errno);
	r = rights_drop(c->uid);
	if (r < 0)
		child_fail("rights", -r);
	execve(c->program, argv, env);
	if (errno == EACCES && program_fd >= 0)
		fexecve(program_fd, argv, env);
	child_fail(c->program, errno);
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

/* Look at the listeners again, in @wait_ms. */
static void listeners_watch_in(struct proxy_process *p, uint32_t wait_ms)
{
	listeners_unwatch(p);
	if (wait_ms)
		loop_timer_set(p->config->loop, &p->timer, wait_ms, on_retry);
	else
		listeners_watch(p);
}

/* Started, but its end could not be watched: it must not go on beside the next one. */
static void child_end(struct proxy_process *p, pid_t pid)
{
	if (spawn_pidfd_signal(p->pidfd, SIGKILL) < 0)
		log_warn("proxy not ended", "workload=%s", p->w->key);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	p->pidfd = fd_close(p->pidfd);
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
	fds[FD_RUN_DIR] = p->config->run_dir_fd;
	r = spawn_fork(w->proxy_cgroup_fd, &pid, &p->pidfd);
	if (r == 0 && pid == 0)
		child_run(p, fds, log_fd);
	if (r == 0) {
		r = loop_io_add(p->config->loop, &p->exit_io, p->pidfd, EPOLLIN, on_exit_ready);
		if (r < 0)
			child_end(p, pid);
	}
	if (r < 0) {
		log_error("proxy not started", "workload=%s err=%s", w->key, strerror(-r));
		listeners_watch_in(p, restart_failed(&p->restart));
		return;
	}
	listeners_unwatch(p);
	restart_started(&p->restart, clock_mono_ns(), false);
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
	if (!p->stopping) /* else nobody comes after it */
		listeners_watch_in(p, restart_ended(&p->restart, clock_mono_ns(), status));
	pid_set(p, 0);
}

void proxy_process_stop(struct proxy_process *p)
{
	p->stopping = true;
	listeners_unwatch(p);
	loop_timer_cancel(&p->timer);
	if (p->pidfd >= 0 && spawn_pidfd_signal(p->pidfd, SIGTERM) < 0)
		log_warn("proxy not asked to end", "workload=%s", p->w->key);
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
		restart_started(&p->restart, clock_mono_ns(), true);
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

void proxy_process_ready(struct proxy_process *p)
{
	if (p->pidfd >= 0)
		restart_ready(&p->restart);
}

uint32_t proxy_process_restarts(const struct proxy_process *p)
{
	return p->restarts;
}

/* Is @fd what the agent once made for this place? A process that has not become the proxy yet has other things there. */
static bool is_listener(int fd, const struct listener_spec *spec)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr a;
	int type = 0, listens = 0;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 || addr_from_sockaddr((struct sockaddr *)&sa, &a) < 0 || a.port != spec->port)
		return false;
	len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != spec->type)
		return false;
	len = sizeof(listens);
	return type == SOCK_DGRAM || (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens);
}

static int listeners_take(struct enrolled *w, int pidfd)
{
	int r = 0;

	for (int i = 0; i < LISTENERS && r == 0; i++) {
		r = spawn_pidfd_take_fd(pidfd, FD_FIRST + i, &w->listeners[i]);
		if (r == -EBADF && strcmp(listener_specs[i].address, "::1") == 0)
			r = 0; /* a kernel without IPv6 */
		else if (r == 0 && !is_listener(w->listeners[i], &listener_specs[i]))
			r = -ENOTSOCK;
	}
	return r ? r : spawn_pidfd_take_fd(pidfd, FD_FIRST + FD_ADMIN, &w->admin_fd);
}

int proxy_process_take_listeners(struct enrolled *w)
{
	_cleanup_(fd_closep) int pidfd = -1;
	int r;

	/* Its cgroup knows the proxy better than the state file: an agent may have died between start and note. */
	w->proxy_pid = cgroup_first_pid(w->proxy_cgroup);
	r = w->proxy_pid ? spawn_pidfd_open(w->proxy_pid, &pidfd) : -ESRCH;
	r = r ? r : listeners_take(w, pidfd);
	if (r == 0) {
		w->proxy_start = spawn_start_time(w->proxy_pid);
		return 0;
	}
	/*
	 * Whatever runs there is no proxy that serves. It holds the ports until it has gone. Not by cgroup.kill: Linux 6.18 kills
	 * every child that is born into a cgroup on which that was used once (it compares the kill counts of two cgroups).
	 */
	w->proxy_pid = 0;
	for (int waited = 0; waited < GONE_WAITS && cgroup_is_populated(w->proxy_cgroup); waited++) {
		cgroup_signal(w->proxy_cgroup, SIGKILL);
		usleep(GONE_WAIT_US);
	}
	return r;
}
