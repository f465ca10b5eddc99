/* SPDX-License-Identifier: Apache-2.0 */
/* trammel prog: BPF programs */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "NAME", "name", COLUMN_TEXT },
	{ "TYPE", "type", COLUMN_TEXT },
	{ "ID", "id", COLUMN_TEXT },
	{ "TAG", "tag", COLUMN_TEXT },
	{ "LINKS", "links", COLUMN_TEXT },
	{ "VERIFIED INSNS", "verified_insns", COLUMN_TEXT },
	{ NULL, NULL, 0 },
};

static int prog_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("prog.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "progs", columns);
}

static const struct verb verbs[] = {
	{ "list", prog_list, "", "BPF programs, where they hang, and what the verifier needed", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_prog = { "prog", "BPF programs", verbs };
