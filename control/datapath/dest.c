/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destinations the mesh knows
 *
 * Make before break: the new set is written first, then what an older generation left is deleted. A sync that fails
 * half-way leaves every old entry in force.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include "control/datapath/room.h"

#define BATCH 512

static int dest_write(struct datapath *dp, uint64_t generation, const struct datapath_dest *dests, size_t n)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);
	struct trm_dest_key keys[BATCH];
	struct trm_dest values[BATCH];

	for (size_t done = 0; done < n;) {
		uint32_t count = (uint32_t)MIN(n - done, (size_t)BATCH);

		memset(keys, 0, sizeof(keys));
		memset(values, 0, sizeof(values));
		for (uint32_t i = 0; i < count; i++) {
			memcpy(keys[i].ip, dests[done + i].addr.ip, 16);
			keys[i].port = htons(dests[done + i].addr.port);
			values[i].kind = dests[done + i].kind;
			values[i].generation = generation;
		}
		if (bpf_map_update_batch(dp->map_fds[MAP_DEST], keys, values, &count, &opts))
			return -errno;
		done += MIN(n - done, (size_t)BATCH);
	}
	return 0;
}

struct older {
	uint64_t generation;
	struct buf keys;
};

static int on_dest(const void *key, const void *value, void *user)
{
	struct older *o = user;
	struct trm_dest dest;

	memcpy(&dest, value, sizeof(dest));
	return dest.generation == o->generation ? 0 : buf_append(&o->keys, key, sizeof(struct trm_dest_key));
}

int datapath_dest_sync(struct datapath *dp, uint64_t generation, const struct datapath_dest *dests, size_t n,
		       char **ret_error)
{
	struct older o = {.generation = generation};
	struct str keys;
	int err;

	err = dest_write(dp, generation, dests, n);
	if (err)
		return map_error(dp, MAP_DEST, err, ret_error);
	buf_init(&o.keys, (TRM_MAX_DESTS + 1) * sizeof(struct trm_dest_key) * 2);
	err = map_each(dp->map_fds[MAP_DEST], sizeof(struct trm_dest_key), sizeof(struct trm_dest), on_dest, &o);
	keys = buf_str(&o.keys);
	for (size_t off = 0; !err && off < keys.n; off += sizeof(struct trm_dest_key))
		if (bpf_map_delete_elem(dp->map_fds[MAP_DEST], keys.p + off) && errno != ENOENT)
			err = -errno;
	buf_done(&o.keys);
	return err ? map_error(dp, MAP_DEST, err, ret_error) : 0;
}
