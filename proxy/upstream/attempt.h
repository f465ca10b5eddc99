/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts of an exchange: where to, whether again. For exchange.c. */
#ifndef TRAMMEL_PROXY_ATTEMPT_H
#define TRAMMEL_PROXY_ATTEMPT_H

#include "proxy/upstream/exchange.h"

/** attempt_route() - find the destination (asking the agent if need be) and start the first attempt */
void attempt_route(struct exchange *x);
/** attempt_failed() - the upstream stream is lost before a response: again, or answer the caller */
void attempt_failed(struct exchange *x, enum trm_reason reason, uint16_t status);
/** attempt_opened() - the connection stands and took the head: what was kept for a connect failure may go */
void attempt_opened(struct exchange *x);
/** attempt_keeps_body() - may the request body be needed again? */
bool attempt_keeps_body(const struct exchange *x);

/* Ways to end. In exchange.c: */

/** exchange_finish() - let go of both streams. @down_whole: the caller's connection may be used again */
void exchange_finish(struct exchange *x, bool down_whole);
/** exchange_abort() - the caller has gone, or can be told nothing more */
void exchange_abort(struct exchange *x, enum trm_reason reason);

/* In reply.c, beside exchange_refuse(): */

/** exchange_reply() - answer by ourselves; nothing was answered yet */
void exchange_reply(struct exchange *x, uint16_t status, enum trm_reason reason);
/** exchange_cut() - the answer broke off: gRPC callers are told in trailers, others by a reset */
void exchange_cut(struct exchange *x, enum trm_reason reason);

#endif
