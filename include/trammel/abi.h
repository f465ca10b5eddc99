/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause OR Apache-2.0 */
/*
 * What kernel and user space agree on: names, ports, versions
 *
 * Read by two compilers (clang -target bpf and the host's), so it includes <linux/types.h> alone. A change of any
 * layout in this folder raises TRM_ABI, which is part of the pin path: two versions never share a map.
 */
#ifndef TRAMMEL_ABI_H
#define TRAMMEL_ABI_H

#include <linux/types.h>

#define TRM_ABI 1

/* Ports of the ecosystem (Istio's numbers), host order. */
#define TRM_PORT_OUTBOUND 15001
#define TRM_PORT_INBOUND  15006
#define TRM_PORT_HBONE	  15008
#define TRM_PORT_READY	  15021
#define TRM_PORT_DNS	  15053
#define TRM_PORT_METRICS  15090

/* Is @port (host order) one that the proxy itself listens on, for anybody? */
static inline int trm_port_is_proxys(__u16 port)
{
	return port == TRM_PORT_OUTBOUND || port == TRM_PORT_INBOUND || port == TRM_PORT_HBONE || port == TRM_PORT_READY ||
	       port == TRM_PORT_DNS || port == TRM_PORT_METRICS;
}

/* Slots of the per-workload listener sockmap that sk_lookup steers to. */
enum trm_slot {
	TRM_SLOT_INBOUND = 0,
	TRM_SLOT_METRICS = 1,
	TRM_SLOT_READY = 2,
	TRM_SLOTS = 4,
};

/* The proxy's hand-over of the true client address before it dials the app: setsockopt(fd, level, name, addr). */
#define TRM_SOL		       0x54524d /* "TRM" */
#define TRM_SO_CLIENT_ADDR     1	/* struct trm_addr */
/* getsockopt(fd, TRM_SOL, TRM_SO_FLOW): struct trm_flow_id of an accepted outbound connection. */
#define TRM_SO_FLOW	       2

/* An address: 16 bytes in network order (IPv4 as ::ffff:a.b.c.d), port in network order. */
struct trm_addr {
	__u8 ip[16];
	__be16 port;
	__u8 pad[6];
};
_Static_assert(sizeof(struct trm_addr) == 24, "layout of trm_addr");

#endif
