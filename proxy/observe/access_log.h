/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access log: JSON lines
 *
 * Records are kept, and made into lines and written with one write() when their owner flushes or when there are many. At
 * most 1,000 lines a second, then one in a hundred with the number left out. A log that cannot take them (full disk,
 * full pipe) never holds up traffic: what does not fit is dropped and counted.
 */
#ifndef TRAMMEL_PROXY_OBSERVE_ACCESS_LOG_H
#define TRAMMEL_PROXY_OBSERVE_ACCESS_LOG_H

#include "base/buf.h"
#include "proxy/observe/observe.h"
#include "proxy/observe/record_queue.h"

struct access_log {
	int fd;         /* borrowed; -1 = off */
	bool may_block; /* not a regular file: looked at before each write */
	bool in_line;   /* the last byte written was not the end of a line */
	struct record_queue kept;
	struct buf lines; /* of what was kept; what the log has not taken yet */
	uint64_t second;
	uint32_t written_in_second, left_out;
	uint64_t lines_total, dropped_total; /* lines */
};

void access_log_init(struct access_log *log, int fd);
void access_log_done(struct access_log *log);
/** access_log_add() - keep one line; @kind: "http", "tcp" or "refused" */
void access_log_add(struct access_log *log, const char *kind, const struct observe_record *rec);
/** access_log_flush() - write what is kept */
void access_log_flush(struct access_log *log);
/** access_log_is_pending() - is there something to flush? */
bool access_log_is_pending(const struct access_log *log);

#endif
