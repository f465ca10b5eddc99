/* SPDX-License-Identifier: Apache-2.0 */
/* Fields, reading one document strictly: see field.h. */
#include "control/model/field.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/model/lines.h"

#define PATH_TEXT_BYTES 512
#define TEXT_BYTES      512

struct field field_root(const struct model_document *d)
{
	return (struct field){.value = d->root, .path = LINE_PATH_ROOT};
}

struct field field_item(const struct field *array, size_t i)
{
	return (struct field){.parent = array,
			      .index = i,
			      .value = json_array_get(array->value, i),
			      .path = line_path_item(array->path, i)};
}

static struct field field_member(const struct field *object, const char *key)
{
	return (struct field){.parent = object,
			      .key = key,
			      .value = json_object_get(object->value, key),
			      .path = line_path_key(object->path, str_from(key))};
}

int field_line(const struct model_document *d, const struct field *f)
{
	for (; d->lines && f; f = f->parent) {
		int line = line_table_find(d->lines, f->path);

		if (line)
			return line;
	}
	return d->place.line;
}

/* Keys that are no plain words stand in brackets and quotes: metadata.labels["a.b/c"]. */
static bool key_is_plain(const char *key)
{
	for (const char *p = key; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_' ||
		      *p == '-'))
			return false;
	return key[0] != '\0';
}

static size_t path_format(const struct field *f, char *text, size_t n)
{
	size_t at = 0;
	int r;

	if (!f->parent) {
		text[0] = '\0';
		return 0;
	}
	at = path_format(f->parent, text, n);
	if (!f->key)
		r = snprintf(text + at, n - at, "[%zu]", f->index);
	else if (key_is_plain(f->key))
		r = snprintf(text + at, n - at, "%s%s", at ? "." : "", f->key);
	else
		r = snprintf(text + at, n - at, "[\"%s\"]", f->key);
	return MIN(at + (size_t)MAX(r, 0), n - 1);
}

static void refuse_v(struct check *c, const struct field *f, const char *fmt, va_list ap)
{
	char path[PATH_TEXT_BYTES], text[TEXT_BYTES];
	int r;

	if (c->n_refused++ >= COMPLAINTS_PER_DOCUMENT_MAX || !c->out)
		return;
	path_format(f, path, sizeof(path));
	vsnprintf(text, sizeof(text), fmt, ap);
	r = complaint_list_add(c->out, c->origin,
			       &(struct model_complaint){.file = (char *)c->document->place.file,
							 .line = field_line(c->document, f),
							 .kind = (char *)c->kind,
							 .object = (char *)c->object,
							 .field = path,
							 .text = text});
	if (r < 0)
		c->err = r;
}

void field_refuse(struct check *c, const struct field *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse_v(c, f, fmt, ap);
	va_end(ap);
}

void field_refuse_member(struct check *c, const struct field *f, const char *key, const char *fmt, ...)
{
	struct field m = field_member(f, key);
	va_list ap;

	va_start(ap, fmt);
	refuse_v(c, &m, fmt, ap);
	va_end(ap);
}

static const char *type_name(const json_t *v)
{
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	default:
		return "null";
	}
}

/* How many letters have to change, be added or go away; more than 2 is "not alike". */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[33];
	size_t n = strlen(a), k = strlen(b);

	if (n > 32 || k > 32)
		return 99;
	for (size_t j = 0; j <= k; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= k; j++) {
			unsigned int above = row[j];
			unsigned int changed = diagonal + (ascii_lower(a[i - 1]) != ascii_lower(b[j - 1]));
			unsigned int other = MIN(above, row[j - 1]) + 1;

			row[j] = MIN(changed, other);
			diagonal = above;
		}
	}
	return row[k];
}

static void refuse_unknown(struct check *c, const struct field *f, const char *key, const struct member *members,
			   size_t n)
{
	const char *like = NULL;
	unsigned int best = 3;

	for (size_t i = 0; i < n; i++) {
		unsigned int d = edit_distance(key, members[i].name);

		if (d < best) {
			best = d;
			like = members[i].name;
		}
	}
	if (like)
		field_refuse_member(c, f, key, "unknown field: did you mean \"%s\"?", like);
	else
		field_refuse_member(c, f, key, "unknown field: remove it, or check its spelling and place");
}

