/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying a set
 *
 * Steps: 1. read every object of the set, fresh documents before stale ones; 2. add what stays (other origins, last
 * good versions of what was refused); 3. refuse stated addresses that are taken; 4. deal out virtual addresses; 5.
 * compare objects with each other; 6. swap the new vector in. Nothing that is in force changes before step 6 but the
 * flag kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "control/model/kind.h"
#include "control/model/lines.h"
#include "control/model/store.h"

#define ADDRESS_ROUNDS_MAX 8

/* An object that the set has spoken of, good or not. */
struct seen {
	struct hash_node node;
	enum resource_kind kind;
	const char *namespace, *name;
	const char *file;
	int line;
};

struct apply {
	struct model *m;
	struct origin *origin;
	struct pool pool;
	struct resource_list next;  /* borrowed and fresh ones */
	struct resource_list fresh; /* owned until they are in force */
	struct complaint_list complaints;
	struct hash_table seen;
	struct hash_table vague_files; /* with documents that could not be told to be any object */
	bool address_refused, keep_after_refusal;
	int err;
};

struct vague_file {
	struct hash_node node;
	const char *file;
};

static bool seen_eq(const struct hash_node *n, const void *key)
{
	const struct seen *a = container_of(n, struct seen, node), *b = key;

	return a->kind == b->kind && strcmp(a->name, b->name) == 0 && strcmp(a->namespace, b->namespace) == 0;
}

static uint64_t seen_hash(const struct seen *s)
{
	return hash_str(str_from(s->namespace)) * 31 + hash_str(str_from(s->name)) + s->kind;
}

static const struct seen *seen_find(const struct apply *a, enum resource_kind kind, const char *namespace,
				    const char *name)
{
	struct seen key = {.kind = kind, .namespace = namespace, .name = name};
	struct hash_node *n = hash_table_find(&a->seen, seen_hash(&key), seen_eq, &key);

	return n ? container_of(n, struct seen, node) : NULL;
}

