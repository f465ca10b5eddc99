/* SPDX-License-Identifier: Apache-2.0 */
/* First bytes of a plaintext connection: HTTP/1, HTTP/2, or something else? Pure. */
#ifndef TRAMMEL_PROXY_SNIFF_H
#define TRAMMEL_PROXY_SNIFF_H

#include "base/str.h"

enum sniff {
	SNIFF_MORE,  /* could still be either */
	SNIFF_HTTP1, /* a method, a space, and the beginning of a target */
	SNIFF_HTTP2, /* the whole preface (RFC 9113 section 3.4) */
	SNIFF_OTHER,
};

#define SNIFF_BYTES 24 /* decides at the latest here */

enum sniff sniff_bytes(struct str input);

#define SNIFF_TLS_BYTES 6

/** sniff_may_be_tls() - does it begin as a ClientHello does, up to SNIFF_TLS_BYTES of it? */
bool sniff_may_be_tls(struct str input);

/** sniff_has_target() - of what is SNIFF_HTTP1: does the target begin as one, or as a host where CONNECT may have one? */
bool sniff_has_target(struct str input);

#endif
