/* SPDX-License-Identifier: Apache-2.0 */
/* trammel stop: end one workload and remove all of it */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/workload_name.h"

static int stop(struct invocation *inv)
{
	struct fault fault = { 0 };
	struct workload_name w;
	json_t *answer;

	if (inv->n_args != 1 || inv->n_rest)
		return command_misuse(inv, "stop wants one workload");
	if (!workload_name_parse(inv->args[0], &w))
		return command_misuse(inv, "%s is no workload name: NAMESPACE/NAME, lower-case letters, digits and '-'", inv->args[0]);
	if (agent_call(json_pack("{s:s,s:s,s:s}", "op", "workload.stop", "namespace", w.namespace, "name", w.name), &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	json_decref(answer);
	return 0;
}

const struct verb command_stop = { "stop", stop, "NAMESPACE/NAME", "end a workload: its processes (TERM, after 5 s KILL), then all that was made for it", NULL };
