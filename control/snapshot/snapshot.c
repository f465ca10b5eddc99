/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's snapshot, life and look-ups: see snapshot.h. */
#include "control/snapshot/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include "control/snapshot/tables.h"

struct mesh_snapshot *mesh_snapshot_ref(struct mesh_snapshot *s)
{
	s->refs++;
	return s;
}

struct mesh_snapshot *mesh_snapshot_unref(struct mesh_snapshot *s)
{
	if (!s || --s->refs)
		return NULL;
	hash_table_done(&s->service_ips);
	hash_table_done(&s->workload_ips);
	hash_table_done(&s->workload_ids);
	hash_table_done(&s->endpoints);
	hash_table_done(&s->pods);
	pool_done(&s->pool);
	free(s);
	return NULL;
}

uint64_t mesh_snapshot_generation(const struct mesh_snapshot *s)
{
	return s->generation;
}

const struct mesh_settings *mesh_snapshot_settings(const struct mesh_snapshot *s)
{
	return &s->settings;
}

size_t mesh_snapshot_n_services(const struct mesh_snapshot *s)
{
	return s->n_services;
}

const struct mesh_service *mesh_snapshot_service_at(const struct mesh_snapshot *s, size_t i)
{
	return i < s->n_services ? &s->services[i] : NULL;
}

size_t mesh_snapshot_n_workloads(const struct mesh_snapshot *s)
{
	return s->n_workloads;
}

const struct mesh_workload *mesh_snapshot_workload_at(const struct mesh_snapshot *s, size_t i)
{
	return i < s->n_workloads ? &s->workloads[i] : NULL;
}

struct name_key {
	const char *namespace, *name;
};

static int service_compare(const void *key, const void *item)
{
	const struct name_key *k = key;
	const struct mesh_service *svc = item;
	int r = strcmp(k->namespace, svc->namespace);

	return r ? r : strcmp(k->name, svc->name);
}

static int workload_compare(const void *key, const void *item)
{
	const struct name_key *k = key;
	const struct mesh_workload *w = item;
	int r = strcmp(k->namespace, w->namespace);

	return r ? r : strcmp(k->name, w->name);
}

const struct mesh_service *mesh_snapshot_service_find(const struct mesh_snapshot *s, const char *namespace,
						      const char *name)
{
	struct name_key key = {namespace, name};

	return s->n_services ? bsearch(&key, s->services, s->n_services, sizeof(*s->services), service_compare) : NULL;
}

const struct mesh_workload *mesh_snapshot_workload_find(const struct mesh_snapshot *s, const char *namespace,
							const char *name)
{
	struct name_key key = {namespace, name};

	return s->n_workloads ? bsearch(&key, s->workloads, s->n_workloads, sizeof(*s->workloads), workload_compare)
			      : NULL;
}

bool ip_entry_eq(const struct hash_node *n, const void *key)
{
	return addr_ip_eq(container_of(n, struct ip_entry, node)->ip, key);
}

static const struct ip_entry *ip_find(const struct hash_table *t, const struct addr *ip)
{
	struct hash_node *n = hash_table_find(t, hash_bytes(ip->ip, 16), ip_entry_eq, ip);

	return n ? container_of(n, struct ip_entry, node) : NULL;
}

const struct mesh_service *mesh_snapshot_service_by_ip(const struct mesh_snapshot *s, const struct addr *ip)
{
	const struct ip_entry *e = ip_find(&s->service_ips, ip);

	return e ? e->service : NULL;
}

const struct mesh_workload *mesh_snapshot_workload_by_ip(const struct mesh_snapshot *s, const struct addr *ip)
{
	const struct ip_entry *e = ip_find(&s->workload_ips, ip);

	return e ? e->workload : NULL;
}

static bool id_eq(const struct hash_node *n, const void *key)
{
	return container_of(n, struct id_entry, node)->workload->id == *(const uint32_t *)key;
}

const struct mesh_workload *mesh_snapshot_workload_by_id(const struct mesh_snapshot *s, uint32_t id)
{
	struct hash_node *n = hash_table_find(&s->workload_ids, hash_bytes(&id, sizeof(id)), id_eq, &id);

	return n ? container_of(n, struct id_entry, node)->workload : NULL;
}

const struct mesh_service_port *mesh_service_port_find(const struct mesh_service *svc, uint16_t port)
{
	for (size_t i = 0; i < svc->n_ports; i++)
		if (svc->ports[i].port == port)
			return &svc->ports[i];
	return NULL;
}

bool endpoint_eq(const struct hash_node *n, const void *key)
{
	return addr_eq(&container_of(n, struct endpoint_entry, node)->endpoint->addr, key);
}

uint64_t endpoint_hash(const struct addr *a)
{
	uint8_t bytes[18];

	memcpy(bytes, a->ip, 16);
	memcpy(bytes + 16, &a->port, 2);
	return hash_bytes(bytes, sizeof(bytes));
}

const struct mesh_endpoint *mesh_snapshot_endpoint_by_addr(const struct mesh_snapshot *s, const struct addr *addr,
							   const struct mesh_service **ret_service,
							   const struct mesh_service_port **ret_port)
{
	struct hash_node *n = hash_table_find(&s->endpoints, endpoint_hash(addr), endpoint_eq, addr);
	const struct endpoint_entry *e;

	if (!n)
		return NULL;
	e = container_of(n, struct endpoint_entry, node);
	if (ret_service)
		*ret_service = e->service;
	if (ret_port)
		*ret_port = e->port;
	return e->endpoint;
}
