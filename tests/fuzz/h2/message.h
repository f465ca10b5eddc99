/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP message between its two wires
 *
 * Read from HTTP/1.1 bytes or heard from an HTTP/2 connection, written as either, and held against another: what a message
 * means must not depend on the wire it came by.
 */
#ifndef TRAMMEL_TESTS_FUZZ_H2_MESSAGE_H
#define TRAMMEL_TESTS_FUZZ_H2_MESSAGE_H

#include "proxy/http/h1.h"
#include "proxy/http/h2.h"

struct message {
	struct pool pool;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head;
	struct buf body;
	struct http_field *trailers;
	size_t n_trailers;
	bool has_head, ended, refused;
};

void message_init(struct message *m);
void message_done(struct message *m);

/**
 * message_read() - from HTTP/1.1; strings are borrowed from @in
 * @asked:  of a response; NULL: it is a request
 *
 * Return: is it a message, whole, or a response that goes on until the connection ends?
 */
bool message_read(struct message *m, struct str in, const struct h1_asked *asked);

/** message_write() - to HTTP/1.1; a response's @asked */
void message_write(const struct message *m, struct buf *out, const struct h1_asked *asked);

/** message_send() - on an HTTP/2 stream; false: it may not be sent so */
bool message_send(const struct message *m, struct h2_stream *s, bool is_request);

/** message_is_small() - no limit is near, whatever the other wire adds */
bool message_is_small(const struct message *m);

/** message_check_same() - aborts where they differ in what they mean */
void message_check_same(const struct message *a, const struct message *b);

/* Two connections of ours, one the other's peer, with one request and its response. */
struct pair {
	struct h2_conn client, server;
	struct h2_stream ask, answer;
	struct message request, response; /* as the other side heard them */
	bool asked;			  /* the client's stream is open */
	bool answering;			  /* and the server's */
};

void pair_init(struct pair *p);
void pair_done(struct pair *p);

/** pair_run() - until nothing is left to be sent; @part: how many bytes arrive at once */
void pair_run(struct pair *p, size_t part);

/** pair_feed() - bytes of another peer arrive at @c, one of the two */
void pair_feed(struct pair *p, struct h2_conn *c, struct str in);

#endif
