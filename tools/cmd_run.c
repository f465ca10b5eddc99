/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trammel run: a workload of one command
 *
 * The agent makes and enrols the workload (closed until policy is there), then we start the command inside. In the foreground the
 * agent watches us by pid: if we are killed it removes the workload.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/str.h"
#include "tools/admin_client.h"
#include "tools/command.h"
#include "tools/pod.h"
#include "tools/table.h"

/* "nginx-4f2a91": the command's name as far as a label may hold it, and something random. */
static void name_make(const char *command, char *name, size_t n)
{
	const char *base = strrchr(command, '/') ? strrchr(command, '/') + 1 : command;
	unsigned char rnd[3] = { 0 };
	char stem[41];
	size_t k = 0;

	for (; *base && k < sizeof(stem) - 1; base++) {
		char c = ascii_lower(*base);

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			stem[k++] = c;
		else if (k)
			stem[k++] = '-';
	}
	stem[k] = '\0';
	(void)!getrandom(rnd, sizeof(rnd), 0); /* a clash is refused by the agent */
	snprintf(name, n, "%s-%02x%02x%02x", k ? stem : "workload", rnd[0], rnd[1], rnd[2]);
}

static json_t *labels_collect(const struct invocation *inv, const char **ret_bad)
{
	json_t *labels = json_array();

	for (int i = 0; i < inv->n_options; i++) {
		const char *v = inv->options[i].value;

		if (strcmp(inv->options[i].spec->name, "--label") != 0)
			continue;
		if (!strchr(v, '=') || v[0] == '=')
			*ret_bad = v;
		json_array_append_new(labels, json_string(v));
	}
	return labels;
}

static void workload_remove(const struct invocation *inv, const char *namespace, const char *name)
{
	struct fault fault = { 0 };
	json_t *answer;

	if (agent_call(json_pack("{s:s,s:s,s:s}", "op", "workload.stop", "namespace", namespace, "name", name), &answer, &fault) == 0)
		json_decref(answer);
	else
		(void)command_refuse(inv, &fault); /* said; the agent also sees the cgroup run empty */
}

static int detached_show(json_t *workload, pid_t pid)
{
	json_t *o = json_pack("{s:O,s:O,s:i,s:O,s:O,s:O}", "name", json_object_get(workload, "name"), "namespace",
			      json_object_get(workload, "namespace"), "pid", (int)pid, "netns", json_object_get(workload, "netns"),
			      "cgroup", json_object_get(workload, "cgroup"), "addresses", json_object_get(workload, "addresses"));
	int r = o ? json_show(o) : EXIT_REFUSED;

	json_decref(o);
	return r;
}

/* The workload exists: start the command in it and see it through. */
static int command_start(struct invocation *inv, json_t *workload, const char *namespace, const char *name, bool detach)
{
	const char *env[OPTIONS_MAX + 1];
	_cleanup_(freep) char *log = str_printf("%s/log/%s_%s.app.log", run_dir(), namespace, name);
	struct pod_command command = { .argv = inv->rest, .env = env, .detach = detach, .log = log ? log : "/dev/null" };
	struct fault fault = { 0 };
	json_t *answer;
	int n = 0, r;
	pid_t pid;

	for (int i = 0; i < inv->n_options; i++)
		if (strcmp(inv->options[i].spec->name, "--env") == 0)
			env[n++] = inv->options[i].value;
	env[n] = NULL;
	r = pod_start(workload, &command, &pid, &fault);
	if (r < 0) {
		(void)command_refuse(inv, &fault); /* the status says which kind, as a shell's does */
		workload_remove(inv, namespace, name);
		return r == -ENOENT ? 127 : 126;
	}
	if (agent_call(json_pack("{s:s,s:s,s:s,s:i}", "op", "workload.started", "namespace", namespace, "name", name, "pid", (int)pid),
		       &answer, &fault) < 0)
		(void)command_refuse(inv, &fault); /* said; the command runs on, and the next agent finds it by its cgroup */
	else
		json_decref(answer);
	if (detach)
		return detached_show(workload, pid);
	r = pod_wait(pid);
	workload_remove(inv, namespace, name);
	return r;
}

static bool is_name(const char *text)
{
	return str_is_label(str_from(text));
}

static int run(struct invocation *inv)
{
	const char *name = option_value(inv, "--name"), *namespace = option_value(inv, "--namespace");
	const char *account = option_value(inv, "--service-account"), *bad = NULL;
	bool detach = option_value(inv, "--detach") != NULL;
	struct fault fault = { 0 };
	json_t *labels, *workload;
	char made[64];
	int r;

	if (inv->n_args || !inv->n_rest)
		return command_misuse(inv, "run wants a command behind --");
	if (!name) {
		name_make(inv->rest[0], made, sizeof(made));
		name = made;
	}
	namespace = namespace ? namespace : "default";
	account = account ? account : "default";
	bad = !is_name(name) ? name : !is_name(namespace) ? namespace : !is_name(account) ? account : NULL;
	if (bad)
		return command_misuse(inv, "%s: a name is lower-case letters, digits and '-' inside, at most 63", bad);
	for (int i = 0; i < inv->n_options; i++)
		if (strcmp(inv->options[i].spec->name, "--env") == 0 && !strchr(inv->options[i].value, '='))
			return command_misuse(inv, "--env wants K=V, not %s", inv->options[i].value);
	labels = labels_collect(inv, &bad);
	if (bad) {
		json_decref(labels);
		return command_misuse(inv, "--label wants KEY=VALUE, not %s", bad);
	}
	r = agent_call(json_pack("{s:s,s:s,s:s,s:s,s:o,s:b,s:i}", "op", "workload.create", "namespace", namespace, "name", name,
				 "service_account", account, "labels", labels, "detach", detach, "owner_pid", (int)getpid()),
		       &workload, &fault);
	if (r < 0)
		return command_refuse(inv, &fault);
	r = command_start(inv, workload, namespace, name, detach);
	json_decref(workload);
	return r;
}

static const struct option_spec options[] = {
	{ "--name", "NAME", "name of the workload; else the command's with a random end", false },
	{ "--namespace", "NS", "namespace; else default", false },
	{ "--service-account", "SA", "service account, the last part of its identity; else default", false },
	{ "--label", "KEY=VALUE", "label, for service selectors", true },
	{ "--env", "K=V", "environment variable for the command", true },
	{ "--detach", NULL, "do not wait: print {name, namespace, pid, netns, cgroup, addresses} as JSON; output goes to RUN_DIR/log/NS_NAME.app.log", false },
	{ NULL, NULL, NULL, false },
};

const struct verb command_run = { "run", run, "-- CMD...", "run a command as a workload of the mesh; exit code is the command's", options };
