/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inbound: who calls the app, and may it
 *
 *   1. a proxy port dialled directly is refused (downstream.c)
 *   2. a snapshot: held for it, bounded (downstream.c)
 *   3. first bytes: TLS with a mesh protocol is terminated and its caller proven; anything else is for the port's mode
 *      to decide: STRICT resets it, PERMISSIVE and DISABLE pass it on
 *   4. the protocol of the port, or of its first bytes
 *
 * On the tunnel port (HBONE) nothing but the mesh's TLS is spoken, whatever the mode, with h2 inside. Each tunnel goes
 * on at 4, as a connection to the port it names.
 *
 * A port declared as HTTP gets nothing but HTTP that was read here (or TLS, which is none): bytes that a stranger sends
 * late, or that only another parser takes for a request, would carry fields of his own making to the app.
 */
#include <errno.h>
#include "base/clock.h"
#include "proxy/listener/listener.h"
#include "proxy/listener/sniff.h"
#include "proxy/tls/client_hello.h"
#include "proxy/upstream/connect.h"
#include "trammel/abi.h"

#define SILENCE_MS	 100  /* plaintext is taken, and the caller may wait for the server to speak first */
#define DETECT_MS	 5000 /* from the first byte to an answer */

static void pass_on(struct downstream *d, bool is_http)
{
	struct target target;

	if (is_http) {
		http_server_start(d);
		return;
	}
	target_inbound(&d->conn.orig_dst, &d->conn.client, &target);
	tcp_relay_start(d, &target, d->w->snapshot);
}

/* In plaintext: is it HTTP? Where the port does not say, the first bytes do. */
static bool is_http(const struct downstream *d, struct str first)
{
	enum sniff sniffed;

	if (d->protocol != APP_UNDECLARED)
		return app_is_http(d->protocol);
	sniffed = sniff_bytes(first);
	return sniffed == SNIFF_HTTP1 || sniffed == SNIFF_HTTP2;
}

static bool may_speak_first(enum app_protocol protocol)
{
	return protocol == APP_UNDECLARED || protocol == APP_TCP || protocol == APP_SERVER_FIRST;
}

/* The mode as it is now: policy may have changed while first bytes were awaited. */
static enum mtls_mode mode_now(const struct downstream *d)
{
	return d->t.is_tunnel_port ? MTLS_STRICT : snapshot_inbound_port(d->w->snapshot, d->conn.orig_dst.port).mtls;
}

/* Decided: it is not the mesh's TLS. */
static void plaintext_take(struct downstream *d, struct str first, bool is_tls)
{
	if (mode_now(d) == MTLS_STRICT) {
		downstream_refuse(d, TRM_REASON_PLAINTEXT_REFUSED);
		return;
	}
	if (is_tls)
		d->conn.protocol = "tls";
	pass_on(d, !is_tls && is_http(d, first));
}

static void on_event_handshake(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);

	if (t->state == TRANSPORT_FAILED) {
		downstream_refuse(d, t->reason);
		return;
	}
	if (t->state != TRANSPORT_OPEN)
		return;
	d->conn.mtls = true;
	d->conn.peer_spiffe_id = t->peer->spiffe_id;
	d->conn.tls_version = "TLSv1.3";
	if (t->is_tunnel_port) {
		if (t->alpn == TLS_ALPN_H2)
			tunnel_server_start(d);
		else
			downstream_refuse(d, TRM_REASON_TLS_HANDSHAKE);
		return;
	}
	if (t->alpn == TLS_ALPN_ISTIO_H2 || (t->alpn == TLS_ALPN_ISTIO && app_is_h2(d->protocol)))
		h2_server_start(d);
	else if (t->alpn == TLS_ALPN_ISTIO_HTTP1 || d->protocol == APP_HTTP1)
		h1_server_start(d);
	else
		pass_on(d, false);
}

static void on_handshake_due(struct deadline *dl)
{
	downstream_refuse(container_of(dl, struct downstream, deadline), TRM_REASON_HANDSHAKE_TIMEOUT);
}

static void handshake_start(struct downstream *d)
{
	struct worker *w = d->w;

	if (!tls_identity_is_valid(w->identity, worker_wall_ns(w) / NS_PER_S)) {
		downstream_refuse(d, TRM_REASON_NO_CERTIFICATE);
		return;
	}
	if (w->shared.n_handshakes >= w->n_handshakes_max) {
		downstream_refuse(d, TRM_REASON_CONN_LIMIT);
		return;
	}
	if (transport_start_server(&d->t, w->identity) < 0) {
		downstream_refuse(d, TRM_REASON_NO_MEMORY);
		return;
	}
	d->conn.state = CONN_HANDSHAKE;
	d->t.on_event = on_event_handshake;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, w->loop, on_handshake_due);
	deadline_set(&d->deadline, HANDSHAKE_TIMEOUT_MS);
}

