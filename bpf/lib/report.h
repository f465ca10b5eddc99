/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counters and events
 *
 * Everything is counted; drops and listeners are also told, within a budget per CPU and second, so that a flood of
 * refusals costs a counter and no more. Captured flows are told only where an operator asks for it.
 */
#ifndef TRAMMEL_BPF_REPORT_H
#define TRAMMEL_BPF_REPORT_H

#include "bpf/lib/addr.h"
#include "bpf/lib/maps.h"

/* Tell of captured and steered connections too. */
const volatile bool trace_flows = false;

struct report {
	__u32 kind;
	__u32 reason;
	__u32 workload_id;
	__u8 protocol;
	__u8 inbound;
	__u64 netns_cookie;
	const struct trm_addr *src; /* NULL where not known */
	const struct trm_addr *dst;
};

static __always_inline void count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&trm_count, &reason);

	if (n)
		(*n)++;
}

static __always_inline bool budget_take(__u32 kind, __u64 now_ns)
{
	struct trm_budget *b = bpf_map_lookup_elem(&trm_budget, &kind);
	__u64 second = now_ns / 1000000000ull;

	if (!b)
		return false;
	if (b->second != second) {
		b->second = second;
		b->used = 0;
	}
	if (b->used >= (kind == TRM_EVENT_DROP ? TRM_DROP_EVENTS_PER_S : TRM_EVENTS_PER_S))
		return false;
	b->used++;
	return true;
}

static __always_inline void event_send(const struct report *r)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct trm_event *ev;

	if (!budget_take(r->kind, now_ns))
		return;
	ev = bpf_ringbuf_reserve(&trm_events, sizeof(*ev), 0);
	if (!ev)
		return;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->kind = r->kind;
	ev->reason = r->reason;
	ev->workload_id = r->workload_id;
	ev->protocol = r->protocol;
	ev->inbound = r->inbound;
	ev->time_ns = now_ns;
	ev->netns_cookie = r->netns_cookie;
	if (r->src)
		ev->src = *r->src;
	if (r->dst)
		ev->dst = *r->dst;
	bpf_ringbuf_submit(ev, 0);
}

static __always_inline void report_drop(struct report *r)
{
	count(r->reason);
	r->kind = TRM_EVENT_DROP;
	event_send(r);
}

static __always_inline void report_flow(struct report *r)
{
	count(r->reason);
	r->kind = TRM_EVENT_FLOW;
	if (trace_flows)
		event_send(r);
}

#endif
