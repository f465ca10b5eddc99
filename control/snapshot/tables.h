/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot from inside: vectors in order of names, and the tables that find things in them
 *
 * Everything lives in the snapshot's pool. Built by build.c, read by everybody else.
 */
#ifndef TRAMMEL_SNAPSHOT_TABLES_H
#define TRAMMEL_SNAPSHOT_TABLES_H

#include "base/hash.h"
#include "base/pool.h"
#include "control/snapshot/snapshot.h"

struct ip_entry {
	struct hash_node node;
	const struct addr *ip;
	const struct mesh_service *service;   /* either */
	const struct mesh_workload *workload; /* or */
};

struct id_entry {
	struct hash_node node;
	const struct mesh_workload *workload;
};

struct endpoint_entry {
	struct hash_node node;
	const struct mesh_endpoint *endpoint;
	const struct mesh_service *service;
	const struct mesh_service_port *port;
};

/* POD.web.default.svc.cluster.local */
struct pod_entry {
	struct hash_node node;
	const struct mesh_service *service;
	const char *name;
	const char *canonical;
	struct addr *addresses;
	size_t n_addresses;
};

/* The answer to a service's name; stands at the service's place in a vector of its own. */
struct dns_entry {
	const struct addr *addresses;
	size_t n_addresses;
};

struct mesh_snapshot {
	unsigned int refs;
	uint64_t generation;
	struct pool pool;
	struct mesh_settings settings;
	struct mesh_service *services;
	struct dns_entry *dns; /* of services[i] */
	size_t n_services;
	struct mesh_workload *workloads;
	size_t n_workloads;
	struct hash_table service_ips, workload_ips, workload_ids, endpoints, pods;
};

uint64_t pod_hash(const struct mesh_service *service, struct str name);

struct pod_key {
	const struct mesh_service *service;
	struct str name;
};
bool pod_eq(const struct hash_node *n, const void *key);
bool endpoint_eq(const struct hash_node *n, const void *key); /* const struct addr * with port */
bool ip_entry_eq(const struct hash_node *n, const void *key); /* const struct addr * */
uint64_t endpoint_hash(const struct addr *a);

#endif
