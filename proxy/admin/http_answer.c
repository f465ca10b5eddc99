/* SPDX-License-Identifier: Apache-2.0 */
/* /ready and /metrics: read-only HTTP/1.1 over the proxy's own codec. GET and HEAD without a body, nothing else. */
#include <errno.h>
#include <string.h>
#include "proxy/admin/client.h"
#include "proxy/http/h1.h"

#define POOL_BYTES 32768

static int response_put(struct admin_client *c, const struct http_head *req, uint16_t status, const char *type,
			struct str body)
{
	int r = buf_printf(
		&c->out,
		"HTTP/1.1 %u %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\ncache-control: no-store\r\n%s\r\n",
		status, http_status_phrase(status), type, body.n, c->keep ? "" : "connection: close\r\n");

	return r || req->is_head ? r : buf_append_str(&c->out, body);
}

static int ready_answer(struct admin_client *c, const struct http_head *req)
{
	const char *reason = NULL;
	struct json_writer w;
	struct buf body;
	bool ready;
	int r;

	if (!str_eq(req->path, STR("/ready")) && !str_eq(req->path, STR("/healthz/ready")))
		return response_put(c, req, 404, "text/plain", STR("here are /ready and /healthz/ready\n"));
	ready = c->server->ops->is_ready(&reason, c->server->user);
	buf_init(&body, 4096);
	json_writer_init(&w, &body);
	json_open_object(&w, NULL);
	json_bool(&w, "ready", ready);
	if (!ready)
		json_cstr(&w, "reason", reason ? reason : "unknown");
	json_close_object(&w);
	r = json_writer_end(&w);
	if (r == 0)
		r = response_put(c, req, ready ? 200 : 503, "application/json", buf_str(&body));
	buf_done(&body);
	return r;
}

static int metrics_answer(struct admin_client *c, const struct http_head *req)
{
	struct buf body;
	int r;

	if (!str_eq(req->path, STR("/metrics")) && !str_eq(req->path, STR("/stats/prometheus")))
		return response_put(c, req, 404, "text/plain", STR("here are /metrics and /stats/prometheus\n"));
	buf_init(&body, CLIENT_OUT_BYTES - 4096);
	r = observe_metrics_format(c->server->observe, &body);
	if (r == -ENOBUFS)
		r = response_put(c, req, 500, "text/plain", STR("more than 16 MiB of metrics\n"));
	else if (r == 0)
		r = response_put(c, req, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&body));
	buf_done(&body);
	return r;
}

static struct str path_without_query(struct str path)
{
	ptrdiff_t at = str_find_char(path, '?');

	return at < 0 ? path : (struct str){path.p, (size_t)at};
}

static int request_answer(struct admin_client *c, struct http_head *req)
{
	c->keep = req->keep_alive && req->version == HTTP_1_1;
	req->path = path_without_query(req->path);
	if (req->body == HTTP_BODY_CHUNKED ||
	    (req->body == HTTP_BODY_LENGTH && req->body_bytes)) { /* a body nobody reads: say no and close */
		c->keep = false;
		return response_put(c, req, 413, "text/plain", STR("no body is taken here\n"));
	}
	if (!str_eq(req->method, STR("GET")) && !str_eq(req->method, STR("HEAD"))) {
		c->keep = false;
		return response_put(c, req, 405, "text/plain", STR("GET and HEAD alone\n"));
	}
	return c->kind == CLIENT_READY ? ready_answer(c, req) : metrics_answer(c, req);
}

int admin_http_answer(struct admin_client *c)
{
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head = {.fields = fields, .cap_fields = HTTP_FIELDS_CAP};
	struct http_reject reject;
	struct h1_parser parser;
	struct pool pool;
	size_t consumed;
	int r;

	if (!c->in.len)
		return CLIENT_E_MORE;
	/* Parsed from the start each time: a request here is small, and the client has 16 KiB and 10 s in all. */
	h1_parser_init(&parser, NULL);
	pool_init(&pool, POOL_BYTES);
	r = h1_request_parse(&parser, &pool, buf_str(&c->in), &head, &consumed, &reject);
	if (r == HTTP_E_MORE) {
		r = CLIENT_E_MORE;
	} else if (r == HTTP_E_REJECT) {
		const struct h1_local_reply reply = {
			.status = reject.status, .reason = reject.reason, .close = true, .version = HTTP_1_1};

		c->keep = false;
		buf_consume(&c->in, c->in.len);
		r = h1_local_reply(&c->out, &reply);
	} else if (r == 0) {
		r = request_answer(c, &head);
		buf_consume(&c->in, consumed);
	}
	pool_done(&pool);
	return r;
}
