/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The names a socket shows: cgroup/getpeername4|6 and cgroup/getsockname4|6 of the workload's cgroup
 *
 * The app sees the address it dialled, on its accepted sockets (accept() passes here too) the true client, and its own
 * address instead of the loopback one that a captured connection has. Changes names alone; fails open.
 */
#include "bpf/lib/sock.h"
#include "bpf/lib/workload.h"

/* The peer to show, or NULL for the kernel's answer. */
static __always_inline const struct trm_addr *peer_find(struct bpf_sock_addr *ctx)
{
	struct trm_sock *kept;

	if (!ctx->sk)
		return NULL;
	kept = sock_find(ctx->sk);
	if (!kept)
		return NULL;
	if (kept->orig_dst.port)
		return &kept->orig_dst;
	return kept->client.port ? &kept->client : NULL;
}

/* The workload's own address to show for a socket whose captured connection runs over loopback, or NULL. */
static __always_inline const __u8 *self_find(struct bpf_sock_addr *ctx, const __u8 shown[16])
{
	struct trm_workload *wl;
	struct trm_sock *kept;
	__u64 cookie;

	if (!ctx->sk || !ip_is_loopback(shown))
		return NULL;
	kept = sock_find(ctx->sk);
	if (!kept || !kept->orig_dst.port)
		return NULL;
	cookie = bpf_get_netns_cookie(ctx);
	wl = bpf_map_lookup_elem(&trm_workload, &cookie);
	if (!wl)
		return NULL;
	return ip_is_v4(kept->orig_dst.ip) ? wl->addr4 : wl->addr6;
}

SEC("cgroup/getpeername4")
int trm_getpeer4(struct bpf_sock_addr *ctx)
{
	const struct trm_addr *peer = peer_find(ctx);

	if (peer && ip_is_v4(peer->ip)) {
		ctx->user_ip4 = ip_word(peer->ip, 3);
		ctx->user_port = peer->port;
	}
	return 1;
}

SEC("cgroup/getpeername6")
int trm_getpeer6(struct bpf_sock_addr *ctx)
{
	const struct trm_addr *peer = peer_find(ctx);

	if (peer) {
		ctx->user_ip6[0] = ip_word(peer->ip, 0);
		ctx->user_ip6[1] = ip_word(peer->ip, 1);
		ctx->user_ip6[2] = ip_word(peer->ip, 2);
		ctx->user_ip6[3] = ip_word(peer->ip, 3);
		ctx->user_port = peer->port;
	}
	return 1;
}

SEC("cgroup/getsockname4")
int trm_getself4(struct bpf_sock_addr *ctx)
{
	struct trm_addr shown = {};
	const __u8 *self;

	addr_set_v4(&shown, ctx->user_ip4, 0);
	self = self_find(ctx, shown.ip);
	if (self)
		ctx->user_ip4 = ip_word(self, 3);
	return 1;
}

SEC("cgroup/getsockname6")
int trm_getself6(struct bpf_sock_addr *ctx)
{
	struct trm_addr shown = {};
	const __u8 *self;

	addr_set_v6(&shown, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3], 0);
	self = self_find(ctx, shown.ip);
	if (self) {
		ctx->user_ip6[0] = ip_word(self, 0);
		ctx->user_ip6[1] = ip_word(self, 1);
		ctx->user_ip6[2] = ip_word(self, 2);
		ctx->user_ip6[3] = ip_word(self, 3);
	}
	return 1;
}
