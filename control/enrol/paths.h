/* SPDX-License-Identifier: Apache-2.0 */
/* Where an instance keeps its things: from TRAMMEL_RUN_DIR, TRAMMEL_STATE_DIR, TRAMMEL_BPFFS, else the defaults. */
#ifndef TRAMMEL_CONTROL_ENROL_PATHS_H
#define TRAMMEL_CONTROL_ENROL_PATHS_H

#include "base/cleanup.h"

struct paths {
	char *run_dir, *state_dir, *bpffs;
	char *netns_dir, *mesh_netns; /* RUN_DIR/netns, RUN_DIR/netns/trammel */
	char *workload_dir, *proxy_dir, *log_dir, *etc_dir;
	char *agent_socket, *publish_socket, *lock_file, *mounted_file, *ca_dir;
	char *cgroup_mount, *cgroup_root; /* CGROUP2/trammel, or trammel.HASH for another run folder than the default */
};

/** paths_init() - -ENOENT when no cgroup2 is mounted; makes nothing */
MUST_CHECK int paths_init(struct paths *p);
void paths_done(struct paths *p);
/** paths_make() - the folders of RUN_DIR and the state folder */
MUST_CHECK int paths_make(const struct paths *p);

#endif
