/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Escape guard: tc egress of the workload's interface, inside its network namespace
 *
 * The last step behind the capture: TCP that opens a connection or carries bytes leaves only from the proxy's sockets.
 * It stops what connect() never saw: sockets made before their process joined the cgroup, raw-socket TCP, processes
 * that entered the namespace. Exclusions are exempt. Fails closed: TCP that cannot be parsed is dropped, and so is all
 * of it when the workload's settings are gone. Other protocols pass.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/pkt_cls.h>
#include "bpf/lib/report.h"
#include "bpf/lib/workload.h"

/* Which workload this instance serves. */
const volatile __u32 workload_id = 0;
const volatile __u64 netns_cookie = 0;
/* Bytes before the IP header: 14 on Ethernet, 0 on a device without link layer. */
const volatile __u32 l2_bytes = ETH_HLEN;

#define MAX_EXT_HEADERS 8
#define IPV4_FRAGMENT   0x3fff /* more fragments, or an offset */
#define NEXT_HOP        0
#define NEXT_ROUTING    43
#define NEXT_FRAGMENT   44
#define NEXT_AUTH       51
#define NEXT_DEST       60

enum parsed {
	PARSED_TCP,
	PARSED_OTHER, /* not TCP: passes */
	PARSED_BAD,
};

struct segment {
	struct trm_addr src, dst;
	__u32 tcp_off;
	__u32 end; /* of the IP packet */
	bool opens;
	bool carries;
};

static __always_inline enum parsed parse_v4(struct __sk_buff *skb, struct segment *s)
{
	struct iphdr ip;
	__u32 header_bytes;

	if (bpf_skb_load_bytes(skb, l2_bytes, &ip, sizeof(ip)))
		return PARSED_BAD;
	header_bytes = ip.ihl * 4;
	if (ip.version != 4 || header_bytes < sizeof(ip))
		return PARSED_BAD;
	if (ip.protocol != IPPROTO_TCP)
		return PARSED_OTHER;
	if (ip.frag_off & bpf_htons(IPV4_FRAGMENT))
		return PARSED_BAD;
	addr_set_v4(&s->src, ip.saddr, 0);
	addr_set_v4(&s->dst, ip.daddr, 0);
	s->tcp_off = l2_bytes + header_bytes;
	return PARSED_TCP;
}

/* Walks the extension headers; @ret_off is where the header of @ret_next begins. False when they cannot be walked. */
static __always_inline bool ext_headers_skip(struct __sk_buff *skb, __u8 *ret_next, __u32 *ret_off)
{
	__u8 next = *ret_next, ext[2];
	__u32 off = *ret_off;
	__be16 frag;

	for (int i = 0; i < MAX_EXT_HEADERS; i++) {
		if (next != NEXT_HOP && next != NEXT_ROUTING && next != NEXT_DEST && next != NEXT_AUTH &&
		    next != NEXT_FRAGMENT) {
			*ret_next = next;
			*ret_off = off;
			return true;
		}
		if (bpf_skb_load_bytes(skb, off, ext, sizeof(ext)))
			return false;
		if (next == NEXT_FRAGMENT) {
			/* Only the first fragment of a whole packet can be walked on; a fragment of UDP passes. */
			if (bpf_skb_load_bytes(skb, off + 2, &frag, sizeof(frag)))
				return false;
			if ((frag & bpf_htons(0xfff9)) && ext[0] != IPPROTO_UDP && ext[0] != IPPROTO_ICMPV6)
				return false;
			off += 8;
		} else {
			off += next == NEXT_AUTH ? (ext[1] + 2) * 4 : (ext[1] + 1) * 8;
		}
		next = ext[0];
	}
	return false;
}

