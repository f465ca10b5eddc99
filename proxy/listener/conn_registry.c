/* SPDX-License-Identifier: Apache-2.0 */
/* Live connections of one worker: see conn_registry.h. */
#include "proxy/listener/conn_registry.h"

void conn_registry_init(struct conn_registry *r, uint64_t first_id)
{
	*r = (struct conn_registry){ .next_id = first_id };
	list_init(&r->conns);
}

void conn_registry_add(struct conn_registry *r, struct conn *c)
{
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
}

void conn_registry_remove(struct conn_registry *r, struct conn *c)
{
	if (!list_is_linked(&c->link))
		return;
	list_remove(&c->link);
	r->n_conns--;
	r->n_by_direction[c->direction]--;
}

const char *conn_state_name(enum conn_state state)
{
	static const char *const names[CONN_STATES] = {
		[CONN_POLICY] = "policy", [CONN_DETECT] = "detect", [CONN_HANDSHAKE] = "handshake",
		[CONN_CONNECT] = "connect", [CONN_OPEN] = "open", [CONN_IDLE] = "idle", [CONN_CLOSING] = "closing",
	};

	return state < CONN_STATES ? names[state] : "unknown";
}
