/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building snapshots: see build.h
 *
 * Three steps: check every resource of the message; lay the new parts and the kept old ones into a new table, services
 * composed from svc/ and eps/ (an unchanged one keeps its view); check that what is named is there. Only then it is
 * good.
 */
#include "proxy/snapshot/build.h"

#include <errno.h>
#include "proxy/snapshot/part.h"

#define RESOURCES_MAX 200000 /* in one message */

static int refuse(char **ret_error, const char *name, const char *why)
{
	*ret_error = str_printf("%.300s: %s", *name ? name : "(no name)", why);
	return *ret_error ? -EINVAL : -ENOMEM;
}

static struct snapshot *table_new(size_t n_parts, uint64_t generation)
{
	size_t n_slots = 16;
	struct snapshot *s;

	while (n_slots < n_parts + n_parts / 2 + 1)
		n_slots *= 2;
	s = calloc(1, sizeof(*s) + n_slots * sizeof(s->slots[0]));
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->generation = generation;
	s->n_slots = n_slots;
	return s;
}

/* Takes the reference. */
static void table_add(struct snapshot *s, struct part *p)
{
	size_t i = p->hash & (s->n_slots - 1);

	while (s->slots[i].part)
		i = (i + 1) & (s->n_slots - 1);
	s->slots[i] = (struct part_slot){ p->hash, p };
	if (p->kind == PART_SELF)
		s->self = (struct self_part *)p;
}

static size_t table_count(const struct snapshot *s)
{
	size_t n = 0;

	for (size_t i = 0; s && i < s->n_slots; i++)
		n += s->slots[i].part != NULL;
	return n;
}

/* 1. */
static int add_new(struct snapshot *s, const Trammel__V1__ToProxy *m, snapshot_wants wants, void *user,
		   char **ret_error)
{
	for (size_t i = 0; i < m->n_resources; i++) {
		const Trammel__V1__Resource *r = m->resources[i];
		const char *why = resource_check(r);
		struct str name = str_from(r->name);
		enum part_kind kind;
		struct part *p;

		if (why || part_kind_of_name(name, &kind) < 0)
			return refuse(ret_error, r->name, why ? why : "name is of no known kind");
		if (part_find(s, kind, name))
			return refuse(ret_error, r->name, "resource is there twice");
		if ((kind == PART_DEST || kind == PART_DNS) && wants && !wants(name, user))
			continue;
		p = part_new(r);
		if (!p)
			return -ENOMEM;
		table_add(s, p);
	}
	return 0;
}

static bool is_listed(const struct str *names, size_t n, const struct part *p)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(names[i], (struct str){ p->name, p->name_n }))
			return true;
	return false;
}

/* 2. Old parts that are neither replaced nor removed; views come later. */
static void add_kept(struct snapshot *s, const struct snapshot *old, const struct str *removed, size_t n_removed)
{
	for (size_t i = 0; old && i < old->n_slots; i++) {
		struct part *p = old->slots[i].part;

		if (!p || p->kind == PART_VIEW || is_listed(removed, n_removed, p))
			continue;
		if (!part_find(s, p->kind, (struct str){ p->name, p->name_n }))
			table_add(s, part_ref(p));
	}
}

static struct eps_part *eps_of(const struct snapshot *s, const struct part *svc)
{
	char name[640] = "eps";

	if (svc->name_n >= sizeof(name))
		return NULL;
	memcpy(name + 3, svc->name + 3, svc->name_n - 3);
	return (struct eps_part *)part_find(s, PART_EPS, (struct str){ name, svc->name_n });
}

static int add_view(struct snapshot *s, const struct snapshot *old, struct part *svc, bool same_domain)
{
	struct part *was = old ? part_find(old, PART_VIEW, (struct str){ svc->name, svc->name_n }) : NULL;
	struct view_part *had = (struct view_part *)was, *v;
	struct eps_part *eps = eps_of(s, svc);

	if (had && same_domain && &had->svc->part == svc && had->eps == eps) {
		table_add(s, part_ref(was));
		return 0;
	}
	v = part_view_new((struct svc_part *)svc, eps, s->self->self.cluster_domain);
	if (!v)
		return -ENOMEM;
	if (was)
		atomic_store_explicit(&v->part.used, atomic_load_explicit(&was->used, memory_order_relaxed),
				      memory_order_relaxed);
	table_add(s, &v->part);
	return 0;
}

