/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server for large bodies
 *
 * A thread per connection. GET /N is answered with N bytes of the pattern; a request with a body with the count of its bytes, and
 * with their CRC-32 when it goes to /crc. Bodies come with Content-Length.
 *
 *   body_server PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>
#include "body_pattern.h"

#define READ_BYTES (256 * 1024)

struct conn {
	int fd;
	size_t len;
	char in[READ_BYTES];
};

static void fatal(const char *what)
{
	fprintf(stderr, "body_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool bytes_send(int fd, const void *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		p = (const char *)p + k;
		n -= (size_t)k;
	}
	return true;
}

static bool head_send(int fd, uint64_t length)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %lu\r\n\r\n", length);

	return bytes_send(fd, head, (size_t)n);
}

static bool pattern_send(int fd, uint64_t length)
{
	if (!head_send(fd, length))
		return false;
	for (uint64_t at = 0; at < length;) {
		size_t n = length - at < PATTERN_BYTES ? (size_t)(length - at) : PATTERN_BYTES;

		if (!bytes_send(fd, body_pattern_at(at), n))
			return false;
		at += n;
	}
	return true;
}

/* Takes @length bytes, of which some may have come with the head, and says how many and which. */
static bool body_take(struct conn *c, uint64_t length, bool sum)
{
	uint64_t left = length;
	uLong crc = 0;
	char text[64];
	int n;

	while (left > 0) {
		ssize_t k = (ssize_t)c->len;

		c->len = 0;
		if (k == 0)
			k = recv(c->fd, c->in, left < sizeof(c->in) ? (size_t)left : sizeof(c->in), 0);
		if (k <= 0 || (uint64_t)k > left)
			return false;
		if (sum)
			crc = crc32(crc, (const Bytef *)c->in, (uInt)k);
		left -= (uint64_t)k;
	}
	n = sum ? snprintf(text, sizeof(text), "%lu %lu\n", length, crc) : snprintf(text, sizeof(text), "%lu\n", length);
	return head_send(c->fd, (uint64_t)n) && bytes_send(c->fd, text, (size_t)n);
}

/* A head, up to the empty line; what stands behind it is moved to the front. */
static bool request_take(struct conn *c)
{
	char head[8192], *end, *length;
	size_t n;

	c->in[c->len] = '\0';
	while (!(end = strstr(c->in, "\r\n\r\n"))) {
		ssize_t k = c->len < sizeof(head) ? recv(c->fd, c->in + c->len, sizeof(head) - c->len, 0) : 0;

		if (k <= 0)
			return false;
		c->len += (size_t)k;
		c->in[c->len] = '\0';
	}
	n = (size_t)(end - c->in) + 4;
	if (n >= sizeof(head))
		return false;
	memcpy(head, c->in, n);
	head[n] = '\0';
	c->len -= n;
	memmove(c->in, c->in + n, c->len);
	length = strcasestr(head, "\r\ncontent-length:");
	if (strncmp(head, "GET /", 5) == 0)
		return pattern_send(c->fd, strtoull(head + 5, NULL, 10));
	return length && body_take(c, strtoull(length + 17, NULL, 10), strstr(head, " /crc ") != NULL);
}

static void *conn_run(void *arg)
{
	struct conn *c = arg;
	int one = 1;

	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	while (request_take(c))
		;
	close(c->fd);
	free(c);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 8080)), .sin6_addr = IN6ADDR_ANY_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0, taken;

	signal(SIGPIPE, SIG_IGN);
	body_pattern_make();
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 128) < 0)
		fatal("listen");
	while ((taken = accept(fd, NULL, NULL)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));
		pthread_t thread;

		if (!c)
			fatal("memory");
		c->fd = taken;
		if (pthread_create(&thread, NULL, conn_run, c) != 0)
			fatal("thread");
		pthread_detach(thread);
	}
	fatal("accept");
}
