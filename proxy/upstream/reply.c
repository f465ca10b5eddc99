/* SPDX-License-Identifier: Apache-2.0 */
/* Exchange: what we say to the caller ourselves, where no answer came or an answer broke off. */
#include <errno.h>
#include "proxy/upstream/attempt.h"

static enum grpc_status grpc_status_own(const struct exchange *x, uint16_t status)
{
	if (x->reason == TRM_REASON_GRPC_DEADLINE)
		return GRPC_DEADLINE_EXCEEDED;
	if (x->reason == TRM_REASON_UPSTREAM_RESET && x->grpc_reset_status != GRPC_STATUS_NONE)
		return (enum grpc_status)x->grpc_reset_status;
	return grpc_status_of_http(status);
}

/* The status of the call from here on, and its text. */
static int grpc_status_take(struct exchange *x, uint16_t status, struct str *ret)
{
	char digits[STR_U64_BYTES];

	x->grpc_status = (int8_t)grpc_status_own(x, status);
	*ret = pool_str_dup(&x->pool, str_format_u64(digits, (uint64_t)x->grpc_status));
	return ret->p ? 0 : -ENOMEM;
}

/* A gRPC call is answered in its own terms: 200, and the status in the only head ("trailers-only"). */
static int reply_dress_grpc(struct exchange *x, struct http_head *h, uint16_t status, struct str text)
{
	struct str number;
	int r = grpc_status_take(x, status, &number);

	x->status = h->status = 200;
	h->phrase = str_from(http_status_phrase(200));
	h->body = HTTP_BODY_NONE;
	if (r == 0)
		r = http_head_add(h, HTTP_FIELD_CONTENT_TYPE, STR("content-type"), STR("application/grpc"));
	if (r == 0)
		r = http_head_add(h, HTTP_FIELD_OTHER, STR("grpc-status"), number);
	/* our sentences hold no byte that gRPC would have percent-encoded */
	return r == 0 ? http_head_add(h, HTTP_FIELD_OTHER, STR("grpc-message"), text) : r;
}

/* Answers by ourselves; the exchange is over. */
void exchange_reply(struct exchange *x, uint16_t status, enum trm_reason reason)
{
	/* The reason is for our own app and for proven peers, not for strangers. */
	bool show = x->conn->direction == OBSERVE_OUTBOUND || x->peer;
	struct str text = str_from(trm_reason_text(reason));
	struct message_send how = { .close = !x->req_done || x->w->draining };
	struct http_head *h = &x->resp;
	int r;

	x->reason = reason;
	x->status = status;
	x->local_reply = true;
	x->resp_begun = true;
	*h = (struct http_head){ .version = HTTP_1_1, .status = status, .fields = x->resp_fields,
				 .cap_fields = ARRAY_SIZE(x->resp_fields), .body = HTTP_BODY_LENGTH,
				 .body_bytes = text.n + 1, .keep_alive = true, .is_head = x->req.is_head };
	h->phrase = str_from(http_status_phrase(status));
	if (x->is_grpc)
		r = reply_dress_grpc(x, h, status, text);
	else
		r = http_head_add(h, HTTP_FIELD_CONTENT_TYPE, STR("content-type"), STR("text/plain"));
	if (r == 0 && show)
		r = http_head_add(h, HTTP_FIELD_X_TRAMMEL_REASON, STR("x-trammel-reason"), str_from(trm_reason_label(reason)));
	if (r == 0)
		r = x->down->ops->send_head(x->down, h, &how);
	if (r == 0 && h->body != HTTP_BODY_NONE && !x->req.is_head) {
		r = x->down->ops->send_body(x->down, text);
		if (r == 0)
			r = x->down->ops->send_body(x->down, STR("\n"));
		x->bytes_out = text.n + 1;
	}
	if (r == 0)
		r = x->down->ops->send_end(x->down, NULL, 0);
	exchange_finish(x, r == 0 && x->req_done);
}

void exchange_refuse(struct exchange *x, uint16_t status, enum trm_reason reason)
{
	x->req.is_head = false;
	x->req_done = false; /* what follows on the connection cannot be trusted */
	exchange_reply(x, status, reason);
}

/* The status of a call that broke off, as trailers of what was answered so far. */
static int cut_dress(struct exchange *x, struct http_field trailers[static 2])
{
	struct str number;
	int r = grpc_status_take(x, 502, &number);

	if (r < 0)
		return r;
	trailers[0] = (struct http_field){ .name = STR("grpc-status"), .value = number };
	trailers[1] = (struct http_field){ .name = STR("grpc-message"), .value = str_from(trm_reason_text(x->reason)) };
	return 0;
}

void exchange_cut(struct exchange *x, enum trm_reason reason)
{
	struct http_field trailers[2];

	if (x->reason == TRM_REASON_NONE)
		x->reason = reason;
	if (x->is_grpc && x->resp_begun && !x->resp_done && !x->tunnel && cut_dress(x, trailers) == 0)
		(void)x->down->ops->send_end(x->down, trailers, ARRAY_SIZE(trailers)); /* else it is reset */
	exchange_finish(x, false);
}
