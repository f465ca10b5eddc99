/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport: a TCP socket or a stream of a tunnel, plain or under TLS, with one set of verbs
 *
 * Edge-triggered and registered once: no epoll_ctl() while it lives. A wake-up does at most one recv() into scratch
 * memory shared by the worker, and what is to be sent leaves in one send(), tried at once, never waiting for EPOLLOUT
 * first. Writes never fall short: what the socket does not take is kept in the transport, and transport_pending() tells
 * the owner to stop its source until nothing is pending. An idle transport holds no buffer.
 *
 * The owner gets one callback, on_event, whenever something may have changed, and then does all it can (read until
 * TRANSPORT_E_AGAIN, look at pending and state). It may close the transport within the callback.
 */
#ifndef TRAMMEL_PROXY_TLS_TRANSPORT_H
#define TRAMMEL_PROXY_TLS_TRANSPORT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/buf.h"
#include "base/loop.h"
#include "base/str.h"
#include "proxy/tls/context.h"
#include "proxy/tls/peer.h"
#include "trammel/reason.h"

#define TRANSPORT_READ_BYTES (32 * 1024) /* of one read: bounds what a blocked destination must keep */
/* The largest window of a stream that goes on here (512 KiB), each byte of it a chunk of HTTP/1.1 if its sender likes, and a head */
#define TRANSPORT_OUT_BYTES  (4 * 1024 * 1024)
#define TRANSPORT_SPARES     4

/* Scratch memory and tables of one worker. */
struct transport_shared {
	struct loop *loop;
	struct tls_peer_table *peers;
	char *cipher_in;  /* records as they came */
	char *cipher_out; /* records to send */
	size_t cipher_out_len;
	char *plain; /* for owners: TRANSPORT_READ_BYTES for a read whose bytes are used up before the next */
	char *spare[TRANSPORT_SPARES]; /* output memory that was given back */
	size_t n_spare;
	size_t n_handshakes; /* in flight, as server */
};

MUST_CHECK int transport_shared_init(struct transport_shared *sh, struct loop *loop, struct tls_peer_table *peers);
void transport_shared_done(struct transport_shared *sh);

enum transport_state {
	TRANSPORT_CLOSED, /* zeroed */
	TRANSPORT_CONNECTING,
	TRANSPORT_HANDSHAKE,
	TRANSPORT_OPEN,
	TRANSPORT_FAILED, /* error and reason say why */
};

enum {
	TRANSPORT_E_AGAIN = 1, /* nothing now; on_event comes */
	TRANSPORT_E_END = 2,   /* the peer has ended its direction in order (FIN, close_notify) */
};

struct transport;
struct transport_carrier;

/* What a carrier does for the transport that stands on it. Each may be called from within transport verbs alone. */
struct transport_carrier_ops {
	/* As recv(): 0 and 1 to @cap bytes, TRANSPORT_E_AGAIN, TRANSPORT_E_END, or negative errno. What was taken may be sent anew. */
	int (*recv)(struct transport_carrier *c, char *dst, size_t cap, size_t *ret_n);
	/* As send(): 0 and 0 to @n bytes taken; fewer than @n: transport_carrier_ready(TRANSPORT_WRITABLE) comes. Negative errno: broken. */
	int (*send)(struct transport_carrier *c, const char *p, size_t n, size_t *ret_n);
	void (*end)(struct transport_carrier *c); /* our direction, in order */
	/* The transport lets go, for ever. @reset: the peer is to see that it was no orderly end. Before it was opened: give it up. */
	void (*close)(struct transport_carrier *c, bool reset);
};

/* In the place of a socket: embedded in a stream, which outlives the transport's hold on it. */
struct transport_carrier {
	const struct transport_carrier_ops *ops;
	struct transport *t; /* NULL: none stands on it (any more) */
};

struct transport {
	struct transport_shared *shared;
	struct transport_carrier *carrier; /* NULL: @fd */
	struct loop_io io;
	struct loop_task again;
	int fd;
	SSL *ssl; /* NULL: plain */
	struct tls_identity *identity; /* until the handshake is over */
	struct tls_peer *peer;	       /* TLS: proven; a reference */
	const char *expected_id;       /* as client: must outlive the handshake */
	void (*on_event)(struct transport *t);
	struct buf out;	   /* as the owner wrote it, not yet in records or not taken by the socket */
	struct buf cipher; /* records that the socket did not take */
	struct buf in;	   /* read ahead: first bytes put back, records not yet opened */
	uint64_t sent_bytes, received_bytes; /* on the wire */
	int error;	 /* negative errno: of connect, handshake, read, or write */
	int tls_verdict; /* how the reading side of TLS ended: TRANSPORT_E_END or negative errno; 0: it did not */
	enum trm_reason reason;
	uint8_t state; /* enum transport_state */
	bool readable; /* the socket may have bytes, or an end */
	bool hangup;   /* the socket reported an end: short reads do not mean empty */
	bool broken;   /* both directions are gone: reset, or the peer is dead */
	bool end_read; /* TRANSPORT_E_END was answered, or the socket ended */
	bool going;  /* carrier: what it is part of takes nothing new; not to be kept for later */
	bool stuck; /* the socket took less than it was given: EPOLLOUT comes */
	bool end_wanted, end_sent;
	bool write_failed;
	bool is_server;
	bool is_tunnel_port; /* as server: h2 is spoken there, and nothing but h2; set by the owner before TLS starts */
	bool writable_again; /* carrier: it takes bytes again, and was not given any yet */
	uint8_t alpn; /* enum tls_alpn, after the handshake */
};

/** transport_accept() - take an accepted socket (takes @fd also on failure) */
MUST_CHECK int transport_accept(struct transport *t, struct transport_shared *sh, int fd,
				void (*on_event)(struct transport *t));

