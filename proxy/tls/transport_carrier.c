/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport: a carrier in the place of the socket
 *
 * The carrier's news is noted here and delivered in the next turn: it comes from the middle of the carrier's own work, and the owner
 * may close this transport, or the carrier's connection, when it hears it.
 */
#include "proxy/tls/transport_tls.h"

int transport_carrier_recv(struct transport *t, char *dst, size_t cap, size_t *ret_n)
{
	size_t n = 0;
	int r = t->carrier->ops->recv(t->carrier, dst, cap, &n);

	switch (r) {
	case 0:
		t->received_bytes += n;
		*ret_n = n;
		return 0;
	case TRANSPORT_E_AGAIN:
		t->readable = false;
		return r;
	case TRANSPORT_E_END:
		t->end_read = true;
		return r;
	default:
		t->error = r;
		t->end_read = true;
		return r;
	}
}

int transport_carrier_send(struct transport *t, const char *p, size_t n, size_t *ret_n)
{
	int r = t->carrier->ops->send(t->carrier, p, n, ret_n);

	if (r < 0) {
		*ret_n = 0;
		t->write_failed = true;
		return r;
	}
	t->sent_bytes += *ret_n;
	t->stuck = *ret_n < n;
	return 0;
}

void transport_carrier_close(struct transport *t, bool reset)
{
	struct transport_carrier *c = t->carrier;

	c->t = NULL;
	c->ops->close(c, reset);
}

void transport_attach(struct transport *t, struct transport_shared *sh, struct transport_carrier *c,
		      void (*on_event)(struct transport *t))
{
	transport_init(t, sh, -1, on_event);
	t->carrier = c;
	t->state = TRANSPORT_CONNECTING;
	c->t = t;
}

void transport_carrier_opened(struct transport_carrier *c, struct tls_peer *peer)
{
	struct transport *t = c->t;

	if (!t || t->state != TRANSPORT_CONNECTING)
		return;
	if (peer) {
		tls_peer_unref(t->peer);
		t->peer = tls_peer_ref(peer);
	}
	t->state = t->ssl ? TRANSPORT_HANDSHAKE : TRANSPORT_OPEN;
	t->writable_again = true; /* what was written before it was open */
	transport_poke(t);
}

void transport_carrier_failed(struct transport_carrier *c, int error, enum trm_reason reason)
{
	struct transport *t = c->t;

	if (!t || t->state != TRANSPORT_CONNECTING)
		return;
	t->state = TRANSPORT_FAILED;
	t->error = error;
	t->reason = reason;
	transport_poke(t);
}

void transport_carrier_ready(struct transport_carrier *c, unsigned int what)
{
	struct transport *t = c->t;

	if (!t)
		return;
	if (what & (TRANSPORT_READABLE | TRANSPORT_BROKEN))
		t->readable = true;
	if (what & (TRANSPORT_WRITABLE | TRANSPORT_BROKEN)) /* a send() tells that what is pending can go nowhere */
		t->writable_again = true;
	if (what & TRANSPORT_GOING)
		t->going = true;
	if (what & TRANSPORT_BROKEN)
		t->broken = t->hangup = true;
	transport_poke(t);
}
