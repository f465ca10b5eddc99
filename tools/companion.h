/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the programs that belong together: beside us in the build folder, else in libexec. */
#ifndef TRAMMEL_TOOLS_COMPANION_H
#define TRAMMEL_TOOLS_COMPANION_H

#include "base/cleanup.h"

/**
 * companion_find() - path of trammel-agent and its like
 * @name:     "trammel-agent"
 * @room:     folder of the build tree it is made in: "control"
 * @ret:      heap string, owned by the caller
 *
 * Return: 0, -ENOENT, or -ENOMEM.
 */
MUST_CHECK int companion_find(const char *name, const char *room, char **ret);

#endif
