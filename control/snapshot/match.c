/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which workloads a service selects, and which slices are its own
 *
 * Workloads are grouped by each of their labels, so that a service looks only at those that have the rarest of its
 * labels: the cost follows the matches, not services times workloads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "control/snapshot/build.h"

struct label_group {
	struct hash_node node;
	const char *namespace, *label;
	struct label_member *first, **end;
	size_t n;
};

struct label_member {
	struct label_member *next;
	struct build_workload *workload;
};

struct slice_group {
	struct hash_node node;
	const char *namespace, *service;
	struct slice_ref *first, **end;
};

struct pair_key {
	const char *a, *b;
};

uint64_t pair_hash(const char *a, const char *b)
{
	return hash_str(str_from(a)) * 31 + hash_str(str_from(b));
}

static bool label_group_eq(const struct hash_node *n, const void *key)
{
	const struct label_group *g = container_of(n, struct label_group, node);
	const struct pair_key *k = key;

	return strcmp(g->label, k->b) == 0 && strcmp(g->namespace, k->a) == 0;
}

static struct label_group *label_group_find(const struct build *b, const char *namespace, const char *label)
{
	struct hash_node *n = hash_table_find(&b->label_groups, pair_hash(namespace, label), label_group_eq,
					      &(struct pair_key){namespace, label});

	return n ? container_of(n, struct label_group, node) : NULL;
}

static int label_add(struct build *b, struct build_workload *w, const char *label)
{
	struct label_group *g = label_group_find(b, w->model->namespace, label);
	struct label_member *m = pool_zalloc(&b->scratch, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	if (!g) {
		g = pool_zalloc(&b->scratch, sizeof(*g));
		if (!g)
			return -ENOMEM;
		g->namespace = w->model->namespace;
		g->label = label;
		g->end = &g->first;
		r = hash_table_add(&b->label_groups, &g->node, pair_hash(g->namespace, g->label));
		if (r < 0)
			return r;
	}
	m->workload = w;
	*g->end = m;
	g->end = &m->next;
	g->n++;
	return 0;
}

static int labels_add(struct build *b, struct build_workload *w)
{
	const struct model_workload *m = w->model;
	int r = 0;

	for (size_t k = 0; r == 0 && k < m->n_labels; k++)
		if (k == 0 || strcmp(m->labels[k - 1], m->labels[k]) != 0) /* sorted: one given twice counts once */
			r = label_add(b, w, m->labels[k]);
	return r;
}

static int first_address_compare(const void *a, const void *b)
{
	const struct build_workload *x = *(struct build_workload *const *)a, *y = *(struct build_workload *const *)b;

	if (!x->model->n_addresses || !y->model->n_addresses)
		return (int)!!x->model->n_addresses - (int)!!y->model->n_addresses;
	return memcmp(x->model->addresses[0].ip, y->model->addresses[0].ip, 16);
}

int label_groups_build(struct build *b)
{
	size_t n = b->s->n_workloads;
	struct build_workload **order = pool_alloc(&b->scratch, (n + 1) * sizeof(struct build_workload *));
	int r = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = &b->workloads[i];
	if (n > 1)
		qsort(order, n, sizeof(*order), first_address_compare);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = labels_add(b, order[i]);
	return r;
}

size_t matches_find(const struct build *b, const struct resource *r, struct build_workload **ret)
{
	const struct service *svc = &r->service;
	const struct label_group *rarest = NULL;
	size_t n = 0;

	for (size_t i = 0; i < svc->n_selector; i++) {
		const struct label_group *g = label_group_find(b, r->namespace, svc->selector[i]);

		if (!g)
			return 0;
		if (!rarest || g->n < rarest->n)
			rarest = g;
	}
	for (const struct label_member *m = rarest ? rarest->first : NULL; m; m = m->next) {
		const struct model_workload *w = m->workload->model;

		if (svc->n_selector == 1 || labels_match(svc->selector, svc->n_selector, w->labels, w->n_labels))
			ret[n++] = m->workload;
	}
	return n;
}

static bool slice_group_eq(const struct hash_node *n, const void *key)
{
	const struct slice_group *g = container_of(n, struct slice_group, node);
	const struct pair_key *k = key;

	return strcmp(g->service, k->b) == 0 && strcmp(g->namespace, k->a) == 0;
}

static struct slice_group *slice_group_find(const struct build *b, const char *namespace, const char *service)
{
	struct hash_node *n = hash_table_find(&b->slices, pair_hash(namespace, service), slice_group_eq,
					      &(struct pair_key){namespace, service});

	return n ? container_of(n, struct slice_group, node) : NULL;
}

int slice_groups_build(struct build *b)
{
	struct resource *const *list;
	size_t n;

	list = model_resources(b->model, RESOURCE_ENDPOINT_SLICE, &n);
	for (size_t i = 0; i < n; i++) {
		struct slice_group *g = slice_group_find(b, list[i]->namespace, list[i]->slice.service);
		struct slice_ref *ref = pool_zalloc(&b->scratch, sizeof(*ref));

		if (!ref)
			return -ENOMEM;
		if (!g) {
			g = pool_zalloc(&b->scratch, sizeof(*g));
			if (!g)
				return -ENOMEM;
			g->namespace = list[i]->namespace;
			g->service = list[i]->slice.service;
			g->end = &g->first;
			if (hash_table_add(&b->slices, &g->node, pair_hash(g->namespace, g->service)) < 0)
				return -ENOMEM;
		}
		ref->resource = list[i];
		*g->end = ref;
		g->end = &ref->next;
	}
	return 0;
}

const struct slice_ref *slices_find(const struct build *b, const struct resource *service)
{
	const struct slice_group *g = slice_group_find(b, service->namespace, service->name);

	return g ? g->first : NULL;
}
