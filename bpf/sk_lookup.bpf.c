/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inbound steering: sk_lookup of the workload's network namespace
 *
 * Every TCP port that is reached by the wire belongs to the proxy's listener; the address that was dialled stays the
 * socket's local address. What comes from the workload itself (the proxy's own hop to the app, the app to itself) is
 * left alone.
 * Fails closed: with no listener in the slot the packet is dropped (the client sees a refusal), never handed to the
 * app. One instance per workload, because this hook offers no netns cookie.
 */
#include "bpf/lib/report.h"
#include "bpf/lib/workload.h"

/* Which workload this instance serves. */
const volatile __u32 workload_id = 0;
const volatile __u64 netns_cookie = 0;

static __always_inline __u32 slot_of(__u32 port)
{
	switch (port) {
	case TRM_PORT_METRICS:
		return TRM_SLOT_METRICS;
	case TRM_PORT_READY:
		return TRM_SLOT_READY;
	default:
		return TRM_SLOT_INBOUND;
	}
}

static __always_inline void ends_read(struct bpf_sk_lookup *ctx, struct trm_addr *src, struct trm_addr *dst)
{
	__be16 lport = bpf_htons((__u16)ctx->local_port);

	if (ctx->family == AF_INET) {
		addr_set_v4(src, ctx_u32(ctx, remote_ip4), ctx->remote_port);
		addr_set_v4(dst, ctx_u32(ctx, local_ip4), lport);
	} else {
		addr_set_v6(src, ctx_u32(ctx, remote_ip6[0]), ctx_u32(ctx, remote_ip6[1]), ctx_u32(ctx, remote_ip6[2]),
			    ctx_u32(ctx, remote_ip6[3]), ctx->remote_port);
		addr_set_v6(dst, ctx_u32(ctx, local_ip6[0]), ctx_u32(ctx, local_ip6[1]), ctx_u32(ctx, local_ip6[2]),
			    ctx_u32(ctx, local_ip6[3]), lport);
	}
}

/*
 * Packets to 127/8 and ::1 come in by interface 1. Packets to the workload's own address travel by loopback too, but
 * the kernel names the interface that has the address; those are told by their source. From the wire such a source is
 * a martian, or a forgery whose answers never reach the forger.
 */
static __always_inline bool is_from_self(struct bpf_sk_lookup *ctx, const struct trm_addr *src,
					 const struct trm_addr *dst)
{
	__u64 cookie = netns_cookie;
	struct trm_workload *wl;

	if (ctx->ingress_ifindex == LOOPBACK_IFINDEX || ip_is_loopback(src->ip) || ip_eq(src->ip, dst->ip))
		return true;
	wl = bpf_map_lookup_elem(&trm_workload, &cookie);
	return wl && ip_is_own(wl, src->ip);
}

static __always_inline void steer_tell(__u32 reason, const struct trm_addr *src, const struct trm_addr *dst)
{
	struct report r = {
		.reason = reason,
		.workload_id = workload_id,
		.protocol = IPPROTO_TCP,
		.inbound = 1,
		.netns_cookie = netns_cookie,
		.src = src,
		.dst = dst,
	};

	if (reason == TRM_REASON_PROXY_MISSING)
		report_drop(&r);
	else
		report_flow(&r);
}

SEC("sk_lookup")
int trm_sk_lookup(struct bpf_sk_lookup *ctx)
{
	struct trm_addr src = {}, dst = {};
	struct bpf_sock *listener;
	__u32 key;
	long err;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	ends_read(ctx, &src, &dst);
	if (is_from_self(ctx, &src, &dst))
		return SK_PASS;
	if (port_is_excluded(workload_id, dst.port, true)) {
		count(TRM_REASON_EXCLUDED_PORT);
		return SK_PASS;
	}
	key = workload_id * TRM_SLOTS + slot_of(ctx->local_port);
	listener = bpf_map_lookup_elem(&trm_listener, &key);
	if (!listener) {
		steer_tell(TRM_REASON_PROXY_MISSING, &src, &dst);
		return SK_DROP;
	}
	err = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	steer_tell(err ? TRM_REASON_PROXY_MISSING : TRM_REASON_STEERED, &src, &dst);
	return err ? SK_DROP : SK_PASS;
}
