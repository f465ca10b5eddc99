/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is remembered with a socket
 *
 * An MPTCP connection is two sockets: the one the app holds, whose names it asks for, and the first subflow, which
 * passes connect and sockops. Both get the same storage.
 */
#ifndef TRAMMEL_BPF_SOCK_H
#define TRAMMEL_BPF_SOCK_H

#include "bpf/lib/maps.h"

/* bpf_skc_to_mptcp_sock() is there (kernel 5.19 with MPTCP). */
const volatile bool has_mptcp = false;

static __always_inline struct trm_sock *sock_find(void *sk)
{
	return bpf_sk_storage_get(&trm_sock, sk, NULL, 0);
}

static __always_inline bool sock_remember(struct bpf_sock *sk, const struct trm_sock *what)
{
	struct trm_sock *kept = bpf_sk_storage_get(&trm_sock, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	void *msk;

	if (!kept)
		return false;
	*kept = *what;
	if (!has_mptcp)
		return true;
	msk = bpf_skc_to_mptcp_sock(sk);
	if (!msk)
		return true;
	kept = bpf_sk_storage_get(&trm_sock, msk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (kept)
		*kept = *what;
	return kept != NULL;
}

static __always_inline void sock_forget(struct bpf_sock *sk)
{
	void *msk;

	bpf_sk_storage_delete(&trm_sock, sk);
	if (!has_mptcp)
		return;
	msk = bpf_skc_to_mptcp_sock(sk);
	if (msk)
		bpf_sk_storage_delete(&trm_sock, msk);
}

#endif
