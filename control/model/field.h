/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields: reading one document strictly
 *
 * A field is a value and the way to it, on the caller's stack; a path is written out only when there is something to
 * complain about. Every getter complains itself (unknown member, wrong type, out of range) and returns false, so that a
 * parser reads on and reports all mistakes of a document at once. A member that is null counts as left out, as in
 * Kubernetes.
 */
#ifndef TRAMMEL_MODEL_FIELD_H
#define TRAMMEL_MODEL_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/pool.h"
#include "base/str.h"
#include "control/model/complaint.h"
#include "control/model/model.h"

struct field {
	const struct field *parent; /* NULL: the document */
	const char *key;            /* NULL: item of an array */
	size_t index;
	const json_t *value;
	uint64_t path; /* see lines.h */
};

/* The reading of one object. */
struct check {
	const struct model_document *document;
	const struct model_settings *settings;
	const struct origin *origin;
	struct complaint_list *out; /* NULL: count alone */
	const char *kind, *object;  /* as far as known; "" */
	struct pool *pool;          /* of the resource in the making */
	unsigned int n_refused;
	int err; /* -ENOMEM: sticks */
};

enum member_use {
	MEMBER_READ,
	MEMBER_IGNORED, /* carried by Kubernetes objects and without meaning here */
	MEMBER_REFUSED, /* known and not supported: @why says what to do; an empty value is let pass */
};

struct member {
	const char *name;
	enum member_use use;
	const char *why;
};

struct field field_root(const struct model_document *d);
struct field field_item(const struct field *array, size_t i);

/** field_refuse() - complain about @f; the object is refused */
void field_refuse(struct check *c, const struct field *f, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** field_refuse_member() - complain about member @key of @f, which may be missing */
void field_refuse_member(struct check *c, const struct field *f, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/** field_line() - where @f stands, as exactly as known */
int field_line(const struct model_document *d, const struct field *f);

/** field_members() - @f is an object and has no members but these */
bool field_members(struct check *c, const struct field *f, const struct member *members, size_t n);

/* Members; *@ret is untouched when the member is left out (false, no complaint) or wrong (false, complaint). */
bool field_get(const struct field *object, const char *key, struct field *ret);
bool field_is_missing(const struct field *object, const char *key); /* left out, null, or an empty list */
bool field_get_object(struct check *c, const struct field *object, const char *key, struct field *ret);
bool field_get_array(struct check *c, const struct field *object, const char *key, struct field *ret);
bool field_get_string(struct check *c, const struct field *object, const char *key, const char **ret);
bool field_get_bool(struct check *c, const struct field *object, const char *key, bool *ret);
bool field_get_port(struct check *c, const struct field *object, const char *key, uint16_t *ret);

/* The field itself. */
bool field_string(struct check *c, const struct field *f, const char **ret);
bool field_port(struct check *c, const struct field *f, uint16_t *ret);
size_t field_count(const struct field *array);

/** field_labels() - a map of labels as sorted "key=value" strings in the pool */
bool field_labels(struct check *c, const struct field *f, const char *const **ret, size_t *ret_n);

/* Names; each complains when wrong. */
bool field_is_dns_label(struct check *c, const struct field *f, const char *s);     /* RFC 1123 */
bool field_is_dns1035_label(struct check *c, const struct field *f, const char *s); /* begins with a letter */
bool field_is_dns_subdomain(struct check *c, const struct field *f, const char *s);

/* Pool allocation that remembers failure in c->err. */
void *check_alloc(struct check *c, size_t n, size_t size);
const char *check_strdup(struct check *c, const char *s);

#endif
