/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices: see slice.h
 *
 * A pass walks the subscriptions, each with the svc/ and eps/ it names, and compares versions. What the proxy has and
 * no subscription reaches any more is removed. A message is cut off between two subscriptions, never inside one, so
 * that what a resource names always comes with it or before it.
 */
#include "control/publish/slice.h"

#include <errno.h>
#include <stdlib.h>

#define MESSAGE_SOFT_BYTES (4u * 1024 * 1024)

struct entry {
	struct hash_node node;
	struct list link;            /* in slice.wanted; unlinked where only named by another */
	uint64_t has, sent, refused; /* versions; 0 = none */
	uint64_t pass;               /* in which it was reached last */
	bool removing;               /* its name is in "removed" of the message under way */
	char name[];
};

static bool name_eq(const struct hash_node *node, const void *key)
{
	return str_eq_c(*(const struct str *)key, container_of(node, struct entry, node)->name);
}

static struct entry *entry_find(const struct slice *s, struct str name)
{
	struct hash_node *node = hash_table_find(&s->entries, hash_str(name), name_eq, &name);

	return node ? container_of(node, struct entry, node) : NULL;
}

static int entry_ensure(struct slice *s, struct str name, struct entry **ret)
{
	struct entry *e = entry_find(s, name);

	if (!e) {
		e = calloc(1, sizeof(*e) + name.n + 1);
		if (!e)
			return -ENOMEM;
		memcpy(e->name, name.p, name.n);
		list_init(&e->link);
		if (hash_table_add(&s->entries, &e->node, hash_str(name)) < 0) {
			free(e);
			return -ENOMEM;
		}
	}
	*ret = e;
	return 0;
}

static void entry_drop(struct slice *s, struct entry *e)
{
	if (list_is_linked(&e->link))
		s->n_wanted--;
	list_remove(&e->link);
	hash_table_remove(&s->entries, &e->node);
	free(e);
}

void slice_init(struct slice *s)
{
	*s = (struct slice){ 0 };
	hash_table_init(&s->entries);
	list_init(&s->wanted);
}

/* Calls @fn for each entry; @fn may drop the one it is given. */
static void entries_each(struct slice *s, void (*fn)(struct slice *s, struct entry *e, void *user), void *user)
{
	struct hash_node *n = hash_table_first(&s->entries), *next;

	for (; n; n = next) {
		next = hash_table_next(&s->entries, n);
		fn(s, container_of(n, struct entry, node), user);
	}
}

static void drop_each(struct slice *s, struct entry *e, void *user)
{
	entry_drop(s, e);
}

void slice_done(struct slice *s)
{
	entries_each(s, drop_each, NULL);
	hash_table_done(&s->entries);
}

/* Subscriptions */

static int want_entry(struct slice *s, struct entry *e)
{
	if (list_is_linked(&e->link))
		return 0;
	if (s->n_wanted >= SLICE_SUBSCRIPTIONS_MAX)
		return SLICE_E_FULL;
	list_push_back(&s->wanted, &e->link);
	s->n_wanted++;
	return 0;
}

int slice_want(struct slice *s, struct str name)
{
	struct entry *e;
	int r;

	if (!cut_name_is_valid(name))
		return SLICE_E_BAD_NAME;
	if (s->n_wanted >= SLICE_SUBSCRIPTIONS_MAX && !entry_find(s, name))
		return SLICE_E_FULL;
	r = entry_ensure(s, name, &e);
	return r == 0 ? want_entry(s, e) : r;
}

static bool is_asked_kind(const char *name)
{
	return strncmp(name, "addr/", 5) == 0 || strncmp(name, "dns/", 4) == 0;
}

void slice_unwant(struct slice *s, struct str name)
{
	struct entry *e = entry_find(s, name);

	if (!e || strcmp(e->name, "self") == 0)
		return;
	if (is_asked_kind(e->name)) { /* the proxy has dropped it by itself */
		entry_drop(s, e);
		return;
	}
	if (list_is_linked(&e->link))
		s->n_wanted--;
	list_remove(&e->link);
}

int slice_hold(struct slice *s, struct str name, uint64_t version)
{
	struct entry *e;
	int r;

	if (!cut_name_is_valid(name))
		return SLICE_E_BAD_NAME;
	if (s->entries.n_nodes >= 3 * SLICE_SUBSCRIPTIONS_MAX + 1 && !entry_find(s, name))
		return SLICE_E_FULL;
	r = entry_ensure(s, name, &e);
	if (r < 0)
		return r;
	e->has = version;
	return is_asked_kind(e->name) ? want_entry(s, e) : 0;
}

/* A pass */

