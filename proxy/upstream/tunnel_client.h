/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels to endpoints: HBONE's client
 *
 * One HTTP/2 connection under the mesh's TLS for each identity and address of an endpoint, port 15008 (the pool's key;
 * our own identity is the worker's). A tunnel is one stream of it, and what a transport stands on instead of a socket.
 *
 * Before the peer has answered no byte of the caller has left, so a tunnel that was not answered is asked for again on
 * another connection where it may help: GOAWAY, REFUSED_STREAM, a connection that had ended while it was idle. Tunnels
 * wait for the peer's SETTINGS, so that its bound on streams is never broken; what is above it goes by another connection.
 */
#ifndef TRAMMEL_PROXY_TUNNEL_CLIENT_H
#define TRAMMEL_PROXY_TUNNEL_CLIENT_H

#include "proxy/route/target.h"
#include "proxy/tls/transport.h"
#include "proxy/worker.h"

#define TUNNEL_TIMEOUT_MS 10000 /* dialling, handshake and answer together */

/**
 * tunnel_client_connect() - open a tunnel to @target; see connect_start()
 *
 * @t is CONNECTING until the peer has answered 200; then its peer is the one that was proven.
 */
MUST_CHECK int tunnel_client_connect(struct worker *w, struct transport *t, const struct target *target,
				     void (*on_event)(struct transport *t), enum trm_reason *ret_reason);

#endif
