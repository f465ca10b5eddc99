/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups (version 2 alone; in a hybrid mount wherever it is)
 *
 * The mount is found by its type. Names are paths below the mount, as /proc/PID/cgroup shows them, with a leading slash.
 */
#ifndef TRAMMEL_CONTROL_ENROL_CGROUP_H
#define TRAMMEL_CONTROL_ENROL_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/cleanup.h"

/** cgroup_mount_find() - where cgroup2 is mounted, by the text of @mounts_file ("/proc/self/mounts"); -ENOENT; heap */
MUST_CHECK int cgroup_mount_find(const char *mounts_file, char **ret);

/** cgroup_make() - @path absolute; parents too; 0 also when it is there */
MUST_CHECK int cgroup_make(const char *path);
/** cgroup_kill() - SIGKILL to every process in it and below (cgroup.kill, else one by one) */
void cgroup_kill(const char *path);
/** cgroup_signal() - @signo to every process in @path itself */
void cgroup_signal(const char *path, int signo);
/** cgroup_remove() - it and all below, waiting at most @wait_ms for killed processes to go; -EBUSY */
MUST_CHECK int cgroup_remove(const char *path, unsigned int wait_ms);
bool cgroup_is_populated(const char *path);
/** cgroup_first_pid() - of a process in it, 0 when there is none */
pid_t cgroup_first_pid(const char *path);
/** cgroup_id() - the kernel's number: the inode of its folder */
MUST_CHECK int cgroup_id(const char *path, uint64_t *ret);

#endif
