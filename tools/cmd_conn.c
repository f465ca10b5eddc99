/* SPDX-License-Identifier: Apache-2.0 */
/* trammel conn: live connections of every proxy, and what was refused lately by proxies and kernel */
#include <stdio.h>
#include <string.h>
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/workload_name.h"

static const struct column columns[] = {
	{ "WORKLOAD", "workload", COLUMN_TEXT }, { "DIRECTION", "direction", COLUMN_TEXT }, { "STATE", "state", COLUMN_TEXT },
	{ "PROTOCOL", "protocol", COLUMN_TEXT }, { "TLS", "tls", COLUMN_TEXT },		    { "CLIENT", "client", COLUMN_TEXT },
	{ "DIALLED", "orig_dst", COLUMN_TEXT },	 { "ENDPOINT", "endpoint", COLUMN_TEXT },   { "PEER", "peer", COLUMN_TEXT },
	{ "IN", "bytes_in", COLUMN_BYTES },	 { "OUT", "bytes_out", COLUMN_BYTES },	    { "AGE", "age_s", COLUMN_AGE_S },
	{ NULL, NULL, 0 },
};

static const struct column refused[] = {
	{ "REFUSED", "age_s", COLUMN_AGE_S },	    { "BY", "by", COLUMN_TEXT },	 { "WORKLOAD", "workload", COLUMN_TEXT },
	{ "DIRECTION", "direction", COLUMN_TEXT }, { "CLIENT", "client", COLUMN_TEXT }, { "DIALLED", "orig_dst", COLUMN_TEXT },
	{ "REASON", "reason", COLUMN_TEXT },	    { "MEANING", "reason_text", COLUMN_TEXT }, { NULL, NULL, 0 },
};

/* Appends the rows of @from[@key] to @to, each marked with its workload and who says so. */
static void rows_add(json_t *to, const json_t *from, const char *key, const char *workload, const char *by)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(from, key), i, row) {
		if (workload)
			json_object_set_new(row, "workload", json_string(workload));
		json_object_set_new(row, "by", json_string(by));
		json_array_append(to, row);
	}
}

/* One proxy's part. A proxy that ended since the list was made, or does not answer, is left out and named on stderr. */
static void proxy_rows_add(const struct invocation *inv, const json_t *workload, json_t *conns, json_t *refusals)
{
	const char *namespace = json_string_value(json_object_get(workload, "namespace"));
	const char *name = json_string_value(json_object_get(workload, "name"));
	struct fault fault = { 0 };
	char label[160];
	json_t *answer;

	if (!namespace || !name || json_integer_value(json_object_get(workload, "proxy_pid")) <= 0)
		return;
	if (proxy_ask(namespace, name, "conn.list", &answer, &fault) < 0) {
		(void)command_refuse(inv, &fault); /* said; the other proxies are shown all the same */
		return;
	}
	snprintf(label, sizeof(label), "%s/%s", namespace, name);
	rows_add(conns, answer, "conns", label, "proxy");
	rows_add(refusals, answer, "refused", label, "proxy");
	json_decref(answer);
}

/* @only without a name: everything is. */
static bool is_asked_for(const struct workload_name *only, const char *namespace, const char *name)
{
	return !only->name[0] || (namespace && name && strcmp(only->namespace, namespace) == 0 && strcmp(only->name, name) == 0);
}

static void kernel_rows_add(json_t *refusals, json_t *kernel, const struct workload_name *only)
{
	json_t *rows = json_object_get(kernel, "refused"), *asked = json_array(), *row;
	char label[160];
	size_t i;

	snprintf(label, sizeof(label), "%s/%s", only->namespace, only->name);
	json_array_foreach(rows, i, row) {
		const char *workload = json_string_value(json_object_get(row, "workload"));

		if (!only->name[0] || (workload && strcmp(workload, label) == 0))
			json_array_append(asked, row);
	}
	json_object_set_new(kernel, "refused", asked);
	rows_add(refusals, kernel, "refused", NULL, "kernel");
}

static int conn_list(struct invocation *inv)
{
	json_t *list = NULL, *kernel = NULL, *all, *workload;
	struct workload_name only = { 0 };
	struct fault fault = { 0 };
	size_t i;

	if (inv->n_args > 1)
		return command_misuse(inv, "list takes at most one workload");
	if (inv->n_args && !workload_name_parse(inv->args[0], &only))
		return command_misuse(inv, "%s is no workload name: NAMESPACE/NAME, lower-case letters, digits and '-'", inv->args[0]);
	if (agent_ask("workload.list", &list, &fault) < 0 || agent_ask("conn.refused", &kernel, &fault) < 0) {
		json_decref(list);
		return command_refuse(inv, &fault);
	}
	all = json_pack("{s:[],s:[]}", "conns", "refused");
	json_array_foreach(json_object_get(list, "workloads"), i, workload)
		if (is_asked_for(&only, json_string_value(json_object_get(workload, "namespace")),
				 json_string_value(json_object_get(workload, "name"))))
			proxy_rows_add(inv, workload, json_object_get(all, "conns"), json_object_get(all, "refused"));
	kernel_rows_add(json_object_get(all, "refused"), kernel, &only);
	json_decref(list);
	json_decref(kernel);
	if (inv->json)
		return table_show(inv, all, "conns", columns);
	table_print(json_object_get(all, "conns"), columns);
	if (json_array_size(json_object_get(all, "refused"))) {
		putchar('\n');
		table_print(json_object_get(all, "refused"), refused);
	}
	json_decref(all);
	return 0;
}

static const struct verb verbs[] = {
	{ "list", conn_list, "[NAMESPACE/NAME]", "live connections: what was dialled, proven peer, TLS, bytes, age; and recent refusals with reasons", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_conn = { "conn", "live connections and refusals", verbs };
