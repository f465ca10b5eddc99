/* SPDX-License-Identifier: Apache-2.0 */
/* trammel exec: run something else inside a workload, captured alike */
#include <errno.h>
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/pod.h"
#include "tools/workload_name.h"

static int exec_in(struct invocation *inv)
{
	struct pod_command command = { .argv = inv->rest };
	struct fault fault = { 0 };
	struct workload_name w;
	json_t *workload;
	pid_t pid;
	int r;

	if (inv->n_args != 1 || !inv->n_rest)
		return command_misuse(inv, "exec wants one workload and, behind --, a command");
	if (!workload_name_parse(inv->args[0], &w))
		return command_misuse(inv, "%s is no workload name: NAMESPACE/NAME, lower-case letters, digits and '-'", inv->args[0]);
	if (agent_call(json_pack("{s:s,s:s,s:s}", "op", "workload.get", "namespace", w.namespace, "name", w.name), &workload, &fault) < 0)
		return command_refuse(inv, &fault);
	r = pod_start(workload, &command, &pid, &fault);
	json_decref(workload);
	if (r < 0) {
		(void)command_refuse(inv, &fault); /* the status says which kind, as a shell's does */
		return r == -ENOENT ? 127 : 126;
	}
	return pod_wait(pid);
}

const struct verb command_exec = { "exec", exec_in, "NAMESPACE/NAME -- CMD...", "run a command inside a running workload; exit code is the command's", NULL };
