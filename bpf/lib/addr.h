/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses: 16 bytes after the edge, so that IPv4, IPv6 and v4-mapped IPv6 share one body. */
#ifndef TRAMMEL_BPF_ADDR_H
#define TRAMMEL_BPF_ADDR_H

#include "bpf/lib/kern.h"
#include "trammel/abi.h"

union ip16 {
	__u8 b[16];
	__be32 w[4];
};

#define V4_PREFIX_WORD bpf_htonl(0x0000ffff)

static __always_inline void addr_set_v4(struct trm_addr *a, __be32 ip, __be16 port)
{
	union ip16 u = {.w = {0, 0, V4_PREFIX_WORD, ip}};

	__builtin_memcpy(a->ip, u.b, 16);
	a->port = port;
}

static __always_inline void addr_set_v6(struct trm_addr *a, __be32 w0, __be32 w1, __be32 w2, __be32 w3, __be16 port)
{
	union ip16 u = {.w = {w0, w1, w2, w3}};

	__builtin_memcpy(a->ip, u.b, 16);
	a->port = port;
}

static __always_inline __be32 ip_word(const __u8 ip[16], int i)
{
	union ip16 u;

	__builtin_memcpy(u.b, ip, 16);
	return u.w[i & 3];
}

static __always_inline bool ip_is_v4(const __u8 ip[16])
{
	return ip_word(ip, 0) == 0 && ip_word(ip, 1) == 0 && ip_word(ip, 2) == V4_PREFIX_WORD;
}

static __always_inline bool ip_is_zero(const __u8 ip[16])
{
	return (ip_word(ip, 0) | ip_word(ip, 1) | ip_word(ip, 2) | ip_word(ip, 3)) == 0;
}

/* 127/8 or ::1, and the unspecified address: connect() to it is connect() to loopback. */
static __always_inline bool ip_is_loopback(const __u8 ip[16])
{
	__be32 last = ip_word(ip, 3);

	if (ip_is_v4(ip))
		return last == 0 || (last & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return (ip_word(ip, 0) | ip_word(ip, 1) | ip_word(ip, 2)) == 0 && (last == 0 || last == bpf_htonl(1));
}

static __always_inline bool ip_eq(const __u8 a[16], const __u8 b[16])
{
	return ip_word(a, 0) == ip_word(b, 0) && ip_word(a, 1) == ip_word(b, 1) && ip_word(a, 2) == ip_word(b, 2) &&
	       ip_word(a, 3) == ip_word(b, 3);
}

/*
 * One of the 127/8 addresses by hash of the destination. The last byte is 1..254: neither the network's nor a
 * broadcast address.
 */
static __always_inline __be32 loopback_spread(const struct trm_addr *dst)
{
	__u32 h = ip_word(dst->ip, 0) ^ (ip_word(dst->ip, 1) * 0x85ebca6bu) ^ (ip_word(dst->ip, 2) * 0xc2b2ae35u);

	h ^= ip_word(dst->ip, 3) * 0x9e3779b1u;
	h ^= (__u32)dst->port * 0x27d4eb2fu;
	h ^= h >> 15;
	h *= 0x85ebca6bu;
	h ^= h >> 13;
	return bpf_htonl(0x7f000000 | (h & 0x00ffff00) | (1 + (h >> 24) % 254));
}

#endif
