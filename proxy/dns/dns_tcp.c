/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766): messages behind a length of two bytes, answered in any order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/buf.h"
#include "proxy/dns/dns_query.h"

#define CONNS_MAX 32
#define IDLE_MS   10000
#define OUT_BYTES (128 * 1024)

struct dns_tcp {
	struct list link;
	struct dns_server *server;
	unsigned int *n_conns;
	struct loop_io io;
	struct loop_timer timer;
	int fd;
	bool eof; /* the client has sent all: what it asked is answered, then we end */
	struct buf in, out;
	struct list queries; /* dns_pending.tcp_link */
};

struct dns_tcp *dns_tcp_first(struct list *conns)
{
	return list_first(conns, struct dns_tcp, link);
}

void dns_tcp_free(struct dns_tcp *tcp)
{
	while (!list_is_empty(&tcp->queries)) {
		struct dns_pending *p = list_entry(tcp->queries.next, struct dns_pending, tcp_link);

		list_remove(&p->tcp_link);
		p->tcp = NULL;
	}
	loop_io_remove(&tcp->io);
	loop_timer_cancel(&tcp->timer);
	list_remove(&tcp->link);
	(*tcp->n_conns)--;
	fd_close(tcp->fd);
	buf_done(&tcp->in);
	buf_done(&tcp->out);
	free(tcp);
}

static void on_idle(struct loop_timer *timer)
{
	dns_tcp_free(container_of(timer, struct dns_tcp, timer));
}

/* False when the connection broke. */
static bool out_flush(struct dns_tcp *tcp)
{
	while (tcp->out.len) {
		ssize_t k = send(tcp->fd, buf_head(&tcp->out), tcp->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno != EAGAIN)
			return false;
		if (k < 0)
			break;
		buf_consume(&tcp->out, (size_t)k);
	}
	loop_io_set_events(&tcp->io, (tcp->eof ? 0 : EPOLLIN) | (tcp->out.len ? EPOLLOUT : 0));
	/* The end of both directions wakes us once more (EPOLLHUP), and the connection goes. */
	if (tcp->eof && !tcp->out.len && list_is_empty(&tcp->queries))
		shutdown(tcp->fd, SHUT_WR);
	return true;
}

void dns_tcp_answer(struct dns_tcp *tcp, const uint8_t *message, size_t n)
{
	uint8_t prefix[2] = {(uint8_t)(n >> 8), (uint8_t)n};

	/* A client that does not read loses answers, then idles out. Errors show at the next wake-up: a read ends it
	 * there. */
	if (tcp->out.len + n + 2 > OUT_BYTES || buf_append(&tcp->out, prefix, 2) < 0 ||
	    buf_append(&tcp->out, message, n) < 0)
		return;
	(void)out_flush(tcp);
}

/* One message of the stream; false ends the connection. */
static bool message_take(struct dns_tcp *tcp, const uint8_t *message, size_t n)
{
	struct dns_pending *p;
	int r;

	if (n > DNS_QUERY_BYTES)
		return false;
	p = dns_server_pending_new(tcp->server);
	if (!p)
		return false;
	memcpy(p->bytes, message, n);
	p->n_bytes = n;
	p->tcp = tcp;
	list_push_back(&tcp->queries, &p->tcp_link);
	r = dns_query_parse(p->bytes, n, &p->query);
	if (r == DNS_E_IGNORE) {
		dns_pending_free(p);
		return false;
	}
	if (r) {
		p->query.question_bytes = 0;
		dns_pending_fail(p, r == DNS_E_NOTIMP ? DNS_NOTIMP : DNS_FORMERR);
	} else {
		dns_server_ask(p);
	}
	return true;
}

static bool in_read(struct dns_tcp *tcp)
{
	size_t room;
	char *tail;
	ssize_t k;

	if (buf_reserve(&tcp->in, 512) < 0)
		return false;
	tail = buf_tail(&tcp->in, &room);
	k = recv(tcp->fd, tail, room, MSG_DONTWAIT);
	if (k < 0)
		return errno == EAGAIN || errno == EINTR;
	if (k == 0) {
		if (tcp->eof || tcp->in.len || (list_is_empty(&tcp->queries) && !tcp->out.len))
			return false;
		tcp->eof = true;
		return out_flush(tcp);
	}
	buf_commit(&tcp->in, (size_t)k);
	while (tcp->in.len >= 2) {
		const uint8_t *p = (const uint8_t *)buf_head(&tcp->in);
		size_t n = (size_t)p[0] << 8 | p[1];

		if (n > DNS_QUERY_BYTES)
			return false;
		if (tcp->in.len < n + 2)
			break;
		if (!message_take(tcp, p + 2, n))
			return false;
		buf_consume(&tcp->in, n + 2);
	}
	return true;
}

static void on_conn_ready(struct loop_io *io, uint32_t revents)
{
	struct dns_tcp *tcp = container_of(io, struct dns_tcp, io);

	if (((revents & EPOLLOUT) && !out_flush(tcp)) || ((revents & ~(uint32_t)EPOLLOUT) && !in_read(tcp))) {
		dns_tcp_free(tcp);
		return;
	}
	loop_timer_set(dns_server_loop(tcp->server), &tcp->timer, IDLE_MS, on_idle);
}

int dns_tcp_accept(struct dns_server *s, int listener, struct list *conns, unsigned int *n_conns)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct dns_tcp *tcp;

	if (fd < 0)
		return -errno;
	tcp = *n_conns < CONNS_MAX ? calloc(1, sizeof(*tcp)) : NULL;
	if (!tcp) {
		fd_close(fd);
		return 0;
	}
	tcp->server = s;
	tcp->n_conns = n_conns;
	tcp->fd = fd;
	list_init(&tcp->queries);
	buf_init(&tcp->in, 4 * DNS_QUERY_BYTES);
	buf_init(&tcp->out, OUT_BYTES);
	list_push_back(conns, &tcp->link);
	(*n_conns)++;
	if (loop_io_add(dns_server_loop(s), &tcp->io, fd, EPOLLIN, on_conn_ready) < 0) {
		dns_tcp_free(tcp);
		return 0;
	}
	loop_timer_set(dns_server_loop(s), &tcp->timer, IDLE_MS, on_idle);
	return 0;
}
