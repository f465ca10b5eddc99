/* SPDX-License-Identifier: Apache-2.0 */
/* The one writer of everything that is shown: an array of JSON objects as a table for people, or as it is with --json. */
#ifndef TRAMMEL_TOOLS_TABLE_H
#define TRAMMEL_TOOLS_TABLE_H

#include <jansson.h>
#include "tools/command.h"

enum column_form {
	COLUMN_TEXT,   /* strings, numbers, arrays joined by a comma */
	COLUMN_YES_NO, /* booleans */
	COLUMN_BYTES,  /* 1.5M */
	COLUMN_AGE_S,  /* seconds as 2h5m */
	COLUMN_TIME_S, /* seconds since 1970 as a UTC time */
};

struct column {
	const char *title; /* NULL ends the list */
	const char *key;   /* "port", or "error.reason" */
	enum column_form form;
};

/** table_show() - @answer whole with --json, else the array @answer[@key] by @columns; takes @answer; returns an exit status */
int table_show(const struct invocation *inv, json_t *answer, const char *key, const struct column *columns);

/** table_print() - the table alone; @rows borrowed */
void table_print(const json_t *rows, const struct column *columns);

/** object_show() - @answer whole with --json, else "key: value" lines of its scalars in @columns; takes @answer */
int object_show(const struct invocation *inv, json_t *answer, const struct column *columns);

/** json_show() - print @value as JSON and a newline */
int json_show(const json_t *value);

#endif
