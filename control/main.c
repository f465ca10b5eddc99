/* SPDX-License-Identifier: Apache-2.0 */
/* trammel-agent: [--policy DIR] [--ready-fd N], or --clean [--json]. Started by `trammel up` and `trammel down`. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "config.h"
#include "control/agent.h"

/* One line to whoever started us: the answer to "status", or the error. */
static void ready_tell(int fd, const struct agent *a, const struct fault *fault)
{
	struct json_writer w;
	struct buf out;

	if (fd < 0)
		return;
	buf_init(&out, 65536);
	json_writer_init(&w, &out);
	json_open_object(&w, NULL);
	json_bool(&w, "ok", a != NULL);
	if (a)
		agent_status_json(a, &w);
	else
		fault_json(fault, &w);
	json_close_object(&w);
	if (json_writer_end(&w) == 0 && buf_append(&out, "\n", 1) == 0)
		(void)!write(fd, buf_head(&out), out.len); /* whoever asked has gone: nothing to tell */
	buf_done(&out);
	close(fd);
}

static int clean(bool json)
{
	struct fault fault = { 0 };
	struct paths paths;
	int r;

	if (geteuid() != 0) {
		fault_set(&fault, "down", "run `trammel down` as root", "needs root, to remove programs and namespaces");
		r = -EPERM;
	} else {
		r = paths_init(&paths);
		if (r < 0)
			fault_set(&fault, "cgroup2", NULL, "is not mounted: %s", strerror(-r));
		else {
			r = clean_all(&paths, &fault);
			paths_done(&paths);
		}
	}
	if (r < 0)
		fault_print(&fault, "trammel", json);
	fault_done(&fault);
	return r < 0;
}

/* Some twenty descriptors for each workload. */
static void files_allow(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("limit of open files stays low", "err=%s", strerror(errno));
}

static void on_term(int signo, void *user)
{
	loop_stop(((struct agent *)user)->loop);
}

static int serve(const char *policy_dir, int ready_fd)
{
	struct fault fault = { 0 };
	struct agent agent;
	int r;

	signal(SIGPIPE, SIG_IGN);
	files_allow();
	r = agent_start(&agent, policy_dir, &fault);
	r = r ? r : loop_signal_add(agent.loop, SIGTERM, on_term, &agent);
	r = r ? r : loop_signal_add(agent.loop, SIGINT, on_term, &agent);
	if (r < 0) {
		if (!fault.reason)
			fault_set(&fault, "agent", NULL, "%s", strerror(-r));
		log_error("not started", "thing=\"%s\" reason=\"%s\"", fault_or(fault.thing), fault_or(fault.reason));
		if (ready_fd < 0)
			fault_print(&fault, "trammel", false);
		agent_undo(&agent);
		ready_tell(ready_fd, NULL, &fault);
		fault_done(&fault);
		return 1;
	}
	log_info("agent serves", "version=%s run_dir=%s", TRAMMEL_VERSION, agent.paths.run_dir);
	ready_tell(ready_fd, &agent, NULL);
	r = loop_run(agent.loop);
	log_info("agent ends", "down=%d", agent.going_down);
	agent_end(&agent);
	return r < 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "policy", required_argument, NULL, 'p' }, { "ready-fd", required_argument, NULL, 'r' }, { "clean", no_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },	     { "version", no_argument, NULL, 'v' },	   { NULL, 0, NULL, 0 },
	};
	const char *policy_dir = NULL;
	bool do_clean = false, json = false;
	uint64_t ready_fd = 0;
	int c;

	log_init("trammel-agent", LOG_INFO);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			policy_dir = optarg;
		else if (c == 'r' && str_parse_u64(str_from(optarg), 1 << 20, &ready_fd) == 0)
			continue;
		else if (c == 'c')
			do_clean = true;
		else if (c == 'j')
			json = true;
		else if (c == 'v')
			return printf("trammel-agent %s\n", TRAMMEL_VERSION) < 0;
		else {
			fprintf(stderr, "usage: trammel-agent [--policy DIR] [--ready-fd N] | --clean [--json]\n");
			return 2;
		}
	}
	return do_clean ? clean(json) : serve(policy_dir, ready_fd ? (int)ready_fd : -1);
}
