/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 lexing shared by the codec's files; private to proxy/http
 *
 * The resumable line reader and the rules about single field lines.
 */
#ifndef TRAMMEL_PROXY_HTTP_H1_LEX_H
#define TRAMMEL_PROXY_HTTP_H1_LEX_H

#include "proxy/http/field_rules.h"
#include "proxy/http/h1.h"
#include "proxy/http/lex.h"
#include "proxy/http/uri.h"

enum {
	H1_PHASE_START, /* first line not read yet */
	H1_PHASE_FIELDS,
};

/* Fields of which a second one makes the message ambiguous. */
#define H1_SINGLETONS                                                                                                  \
	(1ull << HTTP_FIELD_HOST | 1ull << HTTP_FIELD_CONTENT_LENGTH | 1ull << HTTP_FIELD_TRANSFER_ENCODING)

/** h1_input() - @input, or an empty string where it has no memory */
static inline struct str h1_input(struct str input)
{
	return input.p ? input : STR("");
}

/** h1_parser_enter() - the input may have moved since the last call: let what @head borrowed from it follow */
void h1_parser_enter(struct h1_parser *p, struct str input, struct http_head *head);
void h1_parser_reset(struct h1_parser *p);

/** h1_line_read() - next line without its CRLF; @too_long is the refusal above @max bytes; 0, HTTP_E_MORE, HTTP_E_REJECT */
MUST_CHECK int h1_line_read(struct h1_parser *p, struct str input, uint32_t max, uint16_t too_long, struct str *ret_line,
			    struct http_reject *ret_reject);

/** h1_fields_read() - all field lines up to the empty one; 0 with *ret_consumed, HTTP_E_MORE, HTTP_E_REJECT */
MUST_CHECK int h1_fields_read(struct h1_parser *p, struct str input, struct http_head *head, size_t *ret_consumed,
			      struct http_reject *ret_reject);

/** h1_field_split() - "Name: value" into @ret with its id; 0 or HTTP_E_REJECT */
MUST_CHECK int h1_field_split(struct str line, struct http_field *ret, struct http_reject *ret_reject);

/* What the Connection fields of a head say. */
struct h1_connection {
	bool close, keep_alive, upgrade;
};

/** h1_connection_read() - read the Connection fields and strike out those they name; 0 or HTTP_E_REJECT */
MUST_CHECK int h1_connection_read(struct http_head *head, struct h1_connection *ret, struct http_reject *ret_reject);

/** h1_length_read() - decide on Content-Length and Transfer-Encoding; sets body and body_bytes, NONE without either */
MUST_CHECK int h1_length_read(struct http_head *head, struct http_reject *ret_reject);

#endif
