/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's command line: finds the command or the noun and its verb, parses options by their tables, prints help. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "config.h"
#include "tools/command.h"

static const struct verb *const commands[] = { &command_up, &command_down, &command_run, &command_exec, &command_stop };

static const struct noun *const nouns[] = {
	&noun_workload, &noun_service, &noun_endpoint, &noun_conn,     &noun_cert,  &noun_listener,
	&noun_prog,	&noun_map,     &noun_snapshot, &noun_stats,    &noun_feature,
};

const char *option_value(const struct invocation *inv, const char *name)
{
	const char *value = NULL;

	for (int i = 0; i < inv->n_options; i++)
		if (strcmp(inv->options[i].spec->name, name) == 0)
			value = inv->options[i].value ? inv->options[i].value : "";
	return value;
}

int command_refuse(const struct invocation *inv, struct fault *fault)
{
	fault_print(fault, "trammel", inv->json);
	fault_done(fault);
	return EXIT_REFUSED;
}

int command_misuse(const struct invocation *inv, const char *fmt, ...)
{
	struct fault fault = { 0 };
	char text[512], next[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(next, sizeof(next), "see `trammel %s%s%s --help`", inv->noun ? inv->noun : "",
		 inv->noun && inv->verb ? " " : "", inv->verb ? inv->verb->name : "");
	fault_set(&fault, inv->verb ? inv->verb->name : "command", next, "%s", text);
	(void)command_refuse(inv, &fault); /* the status is misuse */
	return EXIT_MISUSE;
}

static void usage_print(FILE *f)
{
	fprintf(f, "usage: trammel [--json] NOUN VERB [ARGS]\n       trammel [--json] COMMAND [OPTIONS] [-- CMD...]\n\ncommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->help);
	fprintf(f, "\nnouns:\n");
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++) {
		fprintf(f, "  %-10s %s: ", nouns[i]->name, nouns[i]->help);
		for (const struct verb *v = nouns[i]->verbs; v->name; v++)
			fprintf(f, "%s%s", v == nouns[i]->verbs ? "" : ", ", v->name);
		fputc('\n', f);
	}
	fprintf(f, "\noptions:\n  --json     what is shown, and errors, as JSON\n  --help     this text, or that of a noun or command\n"
		   "  --version  version\n\nTRAMMEL_RUN_DIR, TRAMMEL_STATE_DIR and TRAMMEL_BPFFS choose the instance. See trammel(8).\n");
}

static void verb_usage_print(FILE *f, const char *noun, const struct verb *v)
{
	fprintf(f, "usage: trammel [--json] %s%s%s%s%s%s\n\n%s\n", noun ? noun : "", noun ? " " : "", v->name,
		v->options ? " [OPTIONS]" : "", *v->args ? " " : "", v->args, v->help);
	for (const struct option_spec *o = v->options; o && o->name; o++)
		fprintf(f, "%s  %s%s%s%s\n      %s\n", o == v->options ? "\noptions:\n" : "", o->name, o->arg ? " " : "", o->arg ? o->arg : "",
			o->repeatable ? " ..." : "", o->help);
}

static void noun_usage_print(FILE *f, const struct noun *n)
{
	fprintf(f, "usage: trammel [--json] %s VERB\n\n%s\n\nverbs:\n", n->name, n->help);
	for (const struct verb *v = n->verbs; v->name; v++)
		fprintf(f, "  %s%s%s\n      %s\n", v->name, *v->args ? " " : "", v->args, v->help);
}

static const struct option_spec *option_find(const struct verb *v, const char *word, size_t n)
{
	for (const struct option_spec *o = v->options; o && o->name; o++)
		if (strlen(o->name) == n && memcmp(o->name, word, n) == 0)
			return o;
	return NULL;
}

/* Takes options and positional words up to "--"; 0, -1 for "help was asked for", or EXIT_MISUSE (said). */
static int words_parse(struct invocation *inv, char **argv, int argc)
{
	inv->args = argv;
	for (int i = 0; i < argc; i++) {
		const char *w = argv[i], *eq = strchr(w, '=');
		const struct option_spec *o;

		if (strcmp(w, "--") == 0) {
			inv->rest = argv + i + 1;
			inv->n_rest = argc - i - 1;
			return 0;
		}
		if (w[0] != '-' || !w[1]) {
			inv->args[inv->n_args++] = argv[i];
			continue;
		}
		if (strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0)
			return -1;
		if (strcmp(w, "--json") == 0) {
			inv->json = true;
			continue;
		}
		o = option_find(inv->verb, w, eq ? (size_t)(eq - w) : strlen(w));
		if (!o)
			return command_misuse(inv, "there is no option %s", w);
		if (inv->n_options == OPTIONS_MAX)
			return command_misuse(inv, "more than %d options", OPTIONS_MAX);
		if (!o->arg && eq)
			return command_misuse(inv, "option %s takes no value", o->name);
		if (o->arg && !eq && i + 1 == argc)
			return command_misuse(inv, "option %s wants %s", o->name, o->arg);
		if (!o->repeatable && option_value(inv, o->name))
			return command_misuse(inv, "option %s is given twice", o->name);
		inv->options[inv->n_options].spec = o;
		inv->options[inv->n_options++].value = !o->arg ? NULL : eq ? eq + 1 : argv[++i];
	}
	return 0;
}

static int verb_run(struct invocation *inv, char **argv, int argc)
{
	int r = words_parse(inv, argv, argc);

	if (r < 0) {
		verb_usage_print(stdout, inv->noun, inv->verb);
		return 0;
	}
	return r ? r : inv->verb->run(inv);
}

static int noun_run(struct invocation *inv, const struct noun *n, char **argv, int argc)
{
	inv->noun = n->name;
	while (argc && strcmp(argv[0], "--json") == 0)
		inv->json = true, argv++, argc--;
	if (!argc) {
		noun_usage_print(stderr, n);
		return EXIT_MISUSE;
	}
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		noun_usage_print(stdout, n);
		return 0;
	}
	for (const struct verb *v = n->verbs; v->name; v++)
		if (strcmp(v->name, argv[0]) == 0) {
			inv->verb = v;
			return verb_run(inv, argv + 1, argc - 1);
		}
	return command_misuse(inv, "%s has no verb %s", n->name, argv[0]);
}

