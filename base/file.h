/* SPDX-License-Identifier: Apache-2.0 */
/* Small files and folders: read whole, write so that a reader sees the old or the new text, never a part. */
#ifndef TRAMMEL_BASE_FILE_H
#define TRAMMEL_BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"

/** file_read() - append all of @path to @out; -ENOBUFS beyond @out's maximum */
MUST_CHECK int file_read(const char *path, struct buf *out);

/** file_read_at() - the same, below the folder @dir_fd */
MUST_CHECK int file_read_at(int dir_fd, const char *name, struct buf *out);

/** file_write() - replace @path by a new file of @mode that holds @text (written aside, then renamed) */
MUST_CHECK int file_write(const char *path, mode_t mode, struct str text);

/** file_write_into() - write @text into an existing file in one write(): for the kernel's own files */
MUST_CHECK int file_write_into(const char *path, struct str text);

/** dir_make() - mkdir -p; the last folder gets @mode when made here */
MUST_CHECK int dir_make(const char *path, mode_t mode);

/** dir_remove() - remove @path with everything below, without crossing into a mount or following a link; 0 when it is not there */
MUST_CHECK int dir_remove(const char *path);

/** dir_is_empty() - false also when it cannot be read */
bool dir_is_empty(const char *path);

#endif
