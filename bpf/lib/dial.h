/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of a destination the app asks for: handed to the proxy, left alone, or refused
 *
 * One ladder for connect() and for datagrams, v4, v6 and v4-mapped v6. The answer is a reason; dial_is_captured() and
 * dial_is_refused() sort it.
 */
#ifndef TRAMMEL_BPF_DIAL_H
#define TRAMMEL_BPF_DIAL_H

#include "bpf/lib/report.h"
#include "bpf/lib/sock.h"
#include "bpf/lib/workload.h"

/* bpf_set_retval() is there: a refusal is ECONNREFUSED instead of EPERM (kernel 6.0). */
const volatile bool has_set_retval = false;

#define DNS_PORT 53

struct dial {
	struct trm_addr dst; /* as the app asked */
	__u64 netns_cookie;
	__u32 workload_id;
	__u32 protocol;
};

static __always_inline bool dial_is_tcp(const struct dial *d)
{
	return d->protocol == IPPROTO_TCP || d->protocol == IPPROTO_MPTCP_LAN;
}

static __always_inline bool dial_is_captured(__u32 reason)
{
	return reason == TRM_REASON_CAPTURED || reason == TRM_REASON_DNS;
}

static __always_inline bool dial_is_refused(__u32 reason)
{
	return !dial_is_captured(reason) && reason != TRM_REASON_NOT_TCP && reason != TRM_REASON_LOOPBACK &&
	       reason != TRM_REASON_EXCLUDED_PORT && reason != TRM_REASON_EXCLUDED_CIDR;
}

static __always_inline bool port_is_proxys(__be16 port)
{
	return port == bpf_htons(TRM_PORT_OUTBOUND) || port == bpf_htons(TRM_PORT_INBOUND) ||
	       port == bpf_htons(TRM_PORT_HBONE);
}

static __always_inline __u32 dial_decide(struct bpf_sock_addr *ctx, struct dial *d)
{
	bool tcp = dial_is_tcp(d);
	bool dns = d->dst.port == bpf_htons(DNS_PORT) && (tcp || d->protocol == IPPROTO_UDP);
	struct trm_workload *wl;

	/* 1: what is not ours to judge */
	if (!tcp && !dns)
		return TRM_REASON_NOT_TCP;

	/* 2: closed until the workload is known and has its policy */
	d->netns_cookie = bpf_get_netns_cookie(ctx);
	wl = bpf_map_lookup_elem(&trm_workload, &d->netns_cookie);
	if (!wl)
		return TRM_REASON_WORKLOAD_UNKNOWN;
	d->workload_id = wl->id;
	if (!(wl->flags & TRM_WL_READY))
		return TRM_REASON_POLICY_MISSING;
	if (dns && !(wl->flags & TRM_WL_DNS_CAPTURE)) {
		if (!tcp)
			return TRM_REASON_NOT_TCP;
		dns = false;
	}

	/* 3: exclusions */
	if (port_is_excluded(wl->id, d->dst.port, false))
		return TRM_REASON_EXCLUDED_PORT;
	if (ip_is_excluded(wl->id, d->dst.ip))
		return TRM_REASON_EXCLUDED_CIDR;

	/* 4: names, also those asked of a resolver on loopback */
	if (dns)
		return TRM_REASON_DNS;

	/* 5: what never leaves the workload; the workload's own address goes by loopback too */
	if (ip_is_loopback(d->dst.ip) || ip_is_own(wl, d->dst.ip))
		return port_is_proxys(d->dst.port) ? TRM_REASON_PROXY_PORT : TRM_REASON_LOOPBACK;

	/* 6: registry only */
	if ((wl->flags & TRM_WL_REFUSE_UNKNOWN) && !dest_is_known(&d->dst))
		return TRM_REASON_DST_UNKNOWN;
	return TRM_REASON_CAPTURED;
}

/* Keeps the destination with the socket, or forgets an older one; a socket that cannot remember is refused. */
static __always_inline __u32 dial_remember(struct bpf_sock_addr *ctx, struct dial *d, __u32 reason)
{
	struct bpf_sock *sk = ctx->sk;
	struct trm_sock what = {};

	if (!sk)
		return TRM_REASON_STORAGE_FAILED;
	if (!dial_is_captured(reason)) {
		sock_forget(sk);
		return reason;
	}
	what.orig_dst = d->dst;
	what.cookie = bpf_get_socket_cookie(ctx);
	what.opened_ns = bpf_ktime_get_ns();
	return sock_remember(sk, &what) ? reason : TRM_REASON_STORAGE_FAILED;
}

/* Counts, tells, and gives the hook's return value: 1 goes on, 0 is an error for the app. */
static __always_inline int dial_finish(const struct dial *d, __u32 reason)
{
	struct report r = {
		.reason = reason,
		.workload_id = d->workload_id,
		.protocol = dial_is_tcp(d) ? IPPROTO_TCP : (__u8)d->protocol,
		.netns_cookie = d->netns_cookie,
		.dst = &d->dst,
	};

	if (!dial_is_refused(reason)) {
		report_flow(&r);
		return 1;
	}
	report_drop(&r);
	if (has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

#endif