static __always_inline enum parsed parse_v6(struct __sk_buff *skb, struct segment *s)
{
	struct ipv6hdr ip;
	__u32 off = l2_bytes + sizeof(ip);
	__u8 next;

	if (bpf_skb_load_bytes(skb, l2_bytes, &ip, sizeof(ip)) || ip.version != 6)
		return PARSED_BAD;
	next = ip.nexthdr;
	if (!ext_headers_skip(skb, &next, &off))
		return PARSED_BAD;
	if (next != IPPROTO_TCP)
		return PARSED_OTHER;
	__builtin_memcpy(s->src.ip, &ip.saddr, 16);
	__builtin_memcpy(s->dst.ip, &ip.daddr, 16);
	s->tcp_off = off;
	return PARSED_TCP;
}

static __always_inline enum parsed parse_tcp(struct __sk_buff *skb, struct segment *s)
{
	struct tcphdr tcp;
	__u32 header_bytes;

	if (bpf_skb_load_bytes(skb, s->tcp_off, &tcp, sizeof(tcp)))
		return PARSED_BAD;
	header_bytes = tcp.doff * 4;
	if (header_bytes < sizeof(tcp) || s->tcp_off + header_bytes > skb->len)
		return PARSED_BAD;
	s->src.port = tcp.source;
	s->dst.port = tcp.dest;
	s->opens = tcp.syn;
	s->carries = s->tcp_off + header_bytes < skb->len;
	return PARSED_TCP;
}

/* By the frame's own type where it has one: skb->protocol of a packet socket is whatever its owner said. */
static __always_inline enum parsed parse_packet(struct __sk_buff *skb, struct segment *s)
{
	__be16 type = (__be16)skb->protocol;
	enum parsed p;

	if (l2_bytes >= ETH_HLEN && bpf_skb_load_bytes(skb, l2_bytes - 2, &type, sizeof(type)))
		return PARSED_BAD;
	if (type == bpf_htons(ETH_P_ARP))
		return PARSED_OTHER;
	if (skb->vlan_present)
		return PARSED_BAD;
	if (type == bpf_htons(ETH_P_IP))
		p = parse_v4(skb, s);
	else if (type == bpf_htons(ETH_P_IPV6))
		p = parse_v6(skb, s);
	else
		return PARSED_BAD;
	return p == PARSED_TCP ? parse_tcp(skb, s) : p;
}

static __always_inline __u32 guard_decide(struct __sk_buff *skb, struct segment *s)
{
	enum parsed p = parse_packet(skb, s);
	__u64 cookie = netns_cookie;
	struct trm_workload *wl;

	/* 1: what is not a connection being opened or used */
	if (p == PARSED_BAD)
		return TRM_REASON_BAD_PACKET;
	if (p == PARSED_OTHER || (!s->opens && !s->carries))
		return TRM_REASON_NONE;

	/* 2: the proxy's own */
	wl = bpf_map_lookup_elem(&trm_workload, &cookie);
	if (!wl)
		return TRM_REASON_WORKLOAD_UNKNOWN;
	if (wl->flags & TRM_WL_LEAVING)
		return TRM_REASON_NONE;
	if (wl->proxy_cgroup_id && bpf_skb_cgroup_id(skb) == wl->proxy_cgroup_id)
		return TRM_REASON_NONE;

	/* 3: exclusions, outbound and inbound */
	if (port_is_excluded(workload_id, s->dst.port, false) || ip_is_excluded(workload_id, s->dst.ip) ||
	    port_is_excluded(workload_id, s->src.port, true))
		return TRM_REASON_NONE;
	return TRM_REASON_ESCAPE;
}

SEC("tc")
int trm_guard(struct __sk_buff *skb)
{
	struct segment s = {};
	struct report r = {.workload_id = workload_id, .protocol = IPPROTO_TCP, .netns_cookie = netns_cookie};

	r.reason = guard_decide(skb, &s);
	if (r.reason == TRM_REASON_NONE)
		return TC_ACT_UNSPEC;
	r.src = &s.src;
	r.dst = &s.dst;
	report_drop(&r);
	return TC_ACT_SHOT;
}
