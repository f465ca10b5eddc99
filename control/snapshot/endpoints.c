/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services and their endpoints
 *
 * A service with a selector has the workloads that match: one endpoint for each, by the service's first family, as the
 * virtual address of that family would lead to in a cluster (both families where a headless service asks for both). A
 * service without one has what its slices say. The other addresses of a workload are known to the look-up by address
 * alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/snapshot/build.h"

#define ROOM_FIRST 64

static const char *hostname_format(struct pool *p, const struct resource *r, const char *domain)
{
	size_t n = strlen(r->name) + strlen(r->namespace) + strlen(domain) + sizeof("..svc.");
	char *text = pool_alloc(p, n);

	if (text)
		snprintf(text, n, "%s.%s.svc.%s", r->name, r->namespace, domain);
	return text;
}

static const char *text_dup(struct pool *p, const char *s)
{
	return pool_str_dup(p, str_from(s)).p;
}

/* Endpoints of one port are gathered in the build's room. */

static int room_add(struct build *b, const struct mesh_endpoint *e)
{
	if (b->n_room == b->cap_room) {
		size_t cap = b->cap_room ? b->cap_room * 2 : ROOM_FIRST;
		struct mesh_endpoint *room = pool_alloc(&b->scratch, cap * sizeof(*room));

		if (!room)
			return -ENOMEM;
		if (b->n_room)
			memcpy(room, b->room, b->n_room * sizeof(*room));
		b->room = room;
		b->cap_room = cap;
	}
	b->room[b->n_room++] = *e;
	return 0;
}

static int endpoint_compare(const void *a, const void *b)
{
	const struct mesh_endpoint *x = a, *y = b;
	int r = memcmp(x->addr.ip, y->addr.ip, 16);

	if (r == 0)
		r = (int)x->addr.port - (int)y->addr.port;
	/* Of two that say the same address the one with an identity stays, then the ready one. */
	r = r ? r : (int)y->mtls - (int)x->mtls;
	return r ? r : (int)y->ready - (int)x->ready;
}

static void room_sort(struct build *b)
{
	bool sorted = true;
	size_t n = 0;

	for (size_t i = 1; i < b->n_room && sorted; i++)
		sorted = endpoint_compare(&b->room[i - 1], &b->room[i]) <= 0;
	if (!sorted)
		qsort(b->room, b->n_room, sizeof(*b->room), endpoint_compare);
	for (size_t i = 0; i < b->n_room; i++)
		if (n == 0 || !addr_eq(&b->room[n - 1].addr, &b->room[i].addr))
			b->room[n++] = b->room[i];
	b->n_room = n;
}

struct inbound_key {
	const struct build_workload *workload;
	uint16_t port;
};

static bool inbound_eq(const struct hash_node *n, const void *key)
{
	const struct build_inbound *in = container_of(n, struct build_inbound, node);
	const struct inbound_key *k = key;

	return in->workload == k->workload && in->out.port == k->port;
}

struct build_inbound *inbound_get(struct build *b, struct build_workload *w, uint16_t port)
{
	uint64_t key[2] = {(uint64_t)(uintptr_t)w, port}, hash;
	struct build_inbound *in;
	struct hash_node *n;

	if (w->inbound && w->inbound->out.port == port) /* the last one asked for */
		return w->inbound;
	hash = hash_bytes(key, sizeof(key));
	n = hash_table_find(&b->inbound, hash, inbound_eq, &(struct inbound_key){w, port});
	if (n)
		return container_of(n, struct build_inbound, node);
	in = pool_zalloc(&b->scratch, sizeof(*in));
	if (!in || hash_table_add(&b->inbound, &in->node, hash) < 0)
		return NULL;
	in->workload = w;
	in->out.port = port;
	in->next = w->inbound;
	w->inbound = in;
	w->n_inbound++;
	return in;
}

/* @w is an endpoint of @svc at @port: its proxy must know how that port speaks. */
static int inbound_note(struct build *b, struct build_workload *w, uint16_t port, const struct mesh_service *svc,
			const struct mesh_service_port *svc_port)
{
	struct build_inbound *in = inbound_get(b, w, port);

	if (!in)
		return -ENOMEM;
	if (!in->out.service) { /* services come in the order of their names: the first one counts */
		in->out.service = svc;
		in->out.service_port = svc_port->port;
		in->out.protocol = svc_port->protocol;
	}
	in->out.http1 |= svc_port->protocol == MESH_APP_HTTP1;
	return 0;
}

