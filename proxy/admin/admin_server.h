/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people and probes ask of the proxy
 *
 * Three listeners, all in the main worker's loop: the admin socket (unix, JSON lines: include/trammel/admin.h), /ready
 * on 15021 and /metrics on 15090 (both read-only HTTP/1.1). At most 64 clients (16, 24, 24), 10 s each. The room knows
 * how to answer; what is true is asked of the proxy through struct admin_ops.
 */
#ifndef TRAMMEL_PROXY_ADMIN_SERVER_H
#define TRAMMEL_PROXY_ADMIN_SERVER_H

#include <stdbool.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/loop.h"
#include "proxy/listener/conn_registry.h"
#include "proxy/observe/observe.h"

struct admin_server;

struct admin_ops {
	/* Ready: policy and certificate are there and no drain goes on. Else *@ret_reason is a constant sentence. */
	bool (*is_ready)(const char **ret_reason, void *user);
	/* Members of the answers to "status" and "cert.show", written into the open object. */
	void (*status_json)(struct json_writer *w, void *user);
	void (*cert_json)(struct json_writer *w, void *user);
	/* Live connections of all workers: call admin_conn_json() for each. */
	void (*conns_json)(struct json_writer *w, void *user);
	void (*drain)(void *user);
};

/** admin_server_new() - listening fds are borrowed, -1 = none; @ops borrowed for its life */
MUST_CHECK int admin_server_new(struct loop *loop, int admin_fd, int ready_fd, int metrics_fd,
				const struct admin_ops *ops, void *user, struct observe *observe,
				struct admin_server **ret);
struct admin_server *admin_server_free(struct admin_server *s);
DEFINE_CLEANUP(struct admin_server, admin_server_free)

/** admin_conn_json() - one connection as an object of the open array; @now_ns monotonic */
void admin_conn_json(struct json_writer *w, const struct conn *c, uint64_t now_ns);

#endif
