/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The making of a snapshot
 *
 * What the steps of a build hand to each other. Everything that only the build needs is in the scratch pool.
 */
#ifndef TRAMMEL_SNAPSHOT_BUILD_H
#define TRAMMEL_SNAPSHOT_BUILD_H

#include "control/model/resource.h"
#include "control/snapshot/tables.h"

/* What PeerAuthentication says about one workload. */
struct mtls_rules {
	enum mesh_mtls base;
	const struct peer_authentication *workload_policy; /* for its ports, or NULL */
};

/* One workload while the snapshot is built. */
struct build_workload {
	const struct model_workload *model;
	struct mesh_workload *out;
	struct mtls_rules mtls;
	struct build_inbound *inbound; /* list, in the order found */
	size_t n_inbound;
};

struct build_inbound {
	struct hash_node node; /* by (workload, port) */
	struct build_inbound *next;
	const struct build_workload *workload;
	struct mesh_inbound out;
};

struct build {
	const struct model *model;
	struct mesh_snapshot *s;
	struct pool scratch;
	struct build_workload *workloads; /* in the order of s->workloads */
	struct hash_table label_groups;   /* struct label_group, by (namespace, "key=value") */
	struct hash_table slices;         /* struct slice_group, by (namespace, service) */
	struct hash_table backend_tls;    /* struct backend_tls_entry, by (namespace, service) */
	struct hash_table bundles;        /* struct bundle, by namespace and names of ConfigMaps */
	struct hash_table inbound;
	struct build_workload **matched; /* room for all workloads */
	struct mesh_endpoint *room;      /* for the endpoints of one port */
	size_t n_room, cap_room;
};

/** spiffe_id_format() - of an account in the mesh's trust domain, in the snapshot's pool; NULL when memory is out */
const char *spiffe_id_format(struct build *b, const char *namespace, const char *service_account);

/** mtls_resolve() - find the policies that hold for @w (peer_auth.c) */
struct mtls_rules mtls_resolve(const struct model *model, const struct model_workload *w);
/** mtls_at() - the mode of one port; *@ret_own tells whether the port has one of its own */
enum mesh_mtls mtls_at(const struct mtls_rules *rules, uint16_t port, bool *ret_own);

/** pair_hash() - of two names (match.c) */
uint64_t pair_hash(const char *a, const char *b);

/* match.c */
MUST_CHECK int label_groups_build(struct build *b);
/** matches_find() - the workloads that @r selects, sorted by their first address; room for all workloads in @ret */
size_t matches_find(const struct build *b, const struct resource *r, struct build_workload **ret);
MUST_CHECK int slice_groups_build(struct build *b);

struct slice_ref {
	struct slice_ref *next;
	const struct resource *resource;
};
/** slices_find() - the slices of a service, or NULL */
const struct slice_ref *slices_find(const struct build *b, const struct resource *service);

/* backend_tls.c */
MUST_CHECK int backend_tls_build(struct build *b);
/** backend_tls_find() - what holds for the port called @port_name of a service: *@ret, NULL where nothing does; -ENOMEM */
MUST_CHECK int backend_tls_find(struct build *b, const struct resource *service, const char *port_name,
				const struct mesh_backend_tls **ret);

/** resource_age_compare() - which of two policies that say the same counts: the older, then the first by name (peer_auth.c) */
int resource_age_compare(const struct resource *a, const struct resource *b);

/* endpoints.c */

/** service_build() - one service with its endpoints, names and the inbound ports it gives to workloads */
MUST_CHECK int service_build(struct build *b, const struct resource *r, size_t index);

/** inbound_get() - the entry of @port, made if need be; NULL when memory is out */
struct build_inbound *inbound_get(struct build *b, struct build_workload *w, uint16_t port);

#endif
