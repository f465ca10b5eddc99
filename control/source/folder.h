/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reading of a folder
 *
 * The policy files of a folder with their bytes, sorted by name, and enough about each to tell later whether it is
 * still the same. A file that cannot be read stands in the list with the reason.
 */
#ifndef TRAMMEL_SOURCE_FOLDER_H
#define TRAMMEL_SOURCE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include "base/cleanup.h"

struct folder_file {
	char *name;
	char *path;  /* DIR/NAME, for people */
	char *bytes; /* NULL when unreadable */
	size_t n_bytes;
	char *why; /* unreadable because; NULL when readable */
	struct stat st;
	bool broken; /* unreadable, or does not parse: set by who parses */
	char *good;  /* the last version that did parse, while broken; or a candidate for it before it is parsed */
	size_t n_good;
};

struct folder {
	struct folder_file *files;
	size_t n;
	struct stat st;
};

#define FOLDER_E_REFUSED 1

/**
 * folder_read() - read all policy files of @dir
 * @ret_why:  set when refused; heap, owned by the caller
 *
 * Return: 0, FOLDER_E_REFUSED (not there, not to be opened, too much in it) or -ENOMEM.
 */
MUST_CHECK int folder_read(const char *dir, struct folder *ret, char **ret_why);
void folder_done(struct folder *f);

/** folder_is_as_read() - has @dir the same files in the same state as @f? A second look, which reads no bytes. */
bool folder_is_as_read(const char *dir, const struct folder *f);
/** folder_is_equal() - same names with the same bytes */
bool folder_is_equal(const struct folder *a, const struct folder *b);
struct folder_file *folder_find(const struct folder *f, const char *name);

/** folder_name_is_policy() - *.yaml, *.yml or *.json, and no leading dot */
bool folder_name_is_policy(const char *name);

#endif
