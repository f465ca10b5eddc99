/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause OR Apache-2.0 */
/* Hand-over between sockets, socket storage, and the events the kernel reports. */
#ifndef TRAMMEL_FLOW_H
#define TRAMMEL_FLOW_H

#include <linux/types.h>
#include "trammel/abi.h"

/*
 * Map trm_handover (hash): from the connecting socket to the accepted one. The connecting side files at
 * TCP_CONNECT (before the SYN leaves, so that fast open finds it), the accepted side takes it out.
 */
struct trm_tuple {
	__u64 netns_cookie;
	struct trm_addr src; /* of the connecting socket */
	struct trm_addr dst;
};
_Static_assert(sizeof(struct trm_tuple) == 56, "layout of trm_tuple");

/* What is known of a connection; value of trm_handover and of the socket storage map trm_sock. */
struct trm_sock {
	struct trm_addr orig_dst; /* outbound: what the app dialled. zero otherwise */
	struct trm_addr client;	  /* towards the app: the true client. zero otherwise */
	__u64 cookie;		  /* socket cookie of the connecting socket */
	__u64 opened_ns;	  /* bpf_ktime_get_ns() */
};
_Static_assert(sizeof(struct trm_sock) == 64, "layout of trm_sock");

enum trm_event_kind {
	TRM_EVENT_FLOW = 1,   /* captured, steered or left alone */
	TRM_EVENT_DROP = 2,   /* refused; reason says why */
	TRM_EVENT_LISTEN = 3, /* the app listens on src.port */
	TRM_EVENT_CLOSE = 4,  /* the app no longer listens on src.port */
};

/* Ring buffer trm_events. */
struct trm_event {
	__u32 kind;   /* enum trm_event_kind */
	__u32 reason; /* enum trm_reason */
	__u32 workload_id;
	__u8 protocol; /* IPPROTO_* */
	__u8 inbound;
	__u8 pad[2];
	__u64 time_ns; /* bpf_ktime_get_ns() */
	__u64 netns_cookie;
	struct trm_addr src, dst;
};
_Static_assert(sizeof(struct trm_event) == 80, "layout of trm_event");

#define TRM_EVENTS_BYTES      (256 * 1024) /* of the ring buffer */
#define TRM_EVENTS_PER_S      1024	   /* per CPU and kind of event */
#define TRM_DROP_EVENTS_PER_S 64	   /* per CPU: the rest is counted alone */

/* Map trm_budget (per-CPU array by event kind): what was sent in this second. */
struct trm_budget {
	__u64 second; /* bpf_ktime_get_ns() / 1e9 */
	__u64 used;
};
_Static_assert(sizeof(struct trm_budget) == 16, "layout of trm_budget");

/* TRM_SO_FLOW */
struct trm_flow_id {
	__u64 cookie;
	__u64 opened_ns;
};
_Static_assert(sizeof(struct trm_flow_id) == 16, "layout of trm_flow_id");

#endif
