/* SPDX-License-Identifier: Apache-2.0 */
/* DNS server: sockets, and where an answer comes from. See dns_server.h. */
#include "proxy/dns/dns_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "proxy/dns/dns_query.h"

#define PENDING_MAX     512
#define AGENT_MS        2000
#define READ_BATCH      32
#define ACCEPT_PAUSE_MS 100

struct dns_server {
	struct loop *loop;
	struct subscriber *subscriber;
	struct observe *observe;
	struct loop_io io[4]; /* udp4, udp6, tcp4, tcp6 */
	struct list queries, conns;
	unsigned int n_queries, n_conns;
	size_t turn[2];                 /* first address of the next answer, A and AAAA: headless services are spread */
	struct loop_timer accept_timer; /* runs while accepting is put off */
};

struct snapshot *dns_server_snapshot(struct dns_server *s)
{
	return subscriber_snapshot(s->subscriber);
}

struct loop *dns_server_loop(struct dns_server *s)
{
	return s->loop;
}

struct dns_pending *dns_server_pending_new(struct dns_server *s)
{
	struct dns_pending *p = s->n_queries < PENDING_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p) {
		observe_count(s->observe, TRM_REASON_CONN_LIMIT);
		return NULL;
	}
	p->server = s;
	p->udp_fd = p->up_fd = -1;
	list_init(&p->tcp_link);
	list_push_back(&s->queries, &p->link);
	s->n_queries++;
	return p;
}

void dns_pending_free(struct dns_pending *p)
{
	subscriber_wait_cancel(&p->wait);
	dns_forward_stop(p);
	list_remove(&p->link);
	list_remove(&p->tcp_link);
	p->server->n_queries--;
	free(p);
}

void dns_pending_answer(struct dns_pending *p, uint8_t *message, size_t n)
{
	if (p->udp_fd >= 0) {
		if (n > p->query.udp_bytes) { /* RFC 2181 section 9: cut, with TC set, and asked again by TCP */
			n = p->query.question_bytes;
			message[2] |= 0x02;
			memset(message + 6, 0, 6);
		}
		/* A full socket buffer loses this answer as the network might: the asker asks again. */
		(void)!sendto(p->udp_fd, message, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&p->client,
			      p->client_len);
	} else if (p->tcp) {
		list_remove(&p->tcp_link);
		dns_tcp_answer(p->tcp, message, n);
	}
	dns_pending_free(p);
}

void dns_pending_fail(struct dns_pending *p, enum dns_rcode rcode)
{
	uint8_t out[DNS_QUERY_BYTES + 16];
	size_t n;

	if (p->query.question_bytes)
		n = dns_answer_format(&p->query, p->bytes, rcode, NULL, 0, 0, 0, out, sizeof(out));
	else
		n = dns_error_format(&p->query, rcode, out, sizeof(out));
	dns_pending_answer(p, out, n);
}

/* Is @name a zone or below it? */
static bool is_within(struct str name, struct str zone)
{
	return str_ends(name, zone) && (name.n == zone.n || name.p[name.n - zone.n - 1] == '.');
}

/* The zone of the mesh that the query's name is in; empty when it is in none, or no snapshot says which there are. */
static struct str zone_find(const struct dns_pending *p)
{
	struct snapshot *s = dns_server_snapshot(p->server);
	const struct self *self = s ? snapshot_self(s) : NULL;
	struct str name = str_from(p->query.name);

	if (self && is_within(name, str_from(self->cluster_domain)))
		return str_from(self->cluster_domain);
	for (size_t i = 0; self && i < self->n_reverse_zones; i++)
		if (is_within(name, str_from(self->reverse_zones[i])))
			return str_from(self->reverse_zones[i]);
	return (struct str){0};
}

static void negative_answer(struct dns_pending *p, enum dns_rcode rcode, struct str zone)
{
	uint8_t out[DNS_QUERY_BYTES + 16];

	dns_pending_answer(p, out,
			   dns_negative_format(&p->query, p->bytes, rcode, zone.n, DNS_TTL_S, out, sizeof(out)));
}

