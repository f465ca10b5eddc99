/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enrolment of one workload
 *
 * Settings first (closed), then what hands over, what captures, what steers, and the guard last; release runs the other
 * way. Links live below links/KEY, so that an agent that starts again finds what is attached.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "control/datapath/room.h"

static struct workload *workload_find(struct datapath *dp, uint32_t id)
{
	struct workload *wl;

	list_for_each_entry (wl, &dp->workloads, link)
		if (wl->id == id)
			return wl;
	return NULL;
}

static void workload_free(struct workload *wl)
{
	list_remove(&wl->link);
	free(wl->key);
	free(wl);
}

static int workload_note(struct datapath *dp, const struct datapath_workload *w)
{
	struct workload *wl = workload_find(dp, w->id);

	if (wl && !strcmp(wl->key, w->key) && wl->netns_cookie == w->netns_cookie)
		return 0;
	if (wl)
		return -EEXIST;
	wl = calloc(1, sizeof(*wl));
	if (!wl)
		return -ENOMEM;
	wl->id = w->id;
	wl->netns_cookie = w->netns_cookie;
	wl->key = strdup(w->key);
	if (!wl->key) {
		free(wl);
		return -ENOMEM;
	}
	list_push_back(&dp->workloads, &wl->link);
	return 0;
}

static int settings_write(struct datapath *dp, const struct datapath_workload *w, char **ret_error)
{
	struct trm_workload now = {};
	int err;

	/* Taken over: what was open stays open. */
	if (bpf_map_lookup_elem(dp->map_fds[MAP_WORKLOAD], &w->netns_cookie, &now) == 0 && now.id != w->id)
		return fail(ret_error, -EEXIST, "workload %s: its network namespace is enrolled as number %u already",
			    w->key, now.id);
	now.id = w->id;
	now.flags &= ~TRM_WL_LEAVING;
	memcpy(now.addr4, w->addr4.ip, 16);
	memcpy(now.addr6, w->addr6.ip, 16);
	now.proxy_cgroup_id = w->proxy_cgroup_id;
	err = bpf_map_update_elem(dp->map_fds[MAP_WORKLOAD], &w->netns_cookie, &now, BPF_ANY) ? -errno : 0;
	return err ? map_error(dp, MAP_WORKLOAD, err, ret_error) : 0;
}

static int inode_of(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*ret = st.st_ino;
	return 0;
}

static int hook_attach(struct datapath *dp, const struct hook *h, const struct datapath_workload *w, const char *dir,
		       char **ret_error)
{
	struct bpf_program *prog = hook_program(dp, h);
	int cgroup = h->scope == HOOK_APP ? w->app_cgroup_fd : w->proxy_cgroup_fd;
	_cleanup_(freep) char *path = str_printf("%s/%s", dir, h->name);
	uint64_t cgroup_id = 0;
	int err;

	if (!path)
		return -ENOMEM;
	err = inode_of(cgroup, &cgroup_id);
	if (err)
		return fail(ret_error, err, "cgroup of %s: %s", w->key, strerror(-err));
	return link_ensure(path, bpf_program__fd(prog), cgroup, bpf_program__expected_attach_type(prog), cgroup_id,
			   ret_error);
}

static int sk_lookup_attach(struct datapath *dp, const struct datapath_workload *w, const char *dir, char **ret_error)
{
	struct instance in = {.workload_id = w->id, .netns_cookie = w->netns_cookie};
	_cleanup_(freep) char *path = str_printf("%s/" HOOK_SK_LOOKUP, dir);
	_cleanup_(fd_closep) int prog = -1;
	uint64_t inode = 0;
	int err;

	if (!path)
		return -ENOMEM;
	err = inode_of(w->netns_fd, &inode);
	if (err)
		return fail(ret_error, err, "network namespace of %s: %s", w->key, strerror(-err));
	err = sk_lookup_load(dp, &in, &prog, ret_error);
	if (err)
		return err;
	return link_ensure(path, prog, w->netns_fd, BPF_SK_LOOKUP, inode, ret_error);
}

