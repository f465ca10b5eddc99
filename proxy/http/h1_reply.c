/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 codec: responses the proxy makes itself. */
#include "proxy/http/h1.h"

#include <errno.h>

static const struct {
	uint16_t status;
	const char *phrase;
} phrases[] = {
	{ 100, "Continue" }, { 101, "Switching Protocols" }, { 103, "Early Hints" },
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 206, "Partial Content" },
	{ 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" },
	{ 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
	{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
	{ 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" }, { 409, "Conflict" },
	{ 410, "Gone" }, { 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" },
	{ 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" }, { 421, "Misdirected Request" }, { 422, "Unprocessable Content" },
	{ 425, "Too Early" }, { 426, "Upgrade Required" }, { 428, "Precondition Required" },
	{ 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
	{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
};

const char *h1_status_phrase(uint16_t status)
{
	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Unknown";
}

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
	return buf_printf(out, "HTTP/1.1 %u %s\r\n%s%s%s%s%s%s\r\n%s%s", reply->status, h1_status_phrase(reply->status),
			  length,
			  /* RFC 9110 section 15.5.6: a 405 says what is allowed */
			  reply->status == 405 ? "allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n" : "",
			  reply->show_reason ? "x-trammel-reason: " : "",
			  reply->show_reason ? trm_reason_label(reason) : "", reply->show_reason ? "\r\n" : "", connection,
			  bare || reply->is_head ? "" : text, bare || reply->is_head ? "" : end);
}
