/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datapath's life: open or take over, close, destroy
 *
 * A start on what an earlier agent left replaces the programs behind its links one by one; at every moment each link
 * has either the old program or the new one, and both work on the same maps. A start that fails leaves what it found.
 */
#include "control/datapath/datapath.h"

#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "control/datapath/room.h"

static int on_sample(void *user, void *sample, size_t bytes)
{
	struct datapath *dp = user;
	struct trm_event ev;

	if (bytes < sizeof(ev) || !dp->on_event)
		return 0;
	memcpy(&ev, sample, sizeof(ev));
	dp->on_event(&ev, dp->user);
	return 0;
}

static void on_events(struct loop_io *io, uint32_t revents)
{
	struct datapath *dp = container_of(io, struct datapath, events_io);

	(void)revents;
	(void)ring_buffer__consume(dp->events);
}

/* The kernel wakes a reader that has read all: what is there already would keep it silent for ever. */
static void on_events_first(struct loop_task *task)
{
	struct datapath *dp = container_of(task, struct datapath, events_first);

	(void)ring_buffer__consume(dp->events);
}

static int events_open(struct datapath *dp, char **ret_error)
{
	int err;

	if (!dp->loop)
		return 0;
	dp->events = ring_buffer__new(dp->map_fds[MAP_EVENTS], on_sample, dp, NULL);
	if (!dp->events)
		return fail(ret_error, -errno, "map trm_events: cannot map the ring buffer: %s", strerror(errno));
	err = loop_io_add(dp->loop, &dp->events_io, ring_buffer__epoll_fd(dp->events), EPOLLIN, on_events);
	if (err)
		return fail(ret_error, err, "map trm_events: cannot watch: %s", strerror(-err));
	loop_task_defer(dp->loop, &dp->events_first, on_events_first);
	return 0;
}

static int folders_make(struct datapath *dp, char **ret_error)
{
	static const char *const names[] = {"maps", "progs", "links"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *path = str_printf("%s/%s", dp->abi_root, names[i]);
		int err = path ? pin_dir_make(path) : -ENOMEM;

		if (err)
			return fail(ret_error, err, "%s/%s: cannot make the folder: %s", dp->abi_root, names[i],
				    strerror(-err));
	}
	return 0;
}

int datapath_open(const struct datapath_config *config, struct datapath **ret, char **ret_error)
{
	struct datapath *dp = calloc(1, sizeof(*dp));
	bool is_new;
	int err;

	if (!dp)
		return -ENOMEM;
	if (ret_error)
		*ret_error = NULL;
	list_init(&dp->workloads);
	dp->loop = config->loop;
	dp->on_event = config->on_event;
	dp->user = config->user;
	dp->trace_flows = config->trace_flows;
	dp->root = strdup(config->bpffs_root);
	dp->abi_root = str_printf("%s/%d", config->bpffs_root, TRM_ABI);
	if (!dp->root || !dp->abi_root) {
		datapath_close(dp);
		return -ENOMEM;
	}
	is_new = !pin_exists(dp->abi_root);
	err = pin_root_check(dp->root, ret_error);
	if (!err)
		err = folders_make(dp, ret_error);
	if (!err)
		err = objects_load(dp, ret_error);
	if (!err)
		err = workload_links_update(dp, ret_error);
	if (!err)
		err = events_open(dp, ret_error);
	if (err) {
		if (is_new)
			pin_tree_remove(dp->abi_root);
		datapath_close(dp);
		return err;
	}
	*ret = dp;
	return 0;
}

struct datapath *datapath_close(struct datapath *dp)
{
	struct workload *wl, *tmp;

	if (!dp)
		return NULL;
	loop_task_cancel(&dp->events_first);
	loop_io_remove(&dp->events_io);
	ring_buffer__free(dp->events);
	list_for_each_entry_safe (wl, tmp, &dp->workloads, link) {
		free(wl->key);
		free(wl);
	}
	objects_unload(dp);
	free(dp->abi_root);
	free(dp->root);
	free(dp);
	return NULL;
}

static int on_leaving(const void *key, const void *value, void *user)
{
	struct trm_workload wl;

	memcpy(&wl, value, sizeof(wl));
	wl.flags |= TRM_WL_LEAVING;
	(void)bpf_map_update_elem(*(int *)user, key, &wl, BPF_EXIST);
	return 0;
}

/* A clsact guard whose namespace cannot be found again must not strangle it for ever. */
static void guards_open(const char *abi_root)
{
	_cleanup_(freep) char *path = str_printf("%s/maps/trm_workload", abi_root);
	_cleanup_(fd_closep) int fd = path ? bpf_obj_get(path) : -1;
	struct bpf_map_info about = {};
	uint32_t len = sizeof(about);

	/* Another version's layout is not ours to write. */
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &about, &len) || about.value_size != sizeof(struct trm_workload))
		return;
	(void)map_each(fd, sizeof(uint64_t), sizeof(struct trm_workload), on_leaving, &fd);
}

static int on_release(const char *name, void *user)
{
	_cleanup_(freep) char *dir = str_printf("%s/%s", (const char *)user, name);

	if (dir) {
		guard_release(dir);
		pin_tree_remove(dir);
	}
	return 0;
}

static int on_version(const char *name, void *user)
{
	_cleanup_(freep) char *abi_root = NULL, *links = NULL;
	uint64_t abi;

	if (str_parse_u64(str_from(name), UINT32_MAX, &abi))
		return 0;
	abi_root = str_printf("%s/%s", (const char *)user, name);
	links = str_printf("%s/%s/links", (const char *)user, name);
	if (!abi_root || !links)
		return -ENOMEM;
	if (abi == TRM_ABI)
		guards_open(abi_root);
	(void)pin_dir_each(links, on_release, links);
	pin_tree_remove(abi_root);
	return 0;
}

int datapath_destroy_path(const char *bpffs_root, char **ret_error)
{
	int err;

	if (ret_error)
		*ret_error = NULL;
	if (!pin_exists(bpffs_root))
		return 0;
	err = pin_dir_each(bpffs_root, on_version, (void *)bpffs_root);
	(void)rmdir(bpffs_root);
	if (!err && pin_exists(bpffs_root))
		return fail(ret_error, -ENOTEMPTY,
			    "bpffs %s: something is left that is not ours, or the pins may not be removed; run as root",
			    bpffs_root);
	return err;
}

void datapath_destroy(struct datapath *dp)
{
	_cleanup_(freep) char *root = NULL, *error = NULL;

	if (!dp)
		return;
	root = TAKE_PTR(dp->root);
	datapath_close(dp);
	if (datapath_destroy_path(root, &error))
		log_warn("datapath not wholly removed", "root=%s err=\"%s\"", root, error ? error : "");
}

int datapath_counters(struct datapath *dp, uint64_t ret_counts[TRM_REASON_MAX])
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_(freep) uint64_t *values = NULL;
	uint64_t sums[TRM_REASON_MAX] = {};

	if (cpus < 0)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t reason = 0; reason < TRM_REASON_MAX; reason++) {
		if (bpf_map_lookup_elem(dp->map_fds[MAP_COUNT], &reason, values))
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			sums[reason] += values[cpu];
	}
	memcpy(ret_counts, sums, sizeof(sums));
	return 0;
}