/* What to dial. */
struct transport_dial {
	struct addr addr;
	const struct addr *client; /* the true caller, told to the kernel before connect(); NULL = none */
	bool keepalive;		   /* mesh sides: keep-alive and user timeout */
};

/** transport_connect() - start dialling; the state is CONNECTING or already OPEN on 0; on failure nothing is held */
MUST_CHECK int transport_connect(struct transport *t, struct transport_shared *sh, const struct transport_dial *dial,
				 void (*on_event)(struct transport *t));

/**
 * transport_attach() - stand on a carrier; the state is CONNECTING until transport_carrier_opened()
 *
 * Not on the caller's stack: no on_event before the next turn.
 */
void transport_attach(struct transport *t, struct transport_shared *sh, struct transport_carrier *c,
		      void (*on_event)(struct transport *t));

/* What a carrier tells; nothing where no transport stands on it. on_event comes in the next turn: it may close anything. */

/** transport_carrier_opened() - bytes may go; @peer is who is proven at the other end: a reference is taken; NULL: as it is known already */
void transport_carrier_opened(struct transport_carrier *c, struct tls_peer *peer);
/** transport_carrier_failed() - it did not open, with what transport.error and .reason are to say */
void transport_carrier_failed(struct transport_carrier *c, int error, enum trm_reason reason);

enum {
	TRANSPORT_READABLE = 1, /* recv() has bytes, an end or an error */
	TRANSPORT_WRITABLE = 2, /* send() takes bytes again */
	TRANSPORT_GOING = 8,	/* nothing new goes where this is part of: whoever keeps it idle lets it go */
	TRANSPORT_BROKEN = 4,	/* both directions are gone; recv() and send() say how */
};
/** transport_carrier_ready() - @what: some of these */
void transport_carrier_ready(struct transport_carrier *c, unsigned int what);

/**
 * transport_start_server() - the peer is going to speak TLS (its first bytes may have been put back)
 * transport_start_client() - speak TLS as soon as connected; @sni is copied, @expected_id borrowed until the handshake is over
 *
 * Return: 0, -ENOMEM.
 */
MUST_CHECK int transport_start_server(struct transport *t, struct tls_identity *id);
MUST_CHECK int transport_start_client(struct transport *t, struct tls_identity *id, enum tls_alpn alpn, const char *sni,
				      const char *expected_id);

/* Somebody else's server, and who it is to prove to be. Borrowed for the call. */
struct transport_origin {
	SSL_CTX *ctx;
	enum tls_alpn alpn;	  /* H2: HTTP/1.1 is offered, too, and alpn says what it came to; HTTP1; NONE: other bytes */
	const char *hostname;	  /* asked for */
	const char *const *names; /* one of which its certificate has; none: hostname */
	size_t n_names;
};

/** transport_start_origin() - as transport_start_client(), to a server outside of the mesh; transport.peer stays NULL */
MUST_CHECK int transport_start_origin(struct transport *t, const struct transport_origin *origin);

/** transport_close() - close with FIN, drop what is pending; may be called in any state, also twice */
void transport_close(struct transport *t);
/** transport_reset() - as transport_close(), but the peer sees a reset */
void transport_reset(struct transport *t);

/**
 * transport_read() - take bytes
 * @ret_n:  1 to @cap on 0
 *
 * Return: 0, TRANSPORT_E_AGAIN, TRANSPORT_E_END, or negative errno (-ECONNRESET, -EPROTO; a TLS stream cut off without
 * close_notify is -ECONNABORTED, never an end).
 */
MUST_CHECK int transport_read(struct transport *t, char *dst, size_t cap, size_t *ret_n);

/** transport_unread() - put back bytes in front of all that is yet to be read (plain or before TLS starts); -ENOMEM */
MUST_CHECK int transport_unread(struct transport *t, const char *p, size_t n);

/**
 * transport_peek_more() - read from the socket behind the bytes put back, and leave all of them in t->in (before TLS starts)
 *
 * Return: as transport_read(), and -ENOBUFS, -ENOMEM.
 */
MUST_CHECK int transport_peek_more(struct transport *t, size_t *ret_n);

/** transport_send() - send @n bytes behind what stands in t->out; keeps what the socket does not take. Negative errno: broken */
MUST_CHECK int transport_send(struct transport *t, const char *p, size_t n);
/** transport_flush() - send what the owner appended to t->out. Negative errno: broken (write_failed says so too) */
int transport_flush(struct transport *t);
/** transport_out() - t->out, with memory at hand, for appending to */
struct buf *transport_out(struct transport *t);

/** transport_pending() - bytes kept because the socket did not take them */
static inline size_t transport_pending(const struct transport *t)
{
	return t->out.len + t->cipher.len;
}

/**
 * transport_is_full() - has the socket stopped taking bytes? Sends what was gathered first, once it is much
 *
 * While true the owner gives nothing more; on_event comes when it may.
 */
bool transport_is_full(struct transport *t);

/** transport_end() - end our direction in order once all is sent (close_notify, FIN) */
void transport_end(struct transport *t);

/** transport_may_read() - would transport_read() say something other than AGAIN, as far as is known? */
bool transport_may_read(const struct transport *t);

/**
 * transport_ack_now() - acknowledge what was read at once
 *
 * For a peer on this machine that sends a message in two writes without TCP_NODELAY: its second write waits for our
 * acknowledgement, which the kernel would hold back for 40 ms.
 */
void transport_ack_now(struct transport *t);

/** transport_poke() - have on_event called again in the next turn (the owner stopped reading before AGAIN) */
void transport_poke(struct transport *t);

/** transport_unacked() - bytes sent that the peer's kernel has not acknowledged; 0 when it cannot be told */
size_t transport_unacked(const struct transport *t);

#endif
