/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hand-over between the two ends of a loopback connection: sockops of the workload's and of the proxy's cgroup
 *
 * The connecting end files what is known of the connection under its 4-tuple before the SYN leaves (at connect, not at
 * established: a fast open is accepted while the SYN is processed); the accepting end moves it into its own socket's
 * storage, so the table holds only connections that are being made. What the other end never takes is removed when
 * the connecting socket closes. A full table is counted; the proxy then finds no original destination and refuses.
 * The app's listeners are told to the agent.
 */
#include "bpf/lib/report.h"
#include "bpf/lib/sock.h"

enum end_of {
	END_LOCAL,  /* src is the local end: the connecting side */
	END_REMOTE, /* src is the remote end: the accepting side */
};

static __always_inline void tuple_read(struct bpf_sock_ops *ctx, enum end_of from, struct trm_tuple *t)
{
	struct trm_addr local = {}, remote = {};
	__be16 lport = bpf_htons((__u16)ctx->local_port);
	__be16 rport = bpf_htons((__u16)bpf_ntohl(ctx->remote_port));

	if (ctx->family == AF_INET) {
		addr_set_v4(&local, ctx_u32(ctx, local_ip4), lport);
		addr_set_v4(&remote, ctx_u32(ctx, remote_ip4), rport);
	} else {
		addr_set_v6(&local, ctx_u32(ctx, local_ip6[0]), ctx_u32(ctx, local_ip6[1]), ctx_u32(ctx, local_ip6[2]),
			    ctx_u32(ctx, local_ip6[3]), lport);
		addr_set_v6(&remote, ctx_u32(ctx, remote_ip6[0]), ctx_u32(ctx, remote_ip6[1]),
			    ctx_u32(ctx, remote_ip6[2]), ctx_u32(ctx, remote_ip6[3]), rport);
	}
	t->netns_cookie = bpf_get_netns_cookie(ctx);
	t->src = from == END_LOCAL ? local : remote;
	t->dst = from == END_LOCAL ? remote : local;
}

static __always_inline __u32 workload_id_of(__u64 netns_cookie)
{
	struct trm_workload *wl = bpf_map_lookup_elem(&trm_workload, &netns_cookie);

	return wl ? wl->id : 0;
}

static __always_inline void state_watch(struct bpf_sock_ops *ctx, bool on)
{
	int flags = ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_STATE_CB_FLAG;

	bpf_sock_ops_cb_flags_set(ctx, on ? flags | BPF_SOCK_OPS_STATE_CB_FLAG : flags);
}

static __always_inline void handover_file(struct bpf_sock_ops *ctx)
{
	struct report r = {.reason = TRM_REASON_HANDOVER_FULL, .protocol = IPPROTO_TCP};
	struct bpf_sock *sk = ctx->sk;
	struct trm_tuple t = {};
	struct trm_sock *kept;

	if (!sk)
		return;
	kept = sock_find(sk);
	if (!kept)
		return;
	kept->cookie = bpf_get_socket_cookie(ctx);
	tuple_read(ctx, END_LOCAL, &t);
	if (bpf_map_update_elem(&trm_handover, &t, kept, BPF_ANY)) {
		r.netns_cookie = t.netns_cookie;
		r.workload_id = workload_id_of(t.netns_cookie);
		r.src = &t.src;
		r.dst = &kept->orig_dst;
		report_drop(&r);
		return;
	}
	state_watch(ctx, true);
}

static __always_inline void handover_take(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct trm_sock *filed, *kept;
	struct trm_tuple t = {};

	state_watch(ctx, false); /* inherited from the listener */
	if (!sk)
		return;
	tuple_read(ctx, END_REMOTE, &t);
	filed = bpf_map_lookup_elem(&trm_handover, &t);
	if (!filed)
		return;
	kept = bpf_sk_storage_get(&trm_sock, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept) {
		count(TRM_REASON_STORAGE_FAILED);
		bpf_map_delete_elem(&trm_handover, &t);
		return;
	}
	*kept = *filed;
	/* A deleted entry may be another connection's by now: what was copied counts only if ours is still there. */
	if (bpf_map_delete_elem(&trm_handover, &t))
		bpf_sk_storage_delete(&trm_sock, sk);
}

static __always_inline void handover_drop(struct bpf_sock_ops *ctx)
{
	struct trm_tuple t = {};
	struct trm_sock *filed;

	tuple_read(ctx, END_LOCAL, &t);
	filed = bpf_map_lookup_elem(&trm_handover, &t);
	if (filed && filed->cookie == bpf_get_socket_cookie(ctx))
		bpf_map_delete_elem(&trm_handover, &t);
}

static __always_inline void listener_tell(struct bpf_sock_ops *ctx, __u32 kind)
{
	struct report r = {.kind = kind, .protocol = IPPROTO_TCP, .inbound = 1};
	struct trm_tuple t = {};

	tuple_read(ctx, END_LOCAL, &t);
	r.netns_cookie = t.netns_cookie;
	r.workload_id = workload_id_of(t.netns_cookie);
	r.src = &t.src;
	event_send(&r);
}

static __always_inline int sockops_run(struct bpf_sock_ops *ctx, bool is_app)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		handover_file(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		handover_take(ctx);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		if (is_app) {
			state_watch(ctx, true);
			listener_tell(ctx, TRM_EVENT_LISTEN);
		}
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] != BPF_TCP_CLOSE)
			break;
		if (ctx->args[0] != BPF_TCP_LISTEN)
			handover_drop(ctx);
		else if (is_app)
			listener_tell(ctx, TRM_EVENT_CLOSE);
		break;
	}
	return 1;
}

SEC("sockops")
int trm_sockops_app(struct bpf_sock_ops *ctx)
{
	return sockops_run(ctx, true);
}

SEC("sockops")
int trm_sockops_px(struct bpf_sock_ops *ctx)
{
	return sockops_run(ctx, false);
}
