/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One DNS query on its way: asked by UDP or TCP, answered by the mesh or by an upstream server
 *
 * Private to the room. A query is answered once, then freed.
 */
#ifndef TRAMMEL_PROXY_DNS_QUERY_H
#define TRAMMEL_PROXY_DNS_QUERY_H

#include <sys/socket.h>
#include "base/list.h"
#include "base/loop.h"
#include "proxy/dns/dns_message.h"
#include "proxy/subscribe/subscriber.h"

#define DNS_QUERY_BYTES 1024 /* a query that is longer is refused */
#define DNS_TTL_S       5

struct dns_server;
struct dns_tcp;

struct dns_pending {
	struct list link; /* in dns_server.queries */
	struct dns_server *server;
	struct subscriber_wait wait;

	/* who asked */
	int udp_fd; /* -1: by TCP */
	struct sockaddr_storage client;
	socklen_t client_len;
	struct dns_tcp *tcp; /* NULL when the asker's connection is gone */
	struct list tcp_link;

	struct dns_query query;
	uint8_t bytes[DNS_QUERY_BYTES]; /* as received */
	size_t n_bytes;

	/* towards an upstream server */
	struct loop_io up_io;
	struct loop_timer up_timer;
	int up_fd;
	size_t up_server; /* index into self.dns_upstream */
	uint16_t up_id;
	uint8_t *up_reply; /* TCP: length prefix and message as far as come */
	size_t up_reply_bytes;
	bool up_sent;
};

/** dns_pending_answer() - send @n bytes to whom asked (UDP: truncated to what it takes) and free the query */
void dns_pending_answer(struct dns_pending *p, uint8_t *message, size_t n);
/** dns_pending_fail() - answer with @rcode and free the query */
void dns_pending_fail(struct dns_pending *p, enum dns_rcode rcode);
void dns_pending_free(struct dns_pending *p);

/** dns_forward() - ask the upstream servers in turn; answers and frees the query in the end */
void dns_forward(struct dns_pending *p);
/** dns_forward_stop() - release what is under way */
void dns_forward_stop(struct dns_pending *p);

struct snapshot *dns_server_snapshot(struct dns_server *s);
struct loop *dns_server_loop(struct dns_server *s);
/** dns_server_ask() - resolve a query that was read; takes @p */
void dns_server_ask(struct dns_pending *p);
/** dns_server_pending_new() - NULL when 512 are under way or memory is out */
struct dns_pending *dns_server_pending_new(struct dns_server *s);

/** dns_tcp_answer() - write a framed message to a TCP client */
void dns_tcp_answer(struct dns_tcp *tcp, const uint8_t *message, size_t n);
/** dns_tcp_accept() - take one client of listener @fd; @conns is the server's list of connections; negative errno of
 * accept4() */
MUST_CHECK int dns_tcp_accept(struct dns_server *s, int fd, struct list *conns, unsigned int *n_conns);
void dns_tcp_free(struct dns_tcp *tcp);
struct dns_tcp *dns_tcp_first(struct list *conns);

#endif