static int seen_add(struct apply *a, const struct object_head *h, const struct model_document *d, int line)
{
	struct seen *s = pool_zalloc(&a->pool, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*s = (struct seen){.kind = h->kind->resource,
			   .namespace = h->namespace, /* lives in the document, which outlasts the call */
			   .name = h->name,
			   .file = d->place.file,
			   .line = line};
	return hash_table_add(&a->seen, &s->node, seen_hash(s));
}

static bool vague_eq(const struct hash_node *n, const void *key)
{
	return strcmp(container_of(n, struct vague_file, node)->file, key) == 0;
}

static bool file_is_vague(const struct apply *a, const char *file)
{
	return hash_table_find(&a->vague_files, hash_str(str_from(file)), vague_eq, file) != NULL;
}

static int file_set_vague(struct apply *a, const char *file)
{
	struct vague_file *v;

	if (file_is_vague(a, file))
		return 0;
	v = pool_zalloc(&a->pool, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->file = file;
	return hash_table_add(&a->vague_files, &v->node, hash_str(str_from(file)));
}

/* The version of this origin that is in force, or NULL. */
static struct resource *last_good(const struct apply *a, enum resource_kind kind, const char *namespace,
				  const char *name)
{
	struct resource *r = resource_list_find(&a->m->resources, kind, namespace, name);

	return r && r->origin == a->origin ? r : NULL;
}

/* Step 1: reading */

/* Returns whether the object may stand: not given twice, and of no other origin. */
static bool object_is_new(struct apply *a, struct check *c, const struct object_head *h)
{
	const struct seen *seen = seen_find(a, h->kind->resource, h->namespace, h->name);
	const struct resource *held;

	if (seen) {
		field_refuse_member(c, &h->metadata, "name", "%s %s stands in %s:%d already: remove one of the two",
				    h->kind->name, c->object, seen->file, seen->line);
		return false;
	}
	held = resource_list_find(&a->m->resources, h->kind->resource, h->namespace, h->name);
	if (held && held->origin != a->origin) {
		field_refuse_member(c, &h->metadata, "name",
				    "%s %s is given by source \"%s\" already (%s:%d): remove one of the two",
				    h->kind->name, c->object, held->origin->name, held->file, held->line);
		return false;
	}
	return true;
}

static int object_keep_last_good(struct apply *a, const struct object_head *h, size_t first_complaint)
{
	struct resource *old = last_good(a, h->kind->resource, h->namespace, h->name);

	if (!old)
		return 0;
	for (size_t i = first_complaint; i < a->complaints.n; i++)
		a->complaints.items[i].pub.kept_last_good = true;
	old->kept = true;
	return resource_list_add(&a->next, old);
}

static int object_read(struct apply *a, const struct model_document *d, const struct field *root)
{
	_cleanup_(resource_freep) struct resource *r = resource_new();
	size_t first = a->complaints.n;
	struct object_head h;
	struct check c = {.document = d, .settings = &a->m->settings, .origin = a->origin, .kind = "", .object = ""};

	if (!r)
		return -ENOMEM;
	c.pool = &r->pool;
	c.out = d->stale ? NULL : &a->complaints; /* lines of a version that nobody sees any more */
	if (!object_head_read(&c, root, &h))
		return c.err ? c.err : file_set_vague(a, d->place.file);
	if (h.kind->resource == RESOURCE_KINDS)
		return c.err;
	if (!object_is_new(a, &c, &h))
		return c.err;
	r->kind = h.kind->resource;
	r->namespace = check_strdup(&c, h.namespace);
	r->name = check_strdup(&c, h.name);
	r->created = check_strdup(&c, h.created);
	r->file = check_strdup(&c, d->place.file);
	r->line = field_line(d, root);
	r->origin = a->origin;
	if (h.version_fits)
		h.kind->parse(&c, root, r);
	if (c.err)
		return c.err;
	c.err = seen_add(a, &h, d, r->line);
	if (c.err)
		return c.err;
	if (c.n_refused)
		return object_keep_last_good(a, &h, first);
	c.err = resource_list_add(&a->fresh, r);
	if (c.err)
		return c.err;
	return resource_list_add(&a->next, TAKE_PTR(r));
}

static const struct member list_members[] = {
	{"apiVersion", MEMBER_IGNORED},
	{"kind"},
	{"metadata", MEMBER_IGNORED},
	{"items"},
};

static int document_read(struct apply *a, const struct model_document *d)
{
	struct field root = field_root(d), items;
	struct check c = {.document = d, .origin = a->origin, .kind = "List", .object = "", .pool = &a->pool};
	const char *kind = json_string_value(json_object_get(d->root, "kind"));
	int r = 0;

	if (!kind || strcmp(kind, "List") != 0)
		return object_read(a, d, &root);
	c.out = d->stale ? NULL : &a->complaints;
	if (!field_members(&c, &root, list_members, ARRAY_SIZE(list_members)))
		r = file_set_vague(a, d->place.file);
	if (r == 0 && !field_get_array(&c, &root, "items", &items))
		return c.err ? c.err : c.n_refused ? file_set_vague(a, d->place.file) : 0;
	for (size_t i = 0; r == 0 && i < field_count(&items); i++) {
		struct field item = field_item(&items, i);

		r = object_read(a, d, &item);
	}
	return r ? r : c.err;
}

static int faults_add(struct apply *a, const struct model_set *set)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->n_faults; i++) {
		const struct model_fault *f = &set->faults[i];

		r = complaint_list_add(&a->complaints, a->origin,
				       &(struct model_complaint){.file = (char *)f->place.file,
								 .line = f->place.line,
								 .field = (char *)f->field,
								 .text = (char *)f->text,
								 .kept_last_good = f->kept_last_good});
	}
	return r;
}

/* Step 2: what stays */

static int resources_keep(struct apply *a)
{
	const struct resource_list *old = &a->m->resources;
	int err = 0;

	for (size_t i = 0; err == 0 && i < old->n; i++) {
		struct resource *r = old->items[i];

		if (r->origin == a->origin &&
		    (r->kept || !file_is_vague(a, r->file) || seen_find(a, r->kind, r->namespace, r->name)))
			continue;
		r->kept = true;
		err = resource_list_add(&a->next, r);
	}
	return err;
}

static int list_compare(const void *a, const void *b)
{
	return resource_compare(*(struct resource *const *)a, *(struct resource *const *)b);
}

static void next_sort(struct apply *a)
{
	if (a->next.n > 1)
		qsort(a->next.items, a->next.n, sizeof(struct resource *), list_compare);
}

/* Steps 3 and 4: addresses */