struct pass {
	struct slice *slice;
	struct cut_store *cuts;
	const struct mesh_workload *workload;
	struct buf *out;
	bool some;
};

/* One length-delimited field of a packed message. */
static int field_append(struct buf *out, uint8_t tag, const void *p, size_t n)
{
	uint8_t head[11] = { tag };
	size_t head_n = 1;
	int r;

	for (size_t v = n;; v >>= 7) {
		head[head_n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		if (v <= 0x7f)
			break;
	}
	r = buf_append(out, head, head_n);
	return r == 0 ? buf_append(out, p, n) : r;
}

#define TAG_RESOURCES (3 << 3 | 2)
#define TAG_REMOVED   (4 << 3 | 2)

static int visit(struct pass *p, const char *name, const struct cut **ret_cut)
{
	struct entry *e;
	int r = cut_get(p->cuts, p->workload, name, ret_cut);

	if (r < 0 || !*ret_cut)
		return r;
	r = entry_ensure(p->slice, str_from(name), &e);
	if (r < 0 || e->pass == p->slice->pass)
		return r;
	e->pass = p->slice->pass;
	if ((*ret_cut)->version == e->has)
		return 0;
	if ((*ret_cut)->version == e->refused) {
		p->slice->has_refused = true;
		return 0;
	}
	e->sent = (*ret_cut)->version;
	p->some = true;
	return field_append(p->out, TAG_RESOURCES, (*ret_cut)->wire, (*ret_cut)->wire_n);
}

static int visit_closure(struct pass *p, const char *name)
{
	const struct cut *cut, *other;
	char full[CUT_NAME_MAX + 600];
	int r = cut_get(p->cuts, p->workload, name, &cut);

	if (r == 0 && cut && cut->service) {
		snprintf(full, sizeof(full), "svc/%s", cut->service);
		r = visit(p, full, &other);
		memcpy(full, "eps/", 4);
		if (r == 0)
			r = visit(p, full, &other);
	}
	return r == 0 ? visit(p, name, &cut) : r;
}

static void remove_each(struct slice *s, struct entry *e, void *user)
{
	struct pass *p = user;

	if (e->pass == s->pass || is_asked_kind(e->name) || strcmp(e->name, "self") == 0)
		return;
	if (!e->has) {
		if (!list_is_linked(&e->link))
			entry_drop(s, e);
		return;
	}
	if (field_append(p->out, TAG_REMOVED, e->name, strlen(e->name)) < 0)
		return; /* memory is short: said in the next pass */
	e->removing = true;
	p->some = true;
}

static void unsend_each(struct slice *s, struct entry *e, void *user)
{
	e->sent = 0;
	e->removing = false;
}

int slice_next(struct slice *s, struct cut_store *cuts, const struct mesh_workload *w, struct buf *out, bool *ret_some,
	       bool *ret_all)
{
	struct pass p = { .slice = s, .cuts = cuts, .workload = w, .out = out };
	size_t start = out->len;
	bool all = true;
	struct entry *e;
	int r;

	s->pass++;
	s->has_refused = false;
	r = visit_closure(&p, "self");
	list_for_each_entry (e, &s->wanted, link) {
		if (r < 0)
			break;
		if (out->len - start > MESSAGE_SOFT_BYTES) {
			all = false;
			break;
		}
		r = visit_closure(&p, e->name);
	}
	if (r < 0) { /* nothing of it is sent */
		entries_each(s, unsend_each, NULL);
		return r;
	}
	if (all)
		entries_each(s, remove_each, &p);
	*ret_some = p.some;
	*ret_all = all;
	return 0;
}

/* Answers */

static void acked_each(struct slice *s, struct entry *e, void *user)
{
	if (e->removing) {
		e->has = 0;
		e->removing = false;
		if (!list_is_linked(&e->link)) {
			entry_drop(s, e);
			return;
		}
	}
	if (e->sent)
		e->has = e->sent;
	e->sent = 0;
}

void slice_acked(struct slice *s)
{
	entries_each(s, acked_each, NULL);
}

struct refusal {
	struct str name; /* that the proxy named, if it was in the message */
	bool found;
};

static void refused_each(struct slice *s, struct entry *e, void *user)
{
	struct refusal *f = user;

	if (e->sent && (!f->found || str_eq_c(f->name, e->name)))
		e->refused = e->sent;
	e->sent = 0;
	e->removing = false;
}

void slice_refused(struct slice *s, const char *error)
{
	const char *end = strstr(error, ": ");
	struct refusal f = { .name = { error, end ? (size_t)(end - error) : 0 } };
	struct entry *e = entry_find(s, f.name);

	f.found = e && e->sent;
	entries_each(s, refused_each, &f);
}
