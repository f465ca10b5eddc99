/* SPDX-License-Identifier: Apache-2.0 */
/* trammel service: services of the snapshot in force */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "NAMESPACE", "namespace", COLUMN_TEXT },
	{ "NAME", "name", COLUMN_TEXT },
	{ "ADDRESSES", "addresses", COLUMN_TEXT },
	{ "PORTS", "ports_text", COLUMN_TEXT },
	{ "READY", "ready", COLUMN_TEXT },
	{ "ENDPOINTS", "endpoints", COLUMN_TEXT },
	{ "HOSTNAME", "hostname", COLUMN_TEXT },
	{ NULL, NULL, 0 },
};

static int service_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("service.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "services", columns);
}

static const struct verb verbs[] = {
	{ "list", service_list, "", "services, their addresses, ports and number of ready endpoints", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_service = { "service", "services of the mesh", verbs };