static void complain(struct apply *a, const struct origin *origin, const struct resource *r, const char *field,
		     bool kept, char *text)
{
	char *object = str_printf("%s/%s", r->namespace, r->name);
	int err = -ENOMEM;

	if (text && object)
		err = complaint_list_add(&a->complaints, origin,
					 &(struct model_complaint){.file = (char *)r->file,
								   .line = r->line,
								   .kind = (char *)kind_name(r->kind),
								   .object = object,
								   .field = (char *)field,
								   .text = text,
								   .kept_last_good = kept});
	if (err < 0)
		a->err = err;
	free(object);
	free(text);
}

/* Takes @r out of the next vector; its last good version comes back where there is one. */
static void on_address_taken(struct resource *r, const struct addr *addr, const struct resource *owner, void *user)
{
	struct apply *a = user;
	struct resource *old = a->keep_after_refusal ? last_good(a, r->kind, r->namespace, r->name) : NULL;
	char ip[ADDR_TEXT_BYTES];

	complain(a, a->origin, r, "spec.clusterIP", old != NULL,
		 str_printf("%s is the address of Service %s/%s already (%s:%d): remove it, and an address is given",
			    addr_format_ip(addr, ip), owner->namespace, owner->name, owner->file, owner->line));
	for (size_t i = 0; i < a->next.n; i++)
		if (a->next.items[i] == r) {
			if (old && old != r)
				a->next.items[i] = old;
			else
				a->next.items[i] = NULL;
		}
	if (old)
		old->kept = true;
	a->address_refused = true;
}

static void next_compact(struct apply *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->next.n; i++)
		if (a->next.items[i])
			a->next.items[n++] = a->next.items[i];
	a->next.n = n;
}

static int stated_addresses_settle(struct apply *a)
{
	int r = 0;

	/* A last good version that comes back may need an address that another has just taken: look again. */
	for (int round = 0; r == 0 && round < ADDRESS_ROUNDS_MAX; round++) {
		a->address_refused = false;
		a->keep_after_refusal = round < ADDRESS_ROUNDS_MAX - 1;
		r = addresses_check(&a->next, on_address_taken, a);
		next_compact(a);
		if (!a->address_refused)
			break;
	}
	return r ? r : a->err;
}

static void on_range_full(struct resource *r, bool v6, void *user)
{
	complain(user, NULL, r, "spec.clusterIP", false,
		 str_printf("no %s address is free for this service: widen the services' range", v6 ? "IPv6" : "IPv4"));
}

/* Step 5: objects that are good alone and mean nothing together */

static void slices_compare(struct apply *a)
{
	for (size_t i = 0; i < a->next.n; i++) {
		const struct resource *r = a->next.items[i], *svc;

		if (r->kind != RESOURCE_ENDPOINT_SLICE)
			continue;
		svc = resource_list_find(&a->next, RESOURCE_SERVICE, r->namespace, r->slice.service);
		if (!svc)
			complain(
				a, NULL, r, "metadata.labels[\"kubernetes.io/service-name\"]", false,
				str_printf("has no effect: there is no Service %s/%s", r->namespace, r->slice.service));
		else if (svc->service.n_selector)
			complain(a, NULL, r, "metadata.labels[\"kubernetes.io/service-name\"]", false,
				 str_printf("has no effect: Service %s/%s has a selector, so its endpoints are the "
					    "workloads that "
					    "match; remove the slice or the selector",
					    r->namespace, r->slice.service));
	}
}

static bool has_port_named(const struct service *s, const char *name)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (strcmp(s->ports[i].name, name) == 0)
			return true;
	return false;
}

/* A policy for what is not there looks like TLS where there is none. */
static void backend_tls_compare(struct apply *a)
{
	for (size_t i = 0; i < a->next.n; i++) {
		const struct resource *r = a->next.items[i];

		for (size_t k = 0; r->kind == RESOURCE_BACKEND_TLS_POLICY && k < r->backend_tls.n_targets; k++) {
			const struct backend_tls_target *t = &r->backend_tls.targets[k];
			const struct resource *svc = resource_list_find(&a->next, RESOURCE_SERVICE, r->namespace, t->service);

			if (!svc)
				complain(a, NULL, r, "spec.targetRefs", false,
					 str_printf("has no effect: there is no Service %s/%s", r->namespace, t->service));
			else if (t->section[0] && !has_port_named(&svc->service, t->section))
				complain(a, NULL, r, "spec.targetRefs", false,
					 str_printf("has no effect: Service %s/%s has no port called \"%s\"", r->namespace,
						    t->service, t->section));
		}
	}
}

