/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions and waits: see subscription.h */
#include "proxy/subscribe/subscription.h"

#include <stdlib.h>
#include "proxy/snapshot/build.h"

void subscriptions_init(struct subscriptions *t, struct loop *loop)
{
	*t = (struct subscriptions){ .loop = loop };
	hash_table_init(&t->by_name);
	list_init(&t->by_use);
	list_init(&t->due);
}

static void waits_forget(struct list *waits)
{
	while (!list_is_empty(waits))
		subscriber_wait_cancel(list_entry(waits->next, struct subscriber_wait, link));
}

void subscriptions_done(struct subscriptions *t)
{
	struct subscription *sub, *tmp;

	loop_task_cancel(&t->answer);
	waits_forget(&t->due);
	list_for_each_entry_safe (sub, tmp, &t->by_use, link) {
		waits_forget(&sub->waits);
		subscription_drop(t, sub);
	}
	hash_table_done(&t->by_name);
}

static bool name_eq(const struct hash_node *node, const void *key)
{
	return str_eq_c(*(const struct str *)key, container_of(node, struct subscription, node)->name);
}

struct subscription *subscription_find(const struct subscriptions *t, struct str name)
{
	struct hash_node *node = hash_table_find(&t->by_name, hash_str(name), name_eq, &name);

	return node ? container_of(node, struct subscription, node) : NULL;
}

static struct subscription *subscription_add(struct subscriptions *t, struct str name)
{
	struct subscription *sub = t->n < SUBSCRIPTIONS_MAX ? calloc(1, sizeof(*sub) + name.n + 1) : NULL;

	if (!sub)
		return NULL;
	memcpy(sub->name, name.p, name.n);
	list_init(&sub->waits);
	if (hash_table_add(&t->by_name, &sub->node, hash_str(name)) < 0) {
		free(sub);
		return NULL;
	}
	list_push_back(&t->by_use, &sub->link);
	t->n++;
	return sub;
}

static void mark_used(struct subscriptions *t, struct subscription *sub)
{
	sub->used_ns = loop_now_ns(t->loop);
	list_remove(&sub->link);
	list_push_back(&t->by_use, &sub->link);
}

struct subscription *subscription_ensure(struct subscriptions *t, struct str name)
{
	struct subscription *sub = subscription_find(t, name);

	if (!sub)
		sub = subscription_add(t, name);
	if (sub)
		mark_used(t, sub);
	return sub;
}

void subscription_drop(struct subscriptions *t, struct subscription *sub)
{
	list_remove(&sub->link);
	hash_table_remove(&t->by_name, &sub->node);
	t->n--;
	free(sub);
}

/* Waits */

void subscriber_wait_cancel(struct subscriber_wait *wait)
{
	list_remove(&wait->link);
	loop_timer_cancel(&wait->timer);
}

static void on_timeout(struct loop_timer *timer)
{
	struct subscriber_wait *wait = container_of(timer, struct subscriber_wait, timer);

	list_remove(&wait->link);
	wait->on_answer(wait, false);
}

void subscription_wait(struct subscriptions *t, struct subscription *sub, uint32_t timeout_ms,
		       struct subscriber_wait *wait)
{
	list_push_back(&sub->waits, &wait->link);
	loop_timer_set(t->loop, &wait->timer, timeout_ms, on_timeout);
}

static void on_due(struct loop_task *task)
{
	struct subscriptions *t = container_of(task, struct subscriptions, answer);
	struct list now;

	list_init(&now); /* what is asked for within a callback comes in the next turn */
	list_splice(&now, &t->due);
	while (!list_is_empty(&now)) {
		struct subscriber_wait *wait = list_entry(now.next, struct subscriber_wait, link);

		list_remove(&wait->link);
		wait->on_answer(wait, wait->answered);
	}
}

void subscriptions_answer(struct subscriptions *t, struct subscriber_wait *wait, bool answered)
{
	subscriber_wait_cancel(wait);
	wait->answered = answered;
	list_push_back(&t->due, &wait->link);
	loop_task_defer(t->loop, &t->answer, on_due);
}

void subscriptions_check(struct subscriptions *t, const struct snapshot *s)
{
	struct subscription *sub;

	list_for_each_entry (sub, &t->by_use, link) {
		if (list_is_empty(&sub->waits) || !snapshot_has(s, str_from(sub->name)))
			continue;
		while (!list_is_empty(&sub->waits))
			subscriptions_answer(t, list_entry(sub->waits.next, struct subscriber_wait, link), true);
	}
}

/* Use */

void subscriptions_note_use(struct subscriptions *t, const struct snapshot *s)
{
	struct subscription *sub, *tmp;
	struct list used;

	list_init(&used); /* used ones: they go to the end */
	list_for_each_entry_safe (sub, tmp, &t->by_use, link) {
		if (!snapshot_was_used(s, str_from(sub->name)))
			continue;
		sub->used_ns = loop_now_ns(t->loop);
		list_remove(&sub->link);
		list_push_back(&used, &sub->link);
	}
	list_splice(&t->by_use, &used);
	snapshot_used_reset(s);
}

struct subscription *subscriptions_idle(const struct subscriptions *t, uint64_t idle_ns)
{
	struct subscription *sub;

	list_for_each_entry (sub, &t->by_use, link) {
		if (loop_now_ns(t->loop) - sub->used_ns < idle_ns)
			return NULL;
		if (list_is_empty(&sub->waits))
			return sub;
	}
	return NULL;
}
