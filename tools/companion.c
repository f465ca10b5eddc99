/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the programs that belong together: see companion.h. */
#include "tools/companion.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include "base/str.h"
#include "config.h"

int companion_find(const char *name, const char *room, char **ret)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		*slash = '\0';
		/* build folder: .../tools/trammel and .../control/trammel-agent */
		path = str_printf("%s/../%s/%s", self, room, name);
		if (path && access(path, X_OK) == 0) {
			*ret = path;
			return 0;
		}
		free(path);
	}
	path = str_printf("%s/%s", TRAMMEL_LIBEXECDIR, name);
	if (!path)
		return -ENOMEM;
	if (access(path, X_OK) < 0) {
		free(path);
		return -ENOENT;
	}
	*ret = path;
	return 0;
}
