/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 codec, the connection: what its owner says of itself (GOAWAY, PING), and how many streams it may open: see h2.h. */
#include "proxy/http/h2.h"

#include <errno.h>

void h2_conn_goaway(struct h2_conn *c, bool final, uint32_t code)
{
	/* out of memory: the peer learns of it when the connection ends */
	c->goaway_final |= final;
	if (!final && c->is_server)
		(void)nghttp2_submit_shutdown_notice(c->session);
	else
		(void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
					    c->is_server ? nghttp2_session_get_last_proc_stream_id(c->session) : 0, code, NULL, 0);
}

int h2_conn_ping(struct h2_conn *c, uint64_t payload)
{
	if (nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, (const uint8_t *)&payload) < 0)
		return -ENOMEM;
	c->ping_pending = true;
	return 0;
}

size_t h2_conn_room(const struct h2_conn *c)
{
	uint32_t max = nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	if (c->over || c->goaway_received || c->goaway_sent || !nghttp2_session_check_request_allowed(c->session))
		return 0;
	if (max > H2_STREAMS_MAX)
		max = H2_STREAMS_MAX;
	return c->n_streams < max ? max - c->n_streams : 0;
}
