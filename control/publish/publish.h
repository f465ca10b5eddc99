/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: each proxy's slice over gRPC on a unix socket
 *
 * Serves trammel.v1.Publish (include/trammel/publish.proto). Who is asking is told by the peer's cgroup (SO_PEERCRED pid ->
 * /proc/PID/cgroup -> workload), never by what it says. A slice is the closure of the proxy's subscriptions; a new
 * snapshot is cut again for every proxy and only resources whose content hash changed are sent. A proxy whom a new snapshot does
 * not concern gets no message: its acked generation stays, its generation in force moves.
 */
#ifndef TRAMMEL_CONTROL_PUBLISH_H
#define TRAMMEL_CONTROL_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/loop.h"
#include "control/identity/ca.h"
#include "control/snapshot/snapshot.h"

struct publish;

struct publish_ops {
	/* Which workload does this cgroup (path below the cgroup2 mount, as in /proc/PID/cgroup) belong to? 0 = none: refused. */
	uint32_t (*workload_of_cgroup)(const char *cgroup_path, void *user);
	/* The proxy of @workload_id acknowledged @generation (first time: its policy is there), or refused it with @error. */
	void (*on_ack)(uint32_t workload_id, uint64_t generation, const char *error, void *user);
	/* A certificate was signed. */
	void (*on_sign)(uint32_t workload_id, const struct ca_leaf *leaf, void *user);
};

/** publish_new() - leaves live 24 h, or TRAMMEL_LEAF_TTL_S seconds (1 to 86400; anything else is -EINVAL); listens on @socket_path (0666: the cgroup decides), replaces a stale socket file */
MUST_CHECK int publish_new(struct loop *loop, const char *socket_path, struct ca *ca, const struct publish_ops *ops, void *user,
			   struct publish **ret);
struct publish *publish_free(struct publish *p);

/** publish_set_snapshot() - push what changed to whom it concerns; takes a reference */
void publish_set_snapshot(struct publish *p, struct mesh_snapshot *s);

/* For `trammel snapshot list` and stats: one connected proxy. */
struct publish_proxy {
	uint32_t workload_id, pid;
	uint64_t sent_generation, acked_generation, acks, nacks, messages_sent;
	uint64_t in_force_generation; /* newest one whose slice the proxy has acknowledged, with or without a message */
	uint32_t subscriptions;
	uint64_t connected_since_ns;
	const char *last_error; /* "" */
};
void publish_each_proxy(const struct publish *p, void (*fn)(const struct publish_proxy *proxy, void *user), void *user);

#endif
