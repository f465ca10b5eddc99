/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive hash table
 *
 * Nodes are embedded in their owners and hold the full hash; the table compares hashes, the caller's function
 * compares keys. Keys that a peer chooses are hashed with hash_bytes(), which is keyed per process (SipHash-1-3), so
 * that collisions cannot be prepared. Grows by doubling; not thread-safe.
 */
#ifndef TRAMMEL_BASE_HASH_H
#define TRAMMEL_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/str.h"

struct hash_node {
	struct hash_node *next;
	uint64_t hash;
};

struct hash_table {
	struct hash_node **slots;
	size_t n_slots; /* power of two, or 0 */
	size_t n_nodes;
};

uint64_t hash_bytes(const void *p, size_t n);

static inline uint64_t hash_str(struct str s)
{
	return hash_bytes(s.p, s.n);
}

void hash_table_init(struct hash_table *t);
/* Frees the slots; nodes belong to their owners. */
void hash_table_done(struct hash_table *t);

/** hash_table_add() - takes no copy of @node; -ENOMEM only for the very first slots (a failed growth is retried later) */
MUST_CHECK int hash_table_add(struct hash_table *t, struct hash_node *node, uint64_t hash);
void hash_table_remove(struct hash_table *t, struct hash_node *node);

/** hash_table_find() - first node with @hash for which @eq(node, key) is true, or NULL */
struct hash_node *hash_table_find(const struct hash_table *t, uint64_t hash,
				  bool (*eq)(const struct hash_node *node, const void *key), const void *key);

/* Iteration: for (n = hash_table_first(t); n; n = hash_table_next(t, n)); removal of @n only with its next read before. */
struct hash_node *hash_table_first(const struct hash_table *t);
struct hash_node *hash_table_next(const struct hash_table *t, const struct hash_node *n);

#endif
