/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 fields to and from the request model. Pure; private to proxy/http
 *
 * What nghttp2 has checked already (RFC 9113 section 8.2 and 8.3: tokens, case, order and repetition of pseudo-header
 * fields, connection-specific fields, lengths) is not checked again. What it leaves to its user is: paths, authorities,
 * sizes, names that pose as others.
 */
#ifndef TRAMMEL_PROXY_HTTP_H2_HEAD_H
#define TRAMMEL_PROXY_HTTP_H2_HEAD_H

#include <nghttp2/nghttp2.h>
#include "proxy/http/h1.h"
#include "proxy/http/head.h"

#define H2_HEAD_BYTES	   (64 * 1024) /* of names, values and 32 for each field (RFC 9113 section 6.5.2): more is 431 */
#define H2_HEAD_BYTES_LAST (256 * 1024) /* decoding goes on up to here, for the connection's sake; then it ends */
#define H2_LINE_BYTES	   (32 * 1024) /* of one field, as it stands in HTTP/1.1; cookies joined */
#define H2_CRUMBS	   512 /* cookie fields of one head */
#define H2_TRAILERS	   20
#define H2_TRAILER_BYTES   (8 * 1024)
#define H2_NV_MAX	   (HTTP_FIELDS_CAP + 8)

struct h2_crumb;

/* One field section coming in. */
struct h2_head_in {
	struct http_head *head; /* NULL for trailers */
	struct pool *pool;
	struct h2_crumb *crumbs, *crumbs_last;
	struct str scheme, protocol, host;
	struct http_field *trailers;
	struct http_reject reject; /* status 0: none so far */
	uint32_t bytes;
	uint16_t n_crumbs, n_trailers;
	bool has_host, has_length;
	bool malformed; /* not to be answered but by a reset (RFC 9113 section 8.1.1) */
};

/** h2_head_in_begin() - @head with fields and cap_fields set, all else is cleared; NULL: trailers follow */
void h2_head_in_begin(struct h2_head_in *in, struct http_head *head, struct pool *pool);

/**
 * h2_head_in_add() - take one field; @name and @value are copied into the pool
 *
 * Return: 0 (also where in->reject was set: the rest is passed over), HTTP_E_REJECT when nothing more may be decoded,
 * -ENOMEM.
 */
MUST_CHECK int h2_head_in_add(struct h2_head_in *in, struct str name, struct str value);

/**
 * h2_head_in_request() / h2_head_in_response() - all fields were added
 * @ends:  no body follows
 *
 * Extended CONNECT to websocket (RFC 8441) is read as what it stands for: a GET with upgrade set; its 2xx as a 101.
 *
 * Return: 0, HTTP_E_REJECT (in->reject; in->malformed: by a reset), -ENOMEM.
 */
MUST_CHECK int h2_head_in_request(struct h2_head_in *in, bool ends);
MUST_CHECK int h2_head_in_response(struct h2_head_in *in, const struct h1_asked *asked, bool ends);

/* Fields going out; strings borrowed from the head but for @text. */
struct h2_head_out {
	nghttp2_nv nv[H2_NV_MAX];
	size_t n;
	char text[STR_U64_BYTES], status[STR_U64_BYTES];
};

/** h2_head_out_request() / h2_head_out_response() - 0, -EINVAL for bytes that may not stand in a field */
MUST_CHECK int h2_head_out_request(struct h2_head_out *out, const struct http_head *head);
MUST_CHECK int h2_head_out_response(struct h2_head_out *out, const struct http_head *head);

#endif
