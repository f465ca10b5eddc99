/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual addresses of services
 *
 * A service that states no address gets one from the range of each of its families: the place in the range is a hash of
 * namespace/name, and the next free one where that is taken. So an address stays the same over restarts, as long as no
 * two names fall on one place (then the first in order of names has it after a restart). While the model lives, a
 * service keeps what it was given, unless another states that very address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "control/model/store.h"

#define RANGE_BITS_MAX 32 /* of a wide IPv6 range, only so many places are used */

struct claim {
	struct hash_node node;
	struct addr addr;
	const struct resource *owner;
};

struct claims {
	struct hash_table table;
	struct claim *items;
	size_t n;
};

static bool claim_eq(const struct hash_node *n, const void *key)
{
	return memcmp(container_of(n, struct claim, node)->addr.ip, key, 16) == 0;
}

static const struct claim *claim_find(const struct claims *c, const uint8_t ip[16])
{
	struct hash_node *n = hash_table_find(&c->table, hash_bytes(ip, 16), claim_eq, ip);

	return n ? container_of(n, struct claim, node) : NULL;
}

static int claim_add(struct claims *c, const struct addr *a, const struct resource *owner)
{
	struct claim *claim = &c->items[c->n++];

	*claim = (struct claim){.addr = *a, .owner = owner};
	return hash_table_add(&c->table, &claim->node, hash_bytes(a->ip, 16));
}

static int claims_init(struct claims *c, const struct resource_list *l)
{
	hash_table_init(&c->table);
	c->n = 0;
	c->items = calloc(l->n * SERVICE_ADDRESSES_MAX + 1, sizeof(*c->items));
	return c->items ? 0 : -ENOMEM;
}

static void claims_done(struct claims *c)
{
	hash_table_done(&c->table);
	free(c->items);
}

static int place_compare(const void *a, const void *b)
{
	const struct resource *x = *(struct resource *const *)a, *y = *(struct resource *const *)b;
	int r;

	if (x->kept != y->kept)
		return x->kept ? -1 : 1;
	r = strcmp(x->file, y->file);
	return r ? r : x->line != y->line ? x->line - y->line : resource_compare(x, y);
}

static int stated_check(struct claims *claims, struct resource *r,
			void (*refuse)(struct resource *r, const struct addr *a, const struct resource *owner,
				       void *user),
			void *user)
{
	struct service *s = &r->service;
	int err;

	for (size_t i = 0; i < s->n_addresses; i++) {
		const struct claim *taken = s->addresses[i].stated ? claim_find(claims, s->addresses[i].addr.ip) : NULL;

		if (taken) {
			refuse(r, &s->addresses[i].addr, taken->owner, user);
			return 0;
		}
	}
	for (size_t i = 0; i < s->n_addresses; i++)
		if (s->addresses[i].stated) {
			err = claim_add(claims, &s->addresses[i].addr, r);
			if (err < 0)
				return err;
		}
	return 0;
}

int addresses_check(const struct resource_list *next,
		    void (*refuse)(struct resource *r, const struct addr *a, const struct resource *owner, void *user),
		    void *user)
{
	struct resource **order = malloc((next->n + 1) * sizeof(struct resource *));
	struct claims claims = {0};
	size_t n = 0;
	int r = order ? claims_init(&claims, next) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < next->n; i++)
		if (next->items[i]->kind == RESOURCE_SERVICE && !next->items[i]->service.headless)
			order[n++] = next->items[i];
	if (n > 1)
		qsort(order, n, sizeof(*order), place_compare);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = stated_check(&claims, order[i], refuse, user);
	claims_done(&claims);
	free(order);
	return r;
}

/* FNV-1a with a final mix: must be the same in every process, so not the keyed hash. */
static uint64_t name_hash(const char *namespace, const char *name)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (const char *p = namespace; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ull;
	h = (h ^ '/') * 0x100000001b3ull;
	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ull;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdull;
	return h ^ h >> 33;
}

/* Place @offset of the range; its first (the network) and its last (the broadcast of IPv4) are never given out. */
static struct addr range_at(const struct cidr *range, uint64_t offset)
{
	struct addr a = {0};

	memcpy(a.ip, range->ip, 16);
	for (int i = 15; i >= 8 && offset; i--, offset >>= 8)
		a.ip[i] |= (uint8_t)offset;
	return a;
}

static bool range_take(struct claims *claims, const struct cidr *range, struct resource *r, struct addr *ret, int *err)
{
	unsigned int bits = MIN(128u - range->prefix_bits, (unsigned int)RANGE_BITS_MAX);
	uint64_t places = (1ull << bits) - 2, start;

	if (bits < 2)
		return false;
	start = name_hash(r->namespace, r->name) % places;
	for (uint64_t i = 0; i < places && i <= claims->n; i++) { /* n claims can be in the way, no more */
		struct addr a = range_at(range, 1 + (start + i) % places);

		if (claim_find(claims, a.ip))
			continue;
		*err = claim_add(claims, &a, r);
		*ret = a;
		return true;
	}
	return false;
}

/* What the service had before, if it is still free. */
static int address_keep(struct claims *claims, const struct cidr *range, const struct service *old, struct resource *r,
			struct service_address *sa)
{
	for (size_t i = 0; i < old->n_addresses; i++) {
		const struct service_address *had = &old->addresses[i];

		if (had->v6 != sa->v6 || had->stated || addr_is_any(&had->addr) || !cidr_has(range, had->addr.ip) ||
		    claim_find(claims, had->addr.ip))
			continue;
		sa->addr = had->addr;
		return claim_add(claims, &sa->addr, r);
	}
	return 0;
}

static int deal_pass(struct claims *claims, const struct model_settings *settings, const struct resource_list *old,
		     bool fresh, struct resource *r, void (*full)(struct resource *r, bool v6, void *user), void *user)
{
	const struct resource *had = resource_list_find(old, r->kind, r->namespace, r->name);
	struct service before = {0}, *s = &r->service;
	int err = 0;

	if (had)
		before = had->service; /* maybe @r itself: what is written below must not be read */
	for (size_t i = 0; err == 0 && i < s->n_addresses; i++) {
		struct service_address *sa = &s->addresses[i];
		const struct cidr *range = sa->v6 ? &settings->service_cidr6 : &settings->service_cidr4;

		if (sa->stated)
			continue;
		if (!fresh) {
			sa->addr = (struct addr){0};
			err = address_keep(claims, range, &before, r, sa);
		} else if (addr_is_any(&sa->addr) && !range_take(claims, range, r, &sa->addr, &err)) {
			full(r, sa->v6, user);
		}
	}
	return err;
}

int addresses_deal(const struct model_settings *settings, const struct resource_list *old,
		   const struct resource_list *next, void (*full)(struct resource *r, bool v6, void *user), void *user)
{
	struct claims claims;
	int r = claims_init(&claims, next);

	for (size_t i = 0; r == 0 && i < next->n; i++) {
		struct service *s = &next->items[i]->service;

		for (size_t k = 0; next->items[i]->kind == RESOURCE_SERVICE && r == 0 && k < s->n_addresses; k++)
			if (s->addresses[k].stated && !s->headless)
				r = claim_add(&claims, &s->addresses[k].addr, next->items[i]);
	}
	for (int fresh = 0; fresh < 2; fresh++)
		for (size_t i = 0; r == 0 && i < next->n; i++)
			if (next->items[i]->kind == RESOURCE_SERVICE && !next->items[i]->service.headless)
				r = deal_pass(&claims, settings, old, fresh, next->items[i], full, user);
	claims_done(&claims);
	return r;
}
