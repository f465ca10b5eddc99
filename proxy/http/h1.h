/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 codec: bytes in, heads and body slices out, and the way back
 *
 * Strict where peers differ (RFC 9110, RFC 9112): what two parsers could read as two messages is refused, never
 * mended. No sockets, no policy, no clock. A message is: h1_request_parse() or h1_response_parse() until 0, then
 * h1_body_read() until HTTP_E_END, then the next message begins at the first byte not consumed. To send:
 * h1_request_write() or h1_response_write(), h1_body_write() per slice, h1_body_end().
 *
 * All functions: not thread-safe on the same struct, no other shared state.
 */
#ifndef TRAMMEL_PROXY_HTTP_H1_H
#define TRAMMEL_PROXY_HTTP_H1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/pool.h"
#include "base/str.h"
#include "proxy/http/head.h"
#include "trammel/reason.h"

enum h1_upgrade {
	H1_UPGRADE_NONE,      /* Upgrade is always stripped */
	H1_UPGRADE_WEBSOCKET, /* websocket alone is passed on */
	H1_UPGRADE_ANY,	      /* any single token but h2c, HTTP/x and TLS/x */
};

struct h1_limits {
	uint32_t head_bytes;   /* first line and fields together: 431 */
	uint32_t line_bytes;   /* one field line: 431 */
	uint32_t target_bytes; /* request target: 414 */
	uint16_t fields;       /* at most HTTP_FIELDS_MAX, beside one traceparent and one x-request-id: 431 */
	uint16_t chunk_line_bytes;
	uint32_t chunk_ext_bytes; /* of all chunks of a message together */
	uint32_t trailer_bytes;
	uint16_t trailer_fields;
	uint16_t interim; /* 1xx responses per request */
	enum h1_upgrade upgrade;
	bool allow_connect; /* else CONNECT is 405 */
};

/* The limits of docs: 64 KiB, 32 KiB, 16 KiB, 100; 256 B, 16 KiB, 8 KiB, 20; 10; websocket; no CONNECT. */
extern const struct h1_limits h1_limits_default;

/*
 * Resumable parser of heads; one per connection and direction. After 0 or HTTP_E_REJECT it is ready for the next
 * head (a response parser then still counts interim responses of the same request).
 */
struct h1_parser {
	const struct h1_limits *limits; /* borrowed */
	uintptr_t base;			/* where the input stood at the last call: it may move between calls */
	uint32_t line_at;		/* first byte of the line being read */
	uint32_t scan_at;		/* bytes before this one are known to hold no control character in this line */
	uint8_t phase;
	uint8_t n_blank;
	uint16_t n_interim;
};

/** h1_parser_init() - @limits borrowed, NULL = h1_limits_default */
void h1_parser_init(struct h1_parser *p, const struct h1_limits *limits);

/** h1_parser_is_idle() - no byte of a head has been taken in since the last complete one */
static inline bool h1_parser_is_idle(const struct h1_parser *p)
{
	return p->phase == 0 && p->scan_at == 0;
}

/**
 * h1_request_parse() - read one request head
 * @p:            parser of this connection's downstream side
 * @pool:         of the exchange; used only for a path that had to be normalised
 * @input:        all unconsumed bytes of the connection, contiguous; after HTTP_E_MORE the same bytes again with more
 *                behind them (they may have moved)
 * @head:         in: fields and cap_fields (>= HTTP_FIELDS_CAP); out: everything. Keep it untouched between calls that
 *                answer HTTP_E_MORE. Strings are borrowed from @input and @pool: the caller keeps both until the head is
 *                done with (consume the bytes later, or copy)
 * @ret_consumed: bytes of the head, on 0
 * @ret_reject:   on HTTP_E_REJECT
 *
 * On success: method, target, path (normalised), authority (empty only in an HTTP/1.0 request without Host: set it
 * before h1_request_write()), fields (those named by Connection are struck out), body, body_bytes, keep_alive,
 * expect_continue, is_head, is_connect, upgrade.
 *
 * Path: see uri_path_normalise().
 *
 * The cost of all calls for one head together is linear in its length, however it is cut.
 *
 * Return: 0, HTTP_E_MORE, HTTP_E_REJECT, -ENOMEM (pool exhausted).
 */
