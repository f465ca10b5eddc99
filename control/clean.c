/* SPDX-License-Identifier: Apache-2.0 */
/* Removing whatever an instance left behind, from what stands in the file systems alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "control/agent.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/netns.h"

#define CGROUP_WAIT_MS 5000
#define LOCK_WAIT_MS   10000

/* An agent that was asked to go may still be on its way: its lock tells. Held then, so that none begins in what is being removed. */
static int lock_take(const struct paths *p, int *ret_fd, struct fault *fault)
{
	_cleanup_(fd_closep) int fd = open(p->lock_file, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return 0;
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += 10) {
		if (waited >= LOCK_WAIT_MS) {
			fault_set(fault, "agent", "see agent.log in the run folder", "still runs for %s", p->run_dir);
			return -EBUSY;
		}
		usleep(10000);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The kernel's own views (maps.debug, progs.debug) come with every bpffs and belong to nobody. */
static bool bpffs_is_unused(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool unused = d != NULL;

	while (d && (e = readdir(d)))
		unused = unused && (e->d_name[0] == '.' || str_ends(str_from(e->d_name), STR(".debug")));
	if (d)
		closedir(d);
	return unused;
}

/* The bpffs that we mounted goes when nobody else keeps anything in it. */
static void bpffs_unmount(const struct paths *p, const char *bpffs)
{
	char *copy = access(p->mounted_file, F_OK) == 0 ? str_dup(str_from(bpffs)) : NULL;
	char *parent = copy ? dirname(copy) : NULL;

	if (parent && bpffs_is_unused(parent))
		umount2(parent, 0);
	free(copy);
}

int clean_all(const struct paths *p, struct fault *fault)
{
	_cleanup_(freep) char *recorded = paths_bpffs_recorded(p);
	const char *bpffs = recorded ? recorded : p->bpffs;
	_cleanup_(fd_closep) int lock_fd = -1;
	char *error = NULL;
	int r = lock_take(p, &lock_fd, fault);

	if (r < 0)
		return r;
	if (lock_fd >= 0 && !paths_lock_is_in_place(p, lock_fd))
		return 0; /* another `trammel down` was before us; what is there now is somebody's who came after */
	cgroup_kill(p->cgroup_root);
	r = datapath_destroy_path(bpffs, &error);
	if (r < 0) {
		fault_take(fault, bpffs, "remove it by hand, then `trammel down` again", error ? error : str_printf("%s", strerror(-r)));
		return r;
	}
	bpffs_unmount(p, bpffs);
	r = cgroup_remove(p->cgroup_root, CGROUP_WAIT_MS);
	if (r < 0) {
		fault_set(fault, p->cgroup_root, "see which processes are in its cgroup.procs", "stays: %s", strerror(-r));
		return r;
	}
	if (paths_are_ours(p))
		netns_dir_release(p->netns_dir);
	r = paths_remove(p);
	if (r < 0)
		fault_set(fault, p->run_dir, NULL, "stays: %s", strerror(-r));
	return r;
}
