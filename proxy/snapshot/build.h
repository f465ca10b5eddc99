/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building snapshots: an old one and a message from the agent make a new one
 *
 * A message is taken whole or not at all. What it does not name is shared with the old snapshot. For the subscriber alone.
 */
#ifndef TRAMMEL_PROXY_SNAPSHOT_BUILD_H
#define TRAMMEL_PROXY_SNAPSHOT_BUILD_H

#include "proxy/snapshot/snapshot.h"
#include "trammel/publish.pb-c.h"

/* Does the proxy still want this addr/ or dns/ name? What it gave back meanwhile is passed over. */
typedef bool (*snapshot_wants)(struct str name, void *user);

/**
 * snapshot_apply() - check a message and build the snapshot that is in force with it
 * @old:       NULL for the first; borrowed
 * @wants:     asked for addr/ and dns/ names; NULL: all are wanted
 * @ret:       one reference, owned by the caller
 * @ret_error: set on -EINVAL to "NAME: reason", heap, owned by the caller
 *
 * Return: 0; -EINVAL for a message that is refused, @old stays good; -ENOMEM.
 */
MUST_CHECK int snapshot_apply(struct snapshot *old, const Trammel__V1__ToProxy *message, snapshot_wants wants, void *user,
			      struct snapshot **ret, char **ret_error);

/** snapshot_without() - @old without some addr/ and dns/ names; same generation; -ENOMEM */
MUST_CHECK int snapshot_without(struct snapshot *old, const struct str *names, size_t n, struct snapshot **ret);

/** snapshot_has() - is the resource @name ("addr/...", "dns/...", "svc/...", "eps/...", "self") held? */
bool snapshot_has(const struct snapshot *s, struct str name);

/** snapshot_each_resource() - name and version of all that is held, for Hello */
void snapshot_each_resource(const struct snapshot *s, void (*fn)(const char *name, uint64_t version, void *user), void *user);

/**
 * snapshot_was_used() - was the addr/ or dns/ resource, or the service it names, looked up since snapshot_used_reset()?
 *
 * Marks are shared by all snapshots that share the part, and set by any thread.
 */
bool snapshot_was_used(const struct snapshot *s, struct str name);
void snapshot_used_reset(const struct snapshot *s);

#endif
