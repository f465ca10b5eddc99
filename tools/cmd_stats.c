/* SPDX-License-Identifier: Apache-2.0 */
/* trammel stats: counters of the kernel's hooks, and the metrics of one proxy */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/table.h"

static int kernel_show(struct invocation *inv, json_t *answer)
{
	const json_t *value;
	const char *reason;

	if (inv->json) {
		json_object_del(answer, "ok");
		(void)json_show(answer); /* a closed stdout has nobody to tell */
	} else {
		printf("%-22s %s\n", "REASON", "EVENTS");
		json_object_foreach(json_object_get(answer, "counters"), reason, value)
			printf("%-22s %" JSON_INTEGER_FORMAT "\n", reason, json_integer_value(value));
	}
	json_decref(answer);
	return 0;
}

static int proxy_show(struct invocation *inv, const char *workload)
{
	_cleanup_(freep) char *namespace = NULL;
	struct str rest = str_from(workload), part;
	struct fault fault = { 0 };
	json_t *answer;

	if (!strchr(workload, '/') || !str_split(&rest, '/', &part))
		return command_misuse(inv, "a workload is NAMESPACE/NAME, not %s", workload);
	namespace = str_dup(part);
	if (!namespace || proxy_ask(namespace, rest.p, "stats", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	if (inv->json) {
		json_object_del(answer, "ok");
		(void)json_show(answer); /* a closed stdout has nobody to tell */
	} else {
		fputs(json_string_value(json_object_get(answer, "metrics")) ? json_string_value(json_object_get(answer, "metrics")) : "",
		      stdout);
	}
	json_decref(answer);
	return 0;
}

static int stats_show(struct invocation *inv)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (inv->n_args > 1)
		return command_misuse(inv, "show takes at most one workload");
	if (inv->n_args)
		return proxy_show(inv, inv->args[0]);
	if (agent_ask("stats", &answer, &fault) < 0)
		return command_refuse(inv, &fault);
	return kernel_show(inv, answer);
}

static const struct verb verbs[] = {
	{ "show", stats_show, "[NAMESPACE/NAME]", "events the kernel counted by reason; or the metrics of one workload's proxy", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct noun noun_stats = { "stats", "counters and metrics", verbs };
