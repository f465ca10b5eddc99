/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model from inside
 *
 * All resources stand in one vector sorted by (kind, namespace, name). A set is applied by building the next vector
 * aside and swapping it in, so that a failure half-way leaves everything as it was.
 */
#ifndef TRAMMEL_MODEL_STORE_H
#define TRAMMEL_MODEL_STORE_H

#include "base/list.h"
#include "control/model/complaint.h"
#include "control/model/resource.h"

struct origin {
	struct list link;
	char name[];
};

struct resource_list {
	struct resource **items;
	size_t n, cap;
};

struct workload_entry {
	struct model_workload pub; /* first: the public list points here */
	struct pool pool;
};

struct model {
	struct loop *loop;
	struct model_settings settings; /* strings owned */
	struct list origins;
	struct resource_list resources;
	size_t kind_at[RESOURCE_KINDS + 1]; /* where each kind begins in resources */
	struct complaint_list complaints;
	struct model_workload **workloads; /* sorted by (namespace, name) */
	size_t n_workloads, cap_workloads;
	void (*on_change)(void *user);
	void *user;
	struct loop_task change_task;
};

/* Announce a change at the start of the next loop turn. */
void model_changed(struct model *m);

struct resource *resource_new(void);
struct resource *resource_free(struct resource *r);
DEFINE_CLEANUP(struct resource, resource_free)

MUST_CHECK int resource_list_add(struct resource_list *l, struct resource *r);
/* Order of (kind, namespace, name). */
int resource_compare(const struct resource *a, const struct resource *b);
/** resource_list_find() - in a sorted list; NULL when there is none */
struct resource *resource_list_find(const struct resource_list *l, enum resource_kind kind, const char *namespace,
				    const char *name);

/* Virtual addresses (address.c) */

/**
 * addresses_check() - refuse stated addresses that are taken
 * @next:    the whole next vector
 * @refuse:  called for a service that has to go, with the one that has its address
 *
 * Services that stay as they were (kept, or of another origin) come first, then those of the set in the order of their
 * places.
 */
MUST_CHECK int addresses_check(const struct resource_list *next,
			       void (*refuse)(struct resource *r, const struct addr *a, const struct resource *owner,
					      void *user),
			       void *user);

/**
 * addresses_deal() - give every service that states no address one of each of its families
 * @old:   the vector in force; a service keeps what it has there
 * @full:  called for a service that could not be given one
 */
MUST_CHECK int addresses_deal(const struct model_settings *settings, const struct resource_list *old,
			      const struct resource_list *next, void (*full)(struct resource *r, bool v6, void *user),
			      void *user);

#endif
