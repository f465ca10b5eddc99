/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes: is this a TLS ClientHello, and what does it offer?
 *
 * Pure and incremental: the same bytes again with more behind them until there is an answer. Reads the server name and
 * the application protocols, nothing else; a hello that cannot be read to its end is not a hello of the mesh. What a
 * peer can make us keep is bounded by CLIENT_HELLO_MAX_BYTES.
 */
#ifndef TRAMMEL_PROXY_CLIENT_HELLO_H
#define TRAMMEL_PROXY_CLIENT_HELLO_H

#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/str.h"

#define CLIENT_HELLO_MAX_BYTES (64 * 1024) /* records with their headers */

enum {
	CLIENT_HELLO_E_MORE = 1,    /* undecided: more bytes are needed */
	CLIENT_HELLO_E_NOT_TLS = 2, /* these bytes cannot begin a TLS connection */
	CLIENT_HELLO_E_BAD = 3,	    /* TLS records, but no well-formed ClientHello, or one over the limit */
};

struct client_hello {
	bool has_mesh_alpn;   /* one of the protocols begins with "istio" */
	bool has_alpn;	      /* the extension was there */
	uint16_t version_max; /* highest version offered: 0x0304 is TLS 1.3 */
	uint8_t sni_bytes;    /* 0: none, or not a DNS name of 1 to 253 visible bytes */
	char sni[254];	      /* NUL-ended */
};

/**
 * client_hello_parse() - look at the first bytes of a connection
 * @input:  all bytes so far, contiguous
 * @ret:    filled on 0 alone
 *
 * A hello cut over several records is read across them.
 *
 * Return: 0, CLIENT_HELLO_E_MORE, CLIENT_HELLO_E_NOT_TLS, CLIENT_HELLO_E_BAD.
 */
MUST_CHECK int client_hello_parse(struct str input, struct client_hello *ret);

#endif
