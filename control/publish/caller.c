/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end: see caller.h */
#include "control/publish/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* The line "0::PATH" (cgroups(7)). */
static int cgroup_read(pid_t pid, char cgroup[CALLER_CGROUP_MAX])
{
	char path[64], line[CALLER_CGROUP_MAX + 8];
	_cleanup_(file_closep) FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, "\n");

		if (strncmp(line, "0::", 3) != 0)
			continue;
		if (line[n] != '\n' || n - 3 >= CALLER_CGROUP_MAX)
			return -ENAMETOOLONG;
		line[n] = '\0';
		memcpy(cgroup, line + 3, n - 2);
		return 0;
	}
	return ferror(f) ? -ESRCH : -ENODATA; /* a process that ends while we read gives ESRCH */
}

/* A pid may be given to another process between the connection and the reading: a pidfd tells whether it was. */
static int still_lives(int fd)
{
	_cleanup_(fd_closep) int pidfd = -1;
	socklen_t n = sizeof(pidfd);
	struct pollfd p;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) < 0) {
		pidfd = -1;
		return errno == ENOPROTOOPT ? 0 : -ESRCH; /* an older kernel cannot tell */
	}
	p = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, 0) == 0 ? 0 : -ESRCH;
}

int caller_cgroup(int fd, pid_t *ret_pid, char cgroup[CALLER_CGROUP_MAX])
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH;
	r = cgroup_read(cred.pid, cgroup);
	if (r == 0)
		r = still_lives(fd);
	if (r == 0)
		*ret_pid = cred.pid;
	return r;
}
