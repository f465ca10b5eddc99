/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 codec: responses the proxy makes itself. */
#include "proxy/http/h1.h"

#include <errno.h>

int h1_local_reply(struct buf *out, const struct h1_local_reply *reply)
{
	enum trm_reason reason = reply->reason < TRM_REASON_MAX ? reply->reason : TRM_REASON_NONE;
	const char *text = reason == TRM_REASON_NONE ? "" : trm_reason_text(reason), *end = *text ? "\n" : "";
	bool bare = reply->status < 200 || reply->status == 204 || reply->status == 304;
	const char *connection = "";
	char length[64] = "";

	if (reply->close)
		connection = "connection: close\r\n";
	else if (reply->version == HTTP_1_0)
		connection = "connection: keep-alive\r\n";
	if (!bare)
		snprintf(length, sizeof(length), "content-type: text/plain\r\ncontent-length: %zu\r\n", strlen(text) + strlen(end));
	return buf_printf(out, "HTTP/1.1 %u %s\r\n%s%s%s%s%s%s\r\n%s%s", reply->status, http_status_phrase(reply->status),
			  length,
			  /* RFC 9110 section 15.5.6: a 405 says what is allowed */
			  reply->status == 405 ? "allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n" : "",
			  reply->show_reason ? "x-trammel-reason: " : "",
			  reply->show_reason ? trm_reason_label(reason) : "", reply->show_reason ? "\r\n" : "", connection,
			  bare || reply->is_head ? "" : text, bare || reply->is_head ? "" : end);
}