static bool is_empty(const json_t *v)
{
	return json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
	       (json_is_integer(v) && json_integer_value(v) == 0) || (json_is_array(v) && json_array_size(v) == 0) ||
	       (json_is_object(v) && json_object_size(v) == 0);
}

bool field_members(struct check *c, const struct field *f, const struct member *members, size_t n)
{
	unsigned int before = c->n_refused;
	const char *key;
	json_t *v;

	if (!json_is_object(f->value)) {
		field_refuse(c, f, "is %s: an object is needed", type_name(f->value));
		return false;
	}
	json_object_foreach ((json_t *)f->value, key, v) {
		const struct member *m = NULL;

		for (size_t i = 0; i < n && !m; i++)
			if (strcmp(members[i].name, key) == 0)
				m = &members[i];
		if (!m)
			refuse_unknown(c, f, key, members, n);
		else if (m->use == MEMBER_REFUSED && !is_empty(v))
			field_refuse_member(c, f, key, "is not supported: %s", m->why);
	}
	return c->n_refused == before;
}

bool field_get(const struct field *object, const char *key, struct field *ret)
{
	struct field f = field_member(object, key);

	if (!f.value || json_is_null(f.value))
		return false;
	*ret = f;
	return true;
}

bool field_is_missing(const struct field *object, const char *key)
{
	struct field f;

	return !field_get(object, key, &f) || (json_is_array(f.value) && json_array_size(f.value) == 0);
}

static bool get_typed(struct check *c, const struct field *object, const char *key, json_type type, const char *want,
		      struct field *ret)
{
	struct field f;

	if (!field_get(object, key, &f))
		return false;
	if (json_typeof(f.value) != type) {
		field_refuse(c, &f, "is %s: %s is needed", type_name(f.value), want);
		return false;
	}
	*ret = f;
	return true;
}

bool field_get_object(struct check *c, const struct field *object, const char *key, struct field *ret)
{
	return get_typed(c, object, key, JSON_OBJECT, "an object", ret);
}

bool field_get_array(struct check *c, const struct field *object, const char *key, struct field *ret)
{
	return get_typed(c, object, key, JSON_ARRAY, "a list", ret);
}

bool field_get_string(struct check *c, const struct field *object, const char *key, const char **ret)
{
	struct field f;

	return field_get(object, key, &f) && field_string(c, &f, ret);
}

bool field_get_bool(struct check *c, const struct field *object, const char *key, bool *ret)
{
	struct field f;

	if (!field_get(object, key, &f))
		return false;
	if (!json_is_boolean(f.value)) {
		field_refuse(c, &f, "is %s: true or false is needed", type_name(f.value));
		return false;
	}
	*ret = json_is_true(f.value);
	return true;
}

bool field_get_port(struct check *c, const struct field *object, const char *key, uint16_t *ret)
{
	struct field f;

	return field_get(object, key, &f) && field_port(c, &f, ret);
}

bool field_string(struct check *c, const struct field *f, const char **ret)
{
	if (!json_is_string(f->value)) {
		field_refuse(c, f, "is %s: a string is needed (put it in quotes)", type_name(f->value));
		return false;
	}
	*ret = json_string_value(f->value);
	return true;
}

bool field_port(struct check *c, const struct field *f, uint16_t *ret)
{
	json_int_t v;

	if (!json_is_integer(f->value)) {
		field_refuse(c, f, "is %s: a port number is needed", type_name(f->value));
		return false;
	}
	v = json_integer_value(f->value);
	if (v < 1 || v > 65535) {
		field_refuse(c, f, "%lld is not a port: use 1 to 65535", (long long)v);
		return false;
	}
	*ret = (uint16_t)v;
	return true;
}

size_t field_count(const struct field *array)
{
	return json_array_size(array->value);
}

void *check_alloc(struct check *c, size_t n, size_t size)
{
	size_t bytes;
	void *mem = NULL;

	if (!__builtin_mul_overflow(n, size, &bytes))
		mem = pool_zalloc(c->pool, MAX(bytes, (size_t)1));
	if (!mem)
		c->err = -ENOMEM;
	return mem;
}

const char *check_strdup(struct check *c, const char *s)
{
	const char *d = pool_str_dup(c->pool, str_from(s)).p;

	if (!d)
		c->err = -ENOMEM;
	return d ? d : "";
}
