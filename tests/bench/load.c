/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 load: closed loop, open loop at a fixed rate, new connections, or idle ones
 *
 * One thread, one epoll loop, keep-alive connections. In the open loop a request's time counts from when it was due, not from when a
 * connection was free for it: a stalled server cannot hide behind a waiting generator (no coordinated omission). Prints one JSON object.
 *
 *   load -a ADDRESS -p PORT [-c CONNS] [-n REQUESTS] [-t SECONDS] [-r RATE] [-m keep|connect|idle] [-w WARMUP_REQUESTS] [-P PATH]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX   4096
#define SAMPLES_MAX 4000000
#define READ_BYTES  65536

struct conn {
	int fd;
	bool connecting, busy;
	uint64_t due_ns;
	char head[2048]; /* of the answer, until its end is found */
	size_t head_len;
	int64_t body_left; /* -1: the head is not complete */
};

struct load {
	struct sockaddr_storage to;
	socklen_t to_len;
	unsigned int n_conns, rate_per_s;
	uint64_t requests, warmup, limit_ns;
	bool connect_each, idle;
	char request[512];
	size_t request_len;

	int epoll_fd, timer_fd;
	struct conn conns[CONNS_MAX];
	unsigned int free_ring[CONNS_MAX], free_head, n_free; /* longest free first: every connection stays warm */
	uint64_t started_ns, counted_from_ns, sent, done, errors, due_index, warm_left, backlog_max;
	uint32_t *samples_us10; /* tenths of a microsecond */
	uint64_t n_samples;
};

