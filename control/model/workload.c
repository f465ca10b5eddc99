/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads of the model: a sorted vector of copies. Enrolment says what there is; nothing is validated twice. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "control/model/store.h"

static size_t workload_find(const struct model *m, const char *namespace, const char *name, bool *ret_found)
{
	size_t lo = 0, hi = m->n_workloads;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct model_workload *w = m->workloads[mid];
		int r = strcmp(w->namespace, namespace);

		r = r ? r : strcmp(w->name, name);
		if (r == 0) {
			*ret_found = true;
			return mid;
		}
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_found = false;
	return lo;
}

static struct workload_entry *entry_free(struct workload_entry *e)
{
	if (!e)
		return NULL;
	pool_done(&e->pool);
	free(e);
	return NULL;
}

static void *pool_copy(struct pool *p, const void *from, size_t n)
{
	void *to = pool_alloc(p, MAX(n, (size_t)1));

	if (to && n)
		memcpy(to, from, n);
	return to;
}

static int port_compare(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static int label_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct workload_entry *entry_new(const struct model_workload *w)
{
	struct workload_entry *e = calloc(1, sizeof(*e));
	const char **labels;
	uint16_t *listening;

	if (!e)
		return NULL;
	pool_init(&e->pool, SIZE_MAX);
	e->pub = *w;
	e->pub.namespace = pool_str_dup(&e->pool, str_from(w->namespace)).p;
	e->pub.name = pool_str_dup(&e->pool, str_from(w->name)).p;
	e->pub.service_account =
		pool_str_dup(&e->pool, str_from(w->service_account ? w->service_account : "default")).p;
	labels = pool_alloc(&e->pool, (w->n_labels + 1) * sizeof(*labels));
	e->pub.labels = labels;
	e->pub.addresses = pool_copy(&e->pool, w->addresses, w->n_addresses * sizeof(*w->addresses));
	listening = pool_copy(&e->pool, w->listening, w->n_listening * sizeof(*w->listening));
	e->pub.listening = listening;
	if (!e->pub.namespace || !e->pub.name || !e->pub.service_account || !labels || !e->pub.addresses || !listening)
		return entry_free(e);
	for (size_t i = 0; i < w->n_labels; i++) {
		labels[i] = pool_str_dup(&e->pool, str_from(w->labels[i])).p;
		if (!labels[i])
			return entry_free(e);
	}
	if (w->n_labels > 1)
		qsort(labels, w->n_labels, sizeof(*labels), label_compare);
	if (w->n_listening > 1)
		qsort(listening, w->n_listening, sizeof(*listening), port_compare);
	return e;
}

static bool workload_is_equal(const struct model_workload *a, const struct model_workload *b)
{
	if (a->id != b->id || a->terminating != b->terminating || a->n_labels != b->n_labels ||
	    a->n_addresses != b->n_addresses || a->n_listening != b->n_listening ||
	    strcmp(a->service_account, b->service_account) != 0)
		return false;
	for (size_t i = 0; i < a->n_labels; i++)
		if (strcmp(a->labels[i], b->labels[i]) != 0)
			return false;
	for (size_t i = 0; i < a->n_addresses; i++)
		if (!addr_ip_eq(&a->addresses[i], &b->addresses[i]))
			return false;
	return a->n_listening == 0 || memcmp(a->listening, b->listening, a->n_listening * sizeof(*a->listening)) == 0;
}

int model_workload_set(struct model *m, const struct model_workload *w)
{
	struct workload_entry *e = entry_new(w);
	bool found;
	size_t at;

	if (!e)
		return -ENOMEM;
	at = workload_find(m, w->namespace, w->name, &found);
	if (found && workload_is_equal(m->workloads[at], &e->pub)) {
		entry_free(e);
		return 0;
	}
	if (found) {
		entry_free(container_of(m->workloads[at], struct workload_entry, pub));
		m->workloads[at] = &e->pub;
		model_changed(m);
		return 0;
	}
	if (m->n_workloads == m->cap_workloads) {
		size_t cap = m->cap_workloads ? m->cap_workloads * 2 : 16;
		struct model_workload **list = reallocarray(m->workloads, cap, sizeof(*list));

		if (!list) {
			entry_free(e);
			return -ENOMEM;
		}
		m->workloads = list;
		m->cap_workloads = cap;
	}
	memmove(m->workloads + at + 1, m->workloads + at, (m->n_workloads - at) * sizeof(*m->workloads));
	m->workloads[at] = &e->pub;
	m->n_workloads++;
	model_changed(m);
	return 0;
}

void model_workload_remove(struct model *m, const char *namespace, const char *name)
{
	bool found;
	size_t at = workload_find(m, namespace, name, &found);
	struct workload_entry *e;

	if (!found)
		return;
	e = container_of(m->workloads[at], struct workload_entry, pub);
	m->n_workloads--;
	memmove(m->workloads + at, m->workloads + at + 1, (m->n_workloads - at) * sizeof(*m->workloads));
	entry_free(e); /* last: the names may be its own */
	model_changed(m);
}

const struct model_workload *const *model_workloads(const struct model *m, size_t *ret_n)
{
	*ret_n = m->n_workloads;
	return (const struct model_workload *const *)m->workloads;
}
