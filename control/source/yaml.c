/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML files: see yaml.h
 *
 * Walks libyaml's events with a stack of its own, so that the depth is bounded and every value's line is at hand.
 * libyaml has checked that the bytes are UTF-8.
 */
#include "control/source/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct level {
	json_t *value; /* borrowed from its parent; of the first level from the document */
	uint64_t path;
	uint64_t key_path; /* of the member whose key was read */
	char *key;         /* read, and its value not yet */
};

struct yaml_walk {
	yaml_parser_t parser;
	struct str bytes;
	struct yaml_file *file;
	size_t cap;
	struct level levels[YAML_DEPTH_MAX];
	size_t depth, n_values;
	struct yaml_document doc; /* being read */
	struct yaml_error *error;
};

static int refuse(struct yaml_walk *w, size_t line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(struct yaml_walk *w, size_t line, const char *fmt, ...)
{
	va_list ap;

	w->error->line = (int)line + 1;
	va_start(ap, fmt);
	vsnprintf(w->error->text, sizeof(w->error->text), fmt, ap);
	va_end(ap);
	return YAML_E_REFUSED;
}

static void document_done(struct yaml_document *d)
{
	json_decref(d->root);
	line_table_done(&d->lines);
}

void yaml_file_done(struct yaml_file *f)
{
	for (size_t i = 0; i < f->n; i++)
		document_done(&f->documents[i]);
	free(f->documents);
	*f = (struct yaml_file){0};
}

/* Takes @value. Files it where the walk stands; *@ret_path is where that is. */
static int value_place(struct yaml_walk *w, json_t *value, size_t line, uint64_t *ret_path)
{
	struct level *top = w->depth ? &w->levels[w->depth - 1] : NULL;
	uint64_t path = LINE_PATH_ROOT;
	int r;

	if (!value)
		return -ENOMEM;
	if (!top) {
		w->doc.root = value;
		w->doc.line = (int)line + 1;
	} else if (json_is_array(top->value)) {
		path = line_path_item(top->path, json_array_size(top->value));
		if (json_array_append_new(top->value, value) < 0)
			return -ENOMEM;
	} else {
		path = top->key_path;
		r = json_object_set_new_nocheck(top->value, top->key, value);
		free(top->key);
		top->key = NULL;
		if (r < 0)
			return -ENOMEM;
	}
	*ret_path = path;
	if (++w->n_values > YAML_VALUES_MAX)
		return refuse(w, line, "file has more than %d values: split it", YAML_VALUES_MAX);
	return line_table_add(&w->doc.lines, path, (int)line + 1);
}

static bool wants_key(const struct yaml_walk *w)
{
	const struct level *top = w->depth ? &w->levels[w->depth - 1] : NULL;

	return top && json_is_object(top->value) && !top->key;
}

static int on_key(struct yaml_walk *w, const yaml_event_t *ev)
{
	struct level *top = &w->levels[w->depth - 1];
	struct str key = {(const char *)ev->data.scalar.value, ev->data.scalar.length};
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	size_t line = ev->start_mark.line;

	if (plain && str_eq(key, STR("<<")))
		return refuse(w, line, "merge keys (<<) are not read: write the members out");
	if (key.n > YAML_KEY_MAX_BYTES)
		return refuse(w, line, "key is longer than %d bytes", YAML_KEY_MAX_BYTES);
	if (plain && key.n == 0)
		return refuse(w, line, "key is empty");
	if (json_object_get(top->value, (const char *)ev->data.scalar.value))
		return refuse(w, line, "key \"%.80s\" is given twice: remove one of the two", key.p);
	top->key = str_dup(key);
	if (!top->key)
		return -ENOMEM;
	top->key_path = line_path_key(top->path, key);
	return 0;
}

static int on_scalar(struct yaml_walk *w, const yaml_event_t *ev)
{
	struct str s = {(const char *)ev->data.scalar.value, ev->data.scalar.length};
	const char *tag = (const char *)ev->data.scalar.tag, *why = "";
	size_t line = ev->start_mark.line;
	json_t *value = NULL;
	uint64_t path;
	int r = 0;

	if (ev->data.scalar.anchor)
		return refuse(w, line, "anchors and aliases are not read: write the value out");
	if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0)
		return refuse(w, line, "tag %.80s is not read: leave it out", tag);
	if (memchr(s.p, '\0', s.n))
		return refuse(w, line, "text holds a NUL byte");
	if (wants_key(w))
		return on_key(w, ev);
	if (tag || ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		value = json_stringn(s.p, s.n); /* checks UTF-8 once more: an escape may have made a lone surrogate */
	else
		r = yaml_scalar_parse(s, &value, &why);
	if (r == YAML_E_REFUSED)
		return refuse(w, line, "%.60s: %s", s.p, why);
	if (r == 0 && !value)
		return refuse(w, line, "text is not valid UTF-8");
	return r ? r : value_place(w, value, line, &path);
}

static int on_open(struct yaml_walk *w, const yaml_event_t *ev, bool object)
{
	const char *tag = (const char *)(object ? ev->data.mapping_start.tag : ev->data.sequence_start.tag);
	size_t line = ev->start_mark.line;
	json_t *value;
	uint64_t path;
	int r;

	if (object ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor)
		return refuse(w, line, "anchors and aliases are not read: write the value out");
	if (tag && strcmp(tag, object ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0 && strcmp(tag, "!") != 0)
		return refuse(w, line, "tag %.80s is not read: leave it out", tag);
	if (wants_key(w))
		return refuse(w, line, "key is %s: a plain key is needed", object ? "an object" : "a list");
	if (w->depth == YAML_DEPTH_MAX)
		return refuse(w, line, "nested deeper than %d levels", YAML_DEPTH_MAX);
	value = object ? json_object() : json_array();
	r = value_place(w, value, line, &path);
	if (r == 0)
		w->levels[w->depth++] = (struct level){.value = value, .path = path};
	return r;
}

static int on_document_end(struct yaml_walk *w)
{
	struct yaml_document *docs;

	if (!w->doc.root || json_is_null(w->doc.root)) {
		document_done(&w->doc);
		w->doc = (struct yaml_document){0};
		return 0;
	}
	if (w->file->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 4;
		docs = reallocarray(w->file->documents, w->cap, sizeof(*docs));
		if (!docs)
			return -ENOMEM;
		w->file->documents = docs;
	}
	line_table_seal(&w->doc.lines);
	w->file->documents[w->file->n++] = w->doc;
	w->doc = (struct yaml_document){0};
	return 0;
}

static int on_event(struct yaml_walk *w, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return refuse(w, ev->start_mark.line, "anchors and aliases are not read: write the value out");
	case YAML_SCALAR_EVENT:
		return on_scalar(w, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(w, ev, false);
	case YAML_MAPPING_START_EVENT:
		return on_open(w, ev, true);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		w->depth--;
		return 0;
	case YAML_DOCUMENT_END_EVENT:
		return on_document_end(w);
	default:
		return 0;
	}
}

static int refuse_syntax(struct yaml_walk *w)
{
	const yaml_parser_t *p = &w->parser;
	size_t line = p->problem_mark.line;

	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (p->error == YAML_READER_ERROR) { /* has no mark, only the offset */
		line = 0;
		for (size_t i = 0; i < MIN(p->problem_offset, w->bytes.n); i++)
			line += w->bytes.p[i] == '\n';
		return refuse(w, line, "is not UTF-8 text: %s", p->problem ? p->problem : "bad byte");
	}
	return refuse(w, line, "is not YAML: %s%s%s", p->context ? p->context : "", p->context ? ", " : "",
		      p->problem ? p->problem : "syntax error");
}

static int walk_run(struct yaml_walk *w)
{
	yaml_event_t ev;
	bool more = true;
	int r = 0;

	while (r == 0 && more) {
		if (!yaml_parser_parse(&w->parser, &ev))
			return refuse_syntax(w);
		more = ev.type != YAML_STREAM_END_EVENT;
		r = on_event(w, &ev);
		yaml_event_delete(&ev);
	}
	return r;
}

int yaml_parse(struct str bytes, struct yaml_file *ret, struct yaml_error *ret_error)
{
	struct yaml_file file = {0};
	struct yaml_walk w = {.bytes = bytes, .file = &file, .error = ret_error};
	int r;

	if (bytes.n > YAML_FILE_MAX_BYTES)
		return refuse(&w, 0, "file is larger than %d bytes: split it", YAML_FILE_MAX_BYTES);
	if (!yaml_parser_initialize(&w.parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&w.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&w.parser, (const unsigned char *)bytes.p, bytes.n);
	r = walk_run(&w);
	yaml_parser_delete(&w.parser);
	for (size_t i = 0; i < YAML_DEPTH_MAX; i++)
		free(w.levels[i].key);
	document_done(&w.doc);
	if (r) {
		yaml_file_done(&file);
		return r;
	}
	*ret = file;
	return 0;
}
