/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec: what its files share. */
#ifndef TRAMMEL_PROXY_HTTP_H2_PRIVATE_H
#define TRAMMEL_PROXY_HTTP_H2_PRIVATE_H

#include "proxy/http/h2.h"

/* A DATA frame leaves: header and bytes of its stream. */
int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd, size_t n,
		    nghttp2_data_source *source, void *user);

/** h2_conn_may_give_data() - in h2_conn_write(): is there room for DATA? */
bool h2_conn_may_give_data(const struct h2_conn *c);

/** h2_stream_opened() - client: the request was submitted as stream @id */
void h2_stream_opened(struct h2_stream *s, int32_t id);

#endif
