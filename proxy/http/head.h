/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request model: heads, fields and the shape of a message body
 *
 * One form whatever the wire: routing, policy and telemetry see a struct http_head, codecs translate. A message is a
 * head, body chunks, trailers, an end; or a reset with a reason. All strings are borrowed from the exchange's pool or
 * the codec's buffer, as the function that fills the head says.
 */
#ifndef TRAMMEL_PROXY_HTTP_HEAD_H
#define TRAMMEL_PROXY_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>
#include "base/pool.h"
#include "base/str.h"
#include "trammel/reason.h"

#define HTTP_FIELDS_MAX 100 /* hardening: more is 431 (request) or 502 (response) */
#define HTTP_FIELDS_CAP (HTTP_FIELDS_MAX + 28) /* size of the fields array a caller provides: room for what we add */

/* Answers of this room's functions. */
enum {
	HTTP_E_MORE = 1, /* more bytes are needed; what was consumed is said */
	HTTP_E_REJECT,   /* the peer broke the protocol: struct http_reject says how to answer; close after it */
	HTTP_E_END,      /* the message is complete */
	HTTP_E_SHORT,    /* fewer body bytes were written than promised: the connection must be closed */
};

/* How to answer a peer that broke the protocol. Requests: 400, 405, 414, 417, 431, 501, 505. Responses: 502. */
struct http_reject {
	uint16_t status;
	enum trm_reason reason;
	const char *what; /* constant, for the log: "bare LF" */
};

static inline int http_refuse(struct http_reject *r, uint16_t status, enum trm_reason reason, const char *what)
{
	*r = (struct http_reject){ .status = status, .reason = reason, .what = what };
	return HTTP_E_REJECT;
}

enum http_version {
	HTTP_1_0,
	HTTP_1_1,
	HTTP_2,
};

/* Fields the proxy itself looks at; every other is HTTP_FIELD_OTHER. Set by the codec from the name, case-folded. */
enum http_field_id {
	HTTP_FIELD_OTHER,
	HTTP_FIELD_HOST,
	HTTP_FIELD_CONTENT_LENGTH,
	HTTP_FIELD_TRANSFER_ENCODING,
	HTTP_FIELD_CONNECTION,
	HTTP_FIELD_KEEP_ALIVE,
	HTTP_FIELD_PROXY_CONNECTION,
	HTTP_FIELD_UPGRADE,
	HTTP_FIELD_TE,
	HTTP_FIELD_TRAILER,
	HTTP_FIELD_EXPECT,
	HTTP_FIELD_HTTP2_SETTINGS,
	HTTP_FIELD_TRACEPARENT,
	HTTP_FIELD_TRACESTATE,
	HTTP_FIELD_B3,
	HTTP_FIELD_X_B3_TRACEID,
	HTTP_FIELD_X_B3_SPANID,
	HTTP_FIELD_X_B3_PARENTSPANID,
	HTTP_FIELD_X_B3_SAMPLED,
	HTTP_FIELD_X_B3_FLAGS,
	HTTP_FIELD_X_REQUEST_ID,
	HTTP_FIELD_X_FORWARDED_FOR,
	HTTP_FIELD_X_FORWARDED_PROTO,
	HTTP_FIELD_X_FORWARDED_CLIENT_CERT,
	HTTP_FIELD_X_TRAMMEL_REASON,
	HTTP_FIELD_USER_AGENT,
	HTTP_FIELD_CONTENT_TYPE,
	HTTP_FIELD_DATE,
	HTTP_FIELD_SERVER,
	HTTP_FIELD_GRPC_TIMEOUT,
	HTTP_FIELD_IDS,
};

struct http_field {
	struct str name, value; /* value without surrounding white space; name in the case it came in */
	uint16_t id;		/* enum http_field_id */
	bool removed;		/* struck out by a decider; writers skip it */
};

enum http_body_kind {
	HTTP_BODY_NONE,	      /* no body octets follow */
	HTTP_BODY_LENGTH,     /* body_bytes octets */
	HTTP_BODY_CHUNKED,    /* until the last chunk; trailers may follow */
	HTTP_BODY_UNTIL_CLOSE, /* responses alone */
	HTTP_BODY_TUNNEL,     /* after 101 or 2xx to CONNECT: no more HTTP on this connection */
};

struct http_head {
	enum http_version version;
	/* request */
	struct str method;
	struct str target;    /* as received, for the log */
	struct str path;      /* origin-form, normalised once: the same bytes go to policy, route and upstream */
	struct str authority; /* host[:port] as the caller named it, validated; from Host or absolute-form */
	/* response */
	uint16_t status;
	struct str phrase;
	/* both */
	struct http_field *fields;
	uint16_t n_fields, cap_fields;
	enum http_body_kind body;
	uint64_t body_bytes; /* HTTP_BODY_LENGTH */
	bool keep_alive;     /* the sender wants the connection kept */
	bool expect_continue;
	bool is_https;		  /* request to be sent in HTTP/2: its :scheme */
	bool is_head, is_connect; /* of the request (a response's parser is told) */
	struct str upgrade;	  /* request: token asked for where allowed, else empty */
	uint64_t known;		  /* bit per enum http_field_id present */
};

/** http_field_id_of() - the id of a field name, letters of either case; HTTP_FIELD_OTHER for names the proxy does not look at */
enum http_field_id http_field_id_of(struct str name);

static inline bool http_head_has(const struct http_head *h, enum http_field_id id)
{
	return (h->known >> id) & 1;
}

/**
 * http_head_n_counted() - fields that count against HTTP_FIELDS_MAX
 *
 * What the proxy on the other side adds to a request does not, each once: a request it took at its limit would be one
 * over ours.
 */
static inline unsigned http_head_n_counted(const struct http_head *h)
{
	const uint64_t uncounted = 1ull << HTTP_FIELD_TRACEPARENT | 1ull << HTTP_FIELD_X_REQUEST_ID;

	return h->n_fields - (unsigned)__builtin_popcountll(h->known & uncounted);
}

/** http_head_find() - first field of @id not struck out, or NULL */
struct http_field *http_head_find(const struct http_head *h, enum http_field_id id);

/** http_head_remove() - strike out every field of @id */
void http_head_remove(struct http_head *h, enum http_field_id id);

/** http_head_add() - append; @name and @value must outlive the head; -ENOBUFS above HTTP_FIELDS_MAX + 28 (room for ours) */
MUST_CHECK int http_head_add(struct http_head *h, enum http_field_id id, struct str name, struct str value);

/** http_status_phrase() - "Not Found"; "Unknown" for numbers without one */
const char *http_status_phrase(uint16_t status);

#endif
