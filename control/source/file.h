/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watched folder of policy
 *
 * Reads *.yaml, *.yml and *.json of one folder (no folders below it, no names that begin with a dot) and hands them to
 * the model as one set, at the start and after every change: what was written together takes effect together, within a
 * few milliseconds. A file that cannot be read or parsed keeps its last good version and is complained about; so does
 * the whole folder when it is gone or closed to us, until it comes back.
 */
#ifndef TRAMMEL_SOURCE_FILE_H
#define TRAMMEL_SOURCE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/loop.h"
#include "control/model/model.h"

#define FILE_SOURCE_ORIGIN    "file"
#define FILE_SOURCE_FILES_MAX 4096
#define FILE_SOURCE_MAX_BYTES (64 * 1024 * 1024) /* of all files */

struct file_source;

struct file_source_stats {
	uint64_t scans;                  /* times the folder was read */
	uint64_t applies;                /* times a set went to the model */
	size_t files, documents, faults; /* of the last set */
	bool folder_missing;
	uint64_t applied_at_wall_ns;
	uint64_t latency_us; /* of the last change: from the first notice to the set in the model */
};

/**
 * file_source_new() - read the folder, hand it to the model, watch it
 * @dir:        as the user wrote it; complaints name files below it
 * @model:      borrowed; outlives the source
 * @ret_error:  set on failure: the thing, the reason and the next step; heap, owned by the caller
 *
 * Broken files are no failure; a folder that is not there is.
 *
 * Return: 0 or negative errno.
 */
MUST_CHECK int file_source_new(struct loop *loop, const char *dir, struct model *model, struct file_source **ret,
			       char **ret_error);
/** file_source_free() - stops watching; what the model was told stays in force */
struct file_source *file_source_free(struct file_source *s);
DEFINE_CLEANUP(struct file_source, file_source_free)

struct file_source_stats file_source_get_stats(const struct file_source *s);

#endif