static void addresses_answer(struct dns_pending *p, const struct addr *addresses, size_t n)
{
	size_t max = p->udp_fd >= 0 ? p->query.udp_bytes : 16384, first = 0;
	uint8_t out[16384];

	if (dns_answer_count(&p->query, addresses, n) == 0) {
		negative_answer(p, DNS_OK, zone_find(p));
		return;
	}
	if (dns_answer_count(&p->query, addresses, n) > 1)
		first = p->server->turn[p->query.type == DNS_AAAA]++;
	n = dns_answer_format(&p->query, p->bytes, DNS_OK, addresses, n, first, DNS_TTL_S, out, max);
	dns_pending_answer(p, out, n);
}

/* RFC 6761 section 6.3: localhost and what is below it are loopback, and never leave. */
static bool localhost_answer(struct dns_pending *p)
{
	static const struct addr loopback[2] = {
		{.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}},
		{.ip = {[15] = 1}},
	};
	struct str name = str_from(p->query.name);

	if (!str_eq(name, STR("localhost")) && !str_ends(name, STR(".localhost")))
		return false;
	addresses_answer(p, loopback, 2);
	return true;
}

/*
 * Names that have none of their own, but names below them: the domain itself, "svc", and the namespace we are in. "No such name"
 * would deny the names below too (RFC 8020).
 */
static bool is_branch(const struct self *self, struct str name, struct str zone)
{
	struct str part;

	if (name.n == zone.n)
		return true;
	if (!str_eq_c(zone, self->cluster_domain))
		return false;
	name.n -= zone.n + 1;
	if (str_eq(name, STR("svc")))
		return true;
	return str_split(&name, '.', &part) && str_eq_c(part, self->namespace) && str_eq(name, STR("svc"));
}

/*
 * The mesh does not know the name, or it is of a kind the mesh has none of. What is within the mesh's own zones is said here and
 * now: nobody else could know it, and a search list makes such a name of every other name.
 */
static void other_ask(struct dns_pending *p)
{
	const struct self *self = snapshot_self(dns_server_snapshot(p->server));
	struct str zone = zone_find(p);

	if (zone.n)
		negative_answer(p, is_branch(self, str_from(p->query.name), zone) ? DNS_OK : DNS_NXDOMAIN, zone);
	else if (self->n_dns_upstream)
		dns_forward(p);
	else
		dns_pending_fail(p, DNS_NXDOMAIN);
}

/* Answers when the snapshot can; false when the agent has to be asked. */
static bool snapshot_answer(struct dns_pending *p)
{
	struct snapshot *s = dns_server_snapshot(p->server);
	struct dns_name name;

	if (!s || !snapshot_dns_find(s, str_from(p->query.name), &name))
		return false;
	if (name.known)
		addresses_answer(p, name.addresses, name.n_addresses);
	else
		other_ask(p);
	return true;
}

static void on_answer(struct subscriber_wait *wait, bool answered)
{
	struct dns_pending *p = container_of(wait, struct dns_pending, wait);

	if (answered && snapshot_answer(p))
		return;
	observe_count(p->server->observe, TRM_REASON_AGENT_UNREACHABLE);
	dns_pending_fail(p, DNS_SERVFAIL);
}

void dns_server_ask(struct dns_pending *p)
{
	struct str name = str_from(p->query.name);

	if (p->query.klass != 1) {
		dns_pending_fail(p, DNS_REFUSED);
		return;
	}
	if (p->query.edns_version) {
		dns_pending_fail(p, DNS_BADVERS);
		return;
	}
	if (localhost_answer(p))
		return;
	if (str_ends(name, STR(".in-addr.arpa")) || str_ends(name, STR(".ip6.arpa")) || name.n == 0 ||
	    !dns_name_is_host(p->query.name)) {
		if (dns_server_snapshot(p->server))
			other_ask(p);
		else
			dns_pending_fail(p, DNS_SERVFAIL);
		return;
	}
	if (snapshot_answer(p))
		return;
	p->wait.on_answer = on_answer;
	subscriber_want_dns(p->server->subscriber, name, AGENT_MS, &p->wait);
}

