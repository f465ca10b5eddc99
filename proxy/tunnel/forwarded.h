/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarded (RFC 7239), as tunnels carry it: for="10.77.0.2:4711";host=web.default.svc.cluster.local
 *
 * Who called the tunnel's client, and by which name of a service. A claim of the peer: for people, never for a decision.
 */
#ifndef TRAMMEL_PROXY_TUNNEL_FORWARDED_H
#define TRAMMEL_PROXY_TUNNEL_FORWARDED_H

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/pool.h"
#include "base/str.h"

#define FORWARDED_MAX_BYTES 512

struct forwarded {
	struct addr client;
	struct str host; /* without port; empty: the address itself was called */
};

/** forwarded_format() - in @pool; -EINVAL where the host is no DNS name, -ENOMEM */
MUST_CHECK int forwarded_format(const struct forwarded *f, struct pool *pool, struct str *ret);

/**
 * forwarded_parse() - one element with for= and perhaps host=, in any order; other parameters are passed over
 * @ret:  host is borrowed from @text
 *
 * Return: 0, -EINVAL (several elements, a client that is no IP:PORT, a parameter twice, too long).
 */
MUST_CHECK int forwarded_parse(struct str text, struct forwarded *ret);

#endif
