/* SPDX-License-Identifier: Apache-2.0 */
/* What an accepted connection was meant for: the capture programs answer for outbound, the socket itself for inbound. */
#ifndef TRAMMEL_PROXY_ORIG_DST_H
#define TRAMMEL_PROXY_ORIG_DST_H

#include "base/addr.h"
#include "base/cleanup.h"

/** orig_dst_outbound() - what the app dialled; -ENOENT when the kernel knows nothing of it */
MUST_CHECK int orig_dst_outbound(int fd, struct addr *ret);
/** orig_dst_inbound() - the local address: sk_lookup keeps the original one */
MUST_CHECK int orig_dst_inbound(int fd, struct addr *ret);

#endif
