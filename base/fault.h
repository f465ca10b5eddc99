/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults: why something was refused, in words for people
 *
 * A fault names the thing, the reason, and the next step. Functions that can fail for reasons a person must act on
 * take one as last parameter, fill it on failure and leave it alone on success. The texts are heap strings and belong
 * to the fault; fault_done() gives them back. Where memory is out the texts are missing, never the failure.
 */
#ifndef TRAMMEL_BASE_FAULT_H
#define TRAMMEL_BASE_FAULT_H

#include "base/cleanup.h"
#include "base/json.h"

struct fault {
	char *thing;  /* "workload default/web" */
	char *reason; /* "exists already" */
	char *next;   /* "stop it with `trammel stop default/web`", or NULL */
};

/** fault_set() - replace the texts; @thing, @next (or NULL) are copied; @fmt is the reason. A NULL @f is allowed. */
void fault_set(struct fault *f, const char *thing, const char *next, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/** fault_take() - like fault_set(), with @reason a heap string that the fault takes over (NULL: "out of memory") */
void fault_take(struct fault *f, const char *thing, const char *next, char *reason);

void fault_done(struct fault *f);

/** fault_json() - the member "error": {"thing", "reason", "next"} */
void fault_json(const struct fault *f, struct json_writer *w);

/** fault_print() - one line on stderr: "PROGRAM: THING: REASON; NEXT", or {"error": ...} */
void fault_print(const struct fault *f, const char *program, bool json);

/** fault_or() - @text, or what stands in for a text there was no memory for */
static inline const char *fault_or(const char *text)
{
	return text ? text : "unknown (out of memory)";
}

#endif