static int links_attach(struct datapath *dp, const struct datapath_workload *w, const char *dir, char **ret_error)
{
	_cleanup_(freep) char *guard = str_printf("%s/" HOOK_GUARD, dir);
	int err;

	if (!guard)
		return -ENOMEM;
	err = pin_dir_make(dir);
	if (err)
		return fail(ret_error, err, "%s: cannot make the folder: %s", dir, strerror(-err));
	for (int i = 0; !err && i < HOOKS; i++)
		err = hook_attach(dp, &hooks[i], w, dir, ret_error);
	if (!err)
		err = sk_lookup_attach(dp, w, dir, ret_error);
	if (!err)
		err = guard_attach(dp, w, guard, ret_error);
	return err;
}

static bool key_is_safe(const char *key)
{
	return key[0] && key[0] != '.' && !strchr(key, '/') && strlen(key) < 200;
}

/* The bpffs refuses names with dots; Kubernetes names have no commas. */
static char *links_dir_of(const struct datapath *dp, const char *key)
{
	char *dir = str_printf("%s/links/%s", dp->abi_root, key);

	for (char *p = dir ? strrchr(dir, '/') : NULL; p && *p; p++)
		if (*p == '.')
			*p = ',';
	return dir;
}

int datapath_workload_attach(struct datapath *dp, const struct datapath_workload *w, char **ret_error)
{
	_cleanup_(freep) char *dir = NULL;
	bool is_new;
	int err;

	if (w->id == 0 || w->id >= TRM_MAX_WORKLOADS || !key_is_safe(w->key))
		return fail(ret_error, -EINVAL, "workload %s: number %u is not in 1..%d, or the key is no file name",
			    w->key, w->id, TRM_MAX_WORKLOADS - 1);
	dir = links_dir_of(dp, w->key);
	if (!dir)
		return -ENOMEM;
	is_new = !pin_exists(dir);
	err = workload_note(dp, w);
	if (err)
		return fail(ret_error, err, "workload %s: number %u belongs to another: %s", w->key, w->id,
			    strerror(-err));
	err = settings_write(dp, w, ret_error);
	if (!err)
		err = links_attach(dp, w, dir, ret_error);
	if (err && is_new)
		datapath_workload_detach(dp, w->id, w->key);
	return err;
}

int datapath_workload_set_flags(struct datapath *dp, uint32_t id, uint32_t flags)
{
	struct workload *wl = workload_find(dp, id);
	struct trm_workload now;

	if (!wl)
		return -ENOENT;
	if (bpf_map_lookup_elem(dp->map_fds[MAP_WORKLOAD], &wl->netns_cookie, &now))
		return -errno;
	now.flags = flags;
	return bpf_map_update_elem(dp->map_fds[MAP_WORKLOAD], &wl->netns_cookie, &now, BPF_EXIST) ? -errno : 0;
}

int datapath_workload_set_listener(struct datapath *dp, uint32_t id, enum trm_slot slot, int fd)
{
	uint32_t key = id * TRM_SLOTS + (uint32_t)slot;
	uint64_t value = (uint64_t)fd;

	if (id == 0 || id >= TRM_MAX_WORKLOADS || (uint32_t)slot >= TRM_SLOTS)
		return -EINVAL;
	return bpf_map_update_elem(dp->map_fds[MAP_LISTENER], &key, &value, BPF_ANY) ? -errno : 0;
}

int datapath_workload_exclude_port(struct datapath *dp, uint32_t id, uint16_t port, bool inbound)
{
	struct trm_xport_key key = {.workload_id = id, .port = htons(port), .inbound = inbound};
	uint8_t one = 1;

	return bpf_map_update_elem(dp->map_fds[MAP_XPORT], &key, &one, BPF_ANY) ? -errno : 0;
}

