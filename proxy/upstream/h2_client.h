/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connections to an endpoint: many streams on each
 *
 * A connection is in the pool while it has room for another stream; streams that come while it is being dialled wait on
 * it, none dials a second one. It leaves the pool when the peer says GOAWAY, when it is old, or when its certificate is
 * replaced, and ends with its last stream.
 */
#ifndef TRAMMEL_PROXY_H2_CLIENT_H
#define TRAMMEL_PROXY_H2_CLIENT_H

#include "proxy/upstream/upstream.h"

#define H2_CLIENT_IDLE_MS      300000
#define H2_CLIENT_LOCAL_IDLE_MS 60000
#define H2_CLIENT_AGE_MS       3600000 /* less up to a fifth, at random */
#define H2_PING_QUIET_MS       10000 /* to proxies, with streams open: nothing came for so long */

/** h2_client_open() - see upstream_open() */
MUST_CHECK int h2_client_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
			      enum trm_reason *ret_reason);

#endif
