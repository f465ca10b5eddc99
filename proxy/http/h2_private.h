/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec: what its files share. */
#ifndef TRAMMEL_PROXY_HTTP_H2_PRIVATE_H
#define TRAMMEL_PROXY_HTTP_H2_PRIVATE_H

#include "proxy/http/h2.h"

/* A DATA frame leaves: header and bytes of its stream. */
int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd, size_t n,
		    nghttp2_data_source *source, void *user);

/** h2_mem() - the memory that sessions are to use */
nghttp2_mem *h2_mem(void);

#define H2_CONTINUATIONS_MAX 8

/** h2_conn_over() - end the connection by GOAWAY with @code; h2_conn_read() says so. @why: constant, for the log */
void h2_conn_over(struct h2_conn *c, uint32_t code, enum trm_reason reason, const char *why);

/** h2_conn_closed_stream_frame() - HEADERS or DATA: is @id a stream that has ended? RFC 9113 section 5.1 */
void h2_conn_closed_stream_frame(struct h2_conn *c, int32_t id);

/** h2_conn_glitch() - the peer did what an honest one rarely does; may end the connection */
void h2_conn_glitch(struct h2_conn *c, const char *why);

/** h2_stream_on_frame() - HEADERS or DATA of a stream whose owner still listens, whole; 0 or NGHTTP2_ERR_CALLBACK_FAILURE */
MUST_CHECK int h2_stream_on_frame(struct h2_stream *s, const nghttp2_frame *frame);

/** h2_stream_on_data() - body bytes; @slice stays readable until h2_conn_spill() */
void h2_stream_on_data(struct h2_stream *s, struct str slice);

/** h2_conn_spill() - the input ends: of a slice that waits for its stream's end all but the last byte is told */
void h2_conn_spill(struct h2_conn *c);

/** h2_stream_unkeep() - forget the slice that waits */
void h2_stream_unkeep(struct h2_stream *s);

/** h2_conn_window_received() - DATA has come: is the path to be measured? */
void h2_conn_window_received(struct h2_conn *c, size_t n);

/** h2_conn_window_answered() - the answer to a PING: was it a measurement's? */
bool h2_conn_window_answered(struct h2_conn *c, const uint8_t opaque[8]);

/** h2_stream_stretch() - its bytes are taken: its window may follow the path */
void h2_stream_stretch(struct h2_stream *s);

/** h2_stream_unstretch() - it has ended: others may have its share */
void h2_stream_unstretch(struct h2_stream *s);

/** h2_conn_may_give_data() - in h2_conn_write(): is there room for DATA? */
bool h2_conn_may_give_data(const struct h2_conn *c);

/** h2_stream_opened() - client: the request was submitted as stream @id */
void h2_stream_opened(struct h2_stream *s, int32_t id);

#endif
