/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces, kept by a bind mount
 *
 * The agent has one thread, so it steps into a namespace and back; sockets opened meanwhile stay in it. A failure to step back
 * would leave the agent in a workload's network: it aborts instead.
 */
#ifndef TRAMMEL_CONTROL_ENROL_NETNS_H
#define TRAMMEL_CONTROL_ENROL_NETNS_H

#include <stdint.h>
#include "base/cleanup.h"

/** netns_dir_prepare() - make @dir and a shared mount of its own (see mount_namespaces(7)); idempotent */
MUST_CHECK int netns_dir_prepare(const char *dir);
/** netns_dir_release() - unmount it and everything in it, remove it */
void netns_dir_release(const char *dir);

/** netns_create() - new namespace with lo up, kept at the file @path; -EEXIST; @ret_fd refers to it */
MUST_CHECK int netns_create(const char *path, int *ret_fd);
/** netns_ensure() - the one kept at @path, or a new one; what else is at @path (made half by one that was killed) goes */
MUST_CHECK int netns_ensure(const char *path, int *ret_fd);
MUST_CHECK int netns_open(const char *path, int *ret_fd);
/** netns_remove() - unmount and unlink; the namespace goes with its last process and fd */
void netns_remove(const char *path);

/** netns_enter() - step into @netns_fd; *@ret_back is for netns_leave(), which closes it */
MUST_CHECK int netns_enter(int netns_fd, int *ret_back);
void netns_leave(int back);

/** netns_cookie() - the kernel's number of the namespace (SO_NETNS_COOKIE, Linux 5.14) */
MUST_CHECK int netns_cookie(int netns_fd, uint64_t *ret);

#endif