int datapath_workload_exclude_cidr(struct datapath *dp, uint32_t id, const struct cidr *cidr)
{
	struct trm_xcidr_key key = {.prefixlen = 32u + cidr->prefix_bits, .workload_id = id};
	uint8_t one = 1;

	if (cidr->prefix_bits > 128)
		return -EINVAL;
	memcpy(key.ip, cidr->ip, 16);
	return bpf_map_update_elem(dp->map_fds[MAP_XCIDR], &key, &one, BPF_ANY) ? -errno : 0;
}

/* Keys of one workload, gathered first and deleted after: deleting under an iteration may skip entries. */
struct gather {
	uint32_t id;
	size_t key_bytes, id_off;
	struct buf keys;
	bool by_value; /* id stands in the value */
};

static int on_owned(const void *key, const void *value, void *user)
{
	struct gather *g = user;
	uint32_t id;

	memcpy(&id, (const char *)(g->by_value ? value : key) + g->id_off, sizeof(id));
	return id == g->id ? buf_append(&g->keys, key, g->key_bytes) : 0;
}

static void entries_remove(struct datapath *dp, enum map_index i, struct gather *g, size_t value_bytes)
{
	struct str keys;

	buf_init(&g->keys, 64u * 1024 * 1024);
	(void)map_each(dp->map_fds[i], g->key_bytes, value_bytes, on_owned, g);
	keys = buf_str(&g->keys);
	for (size_t off = 0; off < keys.n; off += g->key_bytes)
		(void)bpf_map_delete_elem(dp->map_fds[i], keys.p + off);
	buf_done(&g->keys);
}

static void settings_remove(struct datapath *dp, uint32_t id)
{
	struct gather wl = {
		.id = id, .key_bytes = sizeof(uint64_t), .id_off = offsetof(struct trm_workload, id), .by_value = true};
	struct gather port = {.id = id,
			      .key_bytes = sizeof(struct trm_xport_key),
			      .id_off = offsetof(struct trm_xport_key, workload_id)};
	struct gather net = {.id = id,
			     .key_bytes = sizeof(struct trm_xcidr_key),
			     .id_off = offsetof(struct trm_xcidr_key, workload_id)};

	entries_remove(dp, MAP_WORKLOAD, &wl, sizeof(struct trm_workload));
	entries_remove(dp, MAP_XPORT, &port, 1);
	entries_remove(dp, MAP_XCIDR, &net, 1);
	for (uint32_t slot = 0; slot < TRM_SLOTS; slot++) {
		uint32_t key = id * TRM_SLOTS + slot;

		(void)bpf_map_delete_elem(dp->map_fds[MAP_LISTENER], &key);
	}
}

void datapath_workload_detach(struct datapath *dp, uint32_t id, const char *key)
{
	_cleanup_(freep) char *dir = key_is_safe(key) ? links_dir_of(dp, key) : NULL;
	struct workload *wl = workload_find(dp, id);

	if (dir) {
		guard_release(dir);
		pin_tree_remove(dir);
	}
	settings_remove(dp, id);
	if (wl)
		workload_free(wl);
}

struct update {
	struct datapath *dp;
	char *links;
	char **ret_error;
};

static int on_link_dir(const char *name, void *user)
{
	struct update *u = user;

	for (int i = 0; i < HOOKS; i++) {
		_cleanup_(freep) char *path = str_printf("%s/%s/%s", u->links, name, hooks[i].name);
		int err;

		if (!path)
			return -ENOMEM;
		err = link_set_program(path, bpf_program__fd(hook_program(u->dp, &hooks[i])));
		if (err && err != -ENOENT)
			return fail(u->ret_error, err, "link %s: cannot replace its program: %s", path, strerror(-err));
	}
	return 0;
}

int workload_links_update(struct datapath *dp, char **ret_error)
{
	struct update u = {.dp = dp, .links = str_printf("%s/links", dp->abi_root), .ret_error = ret_error};
	int err;

	if (!u.links)
		return -ENOMEM;
	err = pin_dir_each(u.links, on_link_dir, &u);
	free(u.links);
	return err;
}
