/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake of WebSocket between versions of HTTP: see websocket.h. */
#include "proxy/http/websocket.h"

#include <openssl/evp.h>

void websocket_key_format(const uint64_t random[2], char key[WEBSOCKET_KEY_BYTES])
{
	unsigned char text[WEBSOCKET_KEY_BYTES + 1];

	EVP_EncodeBlock(text, (const unsigned char *)random, 16);
	memcpy(key, text, WEBSOCKET_KEY_BYTES);
}
