/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 codec: one connection with its streams; bytes in, heads and body slices out, and the way back
 *
 * nghttp2 does frames, HPACK and flow control. This room turns its streams into the request model and adds what the
 * library is lenient on or leaves to its user: frames on closed streams, the counters of what an honest peer does not
 * do (h2_guard.h), sizes. No sockets, no policy; time is a parameter.
 *
 * The owner embeds struct h2_stream in its streams. h2_conn_read() calls it with what came; h2_conn_write() turns what
 * was given to streams into bytes and calls nobody: ends and drained buffers that come to light there are told by
 * h2_conn_dispatch(). So the owner, once per wake-up: read, batch_end, write, send, dispatch, until nothing is left.
 *
 * Not thread-safe on the same connection, no other shared state.
 */
#ifndef TRAMMEL_PROXY_HTTP_H2_H
#define TRAMMEL_PROXY_HTTP_H2_H

#include <nghttp2/nghttp2.h>
#include "base/buf.h"
#include "base/list.h"
#include "proxy/http/h1.h"
#include "proxy/http/h2_guard.h"
#include "proxy/http/h2_head.h"
#include "proxy/http/h2_scan.h"
#include "proxy/http/h2_window.h"
#include "proxy/http/head.h"

#define H2_STREAMS_MAX	 100
#define H2_STREAMS_PEER	 1000 /* from a proven peer: an Envoy opens as many before it knows the bound */
#define H2_STREAM_WINDOW (64 * 1024)
#define H2_CONN_WINDOW	 (1024 * 1024)
#define H2_STREAM_OUT	 (64 * 1024) /* of body bytes that a stream keeps: above it the sender is told to wait */
#define H2_CONN_OUT	 (256 * 1024) /* of all streams together: above it each that keeps any is told to wait */
#define H2_INTERIM_MAX	 10
#define H2_RESET_RING	 128 /* streams reset by us whose late frames are passed over */

struct h2_conn;
struct h2_stream;

struct h2_conn_ops {
	/*
	 * Server: a request begins. The answer's @head (fields, cap_fields set) and @pool live until on_close(). NULL: it
	 * is refused unprocessed.
	 */
	struct h2_stream *(*on_request)(struct h2_conn *c);
	/*
	 * A client's owner may end a stream with h2_stream_done(), and free it, in any of these calls; a server's keeps it
	 * until on_close().
	 *
	 * The head, whole; a client gets interim ones too. @ends: no body follows, on_end() comes right after. */
	void (*on_head)(struct h2_stream *s, struct http_head *head, bool ends);
	void (*on_body)(struct h2_stream *s, struct str slice);
	void (*on_end)(struct h2_stream *s, const struct http_field *trailers, size_t n_trailers);
	/* Server: a head that is to be answered with @reject. Client: a response that cannot be used; the stream is reset. */
	void (*on_reject)(struct h2_stream *s, const struct http_reject *reject);
	/* The stream ended before both messages were whole. @unprocessed: the peer has said that it did nothing with it. */
	void (*on_reset)(struct h2_stream *s, uint32_t code, bool unprocessed);
	/* What was given to h2_stream_send_body() has left, after h2_stream_is_full() said yes. */
	void (*on_drained)(struct h2_stream *s);
	/* All that came for it with this wake-up has been told. */
	void (*on_batch_end)(struct h2_stream *s);
	/* Server: the last call for a stream. */
	void (*on_close)(struct h2_stream *s);
};

struct h2_settings {
	uint32_t streams_max;	/* that the peer may have open; server */
	uint32_t stream_window; /* bytes; NGHTTP2_INITIAL_WINDOW_SIZE to 2^31-1 */
	uint32_t conn_window;
	uint32_t window_max;   /* what stream_window may grow to, by what the path holds (h2_window.h); 0: it stays */
	bool connect_protocol; /* server: extended CONNECT is taken */
	bool stalls_alone;     /* a stream that is not read holds up itself, not others, as far as h2_conn.budget goes */
};

extern const struct h2_settings h2_settings_default; /* 100, 64 KiB, 1 MiB, yes, no */
extern const struct h2_settings h2_settings_client; /* 64 KiB, 512 KiB, stalls_alone: its streams are of unlike callers */

/*
 * What streams may keep of their peers' bytes without it counting against their connections' windows: of all connections
 * that share it. Where it is used up, windows count as HTTP/2 has it, and streams that stall hold up their neighbours.
 * And what their connections' windows have grown by, up to H2_WINDOW_GROWN_MAX.
 */
