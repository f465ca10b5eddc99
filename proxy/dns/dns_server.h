/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS server of one workload
 *
 * Answers mesh names from the snapshot (asking the agent for names not seen before) and says NXDOMAIN to all others within
 * the mesh's zones, its domain and the reverse zones of its addresses. Forwards the rest to the configured upstream servers,
 * and says NXDOMAIN where there is none. The kernel's hooks bring the workload's queries here. At
 * most 512 queries and 32 TCP connections at a time; lives in one loop.
 */
#ifndef TRAMMEL_PROXY_DNS_SERVER_H
#define TRAMMEL_PROXY_DNS_SERVER_H

#include "base/cleanup.h"
#include "base/loop.h"
#include "proxy/observe/observe.h"
#include "proxy/subscribe/subscriber.h"

struct dns_server;

struct dns_server_fds {
	int udp4, udp6, tcp4, tcp6; /* bound, non-blocking; -1 = none; borrowed */
};

MUST_CHECK int dns_server_new(struct loop *loop, const struct dns_server_fds *fds, struct subscriber *subscriber,
			      struct observe *observe, struct dns_server **ret);
struct dns_server *dns_server_free(struct dns_server *s);
DEFINE_CLEANUP(struct dns_server, dns_server_free)

#endif
