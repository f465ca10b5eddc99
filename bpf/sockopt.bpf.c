/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Questions the proxy asks of its sockets: cgroup/getsockopt and cgroup/setsockopt of the proxy's cgroup
 *
 * SO_ORIGINAL_DST (both families) and TRM_SO_FLOW answer from the accepted socket's storage, so the proxy needs no
 * right to BPF; TRM_SO_CLIENT_ADDR names the true client before the proxy dials the app. Hangs at the proxy's cgroup
 * alone: an app cannot name a client. A socket that nothing is known of gets the kernel's own answer, an error.
 */
#include "bpf/lib/addr.h"
#include "bpf/lib/sock.h"

static __always_inline int answer_v4(struct bpf_sockopt *ctx, const struct trm_sock *kept)
{
	struct sockaddr_in *sin = ctx->optval;

	if ((void *)(sin + 1) > ctx->optval_end || !ip_is_v4(kept->orig_dst.ip))
		return 1;
	__builtin_memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_port = kept->orig_dst.port;
	sin->sin_addr.s_addr = ip_word(kept->orig_dst.ip, 3);
	ctx->optlen = sizeof(*sin);
	ctx->retval = 0;
	return 1;
}

static __always_inline int answer_v6(struct bpf_sockopt *ctx, const struct trm_sock *kept)
{
	struct sockaddr_in6 *sin6 = ctx->optval;

	if ((void *)(sin6 + 1) > ctx->optval_end)
		return 1;
	__builtin_memset(sin6, 0, sizeof(*sin6));
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = kept->orig_dst.port;
	__builtin_memcpy(&sin6->sin6_addr, kept->orig_dst.ip, 16);
	ctx->optlen = sizeof(*sin6);
	ctx->retval = 0;
	return 1;
}

static __always_inline int answer_flow(struct bpf_sockopt *ctx, const struct trm_sock *kept)
{
	struct trm_flow_id *id = ctx->optval;

	if ((void *)(id + 1) > ctx->optval_end)
		return 1;
	id->cookie = kept->cookie;
	id->opened_ns = kept->opened_ns;
	ctx->optlen = sizeof(*id);
	ctx->retval = 0;
	return 1;
}

SEC("cgroup/getsockopt")
int trm_getsockopt(struct bpf_sockopt *ctx)
{
	bool v4 = ctx->level == SOL_IP && ctx->optname == SO_ORIGINAL_DST;
	bool v6 = ctx->level == SOL_IPV6 && ctx->optname == SO_ORIGINAL_DST;
	bool flow = ctx->level == TRM_SOL && ctx->optname == TRM_SO_FLOW;
	struct trm_sock *kept;

	if (!v4 && !v6 && !flow)
		return 1;
	if (!ctx->sk)
		return 1;
	kept = sock_find(ctx->sk);
	if (!kept || !kept->orig_dst.port)
		return 1;
	if (v4)
		return answer_v4(ctx, kept);
	return v6 ? answer_v6(ctx, kept) : answer_flow(ctx, kept);
}

SEC("cgroup/setsockopt")
int trm_setsockopt(struct bpf_sockopt *ctx)
{
	struct trm_addr *client = ctx->optval;
	struct trm_sock *kept;

	if (ctx->level != TRM_SOL)
		return 1;
	if (ctx->optname != TRM_SO_CLIENT_ADDR || (void *)(client + 1) > ctx->optval_end || !ctx->sk)
		return 0;
	kept = bpf_sk_storage_get(&trm_sock, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept)
		return 0;
	__builtin_memset(kept, 0, sizeof(*kept));
	__builtin_memcpy(kept->client.ip, client->ip, 16);
	kept->client.port = client->port;
	kept->opened_ns = bpf_ktime_get_ns();
	ctx->optlen = -1; /* the kernel need not see it */
	return 1;
}
