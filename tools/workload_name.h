/* SPDX-License-Identifier: Apache-2.0 */
/* NAMESPACE/NAME on the command line; NAME alone means default/NAME. */
#ifndef TRAMMEL_TOOLS_WORKLOAD_NAME_H
#define TRAMMEL_TOOLS_WORKLOAD_NAME_H

#include <stdbool.h>

struct workload_name {
	char namespace[64], name[64];
};

/** workload_name_parse() - false for what is no DNS-1123 label on either side */
bool workload_name_parse(const char *text, struct workload_name *ret);

#endif
