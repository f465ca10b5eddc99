/* SPDX-License-Identifier: Apache-2.0 */
/* Unix stream sockets by path: see unix_socket.h. */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 512

/* Fills @ret; *@ret_dir_fd keeps the folder open as long as the address is used (-1 when the path is short). */
static int address_set(const char *path, struct sockaddr_un *ret, int *ret_dir_fd)
{
	const char *name = strrchr(path, '/');
	char dir[4096];

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_dir_fd = -1;
	if (strlen(path) < sizeof(ret->sun_path)) {
		memcpy(ret->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (!name || (size_t)(name - path) >= sizeof(dir) || strlen(name) > 64)
		return -ENAMETOOLONG;
	memcpy(dir, path, (size_t)(name - path));
	dir[name - path] = '\0';
	*ret_dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir_fd < 0)
		return -errno;
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d%s", *ret_dir_fd, name);
	return 0;
}

static int socket_connect(const char *path, int flags, int *ret)
{
	_cleanup_(fd_closep) int fd = -1, dir_fd = -1;
	struct sockaddr_un sun;
	int r = address_set(path, &sun, &dir_fd);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

int unix_socket_connect(const char *path, int *ret)
{
	return socket_connect(path, 0, ret);
}

int unix_socket_connect_at_once(const char *path, int *ret)
{
	return socket_connect(path, SOCK_NONBLOCK, ret);
}

int unix_socket_listen(const char *path, mode_t mode, int *ret)
{
	_cleanup_(fd_closep) int fd = -1, dir_fd = -1, other = -1;
	struct sockaddr_un sun;
	mode_t mask;
	int r = address_set(path, &sun, &dir_fd);

	if (r < 0)
		return r;
	r = unix_socket_connect_at_once(path, &other);
	if (r == 0 || r == -EAGAIN)
		return -EADDRINUSE;
	if (r == -ECONNREFUSED)
		(void)unlink(path); /* bind() says what is wrong if it stays */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0777 & ~mode); /* from its first moment on the file has the right mode */
	r = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return r;
	*ret = TAKE_FD(fd);
	return 0;
}
