/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of proxy/subscribe: what was asked for, and who waits for it
 *
 * A subscription is an addr/ or dns/ name. It lives while it is used: looked up in a snapshot or asked for within the last ten
 * minutes. The number is bounded; at the bound the least recently used idle ones are given back first.
 */
#ifndef TRAMMEL_PROXY_SUBSCRIPTION_H
#define TRAMMEL_PROXY_SUBSCRIPTION_H

#include "base/buf.h"
#include "base/hash.h"
#include "proxy/subscribe/subscriber.h"

#define SUBSCRIPTIONS_MAX 4096
#define SUBSCRIPTION_NAME_MAX 260

struct subscription {
	struct hash_node node;
	struct list link;  /* subscriptions.by_use: least recently used first */
	struct list waits; /* of subscriber_wait */
	uint64_t used_ns;
	bool told; /* the agent knows, on the stream at hand */
	char name[];
};

struct subscriptions {
	struct loop *loop;
	struct hash_table by_name;
	struct list by_use;
	uint32_t n;
	struct list due; /* waits whose answer is certain and comes in the next turn */
	struct loop_task answer;
};

void subscriptions_init(struct subscriptions *t, struct loop *loop);
/* Waits that are left are unlinked, never called. */
void subscriptions_done(struct subscriptions *t);

struct subscription *subscription_find(const struct subscriptions *t, struct str name);

/** subscription_ensure() - find or add; NULL at the bound or when memory is out. Marks it as used now. */
struct subscription *subscription_ensure(struct subscriptions *t, struct str name);

/** subscription_drop() - nobody may wait for it */
void subscription_drop(struct subscriptions *t, struct subscription *sub);

/** subscription_wait() - answer within @timeout_ms */
void subscription_wait(struct subscriptions *t, struct subscription *sub, uint32_t timeout_ms, struct subscriber_wait *wait);

/** subscriptions_answer() - answer @wait in the next turn */
void subscriptions_answer(struct subscriptions *t, struct subscriber_wait *wait, bool answered);

/** subscriptions_check() - answer all that waits for what @s holds */
void subscriptions_check(struct subscriptions *t, const struct snapshot *s);

/** subscriptions_note_use() - take over and reset the snapshot's marks of use */
void subscriptions_note_use(struct subscriptions *t, const struct snapshot *s);

/** subscriptions_idle() - the least recently used one if it is unused for @idle_ns and nobody waits for it, else NULL */
struct subscription *subscriptions_idle(const struct subscriptions *t, uint64_t idle_ns);

#endif
