/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a snapshot
 *
 * Order: settings, workloads (services point at them), services with their endpoints, and last the inbound tables,
 * which the services have filled.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/snapshot/build.h"

static int reverse_zones_copy(struct build *b, const struct model_settings *from)
{
	const char **zones = pool_zalloc(&b->s->pool, (from->n_reverse_zones + 1) * sizeof(*zones));

	if (!zones)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_reverse_zones; i++) {
		zones[i] = pool_str_dup(&b->s->pool, str_from(from->reverse_zones[i])).p;
		if (!zones[i])
			return -ENOMEM;
	}
	b->s->settings.reverse_zones = zones;
	b->s->settings.n_reverse_zones = from->n_reverse_zones;
	return 0;
}

static int settings_build(struct build *b)
{
	const struct model_settings *from = model_get_settings(b->model);
	const struct resource *r = model_resource_find(b->model, RESOURCE_CONFIG_MAP, "trammel-system", "trammel");
	struct mesh_settings *to = &b->s->settings;
	size_t n = r ? r->config.n_dns_upstream : 0;

	to->trust_domain = pool_str_dup(&b->s->pool, str_from(from->trust_domain)).p;
	to->cluster_domain = pool_str_dup(&b->s->pool, str_from(from->cluster_domain)).p;
	to->dns_upstream = pool_zalloc(&b->s->pool, (n + 1) * sizeof(*to->dns_upstream));
	if (!to->trust_domain || !to->cluster_domain || !to->dns_upstream)
		return -ENOMEM;
	to->refuse_unknown = r && r->config.refuse_unknown;
	to->h2_upgrade = r && r->config.h2_upgrade;
	if (n)
		memcpy(to->dns_upstream, r->config.dns_upstream, n * sizeof(*to->dns_upstream));
	to->n_dns_upstream = n;
	return reverse_zones_copy(b, from);
}

const char *spiffe_id_format(struct build *b, const char *namespace, const char *service_account)
{
	const char *domain = b->s->settings.trust_domain;
	size_t n = strlen(domain) + strlen(namespace) + strlen(service_account) + sizeof("spiffe:///ns//sa/");
	char *text = pool_alloc(&b->s->pool, n);

	if (text)
		snprintf(text, n, "spiffe://%s/ns/%s/sa/%s", domain, namespace, service_account);
	return text;
}

static bool has_tunnel_label(const struct model_workload *w)
{
	for (size_t i = 0; i < w->n_labels; i++)
		if (strcmp(w->labels[i], "networking.istio.io/tunnel=http") == 0)
			return true;
	return false;
}

static int workload_copy(struct build *b, const struct model_workload *from, struct mesh_workload *to)
{
	struct pool *p = &b->s->pool;
	const char **labels = pool_alloc(p, (from->n_labels + 1) * sizeof(*labels));

	to->id = from->id;
	to->namespace = pool_str_dup(p, str_from(from->namespace)).p;
	to->name = pool_str_dup(p, str_from(from->name)).p;
	to->service_account = pool_str_dup(p, str_from(from->service_account)).p;
	to->spiffe_id = spiffe_id_format(b, from->namespace, from->service_account);
	to->addresses = pool_alloc(p, (from->n_addresses + 1) * sizeof(*to->addresses));
	if (!labels || !to->namespace || !to->name || !to->service_account || !to->spiffe_id || !to->addresses)
		return -ENOMEM;
	to->hbone = has_tunnel_label(from);
	for (size_t i = 0; i < from->n_labels; i++) {
		labels[i] = pool_str_dup(p, str_from(from->labels[i])).p;
		if (!labels[i])
			return -ENOMEM;
	}
	to->labels = labels;
	to->n_labels = from->n_labels;
	for (size_t i = 0; i < from->n_addresses; i++) {
		to->addresses[i] = from->addresses[i];
		to->addresses[i].port = 0;
	}
	to->n_addresses = from->n_addresses;
	return 0;
}

