/* SPDX-License-Identifier: Apache-2.0 */
/* trammel feature: what this kernel offers */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "FEATURE", "name", COLUMN_TEXT },
	{ "OK", "ok", COLUMN_TEXT },
	{ "NEEDED", "needed", COLUMN_TEXT },
	{ "WHY", "why", COLUMN_TEXT },
	{ NULL, NULL, 0 },
};

static int feature_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("feature.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "features", columns);
}

static const struct verb verbs[] = {
	{ "list", feature_list, "", "kernel features Trammel uses, found by trying them", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_feature = { "feature", "kernel features", verbs };
