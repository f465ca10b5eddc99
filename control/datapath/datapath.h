/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datapath: BPF programs, maps and links, and what the agent does with them
 *
 * The only room that sees skeletons and maps. Everything is pinned below ROOT/TRM_ABI so that a restart of the agent drops
 * no traffic: datapath_open() takes over what is there, datapath_close() leaves it, datapath_destroy() removes it.
 * Functions return 0 or negative errno; where @ret_error is there, it is set on failure to a heap string that names the thing, the
 * reason and the next step (owned by the caller).
 */
#ifndef TRAMMEL_CONTROL_DATAPATH_H
#define TRAMMEL_CONTROL_DATAPATH_H

#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/loop.h"
#include "trammel/flow.h"
#include "trammel/reason.h"
#include "trammel/workload.h"

struct datapath;

struct datapath_config {
	const char *bpffs_root; /* TRAMMEL_BPFFS, else /sys/fs/bpf/trammel; the bpffs must be mounted (datapath_bpffs_ensure()) */
	struct loop *loop;
	void (*on_event)(const struct trm_event *ev, void *user); /* from the ring buffer, in the loop */
	void *user;
	bool trace_flows; /* captured and steered connections are events too; costs a ring buffer write per connection */
};

/** datapath_bpffs_ensure() - mount a bpffs at the parent of @root when none is there; *@ret_mounted tells whether we did */
MUST_CHECK int datapath_bpffs_ensure(const char *root, bool *ret_mounted, char **ret_error);

/** datapath_features_json() - what this kernel offers of what we need, one object per feature {name, ok, needed, why} */
void datapath_features_json(struct json_writer *w, const char *key);

/**
 * datapath_open() - load programs, create or take over the pinned maps, replace the programs behind pinned links
 *
 * -EBUSY when a pin folder of another ABI version with live links exists below the root: never shared, never deleted silently.
 */
MUST_CHECK int datapath_open(const struct datapath_config *config, struct datapath **ret, char **ret_error);
struct datapath *datapath_close(struct datapath *dp);
/** datapath_destroy() - detach everything, remove every pin and the folders; frees @dp */
void datapath_destroy(struct datapath *dp);
/** datapath_destroy_path() - the same from the pins alone, of every layout version, for `trammel down` without a running agent; ok when nothing is there */
MUST_CHECK int datapath_destroy_path(const char *bpffs_root, char **ret_error);

struct datapath_workload {
	uint32_t id;	  /* 1.. */
	const char *key;  /* unique, file-name safe: "default_web" */
	int netns_fd, app_cgroup_fd, proxy_cgroup_fd; /* borrowed for the call */
	uint64_t netns_cookie;
	struct addr addr4, addr6; /* zero where none */
	uint64_t proxy_cgroup_id;
	const char *ifname; /* the workload's interface inside its netns, for the escape guard */
};

/**
 * datapath_workload_attach() - enrol: links to cgroups and netns, settings entry without TRM_WL_READY (closed)
 *
 * Idempotent for a workload whose links are pinned already (take-over). On failure nothing stays attached.
 */
MUST_CHECK int datapath_workload_attach(struct datapath *dp, const struct datapath_workload *w, char **ret_error);
/** datapath_workload_set_flags() - TRM_WL_*; takes effect at once */
MUST_CHECK int datapath_workload_set_flags(struct datapath *dp, uint32_t id, uint32_t flags);
/** datapath_workload_set_listener() - put the listening socket @fd into @slot of the workload's sockmap */
MUST_CHECK int datapath_workload_set_listener(struct datapath *dp, uint32_t id, enum trm_slot slot, int fd);
MUST_CHECK int datapath_workload_exclude_port(struct datapath *dp, uint32_t id, uint16_t port, bool inbound);
MUST_CHECK int datapath_workload_exclude_cidr(struct datapath *dp, uint32_t id, const struct cidr *cidr);
/** datapath_workload_detach() - remove links, settings, exclusions and pins of a workload; also after its netns and cgroup are gone */
void datapath_workload_detach(struct datapath *dp, uint32_t id, const char *key);

/* Destinations the mesh knows. One sync replaces the set: entries of an older generation are deleted after the new ones are in. */
struct datapath_dest {
	struct addr addr; /* port 0: the address as a whole */
	enum trm_dest_kind kind;
};
MUST_CHECK int datapath_dest_sync(struct datapath *dp, uint64_t generation, const struct datapath_dest *dests, size_t n,
				  char **ret_error);

/** datapath_counters() - events by reason, summed over CPUs since the map was made */
MUST_CHECK int datapath_counters(struct datapath *dp, uint64_t ret_counts[TRM_REASON_MAX]);

/* For `trammel prog list`, `map list`, `map dump NAME`: arrays written with @key. */
void datapath_progs_json(struct datapath *dp, struct json_writer *w, const char *key); /* name, type, id, tag, attached links, verifier steps */
void datapath_maps_json(struct datapath *dp, struct json_writer *w, const char *key);  /* name, type, id, entries, max_entries, pin, fill %; */
MUST_CHECK int datapath_map_dump_json(struct datapath *dp, const char *map, struct json_writer *w, const char *key);

#endif
