/* SPDX-License-Identifier: Apache-2.0 */
/* What an exchange or a relayed connection says of itself at its end: the part they share. */
#ifndef TRAMMEL_PROXY_RECORD_H
#define TRAMMEL_PROXY_RECORD_H

#include "proxy/observe/observe.h"
#include "proxy/route/target.h"
#include "proxy/worker.h"

/** record_fill() - @s, @t (where it went) and @peer (proven by mTLS) may be NULL; everything is borrowed */
void record_fill(struct observe_record *rec, struct worker *w, const struct conn *c, const struct snapshot *s,
		 const struct target *t, const struct tls_peer *peer);

#endif
