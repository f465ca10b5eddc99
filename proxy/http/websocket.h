/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake of WebSocket between versions of HTTP. Pure
 *
 * Over HTTP/1.1 a client sends a random key and wants it back hashed (RFC 6455 section 4.2.2); over HTTP/2 neither exists
 * (RFC 8441 section 5). Where a proxy stands between the two it is the client of the one.
 */
#ifndef TRAMMEL_PROXY_HTTP_WEBSOCKET_H
#define TRAMMEL_PROXY_HTTP_WEBSOCKET_H

#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/http/head.h"

#define WEBSOCKET_KEY_BYTES 24 /* base64 of 16 */

/** websocket_key_format() - a Sec-WebSocket-Key of 128 random bits; no NUL */
void websocket_key_format(const uint64_t random[2], char key[WEBSOCKET_KEY_BYTES]);

#endif
