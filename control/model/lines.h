/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Line numbers of a parsed document
 *
 * A parser notes for every value the line it stood on, under the hash of its path, so that a complaint about a field
 * can name the line. Paths are hashed step by step: a table costs 16 bytes per value, however long the keys are.
 */
#ifndef TRAMMEL_MODEL_LINES_H
#define TRAMMEL_MODEL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/str.h"

#define LINE_PATH_ROOT 0ull /* the document itself */

struct line_entry {
	uint64_t path;
	int line;
};

struct line_table {
	struct line_entry *entries;
	size_t n, cap;
};

/** line_path_key() - the path of member @key of the object at @parent */
uint64_t line_path_key(uint64_t parent, struct str key);
/** line_path_item() - the path of item @index of the array at @parent */
uint64_t line_path_item(uint64_t parent, size_t index);

/** line_table_add() - note a line (counted from 1); -ENOMEM */
MUST_CHECK int line_table_add(struct line_table *t, uint64_t path, int line);
/** line_table_seal() - after the last line_table_add() and before the first line_table_find() */
void line_table_seal(struct line_table *t);
/** line_table_find() - the line, or 0 */
int line_table_find(const struct line_table *t, uint64_t path);
void line_table_done(struct line_table *t);

#endif
