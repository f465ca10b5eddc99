/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned links
 *
 * An unpinned link dies with the agent and lets plaintext through, so a link is pinned or it is not made. A link whose
 * cgroup or namespace is gone stays pinned but names no target any more.
 */
#include <errno.h>
#include <string.h>
#include "control/datapath/room.h"

/* Newer than the build's headers: the tc member of struct bpf_link_info. */
struct link_info_tcx {
	uint32_t ifindex, attach_type;
};

static int link_info_get(int fd, struct bpf_link_info *ret)
{
	uint32_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return bpf_obj_get_info_by_fd(fd, ret, &len) ? -errno : 0;
}

/* Cgroup id, netns inode or interface index; 0 when the target is gone. */
static uint64_t link_target_id(const struct bpf_link_info *about)
{
	struct link_info_tcx tcx;

	switch (about->type) {
	case BPF_LINK_TYPE_CGROUP:
		return about->cgroup.cgroup_id;
	case BPF_LINK_TYPE_NETNS:
		return about->netns.netns_ino;
	default:
		memcpy(&tcx, &about->cgroup, sizeof(tcx));
		return tcx.ifindex;
	}
}

int link_set_program(const char *path, int prog_fd)
{
	_cleanup_(fd_closep) int fd = bpf_obj_get(path);
	struct bpf_link_info about;
	int err;

	if (fd < 0)
		return -ENOENT;
	err = link_info_get(fd, &about);
	if (err)
		return err;
	if (link_target_id(&about) == 0)
		return -ENOENT;
	return bpf_link_update(fd, prog_fd, NULL) ? -errno : 0;
}

static bool link_is_at(const char *path, uint64_t target_id)
{
	_cleanup_(fd_closep) int fd = bpf_obj_get(path);
	struct bpf_link_info about;

	return fd >= 0 && link_info_get(fd, &about) == 0 && link_target_id(&about) == target_id;
}

int link_ensure(const char *path, int prog_fd, int target, enum bpf_attach_type type, uint64_t target_id,
		char **ret_error)
{
	_cleanup_(fd_closep) int fd = -1;
	int err;

	if (link_is_at(path, target_id)) {
		err = link_set_program(path, prog_fd);
		if (err)
			return fail(ret_error, err, "link %s: cannot replace its program: %s", path, strerror(-err));
		return 0;
	}
	fd = bpf_link_create(prog_fd, target, type, NULL);
	if (fd < 0) {
		err = -errno;
		return fail(ret_error, err, "link %s: cannot attach: %s; see trammel feature list", path,
			    strerror(-err));
	}
	err = pin_replace(fd, path);
	if (err)
		return fail(ret_error, err, "link %s: cannot pin: %s", path, strerror(-err));
	return 0;
}

uint64_t link_netns_inode(const char *path)
{
	_cleanup_(fd_closep) int fd = bpf_obj_get(path);
	struct bpf_link_info about;

	if (fd < 0 || link_info_get(fd, &about) || about.type != BPF_LINK_TYPE_NETNS)
		return 0;
	return about.netns.netns_ino;
}

uint32_t link_prog_id(const char *path)
{
	_cleanup_(fd_closep) int fd = bpf_obj_get(path);
	struct bpf_link_info about;

	return fd >= 0 && link_info_get(fd, &about) == 0 ? about.prog_id : 0;
}
