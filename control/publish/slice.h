/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice: what one proxy subscribed to, what it has, what it is to be told
 *
 * An entry is one name. "has" is the version the proxy acknowledged (or brought with Hello), "sent" the one in the message it has
 * not answered, "refused" the one it did not want: that one is not sent again, a changed one is. One message is under way at a
 * time, so that a slow proxy gets the newest state after its Ack and nothing of what lay between.
 */
#ifndef TRAMMEL_CONTROL_PUBLISH_SLICE_H
#define TRAMMEL_CONTROL_PUBLISH_SLICE_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "control/publish/cut.h"

#define SLICE_SUBSCRIPTIONS_MAX 4096

struct slice {
	struct hash_table entries;
	struct list wanted; /* entries subscribed to, in the order of asking */
	uint32_t n_wanted;
	uint64_t pass;
	bool has_refused; /* the last pass left out what the proxy does not want */
};

enum {
	SLICE_E_FULL = 1,      /* SLICE_SUBSCRIPTIONS_MAX */
	SLICE_E_BAD_NAME = 2,
};

void slice_init(struct slice *s);
void slice_done(struct slice *s);

/** slice_want() - subscribe; 0 also where it is already; SLICE_E_*, -ENOMEM */
MUST_CHECK int slice_want(struct slice *s, struct str name);
void slice_unwant(struct slice *s, struct str name);

/** slice_hold() - the proxy has @version of @name from before; subscribes to addr/ and dns/; SLICE_E_*, -ENOMEM */
MUST_CHECK int slice_hold(struct slice *s, struct str name, uint64_t version);

/**
 * slice_next() - what has to be said now
 * @out:      the fields resources and removed of a packed ToProxy are appended
 * @ret_some: is there anything?
 * @ret_all:  is that all? false: the message is full, the rest follows after its Ack
 */
MUST_CHECK int slice_next(struct slice *s, struct cut_store *cuts, const struct mesh_workload *w, struct buf *out,
			  bool *ret_some, bool *ret_all);

/** slice_acked() - the message under way is in force at the proxy */
void slice_acked(struct slice *s);

/** slice_refused() - it is not; @error is "NAME: reason". What it does not name will be said again. */
void slice_refused(struct slice *s, const char *error);

#endif
