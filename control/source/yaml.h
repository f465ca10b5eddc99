/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files: bytes in, documents out
 *
 * YAML of several documents, or one JSON document, into jansson trees with the line of every value. Knows no meaning.
 * Strict: a key given twice, an alias, a merge key, and a scalar that kubectl would read otherwise than YAML 1.2 does
 * are refused, each with its line.
 */
#ifndef TRAMMEL_SOURCE_YAML_H
#define TRAMMEL_SOURCE_YAML_H

#include <jansson.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "control/model/lines.h"

#define YAML_FILE_MAX_BYTES (1024 * 1024)
#define YAML_DEPTH_MAX      64
#define YAML_VALUES_MAX     100000 /* in one file: bounds the memory of a tree */
#define YAML_KEY_MAX_BYTES  1024

#define YAML_E_REFUSED 1

struct yaml_document {
	json_t *root;
	struct line_table lines; /* sealed */
	int line;                /* of the first value, counted from 1 */
};

struct yaml_file {
	struct yaml_document *documents; /* empty ones are left out */
	size_t n;
};

struct yaml_error {
	int line; /* 1 where nothing better is known */
	char text[256];
};

/**
 * yaml_parse() - read the documents of a YAML file
 * @ret:        set on success; owned by the caller (yaml_file_done())
 * @ret_error:  set when refused
 *
 * Return: 0, YAML_E_REFUSED or -ENOMEM.
 */
MUST_CHECK int yaml_parse(struct str bytes, struct yaml_file *ret, struct yaml_error *ret_error);
/** yaml_parse_json() - the same for a file of one JSON document (RFC 8259) */
MUST_CHECK int yaml_parse_json(struct str bytes, struct yaml_file *ret, struct yaml_error *ret_error);
void yaml_file_done(struct yaml_file *f);

/**
 * yaml_scalar_parse() - a plain scalar by the core schema of YAML 1.2
 *
 * @why is set where it is refused.
 *
 * Return: 0, YAML_E_REFUSED or -ENOMEM.
 */
MUST_CHECK int yaml_scalar_parse(struct str s, json_t **ret, const char **why);

#endif
