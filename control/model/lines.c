/* SPDX-License-Identifier: Apache-2.0 */
/* Line numbers of a parsed document: see lines.h. */
#include "control/model/lines.h"

#include <errno.h>
#include <stdlib.h>
#include "base/hash.h"

uint64_t line_path_key(uint64_t parent, struct str key)
{
	uint64_t step[2] = {parent, hash_str(key)};

	return hash_bytes(step, sizeof(step));
}

uint64_t line_path_item(uint64_t parent, size_t index)
{
	uint64_t step[3] = {parent, index, 1}; /* three words: never equal to a key's two */

	return hash_bytes(step, sizeof(step));
}

int line_table_add(struct line_table *t, uint64_t path, int line)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 32;
		struct line_entry *entries = reallocarray(t->entries, cap, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		t->entries = entries;
		t->cap = cap;
	}
	t->entries[t->n++] = (struct line_entry){path, line};
	return 0;
}

static int entry_compare(const void *a, const void *b)
{
	const struct line_entry *x = a, *y = b;

	return x->path < y->path ? -1 : x->path > y->path;
}

void line_table_seal(struct line_table *t)
{
	if (t->n)
		qsort(t->entries, t->n, sizeof(*t->entries), entry_compare);
}

int line_table_find(const struct line_table *t, uint64_t path)
{
	struct line_entry key = {path, 0};
	const struct line_entry *e;

	if (!t->n)
		return 0;
	e = bsearch(&key, t->entries, t->n, sizeof(*t->entries), entry_compare);
	return e ? e->line : 0;
}

void line_table_done(struct line_table *t)
{
	free(t->entries);
	*t = (struct line_table){0};
}
