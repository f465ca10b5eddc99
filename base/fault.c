/* SPDX-License-Identifier: Apache-2.0 */
/* Faults: see fault.h. */
#include "base/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fault_done(struct fault *f)
{
	if (!f)
		return;
	free(f->thing);
	free(f->reason);
	free(f->next);
	*f = (struct fault){ 0 };
}

void fault_take(struct fault *f, const char *thing, const char *next, char *reason)
{
	if (!f) {
		free(reason);
		return;
	}
	fault_done(f);
	f->thing = thing ? strdup(thing) : NULL;
	f->next = next ? strdup(next) : NULL;
	f->reason = reason ? reason : strdup("out of memory");
}

void fault_set(struct fault *f, const char *thing, const char *next, const char *fmt, ...)
{
	char *reason = NULL;
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	if (vasprintf(&reason, fmt, ap) < 0)
		reason = NULL;
	va_end(ap);
	fault_take(f, thing, next, reason);
}

void fault_json(const struct fault *f, struct json_writer *w)
{
	json_open_object(w, "error");
	json_cstr(w, "thing", fault_or(f->thing));
	json_cstr(w, "reason", fault_or(f->reason));
	json_cstr(w, "next", f->next);
	json_close_object(w);
}

void fault_print(const struct fault *f, const char *program, bool json)
{
	struct json_writer w;
	struct buf out;

	if (!json) {
		fprintf(stderr, "%s: %s: %s%s%s\n", program, fault_or(f->thing), fault_or(f->reason), f->next ? "; " : "", f->next ? f->next : "");
		return;
	}
	buf_init(&out, 65536);
	json_writer_init(&w, &out);
	json_open_object(&w, NULL);
	fault_json(f, &w);
	json_close_object(&w);
	if (json_writer_end(&w) == 0)
		fprintf(stderr, "%.*s\n", (int)out.len, buf_head(&out));
	buf_done(&out);
}
