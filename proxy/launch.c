/* SPDX-License-Identifier: Apache-2.0 */
/* How the proxy was started: see launch.h. */
#include "proxy/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/str.h"

static const char *const fd_names[LAUNCH_FDS] = {
	[LAUNCH_OUTBOUND] = "outbound", [LAUNCH_INBOUND] = "inbound",	[LAUNCH_READY] = "ready",
	[LAUNCH_METRICS] = "metrics",	[LAUNCH_DNS_UDP4] = "dns_udp4", [LAUNCH_DNS_UDP6] = "dns_udp6",
	[LAUNCH_DNS_TCP4] = "dns_tcp4", [LAUNCH_DNS_TCP6] = "dns_tcp6", [LAUNCH_ADMIN] = "admin",
	[LAUNCH_ACCESS_LOG] = "access_log",
};

int launch_parse_fds(const char *text, int fds[LAUNCH_FDS])
{
	struct str rest = str_from(text), entry, name;
	uint64_t fd;

	for (int i = 0; i < LAUNCH_FDS; i++)
		fds[i] = -1;
	while (rest.n > 0 && str_split(&rest, ',', &entry)) {
		if (!str_split(&entry, '=', &name) || !entry.p || str_parse_u64(entry, 1 << 20, &fd) < 0)
			return -EINVAL;
		for (int i = 0; i < LAUNCH_FDS; i++) {
			if (fds[i] == (int)fd)
				return -EINVAL;
			if (str_eq_c(name, fd_names[i]))
				fds[i] = (int)fd;
		}
	}
	return 0;
}

static int name_take(struct str s, char out[64])
{
	if (s.n == 0 || s.n > 63)
		return -EINVAL;
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return 0;
}

int launch_read(struct launch *l, const char **ret_error)
{
	const char *fds = getenv("TRAMMEL_LISTEN_FDS"), *workload = getenv("TRAMMEL_WORKLOAD");
	struct str rest, namespace;

	*l = (struct launch){ .agent_socket = getenv("TRAMMEL_AGENT_SOCKET") };
	*ret_error = "TRAMMEL_LISTEN_FDS is missing or malformed";
	if (!fds || launch_parse_fds(fds, l->fds) < 0 || l->fds[LAUNCH_OUTBOUND] < 0 || l->fds[LAUNCH_INBOUND] < 0)
		return -EINVAL;
	for (int i = 0; i < LAUNCH_FDS; i++)
		if (l->fds[i] >= 0 && fcntl(l->fds[i], F_SETFD, FD_CLOEXEC) < 0) {
			*ret_error = "a descriptor of TRAMMEL_LISTEN_FDS is not open";
			return -EINVAL;
		}
	*ret_error = "TRAMMEL_AGENT_SOCKET is missing";
	if (!l->agent_socket || !*l->agent_socket)
		return -EINVAL;
	*ret_error = "TRAMMEL_WORKLOAD is not NAMESPACE/NAME";
	rest = str_from(workload ? workload : "");
	if (!str_split(&rest, '/', &namespace) || name_take(namespace, l->namespace) < 0 || name_take(rest, l->name) < 0)
		return -EINVAL;
	*ret_error = NULL;
	return 0;
}