MUST_CHECK int h1_request_parse(struct h1_parser *p, struct pool *pool, struct str input, struct http_head *head,
				size_t *ret_consumed, struct http_reject *ret_reject);

/* What a response's parser must know of the request. */
struct h1_asked {
	bool is_head, is_connect;
	struct str upgrade; /* token sent upstream in Upgrade, or empty; borrowed for the call */
};

/** h1_asked_from() - of the head that h1_request_write() sent */
static inline struct h1_asked h1_asked_from(const struct http_head *request)
{
	return (struct h1_asked){ request->is_head, request->is_connect, request->upgrade };
}

/**
 * h1_response_parse() - read one response head; as h1_request_parse()
 *
 * A status of 100 to 199 (but 101) is an interim response: pass it on and call again for the next head with the rest
 * of the input; more than limits->interim of them are refused. 101 is accepted only when it answers @asked->upgrade:
 * body is then HTTP_BODY_TUNNEL, as after a 2xx to CONNECT. keep_alive is false when the body ends with the
 * connection. Every refusal is status 502. Bytes left in @input after the end of the body (h1_body_read()) belong to
 * nobody: close the upstream connection.
 *
 * Return: 0, HTTP_E_MORE, HTTP_E_REJECT.
 */
MUST_CHECK int h1_response_parse(struct h1_parser *p, const struct h1_asked *asked, struct str input,
				 struct http_head *head, size_t *ret_consumed, struct http_reject *ret_reject);

/* ---- bodies in ---- */

/* Decoder of one message body. Zeroed or init'ed; fields are private but for the trailers. */
struct h1_body {
	const struct h1_limits *limits;
	struct pool *pool;
	enum http_body_kind kind;
	uint8_t state;
	bool is_response;
	uint16_t line_bytes;
	uint32_t ext_bytes;
	uint64_t left; /* LENGTH: of the body; CHUNKED: of the chunk */
	uint64_t total_bytes; /* body bytes given out so far */
	char *line;	      /* the trailer line being read, copied into the pool */
	uint32_t line_n, line_cap, trailer_bytes;
	struct http_field *trailers; /* after HTTP_E_END; forbidden ones are not among them; in the pool */
	uint16_t n_trailers, n_trailer_lines;
};

/**
 * h1_body_init() - start reading the body that @head announces
 * @limits: NULL = h1_limits_default
 * @pool:   of the exchange; holds the trailers, used only when there are some
 */
void h1_body_init(struct h1_body *b, const struct h1_limits *limits, struct pool *pool, const struct http_head *head,
		  bool is_response);

/**
 * h1_body_read() - take the next slice of body
 * @input:        unconsumed bytes; may be empty
 * @ret_slice:    on 0: body bytes, never empty, inside @input
 * @ret_consumed: on 0, HTTP_E_MORE and HTTP_E_END: bytes of @input used (framing and slice); on HTTP_E_MORE all of them
 * @ret_reject:   on HTTP_E_REJECT: 400 for requests (431 for trailers over the limit), 502 for responses
 *
 * Call until HTTP_E_MORE or HTTP_E_END. A body of none or of length 0 answers HTTP_E_END at once. UNTIL_CLOSE and TUNNEL
 * never end by themselves: end of file of the connection is the end (h1_body_eof()).
 *
 * Return: 0, HTTP_E_MORE, HTTP_E_END, HTTP_E_REJECT, -ENOMEM.
 */
MUST_CHECK int h1_body_read(struct h1_body *b, struct str input, struct str *ret_slice, size_t *ret_consumed,
			    struct http_reject *ret_reject);

/** h1_body_eof() - the connection ended: HTTP_E_END when that is a proper end here, else HTTP_E_SHORT (truncated) */
MUST_CHECK int h1_body_eof(struct h1_body *b);

bool h1_body_is_done(const struct h1_body *b);

