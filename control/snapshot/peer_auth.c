/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which PeerAuthentication holds
 *
 * Per level (mesh, namespace, workload) one policy counts: the oldest by creationTimestamp, among equals (also where
 * none is stated) the first by name. A narrower level wins over a wider one; UNSET takes what the wider says. The last
 * word is PERMISSIVE. Ports are said by the workload's policy alone.
 */
#include <string.h>
#include "control/snapshot/build.h"

int resource_age_compare(const struct resource *a, const struct resource *b)
{
	int r;

	if (!a->created[0] != !b->created[0])
		return a->created[0] ? -1 : 1; /* one that was never in a cluster is the younger */
	r = strcmp(a->created, b->created);    /* RFC 3339 in UTC sorts by time */
	if (r == 0)
		r = strcmp(a->name, b->name);
	return r ? r : strcmp(a->namespace, b->namespace);
}

static void older_keep(const struct resource **kept, const struct resource *r)
{
	if (!*kept || resource_age_compare(r, *kept) < 0)
		*kept = r;
}

/* First of the sorted @list that is not before @namespace. */
static size_t namespace_find(struct resource *const *list, size_t n, const char *namespace)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(list[mid]->namespace, namespace) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void level_find(struct resource *const *list, size_t n, const char *namespace, const struct model_workload *w,
		       const struct resource **ret_wide, const struct resource **ret_workload)
{
	for (size_t i = namespace_find(list, n, namespace); i < n && strcmp(list[i]->namespace, namespace) == 0; i++) {
		const struct peer_authentication *pa = &list[i]->peer_auth;

		if (!pa->n_selector)
			older_keep(ret_wide, list[i]);
		else if (ret_workload && labels_match(pa->selector, pa->n_selector, w->labels, w->n_labels))
			older_keep(ret_workload, list[i]);
	}
}

static void mode_narrow(enum mesh_mtls *mode, const struct resource *r)
{
	if (r && r->peer_auth.mode != MODEL_MTLS_UNSET)
		*mode = (enum mesh_mtls)r->peer_auth.mode;
}

struct mtls_rules mtls_resolve(const struct model *model, const struct model_workload *w)
{
	const struct resource *mesh = NULL, *namespace = NULL, *workload = NULL;
	struct mtls_rules rules = {.base = MESH_MTLS_PERMISSIVE};
	struct resource *const *list;
	size_t n;

	_Static_assert((int)MESH_MTLS_DISABLE == (int)MODEL_MTLS_DISABLE, "mTLS modes in one order");
	list = model_resources(model, RESOURCE_PEER_AUTHENTICATION, &n);
	level_find(list, n, "istio-system", w, &mesh, NULL);
	level_find(list, n, "trammel-system", w, &mesh, NULL);
	if (!resource_is_root_namespace(w->namespace))
		level_find(list, n, w->namespace, w, &namespace, &workload);
	mode_narrow(&rules.base, mesh);
	mode_narrow(&rules.base, namespace);
	mode_narrow(&rules.base, workload);
	rules.workload_policy = workload ? &workload->peer_auth : NULL;
	return rules;
}

enum mesh_mtls mtls_at(const struct mtls_rules *rules, uint16_t port, bool *ret_own)
{
	const struct peer_authentication *pa = rules->workload_policy;

	if (ret_own)
		*ret_own = mesh_port_is_open(port);
	if (mesh_port_is_open(port))
		return MESH_MTLS_DISABLE;
	for (size_t i = 0; pa && i < pa->n_ports; i++)
		if (pa->ports[i].port == port && pa->ports[i].mode != MODEL_MTLS_UNSET) {
			if (ret_own)
				*ret_own = true;
			return (enum mesh_mtls)pa->ports[i].mode;
		}
	return rules->base;
}
