/* SPDX-License-Identifier: Apache-2.0 */
/* trammel endpoint: endpoints of the snapshot in force */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "NAMESPACE", "namespace", COLUMN_TEXT },
	{ "SERVICE", "service", COLUMN_TEXT },
	{ "PORT", "port", COLUMN_TEXT },
	{ "ADDRESS", "address", COLUMN_TEXT },
	{ "READY", "ready", COLUMN_TEXT },
	{ "TERMINATING", "terminating", COLUMN_TEXT },
	{ "MTLS", "mtls", COLUMN_TEXT },
	{ "TUNNEL", "tunnel", COLUMN_TEXT },
	{ "WORKLOAD", "workload", COLUMN_TEXT },
	{ "IDENTITY", "spiffe_id", COLUMN_TEXT },
	{ NULL, NULL, 0 },
};

static int endpoint_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("endpoint.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "endpoints", columns);
}

static const struct verb verbs[] = {
	{ "list", endpoint_list, "", "endpoints of every service, ready or not", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_endpoint = { "endpoint", "endpoints of services", verbs };
