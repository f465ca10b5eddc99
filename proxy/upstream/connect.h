/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling a target: time-outs, the mesh's TLS, and what went wrong, for HTTP and TCP alike. */
#ifndef TRAMMEL_PROXY_UPSTREAM_CONNECT_H
#define TRAMMEL_PROXY_UPSTREAM_CONNECT_H

#include "proxy/route/target.h"
#include "proxy/tls/transport.h"
#include "proxy/upstream/deadline.h"
#include "proxy/worker.h"

#define CONNECT_TIMEOUT_MS	 5000
#define CONNECT_LOCAL_TIMEOUT_MS 1000
#define HANDSHAKE_TIMEOUT_MS	 10000

/**
 * connect_start() - dial @target, under the mesh's TLS where it says so, or its own
 * @expected_id:  mtls: text that lives as long as @t; NULL otherwise
 * @alpn:         mtls, tls: protocol to offer
 * @ret_reason:   why it failed
 *
 * To an endpoint that speaks HBONE: by a tunnel, and @t carries what goes through it.
 * Never plaintext where the target is mTLS: without a certificate in date it fails (NO_CERTIFICATE).
 *
 * Return: 0 or negative errno; then nothing is held.
 */
MUST_CHECK int connect_start(struct worker *w, struct transport *t, const struct target *target, enum tls_alpn alpn,
			     const char *expected_id, void (*on_event)(struct transport *t), enum trm_reason *ret_reason);

/** connect_timeout_ms() - time for one target to be connected (without the handshake; but with all of it where it is by a tunnel) */
uint64_t connect_timeout_ms(const struct target *target);

/** connect_failure() - reason and HTTP status (502, 503, 504) of a transport that did not open, or broke */
enum trm_reason connect_failure(const struct transport *t, uint16_t *ret_status);

enum {
	CONNECT_E_MORE = 1, /* connect() or handshake is under way */
	CONNECT_E_FAILED,
};

/**
 * connect_step() - how far @t has come; on each of its events until it is open
 * @deadline:       of connecting: set anew, once, for the handshake: a peer cannot stretch it
 * @connected:      in and out; false at first
 * @ret_reason, @ret_status: on CONNECT_E_FAILED, as connect_failure()
 *
 * Return: 0: open; CONNECT_E_MORE; CONNECT_E_FAILED.
 */
MUST_CHECK int connect_step(const struct transport *t, struct deadline *deadline, bool *connected,
			    enum trm_reason *ret_reason, uint16_t *ret_status);

/** connect_due() - why a deadline of connecting is over; NONE where @t is open */
enum trm_reason connect_due(const struct transport *t);

/** reason_status() - the HTTP status a reason is answered with */
uint16_t reason_status(enum trm_reason reason);

#endif
