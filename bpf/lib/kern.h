/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs know of the kernel
 *
 * The UAPI, the few constants it does not carry, and the few kernel structs that are read: cut down to the fields that
 * are, and relocated at load (CO-RE) by name.
 */
#ifndef TRAMMEL_BPF_KERN_H
#define TRAMMEL_BPF_KERN_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#define AF_INET           2
#define AF_INET6          10
#define SOL_SOCKET        1
#define SO_BINDTODEVICE   25
#define SOL_IP            0
#define SOL_IPV6          41
#define SO_ORIGINAL_DST   80 /* both SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST */
#define LOOPBACK_IFINDEX  1
#define IPPROTO_MPTCP_LAN 262 /* IPPROTO_MPTCP; an enum in newer headers */

/*
 * A hook field read where it is written. Without it clang 14 merges like reads of two branches into one behind a moved
 * context pointer, which the verifier refuses ("dereference of modified ctx ptr", all kernels).
 */
#define ctx_u32(ctx, field)                                                                   \
	({                                                                                    \
		__u64 ctx_v_;                                                                 \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                         \
			     : "=r"(ctx_v_)                                                   \
			     : "r"(ctx), "i"(__builtin_offsetof(__typeof__(*(ctx)), field))); \
		(__u32) ctx_v_;                                                               \
	})

struct sock_common {
	unsigned char skc_ipv6only : 1;
} __attribute__((preserve_access_index));

char _license[] SEC("license") = "Dual BSD/GPL";

#endif
