/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts: one named resource of the agent's snapshot, as it goes over the wire
 *
 * A cut is made once per snapshot however many proxies want it, and its version is a hash of its bytes: fixed and un-keyed,
 * so that it is the same after a restart of the agent and a proxy that comes back gets only what changed.
 */
#ifndef TRAMMEL_CONTROL_PUBLISH_CUT_H
#define TRAMMEL_CONTROL_PUBLISH_CUT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/hash.h"
#include "base/str.h"
#include "control/snapshot/snapshot.h"

#define CUT_NAME_MAX 300

struct cut {
	struct hash_node node;
	char *key;	   /* what it depends on beside its name, '|', name */
	const char *name;  /* in @key */
	uint64_t version;
	uint8_t *wire;	   /* a packed trammel.v1.Resource */
	size_t wire_n;
	char *service;	   /* "NAMESPACE/NAME" whose svc/ and eps/ go with it, or NULL */
};

/* The cuts of one snapshot. */
struct cut_store {
	struct mesh_snapshot *snapshot; /* holds a reference; NULL before the first */
	const char *trust_bundle_pem;
	struct hash_table cuts;
};

void cut_store_init(struct cut_store *s, const char *trust_bundle_pem);
/* Forgets all cuts; takes a reference to @snapshot (NULL: none). */
void cut_store_set(struct cut_store *s, struct mesh_snapshot *snapshot);

/** cut_name_is_valid() - a name of the five kinds that publish.proto lists? */
bool cut_name_is_valid(struct str name);

/**
 * cut_get() - the resource @name as the workload @w sees it
 * @ret:  borrowed, until the next cut_store_set(); NULL for svc/ and eps/ of a service that is not there
 *
 * Return: 0, -ENOMEM.
 */
MUST_CHECK int cut_get(struct cut_store *s, const struct mesh_workload *w, const char *name, const struct cut **ret);

#endif
