/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: life and look-ups
 *
 * What is in force. How a set gets here is in apply.c, workloads are in workload.c.
 */
#include "control/model/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "control/model/store.h"

struct resource *resource_new(void)
{
	struct resource *r = calloc(1, sizeof(*r));

	if (r)
		pool_init(&r->pool, SIZE_MAX);
	return r;
}

struct resource *resource_free(struct resource *r)
{
	if (!r)
		return NULL;
	pool_done(&r->pool);
	free(r);
	return NULL;
}

int resource_list_add(struct resource_list *l, struct resource *r)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct resource **items = reallocarray(l->items, cap, sizeof(struct resource *));

		if (!items)
			return -ENOMEM;
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n++] = r;
	return 0;
}

static int key_compare(const struct resource *a, enum resource_kind kind, const char *namespace, const char *name)
{
	int r;

	if (a->kind != kind)
		return a->kind < kind ? -1 : 1;
	r = strcmp(a->namespace, namespace);
	return r ? r : strcmp(a->name, name);
}

int resource_compare(const struct resource *a, const struct resource *b)
{
	return key_compare(a, b->kind, b->namespace, b->name);
}

struct resource *resource_list_find(const struct resource_list *l, enum resource_kind kind, const char *namespace,
				    const char *name)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int r = key_compare(l->items[mid], kind, namespace, name);

		if (r == 0)
			return l->items[mid];
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

int model_new(struct loop *loop, const struct model_settings *settings, struct model **ret)
{
	_cleanup_(model_freep) struct model *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	list_init(&m->origins);
	m->loop = loop;
	m->settings = *settings;
	m->settings.trust_domain = strdup(settings->trust_domain);
	m->settings.cluster_domain = strdup(settings->cluster_domain);
	if (!m->settings.trust_domain || !m->settings.cluster_domain)
		return -ENOMEM;
	*ret = TAKE_PTR(m);
	return 0;
}

struct model *model_free(struct model *m)
{
	struct origin *o, *tmp;

	if (!m)
		return NULL;
	loop_task_cancel(&m->change_task);
	for (size_t i = 0; i < m->resources.n; i++)
		resource_free(m->resources.items[i]);
	free(m->resources.items);
	while (m->n_workloads)
		model_workload_remove(m, m->workloads[0]->namespace, m->workloads[0]->name);
	loop_task_cancel(&m->change_task);
	free(m->workloads);
	complaint_list_done(&m->complaints);
	list_for_each_entry_safe (o, tmp, &m->origins, link)
		free(o);
	free((char *)m->settings.trust_domain);
	free((char *)m->settings.cluster_domain);
	free(m);
	return NULL;
}

static void on_change_task(struct loop_task *task)
{
	struct model *m = container_of(task, struct model, change_task);

	if (m->on_change)
		m->on_change(m->user);
}

void model_changed(struct model *m)
{
	if (m->loop)
		loop_task_defer(m->loop, &m->change_task, on_change_task);
}

void model_on_change(struct model *m, void (*fn)(void *user), void *user)
{
	m->on_change = fn;
	m->user = user;
}

struct resource *const *model_resources(const struct model *m, enum resource_kind kind, size_t *ret_n)
{
	*ret_n = m->kind_at[kind + 1] - m->kind_at[kind];
	return m->resources.items ? m->resources.items + m->kind_at[kind] : NULL;
}

const struct resource *model_resource_find(const struct model *m, enum resource_kind kind, const char *namespace,
					   const char *name)
{
	return resource_list_find(&m->resources, kind, namespace, name);
}

const struct model_settings *model_get_settings(const struct model *m)
{
	return &m->settings;
}

size_t model_n_complaints(const struct model *m)
{
	return m->complaints.n;
}

const struct model_complaint *model_complaint_at(const struct model *m, size_t i)
{
	return i < m->complaints.n ? &m->complaints.items[i].pub : NULL;
}
