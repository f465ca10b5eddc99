/* SPDX-License-Identifier: Apache-2.0 */
/* Live connections of one worker: see conn_registry.h. */
#include "proxy/listener/conn_registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One address that calls us; gone with its last connection, so that there are never more than connections. */
struct conn_source {
	struct hash_node node;
	uint8_t ip[16];
	size_t n_conns;
};

static bool source_eq(const struct hash_node *node, const void *key)
{
	return memcmp(container_of(node, const struct conn_source, node)->ip, key, 16) == 0;
}

static int source_join(struct conn_registry *r, struct conn *c)
{
	uint64_t hash = hash_bytes(c->client.ip, sizeof(c->client.ip));
	struct hash_node *node = hash_table_find(&r->sources, hash, source_eq, c->client.ip);
	struct conn_source *s;

	if (node) {
		s = container_of(node, struct conn_source, node);
	} else {
		s = calloc(1, sizeof(*s));
		if (!s || hash_table_add(&r->sources, &s->node, hash) < 0) {
			free(s);
			return -ENOMEM;
		}
		memcpy(s->ip, c->client.ip, sizeof(s->ip));
	}
	s->n_conns++;
	c->source = s;
	return 0;
}

static void source_leave(struct conn_registry *r, struct conn *c)
{
	struct conn_source *s = c->source;

	c->source = NULL;
	if (!s || --s->n_conns > 0)
		return;
	hash_table_remove(&r->sources, &s->node);
	free(s);
	if (r->sources.n_nodes == 0)
		hash_table_done(&r->sources); /* grown by a crowd, or the end of the registry */
}

void conn_registry_init(struct conn_registry *r, uint64_t first_id)
{
	*r = (struct conn_registry){ .next_id = first_id };
	list_init(&r->conns);
	hash_table_init(&r->sources);
}

int conn_registry_add(struct conn_registry *r, struct conn *c)
{
	if (c->direction == OBSERVE_INBOUND && source_join(r, c) < 0)
		return -ENOMEM;
	c->id = r->next_id++;
	if (!c->protocol)
		c->protocol = "";
	if (!c->peer_spiffe_id)
		c->peer_spiffe_id = "";
	if (!c->tls_version)
		c->tls_version = "";
	list_push_back(&r->conns, &c->link);
	r->n_conns++;
	r->n_total++;
	r->n_by_direction[c->direction]++;
	return 0;
}

void conn_registry_remove(struct conn_registry *r, struct conn *c)
{
	if (!list_is_linked(&c->link))
		return;
	list_remove(&c->link);
	r->n_conns--;
	r->n_by_direction[c->direction]--;
	source_leave(r, c);
}

bool conn_is_over_source_limit(const struct conn *c, size_t n_conns_max)
{
	return c->source && c->source->n_conns > MAX(MIN((size_t)CONN_SOURCE_MAX, n_conns_max / 2), (size_t)1);
}

const char *conn_state_name(enum conn_state state)
{
	static const char *const names[CONN_STATES] = {
		[CONN_POLICY] = "policy", [CONN_DETECT] = "detect", [CONN_HANDSHAKE] = "handshake",
		[CONN_CONNECT] = "connect", [CONN_OPEN] = "open", [CONN_IDLE] = "idle", [CONN_CLOSING] = "closing",
	};

	return state < CONN_STATES ? names[state] : "unknown";
}