/* Step 6: into force */

static int complaints_merge(struct apply *a, struct complaint_list *ret)
{
	const struct complaint_list *old = &a->m->complaints;
	uint64_t now = clock_wall_ns();
	int r = 0;

	for (size_t i = 0; r == 0 && i < old->n; i++)
		if (old->items[i].origin && old->items[i].origin != a->origin)
			r = complaint_list_add(ret, old->items[i].origin, &old->items[i].pub);
	for (size_t i = 0; r == 0 && i < a->complaints.n; i++) {
		struct model_complaint *c = &a->complaints.items[i].pub;
		const struct complaint *was = complaint_list_find(old, c);

		c->since_wall_ns = was ? was->pub.since_wall_ns : now;
		r = complaint_list_add(ret, a->complaints.items[i].origin, c);
		if (!was)
			log_warn("policy refused",
				 "file=%s line=%d kind=%s object=%s field=%s kept_last_good=%s reason=\"%s\"", c->file,
				 c->line, c->kind, c->object, c->field, c->kept_last_good ? "yes" : "no", c->text);
	}
	return r;
}

static void commit(struct apply *a, struct complaint_list *complaints)
{
	struct model *m = a->m;

	for (size_t i = 0; i < a->next.n; i++)
		a->next.items[i]->kept |= a->next.items[i]->origin == a->origin; /* from here on: in force */
	for (size_t i = 0; i < m->resources.n; i++)
		if (!m->resources.items[i]->kept)
			resource_free(m->resources.items[i]);
	for (size_t i = 0; i < a->fresh.n; i++)
		if (!a->fresh.items[i]->kept) /* refused for its address */
			resource_free(a->fresh.items[i]);
	a->fresh.n = 0;
	free(m->resources.items);
	m->resources = a->next;
	a->next = (struct resource_list){0};
	complaint_list_done(&m->complaints);
	m->complaints = *complaints;
	*complaints = (struct complaint_list){0};
	for (size_t k = 0, i = 0; k <= RESOURCE_KINDS; k++) {
		while (i < m->resources.n && m->resources.items[i]->kind < k)
			i++;
		m->kind_at[k] = i;
	}
	model_changed(m);
}

static struct origin *origin_get(struct model *m, const char *name)
{
	struct origin *o;

	list_for_each_entry (o, &m->origins, link)
		if (strcmp(o->name, name) == 0)
			return o;
	o = calloc(1, sizeof(*o) + strlen(name) + 1);
	if (!o)
		return NULL;
	memcpy(o->name, name, strlen(name) + 1);
	list_push_back(&m->origins, &o->link);
	return o;
}

static int apply_run(struct apply *a, const struct model_set *set)
{
	struct complaint_list complaints = {0};
	int r = faults_add(a, set);

	for (int stale = 0; stale < 2; stale++)
		for (size_t i = 0; r == 0 && i < set->n_documents; i++)
			if (set->documents[i].stale == stale)
				r = document_read(a, &set->documents[i]);
	if (r == 0)
		r = resources_keep(a);
	if (r < 0)
		return r;
	next_sort(a);
	r = stated_addresses_settle(a);
	if (r == 0)
		r = addresses_deal(&a->m->settings, &a->m->resources, &a->next, on_range_full, a);
	slices_compare(a);
	backend_tls_compare(a);
	r = r ? r : a->err;
	if (r == 0)
		r = complaints_merge(a, &complaints);
	if (r == 0)
		commit(a, &complaints);
	complaint_list_done(&complaints);
	return r;
}

int model_apply_set(struct model *m, const char *origin, const struct model_set *set)
{
	struct apply a = {.m = m, .origin = origin_get(m, origin)};
	int r;

	if (!a.origin)
		return -ENOMEM;
	pool_init(&a.pool, SIZE_MAX);
	for (size_t i = 0; i < m->resources.n; i++)
		m->resources.items[i]->kept = false;
	r = apply_run(&a, set);
	for (size_t i = 0; i < a.fresh.n; i++)
		resource_free(a.fresh.items[i]);
	free(a.fresh.items);
	free(a.next.items);
	complaint_list_done(&a.complaints);
	hash_table_done(&a.seen);
	hash_table_done(&a.vague_files);
	pool_done(&a.pool);
	return r;
}
