/* SPDX-License-Identifier: Apache-2.0 */
/* Faults: see fault.h. */
#include "base/fault.h"

#include <stdarg.h>
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
