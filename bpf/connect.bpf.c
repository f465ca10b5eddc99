/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Outbound capture: cgroup/connect4 and cgroup/connect6 of the workload's cgroup
 *
 * Hangs at connect() because here the destination can still be chosen: no packet is rewritten afterwards, no NAT is
 * kept. The destination goes into the socket's storage and the connection to the proxy on loopback; sockops hands it
 * over. By cgroup, so that the proxy's own connections, made outside it, are not seen. Fails closed: an unknown
 * workload, one without policy, or a socket that cannot remember is refused.
 */
#include "bpf/lib/dial.h"

/* A socket bound to a device cannot reach loopback: the proxy is there whatever device the app wanted. */
static __always_inline void device_unbind(struct bpf_sock_addr *ctx)
{
	char none[4] = "";

	if (ctx->sk && ctx->sk->bound_dev_if)
		(void)bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
}

/* An IPv6 socket that may also speak IPv4 can be spread over 127/8: not IPv6-only, not bound to an IPv6 address. */
static __always_inline bool sock_speaks_v4(struct bpf_sock *sk)
{
	struct sock_common *skc;
	__be32 w0, w1, w2, w3;

	if (!sk)
		return false;
	w0 = sk->src_ip6[0];
	w1 = sk->src_ip6[1];
	w2 = sk->src_ip6[2];
	w3 = sk->src_ip6[3];
	if ((w0 | w1) != 0 || (w2 != V4_PREFIX_WORD && (w2 | w3) != 0))
		return false;
	skc = (void *)bpf_skc_to_tcp6_sock(sk);
	if (!skc)
		return false;
	return BPF_CORE_READ_BITFIELD(skc, skc_ipv6only) == 0;
}

/* The address on loopback that stands for the proxy. */
static __always_inline __be32 proxy_ip4(const struct dial *d, __u32 reason)
{
	return reason == TRM_REASON_DNS ? bpf_htonl(0x7f000001) : loopback_spread(&d->dst);
}

static __always_inline __be16 proxy_port(__u32 reason)
{
	return reason == TRM_REASON_DNS ? bpf_htons(TRM_PORT_DNS) : bpf_htons(TRM_PORT_OUTBOUND);
}

SEC("cgroup/connect4")
int trm_connect4(struct bpf_sock_addr *ctx)
{
	struct dial d = {.protocol = ctx->protocol};
	__u32 reason;

	addr_set_v4(&d.dst, ctx->user_ip4, (__be16)ctx->user_port);
	reason = dial_remember(ctx, &d, dial_decide(ctx, &d));
	if (dial_is_captured(reason)) {
		device_unbind(ctx);
		ctx->user_ip4 = proxy_ip4(&d, reason);
		ctx->user_port = proxy_port(reason);
	}
	return dial_finish(&d, reason);
}

SEC("cgroup/connect6")
int trm_connect6(struct bpf_sock_addr *ctx)
{
	struct dial d = {.protocol = ctx->protocol};
	bool as_v4;
	__u32 reason;

	addr_set_v6(&d.dst, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3],
		    (__be16)ctx->user_port);
	reason = dial_remember(ctx, &d, dial_decide(ctx, &d));
	if (dial_is_captured(reason)) {
		as_v4 = ip_is_v4(d.dst.ip) || (reason == TRM_REASON_CAPTURED && sock_speaks_v4(ctx->sk));
		device_unbind(ctx);
		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = as_v4 ? V4_PREFIX_WORD : 0;
		ctx->user_ip6[3] = as_v4 ? proxy_ip4(&d, reason) : bpf_htonl(1);
		ctx->user_port = proxy_port(reason);
	}
	return dial_finish(&d, reason);
}
