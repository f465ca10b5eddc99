/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's side of the agent: stream, subscriptions, certificate
 *
 * Holds one gRPC stream to the agent's unix socket, reconnects with back-off and jitter (0.1 s to 5 s), keeps serving
 * the last snapshot meanwhile, acknowledges or refuses each message. Makes the workload's private key (EC P-256, it
 * never leaves the process), has it signed, and renews at 50 to 60 % of the lifetime. Lives in the main worker's
 * loop; callbacks run there.
 */
#ifndef TRAMMEL_PROXY_SUBSCRIBER_H
#define TRAMMEL_PROXY_SUBSCRIBER_H

#include <openssl/evp.h>
#include "base/addr.h"
#include "base/list.h"
#include "base/loop.h"
#include "proxy/snapshot/snapshot.h"

struct subscriber;

struct subscriber_ops {
	/* A new snapshot is in force: @s is borrowed, snapshot_ref() to keep. */
	void (*on_snapshot)(struct snapshot *s, void *user);
	/*
	 * A certificate is there (first or renewed). @key is borrowed (EVP_PKEY_up_ref() to keep), the PEM texts too.
	 * Return 0, or negative errno with @ret_error set to a constant sentence: the old certificate stays in force.
	 */
	int (*on_certificate)(EVP_PKEY *key, const char *chain_pem, const char *trust_bundle_pem, uint64_t not_after_s,
			      const char **ret_error, void *user);
};

/* One wait for an answer; embedded in its owner, zeroed before first use. */
struct subscriber_wait {
	struct list link;
	struct loop_timer timer; /* the subscriber's, as the flag below */
	bool answered;
	void (*on_answer)(struct subscriber_wait *wait, bool answered); /* false: the agent could not be asked */
};

/** subscriber_new() - starts connecting at once; @socket_path and @ops are borrowed for its life */
MUST_CHECK int subscriber_new(struct loop *loop, const char *socket_path, const struct subscriber_ops *ops, void *user,
			      struct subscriber **ret);
struct subscriber *subscriber_free(struct subscriber *s);
DEFINE_CLEANUP(struct subscriber, subscriber_free)

/** subscriber_snapshot() - the one in force, or NULL before the first; borrowed */
struct snapshot *subscriber_snapshot(const struct subscriber *s);

/**
 * subscriber_want_dest() - ask what stands behind @addr
 *
 * @wait->on_answer is called from the loop, never from within this call, when the answer is in the snapshot, or with
 * false after @timeout_ms or when the number of subscriptions is at its limit. Subscriptions unused for 10 minutes are
 * given back. Asking for what is held answers on the next turn.
 */
void subscriber_want_dest(struct subscriber *s, const struct addr *addr, uint32_t timeout_ms, struct subscriber_wait *wait);
void subscriber_want_dns(struct subscriber *s, struct str name, uint32_t timeout_ms, struct subscriber_wait *wait);
void subscriber_wait_cancel(struct subscriber_wait *wait);

/* For admin and metrics. */
struct subscriber_stats {
	bool connected;
	uint64_t connected_since_ns; /* monotonic */
	uint64_t generation, last_nonce, nacks, reconnects;
	uint32_t subscriptions;
	uint64_t cert_not_after_s, cert_not_before_s, cert_renewals, cert_failures;
};
void subscriber_stats_get(const struct subscriber *s, struct subscriber_stats *ret);

#endif
