/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy of one workload: started when its first connection waits, watched, started again
 *
 * While no proxy runs, the listeners are polled here; while one runs, they are its own to accept from. After an exit it is
 * started again by the next connection, at once or after the wait that restart.h says.
 */
#ifndef TRAMMEL_CONTROL_ENROL_PROXY_PROCESS_H
#define TRAMMEL_CONTROL_ENROL_PROXY_PROCESS_H

#include "base/loop.h"
#include "control/enrol/workload.h"

struct proxy_process;

struct proxy_process_config {
	struct loop *loop;
	const struct paths *paths;
	const char *program; /* trammel-proxy */
	uid_t uid;
	int run_dir_fd; /* O_PATH of RUN_DIR: the proxy reaches the agent's socket through it, whatever the rights of the folders above */
	/* The proxy's pid changed (0: none runs): state file and views. */
	void (*on_change)(struct enrolled *w, void *user);
	void *user;
};

/** proxy_process_new() - adopt the running proxy (@w->proxy_pid) or wait for a connection; @config and @w are borrowed */
MUST_CHECK int proxy_process_new(const struct proxy_process_config *config, struct enrolled *w, struct proxy_process **ret);
/** proxy_process_free() - stop watching; a running proxy goes on */
struct proxy_process *proxy_process_free(struct proxy_process *p);

/** proxy_process_stop() - ask the proxy to drain and end; none is started any more */
void proxy_process_stop(struct proxy_process *p);

/** proxy_process_ready() - the proxy has its policy: should it end now, it was no failure to start */
void proxy_process_ready(struct proxy_process *p);

uint32_t proxy_process_restarts(const struct proxy_process *p);

/**
 * proxy_process_take_listeners() - after a restart of the agent: find the running proxy and duplicate its listeners into @w
 *
 * Return: 0; negative errno when no proxy serves, and then none runs.
 */
MUST_CHECK int proxy_process_take_listeners(struct enrolled *w);

#endif