static int add_views(struct snapshot *s, const struct snapshot *old)
{
	bool same = old && strcmp(old->self->self.cluster_domain, s->self->self.cluster_domain) == 0;
	int r = 0;

	/* views land in free slots while we walk: they are passed over by their kind */
	for (size_t i = 0; i < s->n_slots && r == 0; i++)
		if (s->slots[i].part && s->slots[i].part->kind == PART_SVC)
			r = add_view(s, old, s->slots[i].part, same);
	return r;
}

/* 3. */
static int check_references(const struct snapshot *s, char **ret_error)
{
	for (size_t i = 0; i < s->n_slots; i++) {
		const struct part *p = s->slots[i].part;
		const struct dest_part *d = (const struct dest_part *)p;
		const struct view_part *v;
		bool found = false;

		if (!p || p->kind != PART_DEST || !*d->service)
			continue;
		v = (const struct view_part *)part_find(s, PART_VIEW, str_from(d->service));
		if (!v)
			return refuse(ret_error, p->name, "the service it names is not held");
		for (size_t k = 0; k < v->service.n_ports; k++)
			found |= v->service.ports[k].port == d->service_port;
		if (!found && d->kind != DEST_SERVICE_NO_PORT)
			return refuse(ret_error, p->name, "the service it names has no such port");
	}
	return 0;
}

static int build(struct snapshot *s, struct snapshot *old, const struct str *removed, size_t n_removed,
		 char **ret_error)
{
	int r;

	add_kept(s, old, removed, n_removed);
	if (!s->self)
		return refuse(ret_error, "self", "is not in the first message");
	r = add_views(s, old);
	return r == 0 ? check_references(s, ret_error) : r;
}

static int check_removed(const Trammel__V1__ToProxy *m, struct str *names, char **ret_error)
{
	for (size_t i = 0; i < m->n_removed; i++) {
		enum part_kind kind;

		names[i] = str_from(m->removed[i]);
		if (part_kind_of_name(names[i], &kind) < 0 || (kind != PART_SVC && kind != PART_EPS))
			return refuse(ret_error, m->removed[i], "only svc/ and eps/ can be removed");
	}
	return 0;
}

int snapshot_apply(struct snapshot *old, const Trammel__V1__ToProxy *m, snapshot_wants wants, void *user,
		   struct snapshot **ret, char **ret_error)
{
	_cleanup_(snapshot_unrefp) struct snapshot *s = NULL;
	_cleanup_(freep) struct str *removed = NULL;
	int r;

	*ret_error = NULL;
	if (m->n_resources > RESOURCES_MAX || m->n_removed > RESOURCES_MAX)
		return refuse(ret_error, "message", "more resources than the limit");
	removed = calloc(m->n_removed + 1, sizeof(*removed));
	s = table_new(table_count(old) + 2 * m->n_resources, m->generation);
	if (!s || !removed)
		return -ENOMEM;
	r = add_new(s, m, wants, user, ret_error);
	if (r == 0)
		r = check_removed(m, removed, ret_error);
	if (r == 0)
		r = build(s, old, removed, m->n_removed, ret_error);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

int snapshot_without(struct snapshot *old, const struct str *names, size_t n, struct snapshot **ret)
{
	_cleanup_(snapshot_unrefp) struct snapshot *s = table_new(table_count(old), old->generation);
	_cleanup_(freep) char *error = NULL;
	int r;

	if (!s)
		return -ENOMEM;
	r = build(s, old, names, n, &error);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r == -EINVAL ? -ENOMEM : r; /* fewer destinations name nothing new: only memory can be short */
}
