/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting processes
 *
 * A child is born inside its cgroup (clone3, CLONE_INTO_CGROUP, Linux 5.7): it never runs a single instruction outside,
 * so that no socket of it belongs to another cgroup.
 */
#ifndef TRAMMEL_BASE_SPAWN_H
#define TRAMMEL_BASE_SPAWN_H

#include <stddef.h>
#include <sys/types.h>
#include "base/cleanup.h"

/**
 * spawn_fork() - fork() into a cgroup
 * @cgroup_fd:  directory of the cgroup; -1 = the caller's own
 * @ret_pid:    0 in the child
 * @ret_pidfd:  parent only: a pidfd of the child (CLOEXEC, owned by the caller); may be NULL
 *
 * The caller must have one thread. The child must end with exec or _exit().
 *
 * Return: 0 or negative errno.
 */
MUST_CHECK int spawn_fork(int cgroup_fd, pid_t *ret_pid, int *ret_pidfd);

/** spawn_reset_signals() - in the child: default actions, empty mask */
void spawn_reset_signals(void);

/**
 * spawn_place_fds() - in the child: @fds[i] becomes descriptor @first + i, open over exec; -1 leaves a hole
 *
 * Every other descriptor from @first on is closed. Return: 0 or negative errno.
 */
MUST_CHECK int spawn_place_fds(const int *fds, size_t n, int first);

/** spawn_pidfd_open() - pidfd of any process; -ESRCH when it is gone */
MUST_CHECK int spawn_pidfd_open(pid_t pid, int *ret);
/** spawn_pidfd_signal() - signal by pidfd: never hits a process that took over the number */
MUST_CHECK int spawn_pidfd_signal(int pidfd, int signo);
/** spawn_pidfd_take_fd() - a duplicate of descriptor @fd of the process behind @pidfd (CLOEXEC) */
MUST_CHECK int spawn_pidfd_take_fd(int pidfd, int fd, int *ret);

/** spawn_start_time() - ticks since boot at which @pid began, 0 when there is no such process: tells a reused number */
unsigned long long spawn_start_time(pid_t pid);

#endif
