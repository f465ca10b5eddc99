/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the datapath room: what its files share
 *
 * object.c loads, pin.c owns paths below the bpffs, workload.c and link.c attach, guard.c attaches inside a network
 * namespace, dest.c syncs destinations, dump.c and feature.c show.
 */
#ifndef TRAMMEL_CONTROL_DATAPATH_ROOM_H
#define TRAMMEL_CONTROL_DATAPATH_ROOM_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "base/list.h"
#include "control/datapath/datapath.h"

enum map_index {
	MAP_WORKLOAD,
	MAP_XPORT,
	MAP_XCIDR,
	MAP_DEST,
	MAP_HANDOVER,
	MAP_SOCK,
	MAP_LISTENER,
	MAP_COUNT,
	MAP_EVENTS,
	MAP_BUDGET,
	MAPS,
};
extern const char *const map_names[MAPS];

/* What a shared program hangs at. */
enum hook_scope {
	HOOK_APP,   /* the workload's cgroup */
	HOOK_PROXY, /* the proxy's cgroup */
};

struct hook {
	const char *name; /* of the program and of its pins */
	enum hook_scope scope;
	int object; /* index into datapath.objects */
};
#define HOOKS 14
extern const struct hook hooks[HOOKS];

#define HOOK_SK_LOOKUP "trm_sk_lookup"
#define HOOK_GUARD     "trm_guard"

/* Settings of the programs that depend on the kernel. */
struct abilities {
	bool has_set_retval, has_mptcp;
};

#define OBJECTS 5
struct object {
	struct bpf_object *bpf; /* borrowed from the skeleton */
	void *skeleton;
};

struct workload {
	struct list link;
	uint32_t id;
	uint64_t netns_cookie;
	char *key;
};

struct datapath {
	char *root;     /* as configured */
	char *abi_root; /* root/TRM_ABI */
	struct abilities abilities;
	bool trace_flows;
	struct object objects[OBJECTS];
	int map_fds[MAPS];
	struct list workloads;
	struct loop *loop;
	struct loop_io events_io;
	struct loop_task events_first; /* what an earlier agent left unread */
	struct ring_buffer *events;
	void (*on_event)(const struct trm_event *ev, void *user);
	void *user;
};

/* log.c: libbpf's words, kept for error texts */
void bpf_log_begin(void);
/** bpf_log_text() - what libbpf said since bpf_log_begin(), one line, "" when nothing; borrowed until the next begin */
const char *bpf_log_text(void);
/** fail() - sets *@ret_error (when not NULL and not set) to the text; returns @err */
int fail(char **ret_error, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* pin.c */
MUST_CHECK int pin_dir_make(const char *path);
/** pin_tree_remove() - files, then folders; nothing there is fine */
void pin_tree_remove(const char *path);
bool pin_exists(const char *path);
/** pin_dir_each() - names in @path (not . and ..); stops at the first nonzero answer and returns it; 0 when the folder
 * is missing */
int pin_dir_each(const char *path, int (*on_name)(const char *name, void *user), void *user);
MUST_CHECK int pin_root_check(const char *root, char **ret_error);
/** pin_replace() - pin @fd at @path, in place of what is there */
MUST_CHECK int pin_replace(int fd, const char *path);

/* object.c */
MUST_CHECK int objects_load(struct datapath *dp, char **ret_error);
void objects_unload(struct datapath *dp);
struct bpf_program *hook_program(struct datapath *dp, const struct hook *h);
struct instance {
	uint32_t workload_id;
	uint64_t netns_cookie;
	uint32_t l2_bytes; /* guard alone */
};
/** sk_lookup_load(), guard_load() - the per-workload instances; *@ret_fd is the program's, owned by the caller */
MUST_CHECK int sk_lookup_load(struct datapath *dp, const struct instance *in, int *ret_fd, char **ret_error);
MUST_CHECK int guard_load(struct datapath *dp, const struct instance *in, int *ret_fd, char **ret_error);

/* link.c */
/**
 * link_ensure() - a pinned link of @prog_fd at @target
 * @target_id:  what the link's info must name to be the same target: cgroup id, netns inode or interface index
 *
 * A live link that is pinned at @path gets the new program; a dead one, or one to another target, is replaced.
 */
MUST_CHECK int link_ensure(const char *path, int prog_fd, int target, enum bpf_attach_type type, uint64_t target_id,
			   char **ret_error);
/** link_set_program() - only where a live link is pinned at @path; -ENOENT where not */
MUST_CHECK int link_set_program(const char *path, int prog_fd);
/** link_netns_inode() - of the netns link pinned at @path; 0 when there is none or its namespace is gone */
uint64_t link_netns_inode(const char *path);
uint32_t link_prog_id(const char *path);

/* guard.c */
#define TRM_BPF_TCX_EGRESS 47 /* enum bpf_attach_type of kernel 6.6 */
MUST_CHECK int guard_attach(struct datapath *dp, const struct datapath_workload *w, const char *link_path,
			    char **ret_error);
/** guard_attach_clsact() - the older way, for kernels without links at tc */
MUST_CHECK int guard_attach_clsact(int netns_fd, const char *ifname, int prog_fd, char **ret_error);
bool guard_has_tcx(void);
/** guard_release() - remove what guard_attach() left for the workload whose pins are in @links_dir; also from the pins
 * alone */
void guard_release(const char *links_dir);

/* workload.c */
/** workload_links_update() - give the shared programs of @dp to every pinned link */
MUST_CHECK int workload_links_update(struct datapath *dp, char **ret_error);

/* map.c */
/** map_each() - every entry; @on_entry stops it by a nonzero answer, which is returned. Entries deleted meanwhile may
 * be missed. */
int map_each(int fd, size_t key_bytes, size_t value_bytes,
	     int (*on_entry)(const void *key, const void *value, void *user), void *user);
/** map_error() - "map NAME: ..." for a failed write, with size and next step when it is full */
int map_error(const struct datapath *dp, enum map_index i, int err, char **ret_error);

#endif
