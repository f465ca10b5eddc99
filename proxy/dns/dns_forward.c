/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarding to upstream servers
 *
 * Each query has a socket (so a port) and an id of its own; an answer must repeat both and the question byte for byte
 * (RFC 5452 section 9). What came by TCP goes on by TCP. The next server is asked after 1 s or a refusal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include "proxy/dns/dns_query.h"

#define SERVER_MS   1000
#define REPLY_BYTES 65537

static void server_ask(struct dns_pending *p);

void dns_forward_stop(struct dns_pending *p)
{
	loop_io_remove(&p->up_io);
	loop_timer_cancel(&p->up_timer);
	p->up_fd = fd_close(p->up_fd);
	free(p->up_reply);
	p->up_reply = NULL;
	p->up_reply_bytes = 0;
	p->up_sent = false;
}

static void server_next(struct dns_pending *p)
{
	dns_forward_stop(p);
	p->up_server++;
	server_ask(p);
}

static void on_server_late(struct loop_timer *timer)
{
	server_next(container_of(timer, struct dns_pending, up_timer));
}

/* The answer belongs to us: give it the asker's id back. */
static bool reply_take(struct dns_pending *p, uint8_t *message, size_t n)
{
	if (n < DNS_HEADER || (message[0] << 8 | message[1]) != p->up_id ||
	    !dns_reply_matches(message, n, p->bytes, &p->query))
		return false;
	message[0] = (uint8_t)(p->query.id >> 8);
	message[1] = (uint8_t)p->query.id;
	dns_pending_answer(p, message, n);
	return true;
}

static void on_udp_reply(struct dns_pending *p)
{
	uint8_t message[4096];
	ssize_t k = recv(p->up_fd, message, sizeof(message), MSG_DONTWAIT);

	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (k < 0) /* refused: nobody serves there */
		server_next(p);
	else
		(void)reply_take(p, message, (size_t)k); /* not ours: wait on for the right one */
}

static bool tcp_send(struct dns_pending *p)
{
	uint8_t framed[DNS_QUERY_BYTES + 2] = {(uint8_t)(p->n_bytes >> 8), (uint8_t)p->n_bytes};

	memcpy(framed + 2, p->bytes, p->n_bytes);
	framed[2] = (uint8_t)(p->up_id >> 8);
	framed[3] = (uint8_t)p->up_id;
	p->up_sent = send(p->up_fd, framed, p->n_bytes + 2, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)p->n_bytes + 2;
	if (p->up_sent)
		loop_io_set_events(&p->up_io, EPOLLIN);
	return p->up_sent;
}

static void on_tcp_reply(struct dns_pending *p)
{
	ssize_t k;
	size_t n;

	if (!p->up_sent) {
		if (!tcp_send(p))
			server_next(p);
		return;
	}
	if (!p->up_reply)
		p->up_reply = malloc(REPLY_BYTES);
	k = p->up_reply ? recv(p->up_fd, p->up_reply + p->up_reply_bytes, REPLY_BYTES - p->up_reply_bytes, MSG_DONTWAIT)
			: 0;
	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (k <= 0) {
		server_next(p);
		return;
	}
	p->up_reply_bytes += (size_t)k;
	if (p->up_reply_bytes < 2)
		return;
	n = (size_t)p->up_reply[0] << 8 | p->up_reply[1];
	if (p->up_reply_bytes >= n + 2 && !reply_take(p, p->up_reply + 2, n))
		server_next(p);
}

static void on_server_ready(struct loop_io *io, uint32_t revents)
{
	struct dns_pending *p = container_of(io, struct dns_pending, up_io);

	if (p->udp_fd >= 0)
		on_udp_reply(p);
	else
		on_tcp_reply(p);
}

static bool socket_open(struct dns_pending *p, struct loop *loop, const struct addr *server)
{
	bool udp = p->udp_fd >= 0;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(server, &sa);
	uint8_t bytes[DNS_QUERY_BYTES];

	p->up_fd = socket(sa.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->up_fd < 0 || (connect(p->up_fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS))
		return false;
	if (getrandom(&p->up_id, sizeof(p->up_id), 0) != (ssize_t)sizeof(p->up_id))
		return false;
	if (loop_io_add(loop, &p->up_io, p->up_fd, udp ? EPOLLIN : EPOLLOUT, on_server_ready) < 0)
		return false;
	if (!udp)
		return true;
	memcpy(bytes, p->bytes, p->n_bytes);
	bytes[0] = (uint8_t)(p->up_id >> 8);
	bytes[1] = (uint8_t)p->up_id;
	return send(p->up_fd, bytes, p->n_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)p->n_bytes;
}

static void server_ask(struct dns_pending *p)
{
	struct loop *loop = dns_server_loop(p->server);

	for (;; p->up_server++) {
		/* read again each time: a new snapshot may have replaced the list */
		struct snapshot *s = dns_server_snapshot(p->server);
		const struct self *self = s ? snapshot_self(s) : NULL;

		if (!self || p->up_server >= self->n_dns_upstream) {
			dns_pending_fail(p, DNS_SERVFAIL);
			return;
		}
		if (socket_open(p, loop, &self->dns_upstream[p->up_server]))
			break;
		dns_forward_stop(p);
	}
	loop_timer_set(loop, &p->up_timer, SERVER_MS, on_server_late);
}

void dns_forward(struct dns_pending *p)
{
	p->up_server = 0;
	server_ask(p);
}
