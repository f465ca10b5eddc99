/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of proxy/subscribe: the workload's key and certificate
 *
 * A new key for every certificate; it never leaves the process. Asked for as soon as there is a connection, again at 50 to 60 % of
 * the lifetime, and with back-off after a failure. The wall clock is looked at once a minute, so that a clock that jumps is
 * noticed. A certificate that has expired is reported once and asked for on.
 */
#ifndef TRAMMEL_PROXY_RENEWAL_H
#define TRAMMEL_PROXY_RENEWAL_H

#include "base/rpc/rpc.h"
#include "proxy/subscribe/subscriber.h"

struct renewal {
	struct loop *loop;
	const struct subscriber_ops *ops;
	void *user;
	struct rpc_conn *conn; /* NULL while there is none */
	struct rpc_call *call;
	EVP_PKEY *key; /* of the request under way */
	struct loop_timer timer;
	uint32_t backoff_ms;
	bool expiry_told;
	uint64_t not_before_s, not_after_s, renew_s; /* seconds since 1970; 0 without a certificate */
	uint64_t renewals, failures;
};

void renewal_init(struct renewal *r, struct loop *loop, const struct subscriber_ops *ops, void *user);
void renewal_done(struct renewal *r);

/** renewal_connected() - @conn is borrowed until renewal_disconnected(); asks at once where a certificate is due */
void renewal_connected(struct renewal *r, struct rpc_conn *conn);
/* The connection is gone, its calls with it. */
void renewal_disconnected(struct renewal *r);

/* A number from 0 to @n - 1, for jitter. */
uint32_t jitter(uint32_t n);

#endif