static struct mesh_endpoint endpoint_of(const struct build_workload *w, const struct addr *ip, uint16_t port)
{
	struct mesh_endpoint e = {.addr = *ip,
				  .mtls = mtls_at(&w->mtls, port, NULL) != MESH_MTLS_DISABLE,
				  .spiffe_id = w->out->spiffe_id,
				  .workload = w->out->name,
				  .namespace = w->out->namespace};

	e.hbone = e.mtls && w->out->hbone;
	e.addr.port = port;
	return e;
}

static bool workload_listens(const struct model_workload *w, uint16_t port)
{
	size_t lo = 0, hi = w->n_listening;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->listening[mid] == port)
			return true;
		if (w->listening[mid] < port)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Does the address number @i of @w stand for it in this service? */
static bool address_serves(const struct service *svc, const struct model_workload *w, size_t i)
{
	for (size_t f = 0; f < svc->n_addresses; f++) {
		bool have = false;

		for (size_t k = 0; k < w->n_addresses; k++) {
			if (addr_is_v4(&w->addresses[k]) == svc->addresses[f].v6)
				continue;
			if (k == i && !have)
				return true;
			have = true; /* one of each family is enough */
		}
		if (have && !(svc->headless && svc->dual_stated))
			return false;
	}
	return false;
}

