/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trammel up: start this instance's agent
 *
 * The agent tells over a pipe (--ready-fd) that it serves, or why it cannot: its start-up errors are shown here, not
 * hidden in a log. With --foreground we become the agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/str.h"
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/companion.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "agent", "pid", COLUMN_TEXT },	     { "version", "version", COLUMN_TEXT },
	{ "run folder", "run_dir", COLUMN_TEXT },    { "policy folder", "policy_dir", COLUMN_TEXT },
	{ "generation", "generation", COLUMN_TEXT }, { "workloads", "workloads", COLUMN_TEXT },
	{ "refused", "complaints", COLUMN_TEXT },    { NULL, NULL, 0 },
};

/* In the child: leave the terminal and the caller's folder behind; output goes to the agent's log. */
static void agent_exec_detached(char *const argv[], int ready_fd)
{
	_cleanup_(freep) char *log = str_printf("%s/agent.log", run_dir());
	int fd;

	setsid();
	(void)!chdir("/"); /* only so that no mount is kept busy */
	(void)mkdir(run_dir(), 0755);
	fd = open("/dev/null", O_RDWR);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0640) : -1;
	if (fd < 0)
		fd = open("/dev/null", O_RDWR); /* why there is no log is among what the agent tells */
	dup2(fd, STDERR_FILENO);
	fcntl(ready_fd, F_SETFD, 0);
	execv(argv[0], argv);
	_exit(127);
}

/* What the agent says at its start: one JSON line, as an answer of the admin protocol. */
static int ready_read(const struct invocation *inv, int fd, struct fault *fault)
{
	json_t *answer, *error;
	struct buf in;
	ssize_t k;
	int r = 0;

	buf_init(&in, 65536);
	do {
		char *tail;
		size_t room;

		if (buf_reserve(&in, 1024) < 0)
			break;
		tail = buf_tail(&in, &room);
		k = read(fd, tail, room);
		if (k > 0)
			buf_commit(&in, (size_t)k);
	} while (k > 0 || (k < 0 && errno == EINTR));
	answer = in.len ? json_loadb(in.mem + in.off, in.len, 0, NULL) : NULL;
	buf_done(&in);
	error = json_object_get(answer, "error");
	if (json_is_true(json_object_get(answer, "ok"))) {
		r = object_show(inv, json_incref(answer), columns);
	} else if (error) {
		fault_set(fault, json_string_value(json_object_get(error, "thing")), json_string_value(json_object_get(error, "next")), "%s",
			  fault_or(json_string_value(json_object_get(error, "reason"))));
		r = -EREMOTEIO;
	} else {
		fault_set(fault, "agent", "see agent.log in the run folder", "ended before it was ready");
		r = -EREMOTEIO;
	}
	json_decref(answer);
	return r;
}

static int agent_start(struct invocation *inv, char *argv[], int pipe_fds[2])
{
	struct fault fault = { 0 };
	pid_t pid;
	int r;

	pid = fork();
	if (pid < 0) {
		fault_set(&fault, "agent", NULL, "fork: %s", strerror(errno));
		return command_refuse(inv, &fault);
	}
	if (pid == 0) {
		pid = fork(); /* the agent is nobody's child: it outlives this command */
		if (pid == 0) {
			close(pipe_fds[0]);
			agent_exec_detached(argv, pipe_fds[1]);
		}
		_exit(pid < 0 ? 1 : 0);
	}
	close(pipe_fds[1]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	r = ready_read(inv, pipe_fds[0], &fault);
	close(pipe_fds[0]);
	return r < 0 ? command_refuse(inv, &fault) : r;
}

static int up(struct invocation *inv)
{
	_cleanup_(freep) char *agent = NULL, *dir = NULL;
	const char *policy = option_value(inv, "--policy");
	char *argv[8], ready[16];
	struct fault fault = { 0 };
	int pipe_fds[2], n = 0;

	if (inv->n_args || inv->n_rest)
		return command_misuse(inv, "up takes options alone");
	if (companion_find("trammel-agent", "control", &agent) < 0) {
		fault_set(&fault, "trammel-agent", "build it, or install with `meson install`", "is not beside this program nor in libexec");
		return command_refuse(inv, &fault);
	}
	argv[n++] = agent;
	if (policy) {
		dir = realpath(policy, NULL);
		if (!dir) {
			fault_set(&fault, policy, "make the folder, or name another with --policy", "policy folder: %s", strerror(errno));
			return command_refuse(inv, &fault);
		}
		argv[n++] = (char *)"--policy";
		argv[n++] = dir;
	}
	if (option_value(inv, "--foreground")) {
		argv[n] = NULL;
		execv(agent, argv);
		fault_set(&fault, agent, NULL, "%s", strerror(errno));
		return command_refuse(inv, &fault);
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
		fault_set(&fault, "agent", NULL, "pipe: %s", strerror(errno));
		return command_refuse(inv, &fault);
	}
	snprintf(ready, sizeof(ready), "%d", pipe_fds[1]);
	argv[n++] = (char *)"--ready-fd";
	argv[n++] = ready;
	argv[n] = NULL;
	return agent_start(inv, argv, pipe_fds);
}

static const struct option_spec options[] = {
	{ "--policy", "DIR", "folder of Kubernetes YAML, watched; without it the mesh has workloads but no services", false },
	{ "--foreground", NULL, "stay here and log to stderr", false },
	{ NULL, NULL, NULL, false },
};

const struct verb command_up = { "up", up, "", "start the agent, or take over what an earlier one left running", options };
