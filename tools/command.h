/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands as data
 *
 * trammel [--json] NOUN VERB [ARGS], or trammel COMMAND [OPTIONS] [-- CMD...]. Each cmd_<noun>.c ends with its table of verbs; help,
 * completion and the man pages are held against these tables by a test. Exit status: 0 done, 1 refused, 2 misuse; errors name
 * the thing, the reason and the next step on stderr, as an object with --json.
 */
#ifndef TRAMMEL_TOOLS_COMMAND_H
#define TRAMMEL_TOOLS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include "base/fault.h"

#define EXIT_REFUSED 1
#define EXIT_MISUSE  2

struct invocation;

struct option_spec {
	const char *name; /* "--label"; NULL ends the list */
	const char *arg;  /* "KEY=VALUE", or NULL for a flag */
	const char *help;
	bool repeatable;
};

struct verb {
	const char *name; /* NULL ends the list */
	int (*run)(struct invocation *inv);
	const char *args; /* "NAMESPACE/NAME [-- CMD...]", or "" */
	const char *help; /* one line */
	const struct option_spec *options; /* or NULL */
};

struct noun {
	const char *name, *help;
	const struct verb *verbs;
};

#define OPTIONS_MAX 256

/* One call as parsed: positional words stop at "--". */
struct invocation {
	bool json;
	const char *noun; /* NULL for a command */
	const struct verb *verb;
	char **args;
	int n_args;
	char **rest; /* behind "--" */
	int n_rest;
	struct {
		const struct option_spec *spec;
		const char *value;
	} options[OPTIONS_MAX];
	int n_options;
};

/** option_value() - value of the last --NAME given ("" for a flag), or NULL */
const char *option_value(const struct invocation *inv, const char *name);

/** command_refuse() - print the fault, in words or as JSON, and return EXIT_REFUSED; takes the fault's texts */
int command_refuse(const struct invocation *inv, struct fault *fault);
/** command_misuse() - the same for wrong arguments; returns EXIT_MISUSE */
int command_misuse(const struct invocation *inv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Commands: verbs without a noun (cmd_up.c, cmd_down.c, cmd_run.c, cmd_exec.c, cmd_stop.c). */
extern const struct verb command_up, command_down, command_run, command_exec, command_stop;
/* Nouns, one file each. */
extern const struct noun noun_workload, noun_service, noun_endpoint, noun_conn, noun_cert, noun_listener, noun_prog, noun_map,
	noun_snapshot, noun_stats, noun_feature;

#endif
