/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake of WebSocket between versions of HTTP: see websocket.h. */
#include "proxy/http/websocket.h"

#include <errno.h>
#include <openssl/evp.h>

void websocket_key_format(const uint64_t random[2], char key[WEBSOCKET_KEY_BYTES])
{
	unsigned char text[WEBSOCKET_KEY_BYTES + 1];

	EVP_EncodeBlock(text, (const unsigned char *)random, 16);
	memcpy(key, text, WEBSOCKET_KEY_BYTES);
}

int websocket_accept_format(struct str key, char accept[WEBSOCKET_ACCEPT_BYTES])
{
	static const struct str guid = { "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36 };
	unsigned char joined[128], hash[EVP_MAX_MD_SIZE], text[64];
	unsigned int n = 0;

	if (key.n > sizeof(joined) - guid.n)
		return -EIO;
	memcpy(joined, key.p, key.n);
	memcpy(joined + key.n, guid.p, guid.n);
	if (EVP_Digest(joined, key.n + guid.n, hash, &n, EVP_sha1(), NULL) != 1 || n != 20)
		return -EIO;
	EVP_EncodeBlock(text, hash, (int)n);
	memcpy(accept, text, WEBSOCKET_ACCEPT_BYTES);
	return 0;
}
