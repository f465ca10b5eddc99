/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent shows of its snapshot
 *
 * Writers of the rows that include/trammel/admin.h names, from the rooms' own read-only views. Nothing here changes anything.
 */
#ifndef TRAMMEL_CONTROL_ADMIN_SHOW_H
#define TRAMMEL_CONTROL_ADMIN_SHOW_H

#include "base/json.h"
#include "control/model/model.h"
#include "control/publish/publish.h"
#include "control/snapshot/snapshot.h"

/* @s may be NULL before the first snapshot: the array is empty then. */
void show_services(struct json_writer *w, const char *key, const struct mesh_snapshot *s);
void show_endpoints(struct json_writer *w, const char *key, const struct mesh_snapshot *s);
void show_complaints(struct json_writer *w, const char *key, const struct model *m);
void show_proxies(struct json_writer *w, const char *key, const struct publish *p, const struct mesh_snapshot *s);
/** show_counters() - an object {reason label: count} of the reasons that happened */
void show_counters(struct json_writer *w, const char *key, const uint64_t *counts);

#endif
