/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trammel down: end everything of this instance and leave nothing
 *
 * A running agent is asked and waited for. Whether or not one ran, `trammel-agent --clean` then removes what is left
 * (programs, maps, links, cgroups with their processes, namespaces, the run folder).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/companion.h"

static int down(struct invocation *inv)
{
	_cleanup_(freep) char *agent = NULL;
	struct fault fault = { 0 };
	json_t *answer;
	pid_t pid;
	int r, status = 0;

	if (inv->n_args || inv->n_rest)
		return command_misuse(inv, "down takes no argument");
	if (companion_find("trammel-agent", "control", &agent) < 0) {
		fault_set(&fault, "trammel-agent", "build it, or install with `meson install`", "is not beside this program nor in libexec");
		return command_refuse(inv, &fault);
	}
	r = agent_ask("down", &answer, &fault);
	if (r == 0)
		json_decref(answer);
	else if (r == -EACCES || r == -EPERM)
		return command_refuse(inv, &fault);
	fault_done(&fault); /* no agent is fine: what it left is cleaned all the same */
	pid = fork();
	if (pid == 0) {
		execl(agent, agent, "--clean", inv->json ? "--json" : (char *)NULL, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 127) {
		fault_set(&fault, agent, NULL, "could not be run");
		return command_refuse(inv, &fault);
	}
	return WEXITSTATUS(status);
}

const struct verb command_down = { "down", down, "", "end the agent, every workload and proxy; remove programs, maps, namespaces and cgroups", NULL };
