/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server that thinks for a while and costs little
 *
 * One thread, one epoll loop. A path "/MS" is answered MS milliseconds after the request's head, "/" at once, with 1024 bytes. Requests
 * carry no body and are not pipelined.
 *
 *   think_server PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX  8192
#define QUEUE_MAX  65536 /* a power of two */
#define BODY_BYTES 1024
#define THINKS	   64

struct waiting {
	uint64_t at_ns;
	int fd;
	uint32_t number; /* of the connection, in case its fd is used again */
};

/* One queue per thinking time: first in, first out is then also earliest first. */
struct queue {
	unsigned int ms, head, tail;
	struct waiting *slots;
};

static struct {
	char in[2048];
	size_t len;
	uint32_t number;
} conns[CONNS_MAX];

static struct queue queues[THINKS];
static unsigned int n_queues;
static int epoll_fd, timer_fd;
static char answer[BODY_BYTES + 256];
static size_t answer_len;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void fatal(const char *what)
{
	fprintf(stderr, "think_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void conn_close(int fd)
{
	conns[fd].number++;
	conns[fd].len = 0;
	close(fd);
}

static void answer_send(int fd)
{
	if (send(fd, answer, answer_len, MSG_NOSIGNAL) != (ssize_t)answer_len)
		conn_close(fd);
}

static struct queue *queue_get(unsigned int ms)
{
	for (unsigned int i = 0; i < n_queues; i++)
		if (queues[i].ms == ms)
			return &queues[i];
	if (n_queues == THINKS)
		return NULL;
	queues[n_queues].ms = ms;
	queues[n_queues].slots = calloc(QUEUE_MAX, sizeof(struct waiting));
	if (!queues[n_queues].slots)
		fatal("memory");
	return &queues[n_queues++];
}

static void timer_set(void)
{
	struct itimerspec at = { 0 };
	uint64_t first = UINT64_MAX;

	for (unsigned int i = 0; i < n_queues; i++)
		if (queues[i].head != queues[i].tail && queues[i].slots[queues[i].head % QUEUE_MAX].at_ns < first)
			first = queues[i].slots[queues[i].head % QUEUE_MAX].at_ns;
	if (first != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(first / 1000000000u);
		at.it_value.tv_nsec = (long)(first % 1000000000u);
	}
	timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void due_answer(void)
{
	uint64_t now = now_ns();

	for (unsigned int i = 0; i < n_queues; i++) {
		struct queue *q = &queues[i];

		while (q->head != q->tail && q->slots[q->head % QUEUE_MAX].at_ns <= now) {
			struct waiting w = q->slots[q->head++ % QUEUE_MAX];

			if (conns[w.fd].number == w.number)
				answer_send(w.fd);
		}
	}
	timer_set();
}

static void request_take(int fd)
{
	unsigned int ms = (unsigned int)strtoul(conns[fd].in + 5, NULL, 10); /* behind "GET /" */
	struct queue *q = ms ? queue_get(ms) : NULL;

	conns[fd].len = 0;
	if (!q || q->tail - q->head >= QUEUE_MAX) {
		answer_send(fd);
		return;
	}
	q->slots[q->tail++ % QUEUE_MAX] = (struct waiting){ now_ns() + ms * 1000000ull, fd, conns[fd].number };
	timer_set();
}

static void on_readable(int fd)
{
	char *in = conns[fd].in;
	ssize_t k = recv(fd, in + conns[fd].len, sizeof(conns[fd].in) - 1 - conns[fd].len, 0);

	if (k <= 0) {
		if (k == 0 || (errno != EAGAIN && errno != EINTR))
			conn_close(fd);
		return;
	}
	conns[fd].len += (size_t)k;
	in[conns[fd].len] = '\0';
	if (conns[fd].len >= 4 && memcmp(in + conns[fd].len - 4, "\r\n\r\n", 4) == 0)
		request_take(fd);
	else if (conns[fd].len == sizeof(conns[fd].in) - 1)
		conn_close(fd);
}

static void on_accept(int listen_fd)
{
	int fd, one = 1;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

		if (fd >= CONNS_MAX) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		conns[fd].len = 0;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
	}
}

static int listen_open(int port)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_ANY_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4096) < 0)
		fatal("listen");
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN }, events[256];
	int listen_fd = listen_open(argc > 1 ? atoi(argv[1]) : 8080);

	signal(SIGPIPE, SIG_IGN);
	answer_len = (size_t)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", BODY_BYTES);
	memset(answer + answer_len, 'x', BODY_BYTES);
	answer_len += BODY_BYTES;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	ev.data.fd = listen_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev);
	ev.data.fd = timer_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &ev);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listen_fd)
				on_accept(listen_fd);
			else if (events[i].data.fd == timer_fd)
				due_answer();
			else
				on_readable(events[i].data.fd);
		}
	}
}
