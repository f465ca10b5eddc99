/* SPDX-License-Identifier: Apache-2.0 */
/* How the proxy was started: the environment the agent gives it. */
#ifndef TRAMMEL_PROXY_LAUNCH_H
#define TRAMMEL_PROXY_LAUNCH_H

#include "base/cleanup.h"

enum launch_fd {
	LAUNCH_OUTBOUND,
	LAUNCH_INBOUND,
	LAUNCH_READY,
	LAUNCH_METRICS,
	LAUNCH_DNS_UDP4,
	LAUNCH_DNS_UDP6,
	LAUNCH_DNS_TCP4,
	LAUNCH_DNS_TCP6,
	LAUNCH_ADMIN,
	LAUNCH_ACCESS_LOG,
	LAUNCH_FDS,
};

struct launch {
	int fds[LAUNCH_FDS]; /* -1: not given */
	const char *agent_socket;
	char namespace[64], name[64];
};

/** launch_read() - from the environment; -EINVAL with @ret_error, a constant sentence */
MUST_CHECK int launch_read(struct launch *l, const char **ret_error);

/** launch_parse_fds() - "outbound=3,inbound=4"; unknown names are passed over, a descriptor given twice is refused; -EINVAL */
MUST_CHECK int launch_parse_fds(const char *text, int fds[LAUNCH_FDS]);

#endif
