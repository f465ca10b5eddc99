/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lookups in a workload's settings. */
#ifndef TRAMMEL_BPF_WORKLOAD_H
#define TRAMMEL_BPF_WORKLOAD_H

#include "bpf/lib/addr.h"
#include "bpf/lib/maps.h"

static __always_inline bool port_is_excluded(__u32 workload_id, __be16 port, bool inbound)
{
	struct trm_xport_key key = {.workload_id = workload_id, .port = port, .inbound = inbound};

	return bpf_map_lookup_elem(&trm_xport, &key) != NULL;
}

static __always_inline bool ip_is_excluded(__u32 workload_id, const __u8 ip[16])
{
	struct trm_xcidr_key key = {.prefixlen = 32 + 128, .workload_id = workload_id};

	__builtin_memcpy(key.ip, ip, 16);
	return bpf_map_lookup_elem(&trm_xcidr, &key) != NULL;
}

static __always_inline bool dest_is_known(const struct trm_addr *dst)
{
	struct trm_dest_key key = {.port = dst->port};

	__builtin_memcpy(key.ip, dst->ip, 16);
	if (bpf_map_lookup_elem(&trm_dest, &key))
		return true;
	key.port = 0;
	return bpf_map_lookup_elem(&trm_dest, &key) != NULL;
}

static __always_inline bool ip_is_own(const struct trm_workload *wl, const __u8 ip[16])
{
	return !ip_is_zero(ip) && (ip_eq(ip, wl->addr4) || ip_eq(ip, wl->addr6));
}

#endif
