/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification of a peer's certificate
 *
 * Runs inside the handshake, so that a peer we do not want gets an alert and never a byte of application data: chain
 * to the trust bundle first, then exactly one SPIFFE ID, then our own trust domain, then (when we called) the identity
 * that was asked for.
 */
#ifndef TRAMMEL_PROXY_TLS_VERIFY_H
#define TRAMMEL_PROXY_TLS_VERIFY_H

#include "proxy/tls/context.h"

/** tls_verify_install() - for both contexts of @id; the SSL's application pointer must be its struct transport */
void tls_verify_install(struct tls_identity *id);

#endif
