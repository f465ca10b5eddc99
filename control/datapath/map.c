/* SPDX-License-Identifier: Apache-2.0 */
/* Maps: names, iteration, and what to say when one is full. */
#include <errno.h>
#include <string.h>
#include "control/datapath/room.h"

#define BATCH 1024

const char *const map_names[MAPS] = {
	[MAP_WORKLOAD] = "trm_workload", [MAP_XPORT] = "trm_xport",       [MAP_XCIDR] = "trm_xcidr",
	[MAP_DEST] = "trm_dest",         [MAP_HANDOVER] = "trm_handover", [MAP_SOCK] = "trm_sock",
	[MAP_LISTENER] = "trm_listener", [MAP_COUNT] = "trm_count",       [MAP_EVENTS] = "trm_events",
	[MAP_BUDGET] = "trm_budget",
};

/* By key, for maps that offer no batches (LPM tries before 5.16, sockmaps). */
static int map_each_single(int fd, size_t key_bytes, size_t value_bytes,
			   int (*on_entry)(const void *key, const void *value, void *user), void *user)
{
	_cleanup_(freep) char *mem = malloc(2 * key_bytes + value_bytes);
	char *key = mem, *next = mem + key_bytes, *value = mem + 2 * key_bytes;
	int answer = 0;

	if (!mem)
		return -ENOMEM;
	for (int err = bpf_map_get_next_key(fd, NULL, next); !err && !answer;
	     err = bpf_map_get_next_key(fd, key, next)) {
		memcpy(key, next, key_bytes);
		if (bpf_map_lookup_elem(fd, key, value) == 0)
			answer = on_entry(key, value, user);
	}
	return answer;
}

int map_each(int fd, size_t key_bytes, size_t value_bytes,
	     int (*on_entry)(const void *key, const void *value, void *user), void *user)
{
	_cleanup_(freep) char *keys = malloc(BATCH * key_bytes), *values = malloc(BATCH * value_bytes);
	_cleanup_(freep) char *cursor = calloc(1, MAX(key_bytes, sizeof(uint64_t)));
	bool first = true;
	int err = 0, answer;

	if (!keys || !values || !cursor)
		return -ENOMEM;
	while (!err) {
		uint32_t n = BATCH;

		err = bpf_map_lookup_batch(fd, first ? NULL : cursor, cursor, keys, values, &n, NULL) ? -errno : 0;
		if (err && err != -ENOENT)
			return first ? map_each_single(fd, key_bytes, value_bytes, on_entry, user) : err;
		first = false;
		for (uint32_t i = 0; i < n; i++) {
			answer = on_entry(keys + i * key_bytes, values + i * value_bytes, user);
			if (answer)
				return answer;
		}
	}
	return 0;
}

int map_error(const struct datapath *dp, enum map_index i, int err, char **ret_error)
{
	struct bpf_map_info about = {};
	uint32_t len = sizeof(about);

	if (err == -E2BIG && bpf_obj_get_info_by_fd(dp->map_fds[i], &about, &len) == 0)
		return fail(ret_error, err,
			    "map %s: full at %u entries; what does not fit stays out of force: reduce the number of "
			    "workloads, services or "
			    "exclusions on this node, or raise its maximum in include/trammel/workload.h",
			    map_names[i], about.max_entries);
	return fail(ret_error, err, "map %s: write failed: %s", map_names[i], strerror(-err));
}
