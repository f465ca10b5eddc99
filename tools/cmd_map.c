/* SPDX-License-Identifier: Apache-2.0 */
/* trammel map: BPF maps */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "NAME", "name", COLUMN_TEXT },	{ "TYPE", "type", COLUMN_TEXT },     { "ID", "id", COLUMN_TEXT },
	{ "ENTRIES", "entries", COLUMN_TEXT }, { "MAX", "max_entries", COLUMN_TEXT }, { "FULL %", "fill_percent", COLUMN_TEXT },
	{ "PIN", "pin", COLUMN_TEXT },		{ NULL, NULL, 0 },
};

static int map_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("map.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "maps", columns);
}

/* Entries differ from map to map: one line of JSON each for people too. */
static int map_dump(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer, *entry;
	size_t i;
	int r = 0;

	if (inv->n_args != 1)
		return command_misuse(inv, "dump wants the name of one map; `trammel map list` shows them");
	if (agent_call(json_pack("{s:s,s:s}", "op", "map.dump", "map", inv->args[0]), &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	if (inv->json) {
		r = json_show(json_object_get(answer, "entries"));
	} else {
		json_array_foreach(json_object_get(answer, "entries"), i, entry) {
			json_dumpf(entry, stdout, JSON_PRESERVE_ORDER);
			putchar('\n');
		}
	}
	json_decref(answer);
	return r;
}

static const struct verb verbs[] = {
	{ "list", map_list, "", "BPF maps and how full they are", NULL },
	{ "dump", map_dump, "MAP", "entries of one map, decoded", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_map = { "map", "BPF maps", verbs };
