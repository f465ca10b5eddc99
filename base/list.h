/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list
 *
 * A struct list is both head and link. A link that is in no list points at itself, so list_remove() may be called
 * twice and list_is_linked() tells the state.
 */
#ifndef TRAMMEL_BASE_LIST_H
#define TRAMMEL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
	return link->next && link->next != link;
}

static inline void list_insert_(struct list *link, struct list *prev, struct list *next)
{
	link->prev = prev;
	link->next = next;
	prev->next = link;
	next->prev = link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
	list_insert_(link, head->prev, head);
}

static inline void list_push_front(struct list *head, struct list *link)
{
	list_insert_(link, head, head->next);
}

static inline void list_remove(struct list *link)
{
	if (!link->next)
		return;
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* Moves all links of @from to the end of @to; @from is empty after. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(p, T, m) container_of(p, T, m)
#define list_first(head, T, m) (list_is_empty(head) ? NULL : list_entry((head)->next, T, m))
#define list_last(head, T, m)  (list_is_empty(head) ? NULL : list_entry((head)->prev, T, m))

#define list_for_each_entry(pos, head, m)                                                                              \
	for (pos = list_entry((head)->next, __typeof__(*pos), m); &pos->m != (head);                                   \
	     pos = list_entry(pos->m.next, __typeof__(*pos), m))

/* The body may remove @pos (and nothing else that stands right behind it). */
#define list_for_each_entry_safe(pos, tmp, head, m)                                                                    \
	for (pos = list_entry((head)->next, __typeof__(*pos), m), tmp = list_entry(pos->m.next, __typeof__(*pos), m);  \
	     &pos->m != (head); pos = tmp, tmp = list_entry(tmp->m.next, __typeof__(*tmp), m))

#endif
