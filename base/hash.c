/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive hash table and keyed hash: see hash.h. */
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include "base/clock.h"

#define HASH_SLOTS_MIN 16

static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void sip_key_init(void)
{
	if (getrandom(sip_key, sizeof(sip_key), 0) != (ssize_t)sizeof(sip_key)) {
		sip_key[0] = clock_mono_ns();
		sip_key[1] = (uint64_t)(uintptr_t)&sip_once;
	}
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND                                                                                                      \
	do {                                                                                                           \
		v0 += v1, v1 = ROTL(v1, 13), v1 ^= v0, v0 = ROTL(v0, 32);                                              \
		v2 += v3, v3 = ROTL(v3, 16), v3 ^= v2;                                                                 \
		v0 += v3, v3 = ROTL(v3, 21), v3 ^= v0;                                                                 \
		v2 += v1, v1 = ROTL(v1, 17), v1 ^= v2, v2 = ROTL(v2, 32);                                              \
	} while (0)

/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), one compression and three final rounds. */
uint64_t hash_bytes(const void *p, size_t n)
{
	const uint8_t *in = p;
	uint64_t v0, v1, v2, v3, m, tail = (uint64_t)n << 56;
	size_t i;

	pthread_once(&sip_once, sip_key_init);
	v0 = sip_key[0] ^ 0x736f6d6570736575ull;
	v1 = sip_key[1] ^ 0x646f72616e646f6dull;
	v2 = sip_key[0] ^ 0x6c7967656e657261ull;
	v3 = sip_key[1] ^ 0x7465646279746573ull;
	for (i = 0; i + 8 <= n; i += 8) {
		memcpy(&m, in + i, 8);
		v3 ^= m;
		SIP_ROUND;
		v0 ^= m;
	}
	for (size_t k = 0; i + k < n; k++)
		tail |= (uint64_t)in[i + k] << (8 * k);
	v3 ^= tail;
	SIP_ROUND;
	v0 ^= tail;
	v2 ^= 0xff;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

void hash_table_init(struct hash_table *t)
{
	*t = (struct hash_table){ 0 };
}

void hash_table_done(struct hash_table *t)
{
	free(t->slots);
	*t = (struct hash_table){ 0 };
}

static int table_resize(struct hash_table *t, size_t n_slots)
{
	struct hash_node **slots = calloc(n_slots, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_slots; i++) {
		struct hash_node *node = t->slots[i];

		while (node) {
			struct hash_node *next = node->next;
			size_t at = node->hash & (n_slots - 1);

			node->next = slots[at];
			slots[at] = node;
			node = next;
		}
	}
	free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
	return 0;
}

int hash_table_add(struct hash_table *t, struct hash_node *node, uint64_t hash)
{
	size_t at;

	if (t->n_nodes >= t->n_slots) {
		int r = table_resize(t, t->n_slots ? t->n_slots * 2 : HASH_SLOTS_MIN);

		if (r < 0 && !t->n_slots)
			return r;
	}
	at = hash & (t->n_slots - 1);
	node->hash = hash;
	node->next = t->slots[at];
	t->slots[at] = node;
	t->n_nodes++;
	return 0;
}

void hash_table_remove(struct hash_table *t, struct hash_node *node)
{
	struct hash_node **p;

	if (!t->n_slots)
		return;
	for (p = &t->slots[node->hash & (t->n_slots - 1)]; *p; p = &(*p)->next)
		if (*p == node) {
			*p = node->next;
			node->next = NULL;
			t->n_nodes--;
			return;
		}
}

struct hash_node *hash_table_find(const struct hash_table *t, uint64_t hash,
				  bool (*eq)(const struct hash_node *node, const void *key), const void *key)
{
	struct hash_node *n;

	if (!t->n_slots)
		return NULL;
	for (n = t->slots[hash & (t->n_slots - 1)]; n; n = n->next)
		if (n->hash == hash && eq(n, key))
			return n;
	return NULL;
}

static struct hash_node *first_from(const struct hash_table *t, size_t slot)
{
	for (; slot < t->n_slots; slot++)
		if (t->slots[slot])
			return t->slots[slot];
	return NULL;
}

struct hash_node *hash_table_first(const struct hash_table *t)
{
	return first_from(t, 0);
}

struct hash_node *hash_table_next(const struct hash_table *t, const struct hash_node *n)
{
	return n->next ? n->next : first_from(t, (n->hash & (t->n_slots - 1)) + 1);
}
