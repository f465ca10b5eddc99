/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue of telemetry records
 *
 * A record and the strings it borrows, copied, in the order they came. To make a line of a record costs ten times as
 * much as to keep it, and whoever waits for the answer waits for that, too, where it runs on our CPU: so lines are made
 * later, many at once.
 */
#ifndef TRAMMEL_PROXY_OBSERVE_RECORD_QUEUE_H
#define TRAMMEL_PROXY_OBSERVE_RECORD_QUEUE_H

#include "base/buf.h"
#include "proxy/observe/observe.h"

struct record_queue {
	struct buf bytes; /* struct queued, its strings; again */
};

/* What record_queue_take() gives. */
struct queued_record {
	struct observe_record rec; /* strings borrowed from the queue */
	const char *kind;	   /* constant */
	uint32_t left_out;	   /* lines before this one that were not written */
};

void record_queue_init(struct record_queue *q, size_t max_bytes);
void record_queue_done(struct record_queue *q);

/** record_queue_add() - copies @rec; @kind is constant; -ENOBUFS, -ENOMEM */
MUST_CHECK int record_queue_add(struct record_queue *q, const char *kind, uint32_t left_out, const struct observe_record *rec);

/** record_queue_take() - the oldest; false: none. Its strings live until the next call on @q. */
bool record_queue_take(struct record_queue *q, struct queued_record *ret);

#endif
