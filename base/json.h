/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON writer
 *
 * Appends to a buf without building a tree: for the access log and the admin sockets. Commas and nesting are kept by
 * the writer; strings are escaped per RFC 8259, bytes that are not UTF-8 become U+FFFD. The first failure (buffer
 * full) sticks: check json_writer_end().
 */
#ifndef TRAMMEL_BASE_JSON_H
#define TRAMMEL_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

struct json_writer {
	struct buf *out; /* borrowed */
	int err;
	uint32_t depth;
	uint64_t has_item; /* one bit per depth: a comma is due */
};

void json_writer_init(struct json_writer *w, struct buf *out);
/** json_writer_end() - 0, or the first error (-ENOBUFS, -ENOMEM, -EINVAL for unbalanced nesting) */
MUST_CHECK int json_writer_end(struct json_writer *w);

/* @key is NULL inside arrays and at the top; else a word of our own, written as it is: no quote, backslash or control in it. */
void json_open_object(struct json_writer *w, const char *key);
void json_close_object(struct json_writer *w);
void json_open_array(struct json_writer *w, const char *key);
void json_close_array(struct json_writer *w);
void json_str(struct json_writer *w, const char *key, struct str value);
void json_cstr(struct json_writer *w, const char *key, const char *value); /* NULL becomes null */
void json_u64(struct json_writer *w, const char *key, uint64_t value);
void json_i64(struct json_writer *w, const char *key, int64_t value);
void json_f64(struct json_writer *w, const char *key, double value);
/** json_ms() - @ns as milliseconds, with up to six decimals and no zeros at their end */
void json_ms(struct json_writer *w, const char *key, uint64_t ns);
void json_bool(struct json_writer *w, const char *key, bool value);
void json_none(struct json_writer *w, const char *key);

#endif
