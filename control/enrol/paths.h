/* SPDX-License-Identifier: Apache-2.0 */
/* Where an instance keeps its things: from TRAMMEL_RUN_DIR, TRAMMEL_STATE_DIR, TRAMMEL_BPFFS, else the defaults. */
#ifndef TRAMMEL_CONTROL_ENROL_PATHS_H
#define TRAMMEL_CONTROL_ENROL_PATHS_H

#include <stdbool.h>
#include "base/cleanup.h"

struct paths {
	char *run_dir, *state_dir, *bpffs;
	char *netns_dir, *mesh_netns; /* RUN_DIR/netns, RUN_DIR/netns/trammel */
	char *workload_dir, *proxy_dir, *log_dir, *etc_dir;
	char *agent_socket, *publish_socket, *lock_file, *bpffs_file, *mounted_file, *ca_dir; /* bpffs_file holds the path of the bpffs in use */
	char *cgroup_mount, *cgroup_root; /* CGROUP2/trammel, or trammel.HASH for another run folder than the default */
};

/** paths_init() - -ENOENT when no cgroup2 is mounted, -EINVAL for a path that is not absolute; makes nothing */
MUST_CHECK int paths_init(struct paths *p);
void paths_done(struct paths *p);
/** paths_claim() - RUN_DIR itself; -ENOTEMPTY when it holds things that are not an instance's (no lock file): those are never touched */
MUST_CHECK int paths_claim(const struct paths *p);
/** paths_make() - the folders of RUN_DIR and the state folder */
MUST_CHECK int paths_make(const struct paths *p);
/** paths_are_ours() - is RUN_DIR an instance's, or not there, or empty? */
bool paths_are_ours(const struct paths *p);
/** paths_lock_is_in_place() - does the lock's path still lead to the file behind @fd? Whoever cleans up removes it */
bool paths_lock_is_in_place(const struct paths *p, int fd);
/** paths_remove() - what paths_make() and an agent made in RUN_DIR, and RUN_DIR when it is empty then; nothing when it is not an instance's */
MUST_CHECK int paths_remove(const struct paths *p);
/** paths_bpffs_recorded() - the bpffs this instance uses, whatever the environment says now; NULL when none is recorded; heap */
char *paths_bpffs_recorded(const struct paths *p);

#endif
