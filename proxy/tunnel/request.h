/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tunnel's request and its answer: what a CONNECT asks for, and what a status means
 *
 * HBONE as Istio's ztunnel speaks it: TCP to port 15008 of the endpoint, the mesh's TLS with ALPN h2 and no SNI, and for
 * each connection a stream whose head is ":method: CONNECT" and ":authority: IP:PORT" (RFC 9113 section 8.5). 200 is
 * said once the app is connected; from then on DATA is what the two say to each other.
 *
 * Pure. Nothing of a head but its authority decides anything: who calls is proven by TLS, from where is the socket's
 * knowledge.
 */
#ifndef TRAMMEL_PROXY_TUNNEL_REQUEST_H
#define TRAMMEL_PROXY_TUNNEL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/str.h"
#include "trammel/reason.h"

/* Of a head, as it came. */
struct tunnel_request {
	struct str method, authority;
	bool has_scheme, has_path, has_protocol;
};

/**
 * tunnel_authority_parse() - "10.78.0.2:80", "[fd78::2]:80"
 *
 * Addresses alone, each in a form that has one reading: an IPv4 address in brackets is refused.
 *
 * Return: 0, -EINVAL.
 */
MUST_CHECK int tunnel_authority_parse(struct str text, struct addr *ret);

/**
 * tunnel_request_decide() - may the caller go on to where it wants?
 * @dialled:  what the tunnel's connection was dialled on: an address of this workload, port 15008
 * @ret:      set on TRM_REASON_NONE: the app's address
 *
 * It may to any port of the address it dialled but those of the proxy: we are no relay to others, nor into ourselves.
 *
 * Return: TRM_REASON_NONE, HTTP_METHOD, HTTP_SYNTAX, TUNNEL_AUTHORITY, PROXY_PORT.
 */
enum trm_reason tunnel_request_decide(const struct tunnel_request *r, const struct addr *dialled, struct addr *ret);

/** tunnel_status() - as server: how a request is answered that came to nothing for @reason (NONE: 200) */
uint16_t tunnel_status(enum trm_reason reason);

/** tunnel_reason() - as client: why there is no tunnel, by the answer's status; NONE: there is one (200 alone) */
enum trm_reason tunnel_reason(uint16_t status);

#endif