/* Looks at all first bytes so far; they are put back. true: decided. */
static bool first_bytes_take(struct downstream *d, struct str first, bool at_end)
{
	struct client_hello hello;
	int r = client_hello_parse(first, &hello);

	if (d->mtls == MTLS_DISABLE && r != CLIENT_HELLO_E_NOT_TLS)
		r = r == CLIENT_HELLO_E_MORE && !at_end ? r : CLIENT_HELLO_E_BAD; /* the app's own TLS */
	switch (r) {
	case 0:
		if (hello.has_mesh_alpn || d->t.is_tunnel_port)
			handshake_start(d);
		else
			plaintext_take(d, first, true);
		return true;
	case CLIENT_HELLO_E_MORE:
		if (!at_end)
			return false;
		plaintext_take(d, first, false);
		return true;
	case CLIENT_HELLO_E_BAD:
		plaintext_take(d, first, true);
		return true;
	default:
		if (d->mtls != MTLS_STRICT && d->protocol == APP_UNDECLARED && !at_end && first.n < SNIFF_BYTES &&
		    sniff_bytes(first) == SNIFF_MORE)
			return false;
		plaintext_take(d, first, false);
		return true;
	}
}

/* A connection that says nothing, or too little to tell: the server speaks first there, or it is HTTP and idle. */
static void on_silence_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);

	if (mode_now(d) == MTLS_STRICT) {
		downstream_refuse(d, TRM_REASON_PROTOCOL_TIMEOUT);
		return;
	}
	pass_on(d, app_is_http(d->protocol));
}

static void on_event_detect(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);
	size_t kept = t->in.len, n = 0;
	int r = 0;

	/* Read behind what is kept: in place, so that a hello sent byte by byte costs no copies of all of it. */
	if (kept >= CLIENT_HELLO_MAX_BYTES) {
		first_bytes_take(d, buf_str(&t->in), true);
		return;
	}
	r = transport_peek_more(t, &n);
	if (r == TRANSPORT_E_AGAIN)
		return;
	if (r < 0) {
		downstream_refuse(d, r == -ENOMEM || r == -ENOBUFS ? TRM_REASON_NO_MEMORY : TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	if (r == TRANSPORT_E_END && t->in.len == 0) {
		/* came and left without a word: a port probe */
		downstream_free(d);
		return;
	}
	if (!d->first_byte) {
		d->first_byte = true;
		deadline_set(&d->deadline, DETECT_MS);
	}
	if (!first_bytes_take(d, buf_str(&t->in), r == TRANSPORT_E_END) && transport_may_read(t) && t->readable)
		transport_poke(t);
}

static void policy_take(struct downstream *d)
{
	struct inbound_port port = snapshot_inbound_port(d->w->snapshot, d->conn.orig_dst.port);

	d->t.is_tunnel_port = d->conn.orig_dst.port == TRM_PORT_HBONE;
	if (d->t.is_tunnel_port)
		port.mtls = MTLS_STRICT;
	d->mtls = (uint8_t)port.mtls;
	d->protocol = (uint8_t)port.protocol;
	/* Server first and no mesh: nothing to wait for. */
	if (port.mtls == MTLS_DISABLE && !app_is_http(port.protocol) && port.protocol != APP_UNDECLARED) {
		pass_on(d, false);
		return;
	}
	d->conn.state = CONN_DETECT;
	d->t.on_event = on_event_detect;
	deadline_init(&d->deadline, d->w->loop, on_silence_due);
	deadline_set(&d->deadline, port.mtls == MTLS_STRICT || !may_speak_first(port.protocol) ? DETECT_MS : SILENCE_MS);
	if (transport_may_read(&d->t))
		transport_poke(&d->t);
}

void inbound_tunnel_take(struct downstream *d)
{
	struct inbound_port port = snapshot_inbound_port(d->w->snapshot, d->conn.orig_dst.port);
	struct target target;

	d->mtls = (uint8_t)port.mtls;
	d->protocol = (uint8_t)port.protocol;
	deadline_init(&d->deadline, d->w->loop, on_silence_due);
	if (app_is_http(port.protocol)) {
		/* each of its requests finds the app by itself, and is answered if it does not */
		d->connected(d);
		http_server_start(d);
		return;
	}
	target_inbound(&d->conn.orig_dst, &d->conn.client, &target);
	if (port.protocol == APP_UNDECLARED)
		tcp_relay_start_sniffed(d, &target, d->w->snapshot);
	else
		tcp_relay_start(d, &target, d->w->snapshot);
}

/* The proxy's own ports, as seen from outside: never handed to the app, never looped. */
static bool is_proxy_port(const struct worker *w, const struct addr *dst)
{
	return dst->port == TRM_PORT_OUTBOUND || dst->port == TRM_PORT_INBOUND || dst->port == TRM_PORT_DNS;
}

void inbound_accepted(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst)
{
	static const struct downstream_way inbound = { OBSERVE_INBOUND, is_proxy_port, policy_take };

	downstream_start(w, fd, client, orig_dst, &inbound);
}