static int index_add(struct build *b, const struct mesh_endpoint *e, const struct mesh_service *svc,
		     const struct mesh_service_port *port, bool copy)
{
	uint64_t hash = endpoint_hash(&e->addr);
	struct hash_node *node = hash_table_find(&b->s->endpoints, hash, endpoint_eq, &e->addr);
	struct endpoint_entry *entry;
	struct mesh_endpoint *own;

	if (node) {
		/* The first service by name, but one that asks for TLS: plaintext beside it would be nobody's wish. */
		entry = container_of(node, struct endpoint_entry, node);
		if (port && port->tls && !e->mtls && !(entry->port && entry->port->tls)) {
			entry->service = svc;
			entry->port = port;
		}
		return 0;
	}
	entry = pool_zalloc(&b->s->pool, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	if (copy) {
		own = pool_alloc(&b->s->pool, sizeof(*own));
		if (!own)
			return -ENOMEM;
		*own = *e;
		e = own;
	}
	entry->endpoint = e;
	entry->service = svc;
	entry->port = port;
	return hash_table_add(&b->s->endpoints, &entry->node, hash);
}

static int workload_endpoints_add(struct build *b, const struct resource *r, struct build_workload *w,
				  const struct mesh_service *svc, const struct mesh_service_port *port, uint16_t target)
{
	const struct model_workload *m = w->model;
	int err = inbound_note(b, w, target, svc, port);

	for (size_t i = 0; err == 0 && i < m->n_addresses; i++) {
		struct mesh_endpoint e = endpoint_of(w, &m->addresses[i], target);

		e.ready = r->service.publish_not_ready || (!m->terminating && workload_listens(m, target));
		e.terminating = m->terminating;
		if (address_serves(&r->service, m, i))
			err = room_add(b, &e);
		else
			err = index_add(b, &e, svc, port, true);
	}
	return err;
}

/* @given: what the slice says; what is known of a workload counts more. */
static int slice_endpoint_add(struct build *b, const struct slice_endpoint *from, const struct mesh_endpoint *given,
			      const struct mesh_service *svc, const struct mesh_service_port *port)
{
	const struct mesh_workload *out = mesh_snapshot_workload_by_ip(b->s, &given->addr);
	struct mesh_endpoint e = *given;
	int err;

	if (out) {
		struct build_workload *w = &b->workloads[out - b->s->workloads];

		e = endpoint_of(w, &given->addr, given->addr.port);
		err = inbound_note(b, w, given->addr.port, svc, port);
		if (err < 0)
			return err;
	}
	e.ready = from->ready;
	e.terminating = from->terminating;
	return room_add(b, &e);
}

static int slice_port_add(struct build *b, const struct resource *slice, const struct slice_port *from,
			  const struct mesh_service *svc, const struct mesh_service_port *port)
{
	const struct endpoint_slice *s = &slice->slice;
	struct mesh_endpoint given = {
		.mtls = s->hbone, .hbone = s->hbone, .spiffe_id = "", .workload = "", .namespace = ""};
	int err = 0;

	if (s->hbone) {
		given.spiffe_id = spiffe_id_format(b, slice->namespace, s->service_account);
		if (!given.spiffe_id)
			return -ENOMEM;
	}
	for (size_t i = 0; i < s->n_endpoints; i++)
		for (size_t k = 0; err == 0 && k < s->endpoints[i].n_addresses; k++) {
			given.addr = s->endpoints[i].addresses[k];
			given.addr.port = from->port;
			err = slice_endpoint_add(b, &s->endpoints[i], &given, svc, port);
		}
	return err;
}

static int slices_add(struct build *b, const struct resource *r, const struct mesh_service *svc,
		      const struct mesh_service_port *port)
{
	int err = 0;

	for (const struct slice_ref *ref = slices_find(b, r); ref; ref = ref->next) {
		const struct endpoint_slice *s = &ref->resource->slice;

		for (size_t p = 0; err == 0 && p < s->n_ports; p++)
			if (strcmp(s->ports[p].name, port->name) == 0)
				err = slice_port_add(b, ref->resource, &s->ports[p], svc, port);
	}
	return err;
}

static int port_build(struct build *b, const struct resource *r, const struct mesh_service *svc,
		      struct mesh_service_port *port, const struct service_port *from, size_t n_matched)
{
	int err = 0;

	_Static_assert((int)MESH_APP_SERVER_FIRST == (int)MODEL_APP_SERVER_FIRST, "protocols in one order");
	port->port = from->port;
	port->protocol = (enum mesh_protocol)from->protocol;
	port->name = text_dup(&b->s->pool, from->name);
	if (!port->name)
		return -ENOMEM;
	err = backend_tls_find(b, r, from->name, &port->tls);
	if (err < 0)
		return err;
	if (port->tls && port->protocol == MESH_APP_TLS)
		port->protocol = MESH_APP_UNDECLARED; /* what comes plain is what is to be wrapped: looked at, to tell */
	b->n_room = 0;
	for (size_t i = 0; err == 0 && i < n_matched; i++)
		err = workload_endpoints_add(b, r, b->matched[i], svc, port, from->target_port);
	if (err == 0 && !r->service.n_selector)
		err = slices_add(b, r, svc, port);
	if (err < 0)
		return err;
	room_sort(b);
	port->endpoints = pool_alloc(&b->s->pool, MAX(b->n_room, (size_t)1) * sizeof(*port->endpoints));
	if (!port->endpoints)
		return -ENOMEM;
	if (b->n_room)
		memcpy(port->endpoints, b->room, b->n_room * sizeof(*port->endpoints));
	port->n_endpoints = b->n_room;
	for (size_t i = 0; err == 0 && i < port->n_endpoints; i++)
		err = index_add(b, &port->endpoints[i], svc, port, false);
	return err;
}

/* Names of headless services */

struct addr_list {
	struct addr *items;
	size_t n, cap;
};

static int addr_list_add(struct build *b, struct addr_list *l, const struct addr *a)
{
	for (size_t i = 0; i < l->n; i++)
		if (addr_ip_eq(&l->items[i], a))
			return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct addr *items = pool_alloc(&b->s->pool, cap * sizeof(*items));

		if (!items)
			return -ENOMEM;
		if (l->n)
			memcpy(items, l->items, l->n * sizeof(*items));
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n] = *a;
	l->items[l->n++].port = 0;
	return 0;
}

static int pod_add(struct build *b, const struct mesh_service *svc, const char *name, const struct addr_list *l)
{
	struct pod_entry *e = pool_zalloc(&b->s->pool, sizeof(*e));
	size_t n = strlen(name);
	char *canonical;

	if (!e)
		return -ENOMEM;
	*e = (struct pod_entry){.service = svc, .addresses = l->items, .n_addresses = l->n};
	e->name = text_dup(&b->s->pool, name);
	canonical = pool_alloc(&b->s->pool, n + strlen(svc->hostname) + 2);
	if (!e->name || !canonical)
		return -ENOMEM;
	memcpy(canonical, name, n);
	canonical[n] = '.';
	memcpy(canonical + n + 1, svc->hostname, strlen(svc->hostname) + 1);
	e->canonical = canonical;
	return hash_table_add(&b->s->pods, &e->node, pod_hash(svc, str_from(name)));
}

