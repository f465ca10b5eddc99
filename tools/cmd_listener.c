/* SPDX-License-Identifier: Apache-2.0 */
/* trammel listener: listening sockets of proxies */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "WORKLOAD", "workload", COLUMN_TEXT },
	{ "LISTENER", "name", COLUMN_TEXT },
	{ "ADDRESS", "address", COLUMN_TEXT },
	{ "PORT", "port", COLUMN_TEXT },
	{ "HELD BY", "owner", COLUMN_TEXT },
	{ NULL, NULL, 0 },
};

static int listener_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("listener.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "listeners", columns);
}

static const struct verb verbs[] = {
	{ "list", listener_list, "", "listening sockets and who holds them", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_listener = { "listener", "listening sockets of the proxies", verbs };
