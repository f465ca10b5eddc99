/* SPDX-License-Identifier: Apache-2.0 */
/* The admin socket's ops: one JSON line in, one out. See include/trammel/admin.h. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "base/clock.h"
#include "base/fault.h"
#include "proxy/admin/client.h"

void admin_conn_json(struct json_writer *w, const struct conn *c, uint64_t now_ns)
{
	char text[ADDR_TEXT_BYTES];

	json_open_object(w, NULL);
	json_u64(w, "id", c->id);
	json_cstr(w, "direction", c->direction == OBSERVE_INBOUND ? "inbound" : "outbound");
	json_cstr(w, "state", conn_state_name(c->state));
	json_cstr(w, "protocol", c->protocol ? c->protocol : "");
	json_cstr(w, "tls", c->tls_version ? c->tls_version : "");
	json_bool(w, "mtls", c->mtls);
	json_cstr(w, "client", addr_format(&c->client, text));
	json_cstr(w, "orig_dst", addr_format(&c->orig_dst, text));
	json_cstr(w, "endpoint", addr_is_any(&c->endpoint) ? "" : addr_format(&c->endpoint, text));
	json_cstr(w, "peer", c->peer_spiffe_id ? c->peer_spiffe_id : "");
	json_u64(w, "bytes_in", c->bytes_in);
	json_u64(w, "bytes_out", c->bytes_out);
	json_u64(w, "requests", c->requests);
	json_f64(w, "age_s", now_ns > c->opened_ns ? (double)(now_ns - c->opened_ns) / 1e9 : 0);
	json_close_object(w);
}

static int error_put(struct json_writer *w, const char *thing, const char *reason)
{
	struct fault fault = { 0 };

	fault_set(&fault, thing, "see include/trammel/admin.h", "%s", reason);
	json_bool(w, "ok", false);
	fault_json(&fault, w);
	fault_done(&fault);
	return 0;
}

static int stats_put(struct json_writer *w, struct observe *o)
{
	struct buf text;
	int r;

	buf_init(&text, CLIENT_OUT_BYTES / 2);
	r = observe_metrics_format(o, &text);
	if (r == 0)
		json_str(w, "metrics", buf_str(&text));
	buf_done(&text);
	return r;
}

static int op_put(struct admin_client *c, struct json_writer *w, const char *op)
{
	struct admin_server *s = c->server;

	if (strcmp(op, "status") && strcmp(op, "conn.list") && strcmp(op, "cert.show") && strcmp(op, "stats") &&
	    strcmp(op, "drain"))
		return error_put(w, op, "is no op of a proxy");
	json_bool(w, "ok", true);
	if (strcmp(op, "status") == 0) {
		s->ops->status_json(w, s->user);
	} else if (strcmp(op, "conn.list") == 0) {
		json_open_array(w, "conns");
		s->ops->conns_json(w, s->user);
		json_close_array(w);
		observe_refusals_json(s->observe, w, "refused");
	} else if (strcmp(op, "cert.show") == 0) {
		s->ops->cert_json(w, s->user);
	} else if (strcmp(op, "stats") == 0) {
		return stats_put(w, s->observe);
	} else {
		s->ops->drain(s->user);
	}
	return 0;
}

int admin_json_answer(struct admin_client *c)
{
	char *newline = c->in.len ? memchr(buf_head(&c->in), '\n', c->in.len) : NULL;
	struct json_writer w;
	json_t *request;
	const char *op;
	int r;

	if (!newline)
		return CLIENT_E_MORE;
	request = json_loadb(buf_head(&c->in), (size_t)(newline - buf_head(&c->in)), JSON_REJECT_DUPLICATES, NULL);
	op = json_string_value(json_object_get(request, "op"));
	json_writer_init(&w, &c->out);
	json_open_object(&w, NULL);
	r = op ? op_put(c, &w, op)
	       : error_put(&w, "request", "is not a JSON object with \"op\"");
	json_close_object(&w);
	json_decref(request);
	buf_consume(&c->in, (size_t)(newline + 1 - buf_head(&c->in)));
	if (r == 0)
		r = json_writer_end(&w);
	return r < 0 ? r : buf_append(&c->out, "\n", 1);
}
