/* SPDX-License-Identifier: Apache-2.0 */
/* Workload names: see workload_name.h. */
#include "tools/workload_name.h"

#include <stdio.h>
#include <string.h>
#include "base/str.h"

bool workload_name_parse(const char *text, struct workload_name *ret)
{
	const char *slash = strchr(text, '/');
	struct workload_name w = { .namespace = "default" };

	if (slash && (size_t)(slash - text) >= sizeof(w.namespace))
		return false;
	if (slash)
		snprintf(w.namespace, sizeof(w.namespace), "%.*s", (int)(slash - text), text);
	text = slash ? slash + 1 : text;
	if (strlen(text) >= sizeof(w.name))
		return false;
	snprintf(w.name, sizeof(w.name), "%s", text);
	if (!str_is_label(str_from(w.namespace)) || !str_is_label(str_from(w.name)))
		return false;
	*ret = w;
	return true;
}
