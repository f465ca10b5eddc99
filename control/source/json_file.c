/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON files: see yaml.h
 *
 * jansson parses and checks; a second walk over the same bytes, which are known to be good then, notes the lines.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/source/yaml.h"

struct json_walk {
	const char *p, *end;
	int line;
	size_t n_values;
	struct line_table *lines;
	struct yaml_error *error;
};

static int value_walk(struct json_walk *w, uint64_t path, size_t depth);

static void space_skip(struct json_walk *w)
{
	for (; w->p < w->end && strchr(" \t\r\n", *w->p) && *w->p; w->p++)
		w->line += *w->p == '\n';
}

/* The string with its quotes. */
static struct str string_take(struct json_walk *w)
{
	const char *start = w->p++;

	while (w->p < w->end && *w->p != '"')
		w->p += *w->p == '\\' ? 2 : 1;
	w->p++;
	return (struct str){start, (size_t)(w->p - start)};
}

static int key_path(uint64_t parent, struct str quoted, uint64_t *ret)
{
	json_t *key;

	if (!memchr(quoted.p, '\\', quoted.n)) {
		*ret = line_path_key(parent, (struct str){quoted.p + 1, quoted.n - 2});
		return 0;
	}
	key = json_loadb(quoted.p, quoted.n, JSON_DECODE_ANY, NULL);
	if (!key)
		return -ENOMEM;
	*ret = line_path_key(parent, (struct str){json_string_value(key), json_string_length(key)});
	json_decref(key);
	return 0;
}

static int members_walk(struct json_walk *w, uint64_t path, size_t depth, char close)
{
	int r = 0;

	w->p++;
	space_skip(w);
	for (size_t i = 0; r == 0 && w->p < w->end && *w->p != close; i++) {
		uint64_t child = line_path_item(path, i);

		if (close == '}') {
			r = key_path(path, string_take(w), &child);
			space_skip(w);
			w->p++; /* ':' */
			space_skip(w);
		}
		r = r ? r : value_walk(w, child, depth + 1);
		space_skip(w);
		if (w->p < w->end && *w->p == ',')
			w->p++;
		space_skip(w);
	}
	w->p++;
	return r;
}

static int value_walk(struct json_walk *w, uint64_t path, size_t depth)
{
	int r = line_table_add(w->lines, path, w->line);

	if (r < 0)
		return r;
	if (depth > YAML_DEPTH_MAX || ++w->n_values > YAML_VALUES_MAX) {
		w->error->line = w->line;
		if (depth > YAML_DEPTH_MAX)
			snprintf(w->error->text, sizeof(w->error->text), "nested deeper than %d levels",
				 YAML_DEPTH_MAX);
		else
			snprintf(w->error->text, sizeof(w->error->text), "file has more than %d values: split it",
				 YAML_VALUES_MAX);
		return YAML_E_REFUSED;
	}
	switch (w->p < w->end ? *w->p : '\0') {
	case '{':
		return members_walk(w, path, depth, '}');
	case '[':
		return members_walk(w, path, depth, ']');
	case '"':
		(void)string_take(w); /* only its end is of interest */
		return 0;
	default:
		while (w->p < w->end && !strchr(",]} \t\r\n", *w->p))
			w->p++;
		return 0;
	}
}

int yaml_parse_json(struct str bytes, struct yaml_file *ret, struct yaml_error *ret_error)
{
	struct yaml_document doc = {.line = 1};
	struct json_walk w = {
		.p = bytes.p, .end = bytes.p + bytes.n, .line = 1, .lines = &doc.lines, .error = ret_error};
	json_error_t error;
	int r;

	*ret_error = (struct yaml_error){.line = 1};
	if (bytes.n > YAML_FILE_MAX_BYTES) {
		snprintf(ret_error->text, sizeof(ret_error->text), "file is larger than %d bytes: split it",
			 YAML_FILE_MAX_BYTES);
		return YAML_E_REFUSED;
	}
	/* jansson passes over one behind a number; the walk would not */
	if (bytes.n && memchr(bytes.p, '\0', bytes.n)) {
		snprintf(ret_error->text, sizeof(ret_error->text), "is not JSON: it holds a NUL byte");
		return YAML_E_REFUSED;
	}
	doc.root = json_loadb(bytes.p ? bytes.p : "", bytes.n, JSON_REJECT_DUPLICATES, &error);
	if (!doc.root) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return -ENOMEM;
		ret_error->line = MAX(error.line, 1);
		snprintf(ret_error->text, sizeof(ret_error->text), "is not JSON: %s", error.text);
		return YAML_E_REFUSED;
	}
	space_skip(&w);
	doc.line = w.line;
	r = value_walk(&w, LINE_PATH_ROOT, 1);
	if (r == 0) {
		line_table_seal(&doc.lines);
		ret->documents = malloc(sizeof(doc));
		r = ret->documents ? 0 : -ENOMEM;
	}
	if (r) {
		json_decref(doc.root);
		line_table_done(&doc.lines);
		return r;
	}
	ret->documents[0] = doc;
	ret->n = 1;
	return 0;
}
