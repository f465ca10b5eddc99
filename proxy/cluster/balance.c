/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint selection: see balance.h. */
#include "proxy/cluster/balance.h"

#include <string.h>

#define CURSORS_MAX 4096 /* beyond that: forget them all, round robin starts anew */

struct cursor {
	struct hash_node node;
	uint32_t at;
	uint16_t port;
	size_t namespace_n;
	char name[]; /* namespace, then name */
};

struct cursor_key {
	struct str namespace, name;
	uint16_t port;
};

void balance_init(struct balance *b)
{
	hash_table_init(&b->cursors);
}

static void cursors_clear(struct balance *b)
{
	struct hash_node *node, *next;

	for (node = hash_table_first(&b->cursors); node; node = next) {
		next = hash_table_next(&b->cursors, node);
		hash_table_remove(&b->cursors, node);
		free(container_of(node, struct cursor, node));
	}
}

void balance_done(struct balance *b)
{
	cursors_clear(b);
	hash_table_done(&b->cursors);
}

static bool cursor_eq(const struct hash_node *node, const void *key)
{
	const struct cursor *c = container_of(node, const struct cursor, node);
	const struct cursor_key *k = key;

	return c->port == k->port && c->namespace_n == k->namespace.n &&
	       memcmp(c->name, k->namespace.p, k->namespace.n) == 0 && strcmp(c->name + c->namespace_n, k->name.p) == 0;
}

static struct cursor *cursor_get(struct balance *b, const struct service *svc, uint16_t port)
{
	struct cursor_key key = { str_from(svc->namespace), str_from(svc->name), port };
	uint64_t hash = hash_str(key.name) ^ hash_str(key.namespace) * 31 ^ port;
	struct hash_node *node = hash_table_find(&b->cursors, hash, cursor_eq, &key);
	struct cursor *c;

	if (node)
		return container_of(node, struct cursor, node);
	if (b->cursors.n_nodes >= CURSORS_MAX)
		cursors_clear(b);
	c = malloc(sizeof(*c) + key.namespace.n + key.name.n + 1);
	if (!c)
		return NULL;
	*c = (struct cursor){ .port = port, .namespace_n = key.namespace.n };
	memcpy(c->name, key.namespace.p, key.namespace.n);
	memcpy(c->name + key.namespace.n, key.name.p, key.name.n + 1);
	if (hash_table_add(&b->cursors, &c->node, hash) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

static bool is_avoided(const struct balance_avoid *avoid, const struct addr *a)
{
	for (uint8_t i = 0; avoid && i < avoid->n; i++)
		if (addr_eq(&avoid->addrs[i], a))
			return true;
	return false;
}

/* The first one from @start on that will do; the end of the array when none does. */
static size_t scan(const struct service_port *port, size_t start, const struct balance_avoid *avoid, bool any_family, bool v4)
{
	for (size_t i = 0; i < port->n_endpoints; i++) {
		size_t at = start + i < port->n_endpoints ? start + i : start + i - port->n_endpoints;
		const struct endpoint *ep = &port->endpoints[at];

		if (ep->ready && (any_family || addr_is_v4(&ep->addr) == v4) && !is_avoided(avoid, &ep->addr))
			return at;
	}
	return port->n_endpoints;
}

const struct endpoint *balance_pick(struct balance *b, const struct service *svc, const struct service_port *port,
				    const struct addr *dialled, const struct balance_avoid *avoid)
{
	struct cursor *c = NULL;
	size_t n = port->n_endpoints, start = 0, at;

	if (n == 0 || port->n_ready == 0)
		return NULL;
	if (n > 1)
		c = cursor_get(b, svc, port->port);
	if (c)
		start = c->at % n;
	at = scan(port, start, avoid, false, addr_is_v4(dialled));
	if (at == n)
		at = scan(port, start, avoid, true, false);
	if (at == n)
		return NULL;
	if (c)
		c->at = (uint32_t)at + 1;
	return &port->endpoints[at];
}
