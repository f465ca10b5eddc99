/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces: see netns.h. */
#include "control/enrol/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "control/enrol/netlink.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int netns_dir_prepare(const char *dir)
{
	int r = dir_make(dir, 0755);

	if (r < 0)
		return r;
	/* 1. already a mount point: making it shared works; 2. else bind it onto itself first (as ip-netns(8) does) */
	if (mount("", dir, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (mount(dir, dir, "none", MS_BIND | MS_REC, NULL) < 0 || mount("", dir, "none", MS_SHARED | MS_REC, NULL) < 0)
		return -errno;
	return 0;
}

void netns_dir_release(const char *dir)
{
	while (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (dir_remove(dir) < 0)
		log_warn("namespace folder stays", "path=%s", dir);
}

int netns_enter(int netns_fd, int *ret_back)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (back < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET) < 0) {
		int r = -errno;

		close(back);
		return r;
	}
	*ret_back = back;
	return 0;
}

void netns_leave(int back)
{
	if (setns(back, CLONE_NEWNET) < 0)
		abort(); /* see netns.h */
	close(back);
}

static int loopback_up(void)
{
	_cleanup_(netlink_closep) struct netlink *n = NULL;
	int r = netlink_open(&n);

	return r < 0 ? r : netlink_link_set_up(n, "lo");
}

int netns_create(const char *path, int *ret_fd)
{
	_cleanup_(fd_closep) int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	int back, r = 0;

	if (file < 0)
		return -errno;
	back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (back < 0 || unshare(CLONE_NEWNET) < 0) {
		r = -errno;
		fd_close(back);
		unlink(path);
		return r;
	}
	r = loopback_up();
	if (r == 0 && mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0)
		r = -errno;
	netns_leave(back);
	if (r == 0)
		r = netns_open(path, ret_fd);
	if (r < 0)
		netns_remove(path);
	return r;
}

int netns_ensure(const char *path, int *ret_fd)
{
	int r = netns_create(path, ret_fd);

	if (r != -EEXIST)
		return r;
	r = netns_open(path, ret_fd);
	if (r < 0 || ioctl(*ret_fd, NS_GET_NSTYPE) == CLONE_NEWNET)
		return r;
	*ret_fd = fd_close(*ret_fd);
	netns_remove(path);
	return netns_create(path, ret_fd);
}

int netns_open(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

void netns_remove(const char *path)
{
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	unlink(path);
}

int netns_cookie(int netns_fd, uint64_t *ret)
{
	_cleanup_(fd_closep) int fd = -1;
	socklen_t n = sizeof(*ret);
	int back, r = netns_enter(netns_fd, &back);

	if (r < 0)
		return r;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &n) < 0)
		r = -errno;
	netns_leave(back);
	return r;
}