static struct load load;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void fatal(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void conn_open(struct load *l, struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
	int one = 1;

	c->fd = socket(l->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		fatal("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->connecting = true;
	c->body_left = -1;
	c->head_len = 0;
	if (connect(c->fd, (struct sockaddr *)&l->to, l->to_len) < 0 && errno != EINPROGRESS)
		fatal("connect");
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		fatal("epoll_ctl");
}

static void sample_add(struct load *l, uint64_t ns)
{
	if (l->n_samples < SAMPLES_MAX)
		l->samples_us10[l->n_samples++] = ns / 100 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 100);
}

static void request_send(struct load *l, struct conn *c)
{
	c->busy = true;
	c->body_left = -1;
	c->head_len = 0;
	if (!c->connecting && send(c->fd, l->request, l->request_len, MSG_NOSIGNAL) != (ssize_t)l->request_len) {
		l->errors++;
		c->busy = false;
		close(c->fd);
		conn_open(l, c);
	}
}

static bool more_to_send(const struct load *l)
{
	return !l->requests || l->sent < l->requests + l->warmup;
}

/* Closed loop: the next one at once. Open loop: those that are due, or the connection waits. */
static void conn_next(struct load *l, struct conn *c)
{
	if (l->rate_per_s) {
		l->free_ring[(l->free_head + l->n_free++) % CONNS_MAX] = (unsigned int)(c - l->conns);
		return;
	}
	if (!more_to_send(l) || (l->idle && l->sent >= l->n_conns))
		return;
	l->sent++;
	c->due_ns = now_ns();
	request_send(l, c);
}

static void due_send(struct load *l)
{
	uint64_t now = now_ns(), due = (uint64_t)((double)(now - l->started_ns) * l->rate_per_s / 1e9) + 1;

	if (due - l->due_index > l->backlog_max)
		l->backlog_max = due - l->due_index;
	while (l->due_index < due && l->n_free && more_to_send(l)) {
		struct conn *c = &l->conns[l->free_ring[l->free_head]];

		l->free_head = (l->free_head + 1) % CONNS_MAX;
		l->n_free--;
		c->due_ns = l->started_ns + (uint64_t)((double)l->due_index * 1e9 / l->rate_per_s);
		l->due_index++;
		l->sent++;
		request_send(l, c);
	}
}

static void answer_done(struct load *l, struct conn *c)
{
	uint64_t now = now_ns();

	c->busy = false;
	l->done++;
	if (l->warm_left) {
		if (--l->warm_left == 0)
			l->counted_from_ns = now;
	} else {
		sample_add(l, now - c->due_ns);
	}
	if (l->connect_each) {
		close(c->fd);
		if (more_to_send(l)) {
			l->sent++;
			c->due_ns = now_ns();
			c->busy = true;
			conn_open(l, c);
		}
		return;
	}
	conn_next(l, c);
}

static void conn_broken(struct load *l, struct conn *c)
{
	close(c->fd);
	if (c->busy) {
		l->errors++;
		l->done++;
		c->busy = false;
	}
	conn_open(l, c);
	if (!l->idle)
		conn_next(l, c);
}

/* The head's end, its Content-Length; false: not complete. */
static bool head_take(struct conn *c, const char *in, size_t n, size_t *ret_used)
{
	size_t room = sizeof(c->head) - 1 - c->head_len, take = n < room ? n : room, end;
	const char *p, *length;

	memcpy(c->head + c->head_len, in, take);
	c->head[c->head_len + take] = '\0';
	p = strstr(c->head, "\r\n\r\n");
	if (!p) {
		c->head_len += take;
		*ret_used = take;
		return false;
	}
	end = (size_t)(p - c->head) + 4;
	*ret_used = end - c->head_len;
	length = strcasestr(c->head, "\r\ncontent-length:");
	c->body_left = length ? strtoll(length + 17, NULL, 10) : 0;
	return true;
}

static bool conn_take(struct load *l, struct conn *c, const char *in, size_t n)
{
	while (n) {
		size_t used;

		if (c->body_left < 0) {
			if (c->head_len >= sizeof(c->head) - 1)
				return false;
			if (head_take(c, in, n, &used) && strncmp(c->head, "HTTP/1.1 200", 12) != 0)
				l->errors++;
		} else {
			used = n < (size_t)c->body_left ? n : (size_t)c->body_left;
			c->body_left -= (int64_t)used;
		}
		in += used;
		n -= used;
		if (c->body_left == 0) {
			answer_done(l, c);
			return true;
		}
	}
	return true;
}

static void conn_read(struct load *l, struct conn *c)
{
	static char in[READ_BYTES];

	for (;;) {
		ssize_t k = recv(c->fd, in, sizeof(in), 0);

		if (k > 0) {
			if (!conn_take(l, c, in, (size_t)k)) {
				conn_broken(l, c);
				return;
			}
			if ((size_t)k < sizeof(in))
				return;
		} else if (k < 0 && (errno == EAGAIN || errno == EINTR)) {
			return;
		} else {
			conn_broken(l, c);
			return;
		}
	}
}

static void on_conn(struct load *l, struct conn *c, uint32_t events)
{
	if (c->connecting && (events & EPOLLOUT) && !(events & (EPOLLERR | EPOLLHUP))) {
		c->connecting = false;
		if (c->busy && send(c->fd, l->request, l->request_len, MSG_NOSIGNAL) != (ssize_t)l->request_len) {
			conn_broken(l, c);
			return;
		}
	}
	if (events & (EPOLLERR | EPOLLHUP)) {
		conn_broken(l, c);
		return;
	}
	if (events & EPOLLIN)
		conn_read(l, c);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_us(const struct load *l, double p)
{
	uint64_t i = (uint64_t)(p / 100 * (double)(l->n_samples - 1));

	return l->n_samples ? l->samples_us10[i] / 10.0 : 0;
}

static void report(struct load *l)
{
	double seconds = (double)(now_ns() - l->counted_from_ns) / 1e9, sum = 0;

	for (uint64_t i = 0; i < l->n_samples; i++)
		sum += l->samples_us10[i] / 10.0;
	qsort(l->samples_us10, l->n_samples, sizeof(*l->samples_us10), by_value);
	printf("{\"requests\": %lu, \"errors\": %lu, \"seconds\": %.4f, \"rate\": %.1f, \"mean_us\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, "
	       "\"p99_us\": %.1f, \"max_us\": %.1f, \"backlog\": %lu}\n",
	       l->n_samples, l->errors, seconds, (double)l->n_samples / seconds, l->n_samples ? sum / (double)l->n_samples : 0,
	       percentile_us(l, 50), percentile_us(l, 90), percentile_us(l, 99), percentile_us(l, 100), l->backlog_max);
}

static void to_parse(struct load *l, const char *address, int port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&l->to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&l->to;

	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		l->to_len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		l->to_len = sizeof(*v6);
	} else {
		errno = EINVAL;
		fatal(address);
	}
}

static void options_read(struct load *l, int argc, char **argv)
{
	const char *address = "127.0.0.1", *path = "/";
	int port = 80, opt;

	l->n_conns = 1;
	while ((opt = getopt(argc, argv, "a:p:c:n:t:r:m:w:P:")) >= 0) {
		switch (opt) {
		case 'a': address = optarg; break;
		case 'p': port = atoi(optarg); break;
		case 'c': l->n_conns = (unsigned int)atoi(optarg); break;
		case 'n': l->requests = strtoull(optarg, NULL, 10); break;
		case 't': l->limit_ns = (uint64_t)(atof(optarg) * 1e9); break;
		case 'r': l->rate_per_s = (unsigned int)atoi(optarg); break;
		case 'w': l->warmup = l->warm_left = strtoull(optarg, NULL, 10); break;
		case 'P': path = optarg; break;
		case 'm':
			l->connect_each = strcmp(optarg, "connect") == 0;
			l->idle = strcmp(optarg, "idle") == 0;
			break;
		default: exit(2);
		}
	}
	if (l->n_conns < 1 || l->n_conns > CONNS_MAX || (!l->requests && !l->limit_ns)) {
		fprintf(stderr, "load: want 1..%d connections, and -n or -t\n", CONNS_MAX);
		exit(2);
	}
	to_parse(l, address, port);
	l->request_len = (size_t)snprintf(l->request, sizeof(l->request),
					  "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: load/1\r\nAccept: */*\r\n%s\r\n", path, address, port,
					  l->connect_each ? "Connection: close\r\n" : "");
}

static bool finished(const struct load *l)
{
	if (l->limit_ns && now_ns() - l->started_ns > l->limit_ns)
		return true;
	return l->requests && l->done >= l->requests + l->warmup;
}

static void timer_start(struct load *l)
{
	long step_ns = 250000;
	struct itimerspec every = { .it_interval = { 0, step_ns }, .it_value = { 0, step_ns } };
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	/* Due times finer than the tick would send in bursts: at low rates the tick is one request. */
	if (l->rate_per_s && l->rate_per_s <= 4000)
		every.it_interval.tv_nsec = every.it_value.tv_nsec = 1000000000 / (long)l->rate_per_s;
	if (every.it_interval.tv_nsec >= 1000000000)
		every.it_interval.tv_nsec = every.it_value.tv_nsec = 999999999;
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	l->started_ns = now_ns();
	if (l->timer_fd < 0 || timerfd_settime(l->timer_fd, 0, &every, NULL) < 0 ||
	    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->timer_fd, &ev) < 0)
		fatal("timer");
}

int main(int argc, char **argv)
{
	struct load *l = &load;
	struct epoll_event events[256];

	options_read(l, argc, argv);
	l->samples_us10 = malloc(sizeof(*l->samples_us10) * SAMPLES_MAX);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!l->samples_us10 || l->epoll_fd < 0)
		fatal("start");
	l->started_ns = l->counted_from_ns = now_ns();
	for (unsigned int i = 0; i < l->n_conns; i++)
		conn_open(l, &l->conns[i]);
	for (unsigned int i = 0; i < l->n_conns; i++)
		conn_next(l, &l->conns[i]); /* idle: one request each, so that the whole path is open, then rest */
	if (l->rate_per_s)
		timer_start(l);
	while (!finished(l)) {
		int n = epoll_wait(l->epoll_fd, events, 256, 50);
		uint64_t ticks;

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_conn(l, events[i].data.ptr, events[i].events);
			else
				(void)!read(l->timer_fd, &ticks, sizeof(ticks));
		}
		if (l->rate_per_s)
			due_send(l);
		if (l->idle && l->done >= l->n_conns) {
			printf("{\"open\": %u}\n", l->n_conns);
			fflush(stdout);
			sleep((unsigned int)(l->limit_ns / 1000000000u));
			return 0;
		}
	}
	report(l);
	return 0;
}
