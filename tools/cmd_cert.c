/* SPDX-License-Identifier: Apache-2.0 */
/* trammel cert: certificates of the workloads and of the embedded CA */
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static const struct column columns[] = {
	{ "WORKLOAD", "workload", COLUMN_TEXT },
	{ "IDENTITY", "spiffe_id", COLUMN_TEXT },
	{ "SERIAL", "serial", COLUMN_TEXT },
	{ "NOT BEFORE", "not_before", COLUMN_TIME_S },
	{ "NOT AFTER", "not_after", COLUMN_TIME_S },
	{ NULL, NULL, 0 },
};

static int cert_list(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args)
		return command_misuse(inv, "list takes no argument");
	if (agent_ask("cert.list", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return table_show(inv, answer, "certs", columns);
}

static const struct verb verbs[] = {
	{ "list", cert_list, "", "newest certificate signed for each workload; with --json the CA's too", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_cert = { "cert", "certificates", verbs };
