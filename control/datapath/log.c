/* SPDX-License-Identifier: Apache-2.0 */
/* libbpf's warnings: into the debug log, and the last ones kept for the error text of the call that failed. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "base/log.h"
#include "control/datapath/room.h"

static __thread char kept[768];
static __thread size_t kept_bytes;

static int on_libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char line[512];
	int n;

	if (level == LIBBPF_DEBUG)
		return 0;
	n = vsnprintf(line, sizeof(line), fmt, args);
	if (n <= 0)
		return 0;
	line[strcspn(line, "\n")] = '\0';
	log_debug("libbpf", "said=\"%s\"", line);
	if (level == LIBBPF_WARN && kept_bytes + strlen(line) + 3 < sizeof(kept)) {
		n = snprintf(kept + kept_bytes, sizeof(kept) - kept_bytes, "%s%s", kept_bytes ? "; " : "", line);
		kept_bytes += (size_t)n;
	}
	return 0;
}

void bpf_log_begin(void)
{
	libbpf_set_print(on_libbpf_print);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	kept_bytes = 0;
	kept[0] = '\0';
}

const char *bpf_log_text(void)
{
	return kept;
}

int fail(char **ret_error, int err, const char *fmt, ...)
{
	va_list args;

	if (!ret_error || *ret_error)
		return err;
	va_start(args, fmt);
	if (vasprintf(ret_error, fmt, args) < 0)
		*ret_error = NULL;
	va_end(args);
	return err;
}
