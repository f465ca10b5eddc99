/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Unconnected DNS: cgroup/sendmsg4|6 and cgroup/recvmsg4|6 of the workload's cgroup
 *
 * Some resolvers (musl's) never connect() their UDP socket. A query to any port 53 goes to the proxy; the answer shows
 * the address that was asked (the last one, when one socket asks several). All other datagrams are left alone. A
 * query of a workload without policy is refused.
 */
#include "bpf/lib/dial.h"

static __always_inline bool is_from_proxy(const struct trm_addr *from)
{
	return from->port == bpf_htons(TRM_PORT_DNS) && ip_is_loopback(from->ip);
}

SEC("cgroup/sendmsg4")
int trm_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct dial d = {.protocol = ctx->protocol};
	__u32 reason;

	if (ctx->user_port != bpf_htons(DNS_PORT))
		return 1;
	addr_set_v4(&d.dst, ctx->user_ip4, (__be16)ctx->user_port);
	reason = dial_remember(ctx, &d, dial_decide(ctx, &d));
	if (dial_is_captured(reason)) {
		ctx->user_ip4 = bpf_htonl(0x7f000001);
		ctx->user_port = bpf_htons(TRM_PORT_DNS);
	}
	return dial_finish(&d, reason);
}

SEC("cgroup/sendmsg6")
int trm_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct dial d = {.protocol = ctx->protocol};
	__u32 reason;
	bool as_v4;

	if (ctx->user_port != bpf_htons(DNS_PORT))
		return 1;
	addr_set_v6(&d.dst, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3],
		    (__be16)ctx->user_port);
	reason = dial_remember(ctx, &d, dial_decide(ctx, &d));
	if (dial_is_captured(reason)) {
		as_v4 = ip_is_v4(d.dst.ip);
		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = as_v4 ? V4_PREFIX_WORD : 0;
		ctx->user_ip6[3] = as_v4 ? bpf_htonl(0x7f000001) : bpf_htonl(1);
		ctx->user_port = bpf_htons(TRM_PORT_DNS);
	}
	return dial_finish(&d, reason);
}

SEC("cgroup/recvmsg4")
int trm_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct trm_addr from = {};
	struct trm_sock *kept;

	addr_set_v4(&from, ctx->user_ip4, (__be16)ctx->user_port);
	if (!is_from_proxy(&from) || !ctx->sk)
		return 1;
	kept = sock_find(ctx->sk);
	if (!kept || !kept->orig_dst.port || !ip_is_v4(kept->orig_dst.ip))
		return 1;
	ctx->user_ip4 = ip_word(kept->orig_dst.ip, 3);
	ctx->user_port = kept->orig_dst.port;
	return 1;
}

SEC("cgroup/recvmsg6")
int trm_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct trm_addr from = {};
	struct trm_sock *kept;

	addr_set_v6(&from, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3],
		    (__be16)ctx->user_port);
	if (!is_from_proxy(&from) || !ctx->sk)
		return 1;
	kept = sock_find(ctx->sk);
	if (!kept || !kept->orig_dst.port)
		return 1;
	ctx->user_ip6[0] = ip_word(kept->orig_dst.ip, 0);
	ctx->user_ip6[1] = ip_word(kept->orig_dst.ip, 1);
	ctx->user_ip6[2] = ip_word(kept->orig_dst.ip, 2);
	ctx->user_ip6[3] = ip_word(kept->orig_dst.ip, 3);
	ctx->user_port = kept->orig_dst.port;
	return 1;
}