/* ---- heads and bodies out ---- */

/* Framing of one body being sent. Sizes on the wire are those of the slices given, never a declared number. */
struct h1_body_out {
	enum http_body_kind kind;
	bool done;
	bool in_chunk;
	uint64_t left; /* LENGTH: promised and not yet written */
};

struct h1_request_options {
	bool close; /* send Connection: close */
};

/**
 * h1_request_write() - append a request head
 * @out:      one reserve; -ENOBUFS leaves it unchanged
 * @head:     method, path, authority, fields not struck out, body and body_bytes, upgrade; the version sent is 1.1
 * @opts:     NULL = none
 * @ret_body: framing for h1_body_write(); for HTTP_BODY_NONE already done
 *
 * Not sent from @fields: Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Content-Length, Upgrade,
 * HTTP2-Settings, TE but "trailers": the codec writes its own. Host is written from authority. Names keep their case.
 * Values and names that would break the line (controls) are refused.
 *
 * Return: 0, -ENOBUFS, -ENOMEM, -EINVAL (bytes that may not stand in a head).
 */
MUST_CHECK int h1_request_write(struct buf *out, const struct http_head *head, const struct h1_request_options *opts,
				struct h1_body_out *ret_body);

struct h1_response_options {
	enum http_version downstream_version; /* of the request */
	bool downstream_keep_alive;	      /* the caller asked for it: head.keep_alive of the request */
	bool is_head, is_connect;	      /* of the request */
	bool close;			      /* our own wish to close after this response */
};

/**
 * h1_response_write() - append a response head
 * @opts:      never NULL
 * @ret_body:  framing for h1_body_write(). A body until close goes to an HTTP/1.1 caller in chunks; a chunked one to an
 *             HTTP/1.0 caller until close
 * @ret_close: close the downstream connection after the body
 *
 * Interim responses (1xx) too: @ret_body is then done and @ret_close false; not to be sent to an HTTP/1.0 caller
 * (nothing is written, 0 is returned).
 *
 * Return: as h1_request_write().
 */
MUST_CHECK int h1_response_write(struct buf *out, const struct http_head *head, const struct h1_response_options *opts,
				 struct h1_body_out *ret_body, bool *ret_close);

/**
 * h1_body_write() - append one slice of body with its framing; an empty slice writes nothing
 *
 * Return: 0, -ENOBUFS or -ENOMEM (nothing written), -EMSGSIZE: more than the promised length (nothing written; close).
 */
MUST_CHECK int h1_body_write(struct h1_body_out *b, struct buf *out, struct str slice);

/**
 * h1_body_open() / h1_body_close() - framing around @n bytes that the caller sends itself, without a copy
 *
 * open appends what stands before the bytes (nothing unless chunked), close what stands behind them.
 * Return: as h1_body_write().
 */
MUST_CHECK int h1_body_open(struct h1_body_out *b, struct buf *out, size_t n);
MUST_CHECK int h1_body_close(struct h1_body_out *b, struct buf *out);

/**
 * h1_body_end() - append the end of the body
 * @trailers: sent when chunked, else dropped; forbidden ones and those struck out are skipped
 *
 * Return: 0, HTTP_E_SHORT (close the connection, the peer must not take what it got for whole), -ENOBUFS, -ENOMEM.
 */
MUST_CHECK int h1_body_end(struct h1_body_out *b, struct buf *out, const struct http_field *trailers, size_t n_trailers);

/* A response the proxy makes itself. */
struct h1_local_reply {
	uint16_t status;
	enum trm_reason reason;	 /* text of the body: its sentence */
	bool show_reason;	 /* x-trammel-reason: its label (inside the mesh) */
	bool close;		 /* Connection: close */
	bool is_head;		 /* no body, but its length */
	enum http_version version; /* of the request; HTTP_1_0 with close false gets Connection: keep-alive */
};

/** h1_local_reply() - append head and text/plain body; 0, -ENOBUFS, -ENOMEM */
MUST_CHECK int h1_local_reply(struct buf *out, const struct h1_local_reply *reply);

#endif
