/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering a workload: its cgroup, network and files
 *
 * The child is born inside the workload's app cgroup, so that no socket of it escapes capture, then joins the network namespace,
 * gets its own view of /etc/hosts, /etc/resolv.conf and /sys, and becomes the command.
 */
#ifndef TRAMMEL_TOOLS_POD_H
#define TRAMMEL_TOOLS_POD_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>
#include "base/cleanup.h"
#include "base/fault.h"

struct pod_command {
	char **argv;	  /* NULL-ended */
	const char **env; /* "K=V", NULL-ended; added to ours; may be NULL */
	bool detach;	  /* new session, stdin from /dev/null, output to @log */
	const char *log;  /* file for the output of a detached command */
};

/**
 * pod_start() - run a command inside
 * @workload:  answer of workload.create or workload.get: "netns", "cgroup" (the app's), "etc_dir"
 * @ret_pid:   of the command
 *
 * Waits until the command was exec()ed or could not be: a missing program is told here.
 *
 * Return: 0; -ENOENT or another negative errno of exec or of entering, with @fault set and the child gone.
 */
MUST_CHECK int pod_start(const json_t *workload, const struct pod_command *command, pid_t *ret_pid, struct fault *fault);

/** pod_wait() - forward TERM, INT, HUP, QUIT, USR1, USR2 to the command until it ends; exit code, or 128 + signal */
int pod_wait(pid_t pid);

#endif
