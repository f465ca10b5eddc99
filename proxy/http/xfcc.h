/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x-forwarded-client-cert: who called, as proven by mTLS
 *
 * Always replaced, never merged: what a caller wrote there itself is struck out.
 */
#ifndef TRAMMEL_PROXY_HTTP_XFCC_H
#define TRAMMEL_PROXY_HTTP_XFCC_H

#include <stdint.h>
#include "base/cleanup.h"
#include "base/pool.h"
#include "proxy/http/head.h"

/* One element. Empty strings are left out. */
struct xfcc {
	struct str by;	     /* our own SPIFFE id */
	const uint8_t *hash; /* 32 bytes: SHA-256 of the peer's certificate in DER; NULL = unknown */
	struct str subject;  /* RFC 2253 text; quoted here */
	struct str uri;	     /* the peer's SPIFFE id */
};

/** xfcc_format() - By=...;Hash=...;Subject="...";URI=... into @pool; -ENOMEM, -EINVAL when a value holds controls */
MUST_CHECK int xfcc_format(const struct xfcc *x, struct pool *pool, struct str *ret);

/** xfcc_set() - strike out what came in; add @x unless it is NULL (caller without a proven identity); also -ENOBUFS */
MUST_CHECK int xfcc_set(struct http_head *head, const struct xfcc *x, struct pool *pool);

#endif