static int workload_index(struct build *b, const struct mesh_workload *w)
{
	struct id_entry *id = pool_zalloc(&b->s->pool, sizeof(*id));

	if (!id)
		return -ENOMEM;
	id->workload = w;
	if (hash_table_add(&b->s->workload_ids, &id->node, hash_bytes(&w->id, sizeof(w->id))) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_addresses; i++) {
		uint64_t hash = hash_bytes(w->addresses[i].ip, 16);
		struct ip_entry *ip;

		if (hash_table_find(&b->s->workload_ips, hash, ip_entry_eq, &w->addresses[i]))
			continue; /* one network namespace shared: the first by name */
		ip = pool_zalloc(&b->s->pool, sizeof(*ip));
		if (!ip)
			return -ENOMEM;
		ip->ip = &w->addresses[i];
		ip->workload = w;
		if (hash_table_add(&b->s->workload_ips, &ip->node, hash) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int workload_build(struct build *b, const struct model_workload *from, size_t index)
{
	struct build_workload *w = &b->workloads[index];
	const struct peer_authentication *pa;
	int r;

	w->model = from;
	w->out = &b->s->workloads[index];
	w->mtls = mtls_resolve(b->model, from);
	w->out->default_mtls = w->mtls.base;
	r = workload_copy(b, from, w->out);
	if (r == 0)
		r = workload_index(b, w->out);
	pa = w->mtls.workload_policy;
	for (size_t i = 0; r == 0 && pa && i < pa->n_ports; i++)
		if (!inbound_get(b, w, pa->ports[i].port))
			r = -ENOMEM;
	return r;
}

static int workloads_build(struct build *b)
{
	size_t n;
	const struct model_workload *const *list = model_workloads(b->model, &n);
	int r = 0;

	b->s->workloads = pool_zalloc(&b->s->pool, (n + 1) * sizeof(*b->s->workloads));
	b->workloads = pool_zalloc(&b->scratch, (n + 1) * sizeof(*b->workloads));
	b->matched = pool_alloc(&b->scratch, (n + 1) * sizeof(*b->matched));
	if (!b->s->workloads || !b->workloads || !b->matched)
		return -ENOMEM;
	b->s->n_workloads = n;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = workload_build(b, list[i], i);
	return r;
}

static int services_build(struct build *b)
{
	size_t n;
	struct resource *const *list = model_resources(b->model, RESOURCE_SERVICE, &n);
	int r = 0;

	b->s->services = pool_zalloc(&b->s->pool, (n + 1) * sizeof(*b->s->services));
	b->s->dns = pool_zalloc(&b->s->pool, (n + 1) * sizeof(*b->s->dns));
	if (!b->s->services || !b->s->dns)
		return -ENOMEM;
	b->s->n_services = n;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = service_build(b, list[i], i);
	return r;
}

static int inbound_compare(const void *a, const void *b)
{
	const struct mesh_inbound *x = a, *y = b;

	return (int)x->port - (int)y->port;
}

static int inbound_build(struct build *b, struct build_workload *w)
{
	struct mesh_workload *out = w->out;

	out->inbound = pool_zalloc(&b->s->pool, (w->n_inbound + 1) * sizeof(*out->inbound));
	if (!out->inbound)
		return -ENOMEM;
	for (const struct build_inbound *in = w->inbound; in; in = in->next) {
		struct mesh_inbound *to = &out->inbound[out->n_inbound++];

		*to = in->out;
		to->mtls = mtls_at(&w->mtls, to->port, &to->has_mtls);
	}
	if (out->n_inbound > 1)
		qsort(out->inbound, out->n_inbound, sizeof(*out->inbound), inbound_compare);
	return 0;
}

static int build_run(struct build *b)
{
	int r = settings_build(b);

	if (r == 0)
		r = workloads_build(b);
	if (r == 0)
		r = label_groups_build(b);
	if (r == 0)
		r = slice_groups_build(b);
	if (r == 0)
		r = backend_tls_build(b);
	if (r == 0)
		r = services_build(b);
	for (size_t i = 0; r == 0 && i < b->s->n_workloads; i++)
		r = inbound_build(b, &b->workloads[i]);
	return r;
}

int mesh_snapshot_build(const struct model *model, uint64_t generation, struct mesh_snapshot **ret)
{
	struct build b = {.model = model, .s = calloc(1, sizeof(*b.s))};
	int r;

	if (!b.s)
		return -ENOMEM;
	b.s->refs = 1;
	b.s->generation = generation;
	pool_init(&b.s->pool, SIZE_MAX);
	pool_init(&b.scratch, SIZE_MAX);
	r = build_run(&b);
	hash_table_done(&b.label_groups);
	hash_table_done(&b.slices);
	hash_table_done(&b.backend_tls);
	hash_table_done(&b.bundles);
	hash_table_done(&b.inbound);
	pool_done(&b.scratch);
	if (r < 0) {
		mesh_snapshot_unref(b.s);
		return r;
	}
	*ret = b.s;
	return 0;
}
