/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's listening sockets, made and held by the agent
 *
 * An accepted socket belongs to the cgroup in which its listener was made, so a child born in the proxy's cgroup makes them in the
 * workload's namespace and hands them back. Held by the agent, they outlive a proxy: connections wait in the backlog.
 */
#ifndef TRAMMEL_CONTROL_ENROL_LISTENER_H
#define TRAMMEL_CONTROL_ENROL_LISTENER_H

#include <stdint.h>
#include "base/cleanup.h"

enum listener_index {
	LISTENER_OUTBOUND,
	LISTENER_INBOUND,
	LISTENER_READY,
	LISTENER_METRICS,
	LISTENER_DNS_UDP4,
	LISTENER_DNS_UDP6,
	LISTENER_DNS_TCP4,
	LISTENER_DNS_TCP6,
	LISTENERS,
};

struct listener_spec {
	const char *name; /* as in TRAMMEL_LISTEN_FDS */
	uint16_t port;
	const char *address; /* text */
	int type;	     /* SOCK_STREAM, SOCK_DGRAM */
};
extern const struct listener_spec listener_specs[LISTENERS];

/**
 * listener_make_all() - make the sockets of one workload
 * @ret_fds:  non-blocking, CLOEXEC, listening (TCP, backlog 4096) or bound (UDP); -1 where the kernel has no IPv6; untouched on failure
 */
MUST_CHECK int listener_make_all(int netns_fd, int proxy_cgroup_fd, int ret_fds[LISTENERS]);

#endif