/* Relative to where we were called; the agent, which we start, works from "/". */
static void settings_make_absolute(void)
{
	static const char *const settings[] = { "TRAMMEL_RUN_DIR", "TRAMMEL_STATE_DIR", "TRAMMEL_BPFFS" };

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *value = getenv(settings[i]);
		_cleanup_(freep) char *cwd = value && *value && *value != '/' ? getcwd(NULL, 0) : NULL;
		_cleanup_(freep) char *path = cwd ? str_printf("%s/%s", cwd, value) : NULL;

		if (path)
			(void)setenv(settings[i], path, 1); /* no memory: the agent refuses the relative path */
	}
}

int main(int argc, char **argv)
{
	struct invocation inv = { 0 };

	log_init("trammel", LOG_WARN);
	settings_make_absolute();
	argv++, argc--;
	while (argc && strcmp(argv[0], "--json") == 0)
		inv.json = true, argv++, argc--;
	if (!argc) {
		usage_print(stderr);
		return EXIT_MISUSE;
	}
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		usage_print(stdout);
		return 0;
	}
	if (strcmp(argv[0], "--version") == 0) {
		printf("trammel %s\n", TRAMMEL_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i]->name, argv[0]) == 0) {
			inv.verb = commands[i];
			return verb_run(&inv, argv + 1, argc - 1);
		}
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
		if (strcmp(nouns[i]->name, argv[0]) == 0)
			return noun_run(&inv, nouns[i], argv + 1, argc - 1);
	return command_misuse(&inv, "there is no command or noun %s", argv[0]);
}
