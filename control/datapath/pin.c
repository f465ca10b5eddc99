/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths below the bpffs
 *
 * ROOT/TRM_ABI/{maps,progs,links/KEY}. The layout version is a folder, so that two versions never share a map; a folder
 * of another version that still has links is live traffic and is never touched silently.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "control/datapath/room.h"

#define BPFFS_MAGIC 0xcafe4a11

int pin_dir_make(const char *path)
{
	_cleanup_(freep) char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) && errno != EEXIST)
			return -errno;
		if (c == '\0')
			return 0;
		*p = c;
	}
}

bool pin_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

int pin_dir_each(const char *path, int (*on_name)(const char *name, void *user), void *user)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int answer = 0;

	if (!dir)
		return 0;
	while (answer == 0 && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			answer = on_name(e->d_name, user);
	closedir(dir);
	return answer;
}

static int on_tree_name(const char *name, void *user)
{
	_cleanup_(freep) char *path = str_printf("%s/%s", (const char *)user, name);

	if (path)
		pin_tree_remove(path);
	return 0;
}

void pin_tree_remove(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return;
	(void)pin_dir_each(path, on_tree_name, (void *)path);
	(void)rmdir(path);
}

int pin_replace(int fd, const char *path)
{
	if (unlink(path) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

/* The nearest existing ancestor of @path, or @path itself; owned by the caller. */
static char *ancestor_find(const char *path)
{
	char *p = strdup(path);

	while (p && !pin_exists(p)) {
		char *slash = strrchr(p, '/');

		if (!slash || slash == p) {
			free(p);
			return strdup("/");
		}
		*slash = '\0';
	}
	return p;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (uint32_t)fs.f_type == BPFFS_MAGIC;
}

static int on_any_name(const char *name, void *user)
{
	(void)name, (void)user;
	return 1;
}

int datapath_bpffs_ensure(const char *root, bool *ret_mounted, char **ret_error)
{
	_cleanup_(freep) char *near = ancestor_find(root), *parent = strdup(root);
	char *slash;
	int err;

	if (!near || !parent)
		return -ENOMEM;
	if (is_bpffs(near)) {
		*ret_mounted = false;
		return 0;
	}
	slash = strrchr(parent, '/');
	if (root[0] != '/' || slash == parent)
		return fail(ret_error, -EINVAL, "bpffs root %s: not an absolute path below a folder", root);
	*slash = '\0';
	err = pin_dir_make(parent);
	if (err)
		return fail(ret_error, err, "bpffs %s: cannot make the folder: %s", parent, strerror(-err));
	if (pin_dir_each(parent, on_any_name, NULL))
		return fail(
			ret_error, -ENOTEMPTY,
			"bpffs %s: the folder is not empty and no bpffs, mounting over it would hide its files; choose "
			"another TRAMMEL_BPFFS",
			parent);
	if (mount("bpf", parent, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=0700")) {
		err = -errno;
		return fail(ret_error, err, "bpffs %s: cannot mount: %s; run as root, or mount -t bpf bpf %s", parent,
			    strerror(-err), parent);
	}
	*ret_mounted = true;
	return 0;
}

struct stale {
	const char *root;
	char *found; /* a live folder of another version */
};

static int on_root_name(const char *name, void *user)
{
	struct stale *s = user;
	_cleanup_(freep) char *links = NULL;
	uint64_t abi;

	if (str_parse_u64(str_from(name), UINT32_MAX, &abi) || abi == TRM_ABI)
		return 0;
	links = str_printf("%s/%s/links", s->root, name);
	if (!links)
		return -ENOMEM;
	if (!pin_dir_each(links, on_any_name, NULL))
		return 0;
	s->found = str_printf("%s/%s", s->root, name);
	return s->found ? -EBUSY : -ENOMEM;
}

int pin_root_check(const char *root, char **ret_error)
{
	_cleanup_(freep) char *near = ancestor_find(root);
	struct stale stale = {.root = root};
	int err;

	if (!near)
		return -ENOMEM;
	if (!is_bpffs(near))
		return fail(ret_error, -ENOENT, "bpffs %s: no bpffs is mounted there; mount -t bpf bpf %s", root, near);
	err = pin_dir_each(root, on_root_name, &stale);
	if (err == -EBUSY)
		fail(ret_error, err,
		     "datapath %s: pinned by another version (layout %s, this one is %d) and still attached to "
		     "workloads; stop them "
		     "with that version, or run trammel down, then start again",
		     stale.found, strrchr(stale.found, '/') + 1, TRM_ABI);
	free(stale.found);
	return err;
}
