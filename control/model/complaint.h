/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Complaints
 *
 * A growing list of what was refused, where and why. Lists are bounded: a broken folder must not fill the memory.
 */
#ifndef TRAMMEL_MODEL_COMPLAINT_H
#define TRAMMEL_MODEL_COMPLAINT_H

#include "control/model/model.h"

#define COMPLAINTS_MAX              1000
#define COMPLAINTS_PER_DOCUMENT_MAX 16

struct origin;

struct complaint {
	struct model_complaint pub;
	const struct origin *origin; /* NULL: from the comparison of objects with each other */
};

struct complaint_list {
	struct complaint *items;
	size_t n, cap;
};

/** complaint_list_add() - copies all strings of @c; -ENOMEM. Above COMPLAINTS_MAX it adds nothing and returns 0. */
MUST_CHECK int complaint_list_add(struct complaint_list *l, const struct origin *origin,
				  const struct model_complaint *c);
/** complaint_list_find() - a complaint that says the same about the same place, or NULL */
const struct complaint *complaint_list_find(const struct complaint_list *l, const struct model_complaint *c);
void complaint_list_done(struct complaint_list *l);

#endif
