/* SPDX-License-Identifier: Apache-2.0 */
/* Transport: what its files are to each other. For them alone. */
#ifndef TRAMMEL_PROXY_TLS_TRANSPORT_TLS_H
#define TRAMMEL_PROXY_TLS_TRANSPORT_TLS_H

#include "proxy/tls/transport.h"

/* @id: NULL: to a server outside of the mesh */
MUST_CHECK int transport_tls_new(struct transport *t, SSL_CTX *ctx, struct tls_identity *id, bool is_server);
void transport_tls_free(struct transport *t);
/* Goes on with the handshake; sets state, error and reason. */
void transport_tls_handshake(struct transport *t);
MUST_CHECK int transport_tls_read(struct transport *t, char *dst, size_t cap, size_t *ret_n);
/* Seals as much of @p as is right now and sends it; @ret_n bytes of @p are done with. */
MUST_CHECK int transport_tls_write(struct transport *t, const char *p, size_t n, size_t *ret_n);
/* Sends records kept; 0 also when the socket takes no more. */
MUST_CHECK int transport_tls_flush(struct transport *t);
void transport_tls_end(struct transport *t);

/* In transport.c: recv() and send() with the bookkeeping. send: 0 and *ret_n may be 0 (EAGAIN). */
MUST_CHECK int transport_socket_recv(struct transport *t, char *dst, size_t cap, size_t *ret_n);
MUST_CHECK int transport_socket_send(struct transport *t, const char *p, size_t n, size_t *ret_n);

void transport_init(struct transport *t, struct transport_shared *sh, int fd, void (*on_event)(struct transport *t));

/* In transport_carrier.c: the same on a carrier. */
MUST_CHECK int transport_carrier_recv(struct transport *t, char *dst, size_t cap, size_t *ret_n);
MUST_CHECK int transport_carrier_send(struct transport *t, const char *p, size_t n, size_t *ret_n);
void transport_carrier_close(struct transport *t, bool reset);

#endif
