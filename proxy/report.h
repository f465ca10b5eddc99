/* SPDX-License-Identifier: Apache-2.0 */
/* The program as a whole, and what it says of itself to people, probes and scrapers. */
#ifndef TRAMMEL_PROXY_REPORT_H
#define TRAMMEL_PROXY_REPORT_H

#include "proxy/admin/admin_server.h"
#include "proxy/dns/dns_server.h"
#include "proxy/launch.h"
#include "proxy/listener/listener.h"
#include "proxy/preemption.h"
#include "proxy/worker.h"

struct proxy {
	const struct launch *launch;
	struct loop *loop;
	struct observe *observe;
	struct worker worker;
	struct preemption preemption;
	struct subscriber *subscriber;
	struct dns_server *dns;
	struct admin_server *admin;
	struct listener outbound, inbound;
	struct loop_timer drain_timer, log_timer;
	uint64_t started_ns;
	bool stopped;
};

extern const struct admin_ops report_admin_ops; /* user: struct proxy */

/** report_gauges_add() - what is read at scrape time */
MUST_CHECK int report_gauges_add(struct proxy *p);

/** proxy_drain() - in main.c: stop accepting, let what is under way end */
void proxy_drain(struct proxy *p);

#endif