/* Ready on one of its ports is ready; a service without ports has no more to go by than that the workload is there. */
static bool workload_is_published(const struct service *svc, const struct model_workload *w)
{
	if (svc->publish_not_ready)
		return true;
	if (w->terminating)
		return false;
	for (size_t i = 0; i < svc->n_ports; i++)
		if (workload_listens(w, svc->ports[i].target_port))
			return true;
	return svc->n_ports == 0;
}

static int headless_names_build(struct build *b, const struct resource *r, const struct mesh_service *svc,
				size_t n_matched, struct addr_list *all)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < n_matched; i++) {
		const struct model_workload *w = b->matched[i]->model;
		struct addr_list own = {0};

		if (!workload_is_published(&r->service, w))
			continue;
		for (size_t k = 0; err == 0 && k < w->n_addresses; k++)
			if (address_serves(&r->service, w, k)) {
				err = addr_list_add(b, &own, &w->addresses[k]);
				err = err ? err : addr_list_add(b, all, &w->addresses[k]);
			}
		err = err ? err : pod_add(b, svc, w->name, &own);
	}
	for (const struct slice_ref *ref = r->service.n_selector ? NULL : slices_find(b, r); ref; ref = ref->next) {
		const struct endpoint_slice *s = &ref->resource->slice;

		for (size_t i = 0; err == 0 && i < s->n_endpoints; i++) {
			const struct slice_endpoint *e = &s->endpoints[i];
			struct addr_list own = {0};

			for (size_t k = 0; err == 0 && e->ready && k < e->n_addresses; k++) {
				err = addr_list_add(b, &own, &e->addresses[k]);
				err = err ? err : addr_list_add(b, all, &e->addresses[k]);
			}
			if (err == 0 && own.n && e->hostname[0])
				err = pod_add(b, svc, e->hostname, &own);
		}
	}
	return err;
}

static int addresses_build(struct build *b, const struct resource *r, struct mesh_service *svc)
{
	svc->addresses = pool_zalloc(&b->s->pool, SERVICE_ADDRESSES_MAX * sizeof(*svc->addresses));
	if (!svc->addresses)
		return -ENOMEM;
	for (size_t i = 0; i < r->service.n_addresses && !svc->headless; i++) {
		const struct addr *a = &r->service.addresses[i].addr;
		struct ip_entry *e;

		if (addr_is_any(a)) /* none was free */
			continue;
		svc->addresses[svc->n_addresses] = *a;
		e = pool_zalloc(&b->s->pool, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->ip = &svc->addresses[svc->n_addresses++];
		e->service = svc;
		if (hash_table_add(&b->s->service_ips, &e->node, hash_bytes(a->ip, 16)) < 0)
			return -ENOMEM;
	}
	return 0;
}

int service_build(struct build *b, const struct resource *r, size_t index)
{
	struct mesh_service *svc = &b->s->services[index];
	struct addr_list names = {0};
	size_t n_matched = matches_find(b, r, b->matched);
	int err;

	svc->namespace = text_dup(&b->s->pool, r->namespace);
	svc->name = text_dup(&b->s->pool, r->name);
	svc->hostname = hostname_format(&b->s->pool, r, b->s->settings.cluster_domain);
	svc->ports = pool_zalloc(&b->s->pool, MAX(r->service.n_ports, (size_t)1) * sizeof(*svc->ports));
	if (!svc->namespace || !svc->name || !svc->hostname || !svc->ports)
		return -ENOMEM;
	svc->headless = r->service.headless;
	err = addresses_build(b, r, svc);
	svc->n_ports = r->service.n_ports;
	for (size_t i = 0; err == 0 && i < svc->n_ports; i++)
		err = port_build(b, r, svc, &svc->ports[i], &r->service.ports[i], n_matched);
	if (err == 0 && svc->headless)
		err = headless_names_build(b, r, svc, n_matched, &names);
	b->s->dns[index] = svc->headless ? (struct dns_entry){names.items, names.n}
					 : (struct dns_entry){svc->addresses, svc->n_addresses};
	return err;
}
