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

/* In exchange.c: ways to end. */
void exchange_abort(struct exchange *x, enum trm_reason reason);
void exchange_reply(struct exchange *x, uint16_t status, enum trm_reason reason);

#endif
