/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which BackendTLSPolicy holds for a service's port
 *
 * One that names the port counts before one that names the service alone; among equals the oldest, then the first by name
 * (Gateway API, policy attachment). One that cannot be followed is not passed over: it would be plaintext, or trust, that
 * nobody asked for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/x509/bundle.h"
#include "control/snapshot/build.h"

#define BUNDLE_MAX_BYTES (256 * 1024) /* of all ConfigMaps of a policy: each proxy that calls the service has them */

struct backend_tls_entry {
	struct hash_node node;
	const char *namespace, *service;
	struct backend_tls_use *first;
};

struct backend_tls_use {
	struct backend_tls_use *next;
	struct policy_use *policy;
	const char *section;
};

/* Made when a port is found that it holds for. */
struct policy_use {
	const struct resource *resource;
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

/* ConfigMaps that are named together, as one text: many policies name the same, and public sets are large. */
struct bundle {
	struct hash_node node;
	const char *names; /* "NAMESPACE/NAME/NAME" */
	const char *pem, *error;
};

static bool bundle_eq(const struct hash_node *n, const void *key)
{
	return strcmp(container_of(n, struct bundle, node)->names, key) == 0;
}

static char *names_join(struct build *b, const struct resource *policy)
{
	const struct backend_tls_policy *p = &policy->backend_tls;
	size_t n = strlen(policy->namespace) + 1, at;
	char *text;

	for (size_t i = 0; i < p->n_bundles; i++)
		n += 1 + strlen(p->bundles[i]);
	text = pool_alloc(&b->scratch, n);
	if (!text)
		return NULL;
	at = strlen(policy->namespace);
	memcpy(text, policy->namespace, at + 1);
	for (size_t i = 0; i < p->n_bundles; i++) {
		text[at++] = '/';
		memcpy(text + at, p->bundles[i], strlen(p->bundles[i]) + 1);
		at += strlen(p->bundles[i]);
	}
	return text;
}

/* The text, or why there is none. */
static int bundle_fill(struct build *b, const struct resource *policy, struct bundle *to)
{
	const struct backend_tls_policy *p = &policy->backend_tls;
	const char *parts[BACKEND_TLS_BUNDLES_MAX];
	size_t n = 1, n_certs = 0;
	char *text;

	to->pem = to->error = "";
	for (size_t i = 0; i < p->n_bundles; i++) {
		const struct resource *r = model_resource_find(b->model, RESOURCE_CONFIG_MAP, policy->namespace, p->bundles[i]);

		if (!r || !r->config.ca_pem) {
			n = strlen(p->bundles[i]) + sizeof("no ConfigMap with ca.crt is called ");
			text = pool_alloc(&b->s->pool, n);
			if (!text)
				return -ENOMEM;
			snprintf(text, n, "no ConfigMap with ca.crt is called %s", p->bundles[i]);
			to->error = text;
			return 0;
		}
		parts[i] = r->config.ca_pem;
		n += strlen(parts[i]) + 1;
		n_certs += r->config.n_certs;
	}
	if (n > BUNDLE_MAX_BYTES || n_certs > X509_BUNDLE_MAX) {
		to->error = "its ConfigMaps hold more than 256 KiB, or than 512 certificates";
		return 0;
	}
	text = pool_alloc(&b->s->pool, n);
	if (!text)
		return -ENOMEM;
	to->pem = text;
	for (size_t i = 0; i < p->n_bundles; i++) {
		memcpy(text, parts[i], strlen(parts[i]));
		text += strlen(parts[i]);
		*text++ = '\n';
	}
	*text = '\0';
	return 0;
}

static const struct bundle *bundle_get(struct build *b, const struct resource *policy)
{
	char *names = names_join(b, policy);
	uint64_t hash = names ? hash_str(str_from(names)) : 0;
	struct hash_node *n = names ? hash_table_find(&b->bundles, hash, bundle_eq, names) : NULL;
	struct bundle *made;

	if (n)
		return container_of(n, struct bundle, node);
	made = pool_zalloc(&b->scratch, sizeof(*made));
	if (!names || !made || bundle_fill(b, policy, made) < 0)
		return NULL;
	made->names = names;
	return hash_table_add(&b->bundles, &made->node, hash) == 0 ? made : NULL;
}

static const struct mesh_backend_tls *tls_make(struct build *b, const struct resource *policy)
{
	const struct backend_tls_policy *p = &policy->backend_tls;
	struct mesh_backend_tls *tls = pool_zalloc(&b->s->pool, sizeof(*tls));
	const char **names = pool_zalloc(&b->s->pool, (p->n_names + 1) * sizeof(*names));
	const struct bundle *bundle = bundle_get(b, policy);

	if (!tls || !names || !bundle)
		return NULL;
	tls->hostname = pool_str_dup(&b->s->pool, str_from(p->hostname)).p;
	tls->ca_pem = bundle->pem;
	tls->error = bundle->error;
	if (!tls->hostname)
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

static int use_add(struct build *b, struct policy_use *policy, const struct backend_tls_target *target)
{
	struct backend_tls_entry *e = entry_find(b, policy->resource->namespace, target->service);
	struct backend_tls_use *u = pool_zalloc(&b->scratch, sizeof(*u));

	if (!u)
		return -ENOMEM;
	if (!e) {
		e = pool_zalloc(&b->scratch, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->namespace = policy->resource->namespace;
		e->service = target->service;
		if (hash_table_add(&b->backend_tls, &e->node, pair_hash(e->namespace, e->service)) < 0)
			return -ENOMEM;
	}
	*u = (struct backend_tls_use){.next = e->first, .policy = policy, .section = target->section};
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
		struct policy_use *policy = pool_zalloc(&b->scratch, sizeof(*policy));

		if (!policy)
			return -ENOMEM;
		policy->resource = list[i];
		for (size_t k = 0; r == 0 && k < p->n_targets; k++)
			r = use_add(b, policy, &p->targets[k]);
	}
	return r;
}

int backend_tls_find(struct build *b, const struct resource *service, const char *port_name,
		     const struct mesh_backend_tls **ret)
{
	const struct backend_tls_entry *e = entry_find(b, service->namespace, service->name);
	const struct backend_tls_use *best = NULL;

	for (const struct backend_tls_use *u = e ? e->first : NULL; u; u = u->next) {
		if (u->section[0] && strcmp(u->section, port_name) != 0)
			continue;
		if (!best || (!best->section[0] && u->section[0]) ||
		    (!best->section[0] == !u->section[0] && resource_age_compare(u->policy->resource, best->policy->resource) < 0))
			best = u;
	}
	if (best && !best->policy->tls)
		best->policy->tls = tls_make(b, best->policy->resource);
	if (best && !best->policy->tls)
		return -ENOMEM;
	*ret = best ? best->policy->tls : NULL;
	return 0;
}
