/* SPDX-License-Identifier: Apache-2.0 */
/* Pool of idle upstream connections: see pool.h. */
#include "proxy/upstream/pool.h"

#include <errno.h>
#include <string.h>

void upstream_pool_init(struct upstream_pool *p)
{
	*p = (struct upstream_pool){ 0 };
	hash_table_init(&p->hosts);
	list_init(&p->all);
}

void upstream_pool_close_idle(struct upstream_pool *p)
{
	struct hash_node *node = hash_table_first(&p->hosts);

	/* Closing the last connection of a host frees it: always begin anew. */
	while (node) {
		struct pool_host *h = container_of(node, struct pool_host, node);
		struct pool_link *l = list_first(&h->idle, struct pool_link, link);

		if (l) {
			l->close(l);
			node = hash_table_first(&p->hosts);
		} else {
			node = hash_table_next(&p->hosts, node);
		}
	}
}

void upstream_pool_done(struct upstream_pool *p)
{
	struct pool_link *l;

	upstream_pool_close_idle(p);
	while ((l = list_first(&p->all, struct pool_link, all_link)) && l->kill)
		l->kill(l);
	hash_table_done(&p->hosts);
}

void pool_key_fill(struct pool_key *key, const struct target *t, uint8_t alpn)
{
	struct {
		uint8_t ip[16], client_ip[16];
		uint16_t port;
		uint8_t mtls, alpn;
	} flat = { .port = t->addr.port, .mtls = t->mtls, .alpn = alpn };

	*key = (struct pool_key){ .addr = t->addr, .mtls = t->mtls, .hbone = t->hbone, .alpn = alpn, .tls = t->tls ? t->tls->key | 1 : 0 };
	key->spiffe_id = t->mtls && t->spiffe_id ? t->spiffe_id : "";
	memcpy(key->client_ip, t->client.ip, sizeof(key->client_ip));
	memcpy(flat.ip, t->addr.ip, sizeof(flat.ip));
	memcpy(flat.client_ip, t->client.ip, sizeof(flat.client_ip));
	key->hash = hash_bytes(&flat, sizeof(flat));
}

static bool host_eq(const struct hash_node *node, const void *key)
{
	const struct pool_host *h = container_of(node, const struct pool_host, node);
	const struct pool_key *k = key;

	return addr_eq(&h->key.addr, &k->addr) && h->key.mtls == k->mtls && h->key.hbone == k->hbone && h->key.alpn == k->alpn &&
	       h->key.tls == k->tls &&
	       memcmp(h->key.client_ip, k->client_ip, sizeof(k->client_ip)) == 0 &&
	       strcmp(h->spiffe_id, k->spiffe_id) == 0;
}

static struct pool_host *host_find(struct upstream_pool *p, const struct pool_key *key)
{
	struct hash_node *node = hash_table_find(&p->hosts, key->hash, host_eq, key);

	return node ? container_of(node, struct pool_host, node) : NULL;
}

struct pool_link *upstream_pool_take(struct upstream_pool *p, const struct pool_key *key)
{
	struct pool_host *h = host_find(p, key);
	struct pool_link *l = h ? list_first(&h->idle, struct pool_link, link) : NULL;

	if (!l)
		return NULL;
	list_remove(&l->link);
	l->is_idle = false;
	h->n_idle--;
	p->n_idle--;
	p->n_reused++;
	return l;
}

int upstream_pool_join(struct upstream_pool *p, const struct pool_key *key, struct pool_link *l)
{
	struct pool_host *h = host_find(p, key);
	size_t n = strlen(key->spiffe_id);

	if (!h) {
		h = malloc(sizeof(*h) + n + 1);
		if (!h)
			return -ENOMEM;
		*h = (struct pool_host){ .pool = p, .key = *key };
		memcpy(h->spiffe_id, key->spiffe_id, n + 1);
		h->key.spiffe_id = h->spiffe_id;
		list_init(&h->idle);
		if (hash_table_add(&p->hosts, &h->node, key->hash) < 0) {
			free(h);
			return -ENOMEM;
		}
	}
	h->n_conns++;
	p->n_conns++;
	p->n_opened++;
	l->host = h;
	l->is_idle = false;
	list_init(&l->link);
	list_push_front(&p->all, &l->all_link);
	return 0;
}

bool upstream_pool_put(struct upstream_pool *p, struct pool_link *l)
{
	if (l->host->n_idle >= POOL_IDLE_PER_KEY || p->n_idle >= POOL_IDLE_MAX)
		return false;
	list_push_front(&l->host->idle, &l->link);
	l->is_idle = true;
	l->host->n_idle++;
	p->n_idle++;
	return true;
}

void upstream_pool_withdraw(struct upstream_pool *p, struct pool_link *l)
{
	if (!l->is_idle)
		return;
	list_remove(&l->link);
	l->is_idle = false;
	l->host->n_idle--;
	p->n_idle--;
}

void upstream_pool_leave(struct upstream_pool *p, struct pool_link *l)
{
	struct pool_host *h = l->host;

	if (!h)
		return;
	upstream_pool_withdraw(p, l);
	l->host = NULL;
	list_remove(&l->all_link);
	p->n_conns--;
	if (--h->n_conns > 0)
		return;
	hash_table_remove(&p->hosts, &h->node);
	free(h);
}
