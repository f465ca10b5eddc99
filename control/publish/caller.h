/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a unix socket: the kernel's word on its process and that process's cgroup. */
#ifndef TRAMMEL_CONTROL_PUBLISH_CALLER_H
#define TRAMMEL_CONTROL_PUBLISH_CALLER_H

#include <stddef.h>
#include <sys/types.h>
#include "base/cleanup.h"

#define CALLER_CGROUP_MAX 4096

/**
 * caller_cgroup() - cgroup of the process that connected
 * @ret_pid:  its pid in our namespace
 * @cgroup:   path below the cgroup2 mount, as in /proc/PID/cgroup
 *
 * Return: 0, -ESRCH when the process is gone or not visible here, -ENODATA without a cgroup2 line, or negative errno.
 */
MUST_CHECK int caller_cgroup(int fd, pid_t *ret_pid, char cgroup[CALLER_CGROUP_MAX]);

#endif
