/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause OR Apache-2.0 */
/* Per-workload settings and exclusions, as the capture programs read them. */
#ifndef TRAMMEL_WORKLOAD_H
#define TRAMMEL_WORKLOAD_H

#include <linux/types.h>
#include "trammel/abi.h"

/* trm_workload[flags] */
#define TRM_WL_READY	      (1u << 0) /* policy has reached the proxy's slice: without it every connect is refused */
#define TRM_WL_REFUSE_UNKNOWN (1u << 1) /* outboundTrafficPolicy REGISTRY_ONLY: a destination not in trm_dest is refused */
#define TRM_WL_DNS_CAPTURE    (1u << 2) /* port 53, UDP and TCP, goes to the proxy */
#define TRM_WL_LEAVING	      (1u << 3) /* the workload is being released: the escape guard lets all pass */

/* Entries per map. Workload ids are 1..TRM_MAX_WORKLOADS - 1. */
#define TRM_MAX_WORKLOADS 4096
#define TRM_MAX_XPORTS	  32768
#define TRM_MAX_XCIDRS	  32768
#define TRM_MAX_DESTS	  262144
#define TRM_MAX_HANDOVERS 65536

/* Map trm_workload: key __u64 netns cookie, value this. */
struct trm_workload {
	__u32 id;	 /* small number, unique on the node; also the key prefix of the other maps */
	__u32 flags;	 /* TRM_WL_* */
	__u8 addr4[16];	 /* the workload's own address, v4-mapped; zero when it has none */
	__u8 addr6[16];	 /* zero when it has none */
	__u64 proxy_cgroup_id; /* the only cgroup whose TCP may leave by the interface */
};
_Static_assert(sizeof(struct trm_workload) == 48, "layout of trm_workload");

/* Map trm_xport (hash): excluded destination ports. Value __u8 1. */
struct trm_xport_key {
	__u32 workload_id;
	__be16 port;
	__u8 inbound; /* 1: a port of the workload itself that sk_lookup leaves to the app */
	__u8 pad;
};
_Static_assert(sizeof(struct trm_xport_key) == 8, "layout of trm_xport_key");

/* Map trm_xcidr (LPM trie): excluded destination networks. prefixlen counts workload_id's 32 bits too. Value __u8 1. */
struct trm_xcidr_key {
	__u32 prefixlen; /* 32 + prefix of the 16-byte address */
	__u32 workload_id;
	__u8 ip[16];
};
_Static_assert(sizeof(struct trm_xcidr_key) == 24, "layout of trm_xcidr_key");

/* Map trm_dest (hash): what the mesh knows, by address and port (port 0: the address as a whole). */
struct trm_dest_key {
	__u8 ip[16];
	__be16 port;
	__u8 pad[6];
};
_Static_assert(sizeof(struct trm_dest_key) == 24, "layout of trm_dest_key");

enum trm_dest_kind {
	TRM_DEST_SERVICE = 1,
	TRM_DEST_ENDPOINT = 2,
};

struct trm_dest {
	__u32 kind; /* enum trm_dest_kind */
	__u32 pad;
	__u64 generation; /* snapshot that wrote it */
};
_Static_assert(sizeof(struct trm_dest) == 16, "layout of trm_dest");

#endif
