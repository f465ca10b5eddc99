/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and JSON for the terminal: see table.h. */
#include "tools/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"

#define CELL_BYTES 512
#define COLUMNS_MAX 24

static const json_t *path_get(const json_t *row, const char *key)
{
	char part[64];

	for (;;) {
		const char *dot = strchr(key, '.');
		size_t n = dot ? (size_t)(dot - key) : strlen(key);

		if (n >= sizeof(part))
			return NULL;
		memcpy(part, key, n);
		part[n] = '\0';
		row = json_object_get(row, part);
		if (!dot || !row)
			return row;
		key = dot + 1;
	}
}

static void bytes_format(char *cell, double v)
{
	static const char unit[] = " KMGTP";
	int u = 0;

	for (; v >= 1024 && u < 5; u++)
		v /= 1024;
	if (u)
		snprintf(cell, CELL_BYTES, "%.1f%c", v, unit[u]);
	else
		snprintf(cell, CELL_BYTES, "%.0f", v);
}

static void age_format(char *cell, double s)
{
	uint64_t t = s > 0 ? (uint64_t)s : 0;

	if (t < 60)
		snprintf(cell, CELL_BYTES, "%.1fs", s);
	else if (t < 3600)
		snprintf(cell, CELL_BYTES, "%" PRIu64 "m%" PRIu64 "s", t / 60, t % 60);
	else if (t < 86400)
		snprintf(cell, CELL_BYTES, "%" PRIu64 "h%" PRIu64 "m", t / 3600, t / 60 % 60);
	else
		snprintf(cell, CELL_BYTES, "%" PRIu64 "d%" PRIu64 "h", t / 86400, t / 3600 % 24);
}

static void time_format(char *cell, json_int_t s)
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(cell, CELL_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void scalar_format(char *cell, const json_t *v)
{
	if (json_is_string(v))
		snprintf(cell, CELL_BYTES, "%s", json_string_value(v));
	else if (json_is_integer(v))
		snprintf(cell, CELL_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		snprintf(cell, CELL_BYTES, "%.3g", json_real_value(v));
	else if (json_is_boolean(v))
		snprintf(cell, CELL_BYTES, "%s", json_is_true(v) ? "yes" : "no");
	else
		snprintf(cell, CELL_BYTES, "-");
}

static void array_format(char *cell, const json_t *v)
{
	size_t at = 0;

	cell[0] = '\0';
	for (size_t i = 0; i < json_array_size(v) && at < CELL_BYTES - 1; i++) {
		char part[CELL_BYTES];

		scalar_format(part, json_array_get(v, i));
		at += (size_t)snprintf(cell + at, CELL_BYTES - at, "%s%s", i ? "," : "", part);
	}
	if (!cell[0])
		snprintf(cell, CELL_BYTES, "-");
}

/* What a peer wrote may stand in a cell: nothing of it may drive the terminal. */
static void cell_clean(char *cell)
{
	for (unsigned char *p = (unsigned char *)cell; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (!cell[0])
		snprintf(cell, CELL_BYTES, "-");
}

static void cell_format(char *cell, const json_t *row, const struct column *c)
{
	const json_t *v = path_get(row, c->key);

	if (!v || json_is_null(v))
		snprintf(cell, CELL_BYTES, "-");
	else if (c->form == COLUMN_BYTES && json_is_number(v))
		bytes_format(cell, json_number_value(v));
	else if (c->form == COLUMN_AGE_S && json_is_number(v))
		age_format(cell, json_number_value(v));
	else if (c->form == COLUMN_TIME_S && json_is_integer(v))
		time_format(cell, json_integer_value(v));
	else if (json_is_array(v))
		array_format(cell, v);
	else
		scalar_format(cell, v);
	cell_clean(cell);
}

void table_print(const json_t *rows, const struct column *columns)
{
	size_t width[COLUMNS_MAX], n = 0;
	char cell[CELL_BYTES];

	for (; columns[n].title && n < COLUMNS_MAX; n++) {
		width[n] = strlen(columns[n].title);
		for (size_t i = 0; i < json_array_size(rows); i++) {
			cell_format(cell, json_array_get(rows, i), &columns[n]);
			width[n] = MAX(width[n], strlen(cell));
		}
	}
	for (size_t c = 0; c < n; c++)
		printf("%-*s%s", c + 1 < n ? (int)width[c] : 0, columns[c].title, c + 1 < n ? "  " : "\n");
	for (size_t i = 0; i < json_array_size(rows); i++)
		for (size_t c = 0; c < n; c++) {
			cell_format(cell, json_array_get(rows, i), &columns[c]);
			printf("%-*s%s", c + 1 < n ? (int)width[c] : 0, cell, c + 1 < n ? "  " : "\n");
		}
}

int json_show(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2)) < 0)
		return EXIT_REFUSED;
	putchar('\n');
	return 0;
}

int table_show(const struct invocation *inv, json_t *answer, const char *key, const struct column *columns)
{
	int r = 0;

	if (inv->json) {
		json_object_del(answer, "ok");
		r = json_show(answer);
	} else {
		table_print(json_object_get(answer, key), columns);
	}
	json_decref(answer);
	return r;
}

int object_show(const struct invocation *inv, json_t *answer, const struct column *columns)
{
	char cell[CELL_BYTES];
	int r = 0, width = 0;

	if (inv->json) {
		json_object_del(answer, "ok");
		r = json_show(answer);
	} else {
		for (const struct column *c = columns; c->title; c++)
			width = MAX(width, (int)strlen(c->title));
		for (const struct column *c = columns; c->title; c++) {
			cell_format(cell, answer, c);
			printf("%-*s  %s\n", width, c->title, cell);
		}
	}
	json_decref(answer);
	return r;
}
