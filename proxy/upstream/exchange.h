/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchange: one request and its response, in one or more attempts
 *
 * Stands between a downstream stream, which made it, and an upstream stream of each attempt. Everything of it lives in
 * its pool and dies with it. It holds its snapshot to its end.
 *
 * An attempt is repeated only when the caller has got nothing of a response and the request can be sent whole again:
 * another endpoint after a connect failure (3 attempts in all); a fresh connection after a pooled one ended before any
 * byte of response, for idempotent methods, or when the peer's kernel has not acknowledged a byte of the request.
 */
#ifndef TRAMMEL_PROXY_EXCHANGE_H
#define TRAMMEL_PROXY_EXCHANGE_H

#include "base/pool.h"
#include "proxy/http/grpc.h"
#include "proxy/http/h1.h"
#include "proxy/http/head.h"
#include "proxy/http/trace.h"
#include "proxy/route/target.h"
#include "proxy/upstream/upstream.h"
#include "proxy/worker.h"

#define EXCHANGE_POOL_BYTES   (256 * 1024)
#define EXCHANGE_REPLAY_BYTES (64 * 1024)
#define EXCHANGE_ATTEMPTS     3
#define EXCHANGE_BODY_MS      30000
#define EXCHANGE_IDLE_MS      300000

struct exchange {
	struct message_sink down_sink, up_sink;
	struct message_stream *down; /* borrowed; NULL once released */
	struct upstream *up; /* NULL between attempts */
	struct worker *w;
	struct conn *conn;
	struct snapshot *snap;
	const struct tls_peer *peer; /* inbound: the proven caller, or NULL */
	struct exchange *next_free;
	struct pool pool;
	struct http_head req, resp;
	struct target target;
	struct balance_avoid avoid;
	struct subscriber_wait wait;
	struct trace trace;
	const struct http_field *req_trailers; /* once req_done */
	size_t n_req_trailers;
	struct buf replay; /* request body sent so far, or not sent yet */
	uint64_t started_ns, sent_ns, first_byte_ns, progress_ns;
	uint64_t bytes_in, bytes_out;
	enum trm_reason reason;
	uint16_t status;
	uint8_t n_attempts;
	bool started;	  /* the head is there: it will be recorded */
	bool replay_lost; /* the body went over EXCHANGE_REPLAY_BYTES */
	bool req_done, resp_begun, resp_done;
	bool fresh_only, local_reply, tunnel;
	bool up_dirty, down_dirty;
	bool ws_key_given; /* a Sec-WebSocket-Key of ours is among the fields */
	bool is_grpc;
	int8_t grpc_status;	  /* GRPC_STATUS_NONE before it came */
	int8_t grpc_reset_status; /* what the last attempt's reset says, if it was reset */
	uint64_t deadline_ns; /* monotonic: the caller waits no longer (grpc-timeout); 0: none */
	struct grpc_frames frames_in, frames_out;
	struct http_field req_fields[HTTP_FIELDS_CAP], resp_fields[HTTP_FIELDS_CAP];
};

/** exchange_new() - for the next request on @down; NULL when memory is out. @peer borrowed for its life */
struct exchange *exchange_new(struct worker *w, struct conn *conn, struct message_stream *down, const struct tls_peer *peer);

/** exchange_free() - only by a downstream whose request never became whole; exchanges that began end by themselves */
void exchange_free(struct exchange *x);

/** exchange_refuse() - the request could not be read: answer and end. The stream is released */
void exchange_refuse(struct exchange *x, uint16_t status, enum trm_reason reason);

/** exchange_due() - is a time-out over at @now_ns? Ends the exchange if so; else returns the time of the next look */
uint64_t exchange_due(struct exchange *x, uint64_t now_ns);

/** exchange_list_free() - the ones kept for later */
void exchange_list_free(struct worker *w);

#endif
