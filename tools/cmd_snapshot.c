/* SPDX-License-Identifier: Apache-2.0 */
/* trammel snapshot: the policy in force, who has it, and what was refused */
#include <stdio.h>
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column summary[] = {
	{ "generation", "generation", COLUMN_TEXT },	 { "built at", "built_at_s", COLUMN_TIME_S },
	{ "policy folder", "policy_dir", COLUMN_TEXT }, { "services", "services", COLUMN_TEXT },
	{ "workloads", "workloads", COLUMN_TEXT },	 { NULL, NULL, 0 },
};

static const struct column proxies[] = {
	{ "PROXY OF", "workload", COLUMN_TEXT },   { "PID", "pid", COLUMN_TEXT },
	{ "SENT", "sent_generation", COLUMN_TEXT }, { "ACKED", "acked_generation", COLUMN_TEXT },
	{ "NACKS", "nacks", COLUMN_TEXT },	   { "SUBSCRIPTIONS", "subscriptions", COLUMN_TEXT },
	{ "LAST ERROR", "last_error", COLUMN_TEXT }, { NULL, NULL, 0 },
};

static const struct column complaints[] = {
	{ "REFUSED IN", "file", COLUMN_TEXT }, { "LINE", "line", COLUMN_TEXT },	  { "KIND", "kind", COLUMN_TEXT },
	{ "OBJECT", "object", COLUMN_TEXT },   { "FIELD", "field", COLUMN_TEXT }, { "LAST GOOD KEPT", "kept_last_good", COLUMN_TEXT },
	{ "REASON", "text", COLUMN_TEXT },     { NULL, NULL, 0 },
};

static int snapshot_show(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;
	int r;

	if (inv->n_args)
		return command_misuse(inv, "show takes no argument");
	if (agent_ask("snapshot.show", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	json_incref(answer);
	r = object_show(inv, answer, summary);
	if (!inv->json) {
		putchar('\n');
		table_print(json_object_get(answer, "proxies"), proxies);
		if (json_array_size(json_object_get(answer, "complaints"))) {
			putchar('\n');
			table_print(json_object_get(answer, "complaints"), complaints);
		}
	}
	json_decref(answer);
	return r;
}

static const struct verb verbs[] = {
	{ "show", snapshot_show, "", "generation in force, which proxy has acknowledged it, and what was refused and why", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_snapshot = { "snapshot", "the policy in force", verbs };