static bool udp_read(struct dns_server *s, int fd)
{
	struct dns_pending *p;
	uint8_t drop[1];
	ssize_t k;
	int r;

	if (s->n_queries >= PENDING_MAX) { /* take it out of the queue unanswered */
		k = recv(fd, drop, sizeof(drop), MSG_DONTWAIT | MSG_TRUNC);
		if (k >= 0)
			observe_count(s->observe, TRM_REASON_CONN_LIMIT);
		return k >= 0;
	}
	p = dns_server_pending_new(s);
	if (!p)
		return false;
	p->udp_fd = fd;
	p->client_len = sizeof(p->client);
	k = recvfrom(fd, p->bytes, sizeof(p->bytes), MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&p->client,
		     &p->client_len);
	if (k < 0) {
		int err = errno;

		dns_pending_free(p);
		return err == EINTR;
	}
	p->n_bytes = MIN((size_t)k, sizeof(p->bytes));
	r = dns_query_parse(p->bytes, p->n_bytes, &p->query);
	if (r == DNS_E_IGNORE) {
		dns_pending_free(p);
	} else if (r || (size_t)k > sizeof(p->bytes)) {
		p->query.question_bytes = 0;
		dns_pending_fail(p, r == DNS_E_NOTIMP ? DNS_NOTIMP : DNS_FORMERR);
	} else {
		dns_server_ask(p);
	}
	return true;
}

static void on_udp_ready(struct loop_io *io, uint32_t revents)
{
	struct dns_server *s = container_of(io, struct dns_server, io[0]);

	for (int i = 0; i < READ_BATCH && udp_read(s, io->fd); i++)
		;
}

static void on_udp6_ready(struct loop_io *io, uint32_t revents)
{
	struct dns_server *s = container_of(io, struct dns_server, io[1]);

	for (int i = 0; i < READ_BATCH && udp_read(s, io->fd); i++)
		;
}

static void listeners_set_events(struct dns_server *s, uint32_t events)
{
	for (int i = 2; i < 4; i++)
		if (s->io[i].loop)
			loop_io_set_events(&s->io[i], events);
}

static void on_accept_again(struct loop_timer *timer)
{
	listeners_set_events(container_of(timer, struct dns_server, accept_timer), EPOLLIN);
}

/* No descriptor or memory for a connection that waits: without a pause the loop would turn on it for nothing. */
static void tcp_accept(struct dns_server *s, int fd)
{
	int r = dns_tcp_accept(s, fd, &s->conns, &s->n_conns);

	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS) {
		observe_count(s->observe, TRM_REASON_FD_LIMIT);
		listeners_set_events(s, 0);
		loop_timer_set(s->loop, &s->accept_timer, ACCEPT_PAUSE_MS, on_accept_again);
	}
}

static void on_tcp4_ready(struct loop_io *io, uint32_t revents)
{
	tcp_accept(container_of(io, struct dns_server, io[2]), io->fd);
}

static void on_tcp6_ready(struct loop_io *io, uint32_t revents)
{
	tcp_accept(container_of(io, struct dns_server, io[3]), io->fd);
}

int dns_server_new(struct loop *loop, const struct dns_server_fds *fds, struct subscriber *subscriber,
		   struct observe *observe, struct dns_server **ret)
{
	static void (*const on_ready[4])(struct loop_io *, uint32_t) = {on_udp_ready, on_udp6_ready, on_tcp4_ready,
									on_tcp6_ready};
	const int fd[4] = {fds->udp4, fds->udp6, fds->tcp4, fds->tcp6};
	struct dns_server *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->subscriber = subscriber;
	s->observe = observe;
	list_init(&s->queries);
	list_init(&s->conns);
	for (int i = 0; i < 4 && r == 0; i++)
		if (fd[i] >= 0)
			r = loop_io_add(loop, &s->io[i], fd[i], EPOLLIN, on_ready[i]);
	if (r < 0) {
		dns_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct dns_server *dns_server_free(struct dns_server *s)
{
	struct dns_pending *p, *next;
	struct dns_tcp *tcp;

	if (!s)
		return NULL;
	for (int i = 0; i < 4; i++)
		loop_io_remove(&s->io[i]);
	loop_timer_cancel(&s->accept_timer);
	list_for_each_entry_safe (p, next, &s->queries, link)
		dns_pending_free(p);
	while ((tcp = dns_tcp_first(&s->conns)))
		dns_tcp_free(tcp);
	free(s);
	return NULL;
}
