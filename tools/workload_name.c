/* SPDX-License-Identifier: Apache-2.0 */
/* Workload names: see workload_name.h. */
#include "tools/workload_name.h"

#include <stdio.h>
#include <string.h>

bool label_is_valid(const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || n > 63 || text[0] == '-' || text[n - 1] == '-')
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

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
	if (!label_is_valid(w.namespace) || !label_is_valid(w.name))
		return false;
	*ret = w;
	return true;
}