struct h2_stall_budget {
	size_t used, max_bytes;
	size_t grown;
};

struct h2_conn {
	nghttp2_session *session;
	const struct h2_conn_ops *ops;
	struct buf *out; /* during h2_conn_write() */
	size_t kept;	 /* of body bytes in all streams */
	struct h2_stall_budget *budget; /* NULL: without end. Set by the owner after h2_conn_init() */
	struct h2_window window;
	size_t grown; /* of conn_bytes, above what it began with */
	uint32_t stream_window; /* what streams begin with */
	uint32_t stretched;	/* all that theirs have beyond that */
	struct h2_guard guard;
	struct h2_scan scan;
	struct {
		uint8_t before, n; /* bytes to pass, and then not to be given to nghttp2 as they are */
	} mask;
	uint32_t heads_left; /* server: new requests that h2_conn_read() takes; the owner may set it. UINT32_MAX at first */
	size_t unread;	     /* bytes at the end of the input of the last h2_conn_read() for which that was not enough: to come again */
	struct list closed;  /* struct h2_stream: on_close() is due */
	struct list drained; /* struct h2_stream: on_drained() is due */
	struct list touched; /* struct h2_stream: on_batch_end() is due */
	struct h2_stream *keeper; /* in h2_conn_read(): its kept slice is of the input */
	uint64_t now_ns;
	size_t n_streams;
	int32_t last_id; /* highest the peer has opened (server), or we (client) */
	int32_t goaway_id; /* client: the last stream that the peer will answer; INT32_MAX before GOAWAY */
	int32_t reset_ring[H2_RESET_RING];
	uint32_t reset_at;
	uint32_t goaway_code; /* of the last GOAWAY sent */
	int32_t early_first, early_last; /* streams refused before our bound was known; 0: none */
	bool is_server, stalls_alone;
	bool in_call;	     /* nghttp2 is at work: it must not be called into again */
	bool data_ok;	     /* DATA may be written now */
	bool goaway_received, goaway_sent;
	bool goaway_final;   /* given to be sent: it says that streams from now on are not taken */
	bool over;	     /* nothing more is to be read: write what is left, then close */
	bool faulty;	     /* and that is the peer's fault */
	bool settings_seen;  /* the peer's first SETTINGS has come */
	bool settings_acked; /* and it knows ours */
	bool ping_pending;
	bool windows_set;    /* SETTINGS have changed the streams' windows since the last h2_conn_write() */
	enum trm_reason reason; /* what ended it */
	const char *why;     /* constant: the same, for the log */
};

struct h2_stream {
	struct h2_conn *c;
	struct list closed_link, drained_link, touched_link;
	int32_t id; /* 0: none yet, or no more */
	struct http_head *head;
	struct pool *pool;
	struct h2_head_in in;
	struct h1_asked asked; /* client */
	struct buf out;	       /* body bytes that are not framed yet */
	struct str now;	       /* and behind them, those of the call under way */
	struct str kept;       /* received: the end of a body of declared length, until END_STREAM */
	uint64_t body_bytes;   /* received */
	struct h2_trailers *trailers_out;
	uint32_t reset_code;
	uint32_t unconsumed; /* received bytes whose room was not given back */
	uint32_t stretch;    /* of its window, beyond what it began with */
	uint32_t borrowed;   /* of these: from the budget; the connection has its room back */
	uint32_t empty_run;
	uint16_t n_interim;
	bool send_begun, send_ended; /* our head; our end was given to us */
	bool sent_end;		     /* and has left */
	bool recv_head, recv_end;
	bool deferred;	/* nghttp2 waits for h2_stream_send_*() */
	bool full;	/* told so: on_drained() is due */
	bool reset_after; /* when our end has left */
	bool closed, rejected, detached;
	bool unprocessed;
	bool is_tunnel; /* the owner's word, once it is open: resets are how its TCP ends, and are not held against the peer */
	bool heard;	     /* something of a message has come, be it one or none */
	bool head_held;	     /* server and client: on_head() waits for END_STREAM */
	bool window_refused; /* its WINDOW_UPDATE was none */
	char last_byte;	     /* of the body, where kept is no slice of the input any more */
};

/** h2_conn_init() - @settings copied; SETTINGS are the first thing h2_conn_write() gives; -ENOMEM */
MUST_CHECK int h2_conn_init(struct h2_conn *c, bool is_server, const struct h2_settings *settings,
			    const struct h2_conn_ops *ops);

