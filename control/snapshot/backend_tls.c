/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which BackendTLSPolicy holds for a service's port
 *
 * One that names the port counts before one that names the service alone; among equals the oldest, then the first by name
 * (Gateway API, policy attachment). One that cannot be followed is not passed over: it would be plaintext, or trust, that
 * nobody asked for.
 */
#include <errno.h>
#include <string.h>
#include "control/snapshot/build.h"

struct backend_tls_entry {
	struct hash_node node;
	const char *namespace, *service;
	struct backend_tls_use *first;
};

struct backend_tls_use {
	struct backend_tls_use *next;
	const struct resource *policy;
	const char *section;
	const struct mesh_backend_tls *tls;
};

struct entry_key {
	const char *namespace, *service;
};

static bool entry_eq(const struct hash_node *n, const void *key)
{
	const struct backend_tls_entry *e = container_of(n, struct backend_tls_entry, node);
	const struct entry_key *k = key;

	return strcmp(e->service, k->service) == 0 && strcmp(e->namespace, k->namespace) == 0;
}

static struct backend_tls_entry *entry_find(const struct build *b, const char *namespace, const char *service)
{
	struct hash_node *n = hash_table_find(&b->backend_tls, pair_hash(namespace, service), entry_eq,
					      &(struct entry_key){namespace, service});

	return n ? container_of(n, struct backend_tls_entry, node) : NULL;
}

static const char *text_join(struct pool *p, const char *a, const char *b)
{
	size_t n_a = strlen(a), n_b = strlen(b) + 1;
	char *text = pool_alloc(p, n_a + n_b);

	if (!text)
		return NULL;
	memcpy(text, a, n_a);
	memcpy(text + n_a, b, n_b);
	return text;
}

/* All bundles as one text; *ret_error where one is not there. */
static const char *bundles_join(struct build *b, const struct resource *policy, const char **ret_error)
{
	const struct backend_tls_policy *p = &policy->backend_tls;
	const char *all = "";

	*ret_error = "";
	for (size_t i = 0; all && i < p->n_bundles; i++) {
		const struct resource *r = model_resource_find(b->model, RESOURCE_CONFIG_MAP, policy->namespace, p->bundles[i]);

		if (!r || !r->config.ca_pem) {
			*ret_error = text_join(&b->s->pool, "no ConfigMap with ca.crt is called ", p->bundles[i]);
			return *ret_error ? "" : NULL;
		}
		all = text_join(&b->s->pool, all, r->config.ca_pem);
		all = all ? text_join(&b->s->pool, all, "\n") : NULL;
	}
	return all;
}

static const struct mesh_backend_tls *tls_make(struct build *b, const struct resource *policy)
{
	const struct backend_tls_policy *p = &policy->backend_tls;
	struct mesh_backend_tls *tls = pool_zalloc(&b->s->pool, sizeof(*tls));
	const char **names = pool_zalloc(&b->s->pool, (p->n_names + 1) * sizeof(*names));

	if (!tls || !names)
		return NULL;
	tls->hostname = pool_str_dup(&b->s->pool, str_from(p->hostname)).p;
	tls->ca_pem = bundles_join(b, policy, &tls->error);
	if (!tls->hostname || !tls->ca_pem)
		return NULL;
	for (size_t i = 0; i < p->n_names; i++) {
		names[i] = pool_str_dup(&b->s->pool, str_from(p->names[i])).p;
		if (!names[i])
			return NULL;
	}
	tls->names = names;
	tls->n_names = p->n_names;
	return tls;
}

static int use_add(struct build *b, const struct resource *policy, const struct backend_tls_target *target,
		   const struct mesh_backend_tls *tls)
{
	struct backend_tls_entry *e = entry_find(b, policy->namespace, target->service);
	struct backend_tls_use *u = pool_zalloc(&b->scratch, sizeof(*u));

	if (!u)
		return -ENOMEM;
	if (!e) {
		e = pool_zalloc(&b->scratch, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->namespace = policy->namespace;
		e->service = target->service;
		if (hash_table_add(&b->backend_tls, &e->node, pair_hash(e->namespace, e->service)) < 0)
			return -ENOMEM;
	}
	*u = (struct backend_tls_use){.next = e->first, .policy = policy, .section = target->section, .tls = tls};
	e->first = u;
	return 0;
}

int backend_tls_build(struct build *b)
{
	struct resource *const *list;
	size_t n;
	int r = 0;

	list = model_resources(b->model, RESOURCE_BACKEND_TLS_POLICY, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct backend_tls_policy *p = &list[i]->backend_tls;
		const struct mesh_backend_tls *tls = tls_make(b, list[i]);

		if (!tls)
			return -ENOMEM;
		for (size_t k = 0; r == 0 && k < p->n_targets; k++)
			r = use_add(b, list[i], &p->targets[k], tls);
	}
	return r;
}

const struct mesh_backend_tls *backend_tls_find(const struct build *b, const struct resource *service, const char *port_name)
{
	const struct backend_tls_entry *e = entry_find(b, service->namespace, service->name);
	const struct backend_tls_use *best = NULL;

	for (const struct backend_tls_use *u = e ? e->first : NULL; u; u = u->next) {
		if (u->section[0] && strcmp(u->section, port_name) != 0)
			continue;
		if (!best || (!best->section[0] && u->section[0]) ||
		    (!best->section[0] == !u->section[0] && resource_age_compare(u->policy, best->policy) < 0))
			best = u;
	}
	return best ? best->tls : NULL;
}
