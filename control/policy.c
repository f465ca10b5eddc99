/* SPDX-License-Identifier: Apache-2.0 */
/* From the model to kernel and proxies: destinations before those who may use them, then flags, then slices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "control/agent.h"

struct change_count {
	size_t services, workloads;
};

static void on_change(const struct mesh_change *change, void *user)
{
	struct change_count *n = user;

	if (change->service)
		n->services++;
	else
		n->workloads++;
}

static void dest_add(struct datapath_dest *dests, size_t *n, const struct addr *ip, uint16_t port, enum trm_dest_kind kind)
{
	dests[*n] = (struct datapath_dest){ .addr = *ip, .kind = kind };
	dests[(*n)++].addr.port = port;
}

/* Every address the mesh answers for: services by port, endpoints by port, workloads as a whole (port 0). */
static int dests_collect(const struct mesh_snapshot *s, struct datapath_dest **ret, size_t *ret_n)
{
	struct datapath_dest *dests;
	size_t max = 1, n = 0;

	for (size_t i = 0; i < mesh_snapshot_n_services(s); i++) {
		const struct mesh_service *svc = mesh_snapshot_service_at(s, i);

		max += svc->n_addresses * (svc->n_ports + 1);
		for (size_t p = 0; p < svc->n_ports; p++)
			max += svc->ports[p].n_endpoints;
	}
	for (size_t i = 0; i < mesh_snapshot_n_workloads(s); i++)
		max += mesh_snapshot_workload_at(s, i)->n_addresses;
	dests = calloc(max, sizeof(*dests));
	if (!dests)
		return -ENOMEM;
	for (size_t i = 0; i < mesh_snapshot_n_services(s); i++) {
		const struct mesh_service *svc = mesh_snapshot_service_at(s, i);

		for (size_t p = 0; p < svc->n_ports; p++) {
			for (size_t k = 0; k < svc->n_addresses; k++)
				dest_add(dests, &n, &svc->addresses[k], svc->ports[p].port, TRM_DEST_SERVICE);
			for (size_t k = 0; k < svc->ports[p].n_endpoints; k++)
				dest_add(dests, &n, &svc->ports[p].endpoints[k].addr, svc->ports[p].endpoints[k].addr.port, TRM_DEST_ENDPOINT);
		}
	}
	for (size_t i = 0; i < mesh_snapshot_n_workloads(s); i++) {
		const struct mesh_workload *w = mesh_snapshot_workload_at(s, i);

		for (size_t k = 0; k < w->n_addresses; k++)
			dest_add(dests, &n, &w->addresses[k], 0, TRM_DEST_ENDPOINT);
	}
	*ret = dests;
	*ret_n = n;
	return 0;
}

static int kernel_sync(struct agent *a, const struct mesh_snapshot *s)
{
	_cleanup_(freep) struct datapath_dest *dests = NULL;
	_cleanup_(freep) char *error = NULL;
	uint32_t flags = TRM_WL_READY | TRM_WL_DNS_CAPTURE | (mesh_snapshot_settings(s)->refuse_unknown ? TRM_WL_REFUSE_UNKNOWN : 0);
	size_t n;
	int r = dests_collect(s, &dests, &n);

	r = r ? r : datapath_dest_sync(a->datapath, mesh_snapshot_generation(s), dests, n, &error);
	if (r < 0) {
		log_error("destinations not in the kernel; those before stay", "err=%s", error ? error : strerror(-r));
		return r;
	}
	for (size_t i = 0; i < mesh_snapshot_n_workloads(s); i++) {
		uint32_t id = mesh_snapshot_workload_at(s, i)->id;

		r = datapath_workload_set_flags(a->datapath, id, flags);
		if (r < 0)
			log_error("workload stays closed", "id=%u err=%s", id, strerror(-r));
	}
	return 0;
}

void policy_apply(struct agent *a)
{
	uint64_t generation = a->snapshot ? mesh_snapshot_generation(a->snapshot) + 1 : clock_wall_ns() / NS_PER_MS;
	uint64_t began = clock_mono_ns();
	struct change_count n = { 0 };
	struct mesh_snapshot *s = NULL;
	const struct mesh_settings *before, *after;
	bool settings_same;
	int r = mesh_snapshot_build(a->model, generation, &s);

	if (r == 0)
		r = mesh_snapshot_diff(a->snapshot, s, on_change, &n);
	if (r < 0) {
		log_error("no new snapshot; the last stays", "err=%s", strerror(-r));
		mesh_snapshot_unref(s);
		return;
	}
	before = a->snapshot ? mesh_snapshot_settings(a->snapshot) : NULL;
	after = mesh_snapshot_settings(s);
	settings_same = before && before->refuse_unknown == after->refuse_unknown && before->h2_upgrade == after->h2_upgrade &&
			before->n_dns_upstream == after->n_dns_upstream &&
			(!after->n_dns_upstream || !memcmp(before->dns_upstream, after->dns_upstream, after->n_dns_upstream * sizeof(struct addr)));
	if (settings_same && !n.services && !n.workloads) {
		mesh_snapshot_unref(s);
		return;
	}
	/* A kernel that could not take it keeps the last good destinations; the proxies still get theirs, as they are the ones that decide. */
	(void)!kernel_sync(a, s);
	mesh_snapshot_unref(a->snapshot);
	a->snapshot = s;
	a->snapshot_wall_ns = clock_wall_ns();
	publish_set_snapshot(a->publish, s);
	log_info("snapshot in force", "generation=%llu services_changed=%zu workloads_changed=%zu us=%llu", (unsigned long long)generation, n.services,
		 n.workloads, (unsigned long long)((clock_mono_ns() - began) / NS_PER_US));
}