/** h2_conn_done() - all streams are gone already, or are given up without a call; the zeroed struct is fine */
void h2_conn_done(struct h2_conn *c);

/**
 * h2_conn_read() - take bytes of the peer; calls the ops
 *
 * A server takes no more new requests than c->heads_left: then c->unread bytes at the end of @input are to come again.
 *
 * Return: 0; HTTP_E_REJECT: the connection is over (c->reason, c->why): write and send what is left (GOAWAY), then close;
 * -ENOMEM.
 */
MUST_CHECK int h2_conn_read(struct h2_conn *c, struct str input, uint64_t now_ns);

/**
 * h2_conn_write() - append what is to be sent
 * @data_ok:  DATA too: false while the socket takes nothing. Stops giving DATA once @out holds 64 KiB
 *
 * Return: 0, HTTP_E_END (nothing more will ever be sent or read: close; c->faulty: the peer broke the protocol), -ENOBUFS or
 * -ENOMEM (close).
 */
MUST_CHECK int h2_conn_write(struct h2_conn *c, struct buf *out, bool data_ok);

/** h2_conn_wants_write() - has h2_conn_write() something to give (not counting DATA that waits for window)? */
bool h2_conn_wants_write(const struct h2_conn *c);

/** h2_conn_dispatch() - on_reset(), on_close(), on_drained() that h2_conn_write() left to be told */
void h2_conn_dispatch(struct h2_conn *c);
static inline bool h2_conn_has_news(const struct h2_conn *c)
{
	return !list_is_empty(&c->closed) || !list_is_empty(&c->drained);
}

/** h2_conn_batch_end() - on_batch_end() of every stream that was told something since the last time */
void h2_conn_batch_end(struct h2_conn *c);

/** h2_stream_touch() - as if it had been told something */
void h2_stream_touch(struct h2_stream *s);

/** h2_conn_goaway() - @final false: announce that we are going; true: take no streams above those seen so far */
void h2_conn_goaway(struct h2_conn *c, bool final, uint32_t code);

/** h2_conn_ping() - one at a time; h2_conn.ping_pending is false again when it was answered. -ENOMEM */
MUST_CHECK int h2_conn_ping(struct h2_conn *c, uint64_t payload);

/** h2_conn_room() - client: streams that may be opened now */
size_t h2_conn_room(const struct h2_conn *c);

/** h2_stream_init() - in the owner's memory; head and pool as on_request() says */
void h2_stream_init(struct h2_stream *s, struct h2_conn *c, struct http_head *head, struct pool *pool);

/** h2_stream_done() - frees what it holds; unless both messages are whole it is reset with @code. Nothing more is told of it */
void h2_stream_done(struct h2_stream *s, uint32_t code);

/**
 * h2_stream_send_request() / h2_stream_send_response() - 0, -EINVAL (what may not be sent: bytes that break a field, a 2xx where an
 * upgrade was asked for and 101 would grant it), -ENOMEM
 * @ends: no body follows
 */
MUST_CHECK int h2_stream_send_request(struct h2_stream *s, const struct http_head *head, bool ends);
MUST_CHECK int h2_stream_send_response(struct h2_stream *s, const struct http_head *head, bool ends);

/**
 * h2_stream_send_body() - never falls short: what cannot leave is kept
 * @out:  where DATA may be written to at once, without a copy in between; NULL: copy
 *
 * Return: 0, -ENOMEM.
 */
MUST_CHECK int h2_stream_send_body(struct h2_stream *s, struct str slice, struct buf *out);

/** h2_stream_send_end() - @trailers are copied; -ENOMEM */
MUST_CHECK int h2_stream_send_end(struct h2_stream *s, const struct http_field *trailers, size_t n_trailers);

/** h2_stream_is_full() - bytes are kept: give nothing more until on_drained() */
bool h2_stream_is_full(struct h2_stream *s);

/** h2_stream_consume() - the bytes received so far have gone on: the peer may send as many more */
void h2_stream_consume(struct h2_stream *s);

/** h2_stream_consume_bytes() - as h2_stream_consume(), for @n of them */
void h2_stream_consume_bytes(struct h2_stream *s, size_t n);

/** h2_stream_reset() - @code of NGHTTP2_*; later frames of the peer are passed over. on_close() follows from h2_conn_dispatch() */
void h2_stream_reset(struct h2_stream *s, uint32_t code);

/** h2_stream_reset_after_end() - as h2_stream_reset(), once all that was given has left: a caller that is still sending */
void h2_stream_reset_after_end(struct h2_stream *s, uint32_t code);

#endif
