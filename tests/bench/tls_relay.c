/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: a relay that parses nothing and only moves bytes through TLS
 *
 *   tls_relay out LISTEN_PORT HOST PORT CA CRT KEY     plaintext in, mTLS out
 *   tls_relay in  LISTEN_PORT HOST PORT CA CRT KEY     mTLS in, plaintext out
 *
 * One thread, one epoll loop, one upstream connection per downstream one. It writes straight after it reads; what the other side
 * does not take stays in one buffer per direction, and reading stops meanwhile.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUF_BYTES 16384

struct side {
	int fd;
	SSL *ssl; /* NULL: plaintext */
	bool connecting;
	struct pair *pair;
	char buf[BUF_BYTES]; /* read here, to be written to the other side */
	size_t off, len;
};

struct pair {
	struct side down, up;
	bool dead;
	struct pair *next_dead;
};

static SSL_CTX *ctx;
static bool is_out;
static struct sockaddr_in target;
static int epoll_fd;
static struct pair *graveyard;

static void fatal(const char *what)
{
	fprintf(stderr, "tls_relay: %s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(1);
}

static void pair_close(struct pair *p)
{
	if (p->dead)
		return;
	p->dead = true;
	ERR_clear_error(); /* SSL_get_error() of the others looks there, too */
	SSL_free(p->down.ssl);
	SSL_free(p->up.ssl);
	close(p->down.fd);
	close(p->up.fd);
	p->next_dead = graveyard; /* events of this turn may still name it */
	graveyard = p;
}

/* > 0 bytes, 0 not now, -1 the end */
static ssize_t side_read(struct side *s)
{
	ssize_t k;

	if (s->ssl) {
		int n = SSL_read(s->ssl, s->buf, BUF_BYTES);

		if (n > 0)
			return n;
		n = SSL_get_error(s->ssl, n);
		return n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	k = recv(s->fd, s->buf, BUF_BYTES, 0);
	return k > 0 ? k : k < 0 && errno == EAGAIN ? 0 : -1;
}

static ssize_t side_write(struct side *s, const char *p, size_t n)
{
	ssize_t k;

	if (s->connecting)
		return 0;
	if (s->ssl) {
		int w = SSL_write(s->ssl, p, (int)n);

		if (w > 0)
			return w;
		w = SSL_get_error(s->ssl, w);
		return w == SSL_ERROR_WANT_READ || w == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	k = send(s->fd, p, n, MSG_NOSIGNAL);
	return k >= 0 ? k : errno == EAGAIN ? 0 : -1;
}

/* Move what @from has to @to; false: the pair is at its end. */
static bool move(struct side *from, struct side *to)
{
	for (;;) {
		if (from->off == from->len) {
			ssize_t k = side_read(from);

			if (k <= 0)
				return k == 0;
			from->off = 0;
			from->len = (size_t)k;
		}
		ssize_t w = side_write(to, from->buf + from->off, from->len - from->off);

		if (w <= 0)
			return w == 0;
		from->off += (size_t)w;
		if (from->off == from->len && !(from->ssl ? SSL_pending(from->ssl) : 0) && from->len < BUF_BYTES)
			return true; /* level-triggered: the rest will be told */
	}
}

static void interest_set(struct side *s, const struct side *other)
{
	struct epoll_event ev = { .events = 0, .data.ptr = s };

	if (s->off == s->len)
		ev.events |= EPOLLIN;
	if (other->off != other->len || s->connecting)
		ev.events |= EPOLLOUT;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
}

static SSL *ssl_make(int fd, bool client)
{
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, fd);
	if (client)
		SSL_set_connect_state(ssl);
	else
		SSL_set_accept_state(ssl);
	return ssl;
}

static void on_side(struct side *s)
{
	struct pair *p = s->pair;
	struct side *other = s == &p->down ? &p->up : &p->down;
	bool was_idle = s->off == s->len && other->off == other->len && !s->connecting;

	if (p->dead)
		return;
	s->connecting = false;
	if (!move(s, other) || !move(other, s)) {
		pair_close(p);
		return;
	}
	if (!was_idle || s->off != s->len || other->off != other->len) {
		interest_set(s, other);
		interest_set(other, s);
	}
}

static void side_watch(struct side *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ev);
}

static void on_accept(int listen_fd)
{
	int fd, one = 1;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct pair *p = calloc(1, sizeof(*p));

		if (!p)
			fatal("memory");
		p->down.pair = p->up.pair = p;
		p->down.fd = fd;
		p->up.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		setsockopt(p->down.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(p->up.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (is_out)
			p->up.ssl = ssl_make(p->up.fd, true);
		else
			p->down.ssl = ssl_make(fd, false);
		p->up.connecting = true;
		if (connect(p->up.fd, (struct sockaddr *)&target, sizeof(target)) < 0 && errno != EINPROGRESS) {
			pair_close(p);
			continue;
		}
		side_watch(&p->down, EPOLLIN);
		side_watch(&p->up, EPOLLIN | EPOLLOUT);
	}
}

static void ctx_make(const char *ca, const char *crt, const char *key)
{
	ctx = SSL_CTX_new(TLS_method());
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1 || SSL_CTX_use_certificate_chain_file(ctx, crt) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		fatal("certificates");
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL }, events[256];
	int listen_fd, one = 1;

	if (argc != 8) {
		fprintf(stderr, "tls_relay out|in LISTEN_PORT HOST PORT CA CRT KEY\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	is_out = strcmp(argv[1], "out") == 0;
	ctx_make(argv[5], argv[6], argv[7]);
	target.sin_family = AF_INET;
	target.sin_port = htons((uint16_t)atoi(argv[4]));
	inet_pton(AF_INET, argv[3], &target.sin_addr);
	at.sin_port = htons((uint16_t)atoi(argv[2]));
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listen_fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listen_fd, 4096) < 0)
		fatal("listen");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_side(events[i].data.ptr);
			else
				on_accept(listen_fd);
		}
		while (graveyard) {
			struct pair *p = graveyard;

			graveyard = p->next_dead;
			free(p);
		}
	}
}
