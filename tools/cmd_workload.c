/* SPDX-License-Identifier: Apache-2.0 */
/* trammel workload: what runs here */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "NAMESPACE", "namespace", COLUMN_TEXT },
	{ "NAME", "name", COLUMN_TEXT },
	{ "STATE", "state", COLUMN_TEXT },
	{ "ADDRESSES", "addresses", COLUMN_TEXT },
	{ "SERVICE ACCOUNT", "service_account", COLUMN_TEXT },
	{ "PID", "pid", COLUMN_TEXT },
	{ "PROXY PID", "proxy_pid", COLUMN_TEXT },
	{ "RESTARTS", "proxy_restarts", COLUMN_TEXT },
	{ "LISTENS", "listening", COLUMN_TEXT },
	{ "AGE", "age_s", COLUMN_AGE_S },
	{ NULL, NULL, 0 },
};

static int workload_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("workload.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "workloads", columns);
}

static const struct verb verbs[] = {
	{ "list", workload_list, "", "workloads enrolled here, with their proxies", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_workload = { "workload", "workloads that run here", verbs };
