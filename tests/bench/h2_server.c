/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 server that costs little: requests, gRPC unary and large bodies, over plain TCP with prior knowledge
 *
 * One thread, one epoll loop. GET /N is answered with N bytes of the pattern. A request of application/grpc gets its own message
 * back, with trailers. Any other body is answered with the count of its bytes, and with their CRC-32 when it goes to /crc.
 *
 *   h2_server PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>
#include "body_pattern.h"

#define READ_BYTES    (256 * 1024)
#define OUT_BYTES     (256 * 1024)
#define MESSAGE_BYTES 1024 /* of a gRPC request */
#define STREAMS_MAX   1000
#define STREAM_WINDOW (1024 * 1024)
#define CONN_WINDOW   (16 * 1024 * 1024)

struct conn {
	int fd;
	nghttp2_session *session;
	uint8_t out[OUT_BYTES];
	size_t out_off, out_len;
	bool waits_out;
};

struct stream {
	bool is_get, is_grpc, sum;
	uint64_t to_send, sent, received;
	uLong crc;
	size_t message_len;
	uint8_t message[MESSAGE_BYTES];
};

static int epoll_fd;

static void fatal(const char *what)
{
	fprintf(stderr, "h2_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

#define NV(n, v) { (uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, strlen(v), NGHTTP2_NV_FLAG_NONE }

/* The answer */

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct stream *s = source->ptr;
	uint64_t left = s->to_send - s->sent;
	size_t n = left < cap ? (size_t)left : cap;

	if (n > PATTERN_BYTES)
		n = PATTERN_BYTES;
	memcpy(buf, s->is_get ? body_pattern_at(s->sent) : s->message + s->sent, n);
	s->sent += n;
	if (s->sent < s->to_send)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (s->is_grpc) {
		nghttp2_nv trailers[] = { NV("grpc-status", "0"), NV("bench-trailer", "yes") };

		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, id, trailers, 2);
	}
	return (ssize_t)n;
}

static void stream_answer(nghttp2_session *session, int32_t id, struct stream *s)
{
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = on_read };
	nghttp2_nv nv[] = { NV(":status", "200"), NV("content-type", s->is_grpc ? "application/grpc" : "application/octet-stream"),
			    NV("content-length", "") };
	char length[24];

	if (s->is_grpc)
		s->to_send = s->message_len;
	else if (!s->is_get)
		s->to_send = (uint64_t)snprintf((char *)s->message, sizeof(s->message), s->sum ? "%lu %lu\n" : "%lu\n", s->received, s->crc);
	nv[2].valuelen = (size_t)snprintf(length, sizeof(length), "%lu", s->to_send);
	nv[2].value = (uint8_t *)length;
	nghttp2_submit_response(session, id, nv, s->is_grpc ? 2 : 3, &body);
}

/* The request */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct stream *s = frame->headers.cat == NGHTTP2_HCAT_REQUEST ? calloc(1, sizeof(*s)) : NULL;

	if (s)
		nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
	return 0;
}

static bool is(const uint8_t *p, size_t n, const char *text)
{
	return n == strlen(text) && memcmp(p, text, n) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n, const uint8_t *value, size_t value_n,
		     uint8_t flags, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	if (!s)
		return 0;
	if (is(name, name_n, ":method")) {
		s->is_get = is(value, value_n, "GET");
	} else if (is(name, name_n, ":path")) {
		s->to_send = strtoull((const char *)value + 1, NULL, 10); /* nghttp2 ends values with a NUL */
		s->sum = is(value, value_n, "/crc");
	} else if (is(name, name_n, "content-type")) {
		s->is_grpc = is(value, value_n, "application/grpc");
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);

	if (!s)
		return 0;
	s->received += n;
	if (s->sum)
		s->crc = crc32(s->crc, p, (uInt)n);
	if (s->is_grpc) {
		if (n > MESSAGE_BYTES - s->message_len)
			return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
		memcpy(s->message + s->message_len, p, n);
		s->message_len += n;
	}
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct stream *s;

	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s)
		stream_answer(session, frame->hd.stream_id, s);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	free(nghttp2_session_get_stream_user_data(session, id));
	return 0;
}

/* The connection */

static void conn_close(struct conn *c)
{
	nghttp2_session_del(c->session);
	close(c->fd);
	free(c);
}

static void wait_out(struct conn *c, bool waits)
{
	struct epoll_event ev = { .events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c };

	if (waits == c->waits_out)
		return;
	c->waits_out = waits;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* false: the connection is broken. */
static bool conn_write(struct conn *c)
{
	const uint8_t *p;
	ssize_t n;

	for (;;) {
		while (c->out_len < OUT_BYTES / 2 && (n = nghttp2_session_mem_send(c->session, &p)) > 0) {
			memcpy(c->out + c->out_len, p, (size_t)n); /* at most a frame of 16 kB */
			c->out_len += (size_t)n;
		}
		if (c->out_len == 0)
			break;
		n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			wait_out(c, true);
			return true;
		}
		if (n < 0)
			return false;
		c->out_off += (size_t)n;
		if (c->out_off < c->out_len)
			continue;
		c->out_off = c->out_len = 0;
	}
	wait_out(c, false);
	return nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session);
}

static bool conn_read(struct conn *c)
{
	static uint8_t in[READ_BYTES];
	ssize_t n = recv(c->fd, in, sizeof(in), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n > 0 && nghttp2_session_mem_recv(c->session, in, (size_t)n) == n;
}

static nghttp2_session *session_new(struct conn *c)
{
	static nghttp2_session_callbacks *cb;
	nghttp2_settings_entry set[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX }, { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW } };
	nghttp2_session *session;

	if (!cb) {
		nghttp2_session_callbacks_new(&cb);
		nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
		nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
		nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
		nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	}
	if (nghttp2_session_server_new(&session, cb, c) < 0 || nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, set, 2) < 0 ||
	    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) < 0)
		fatal("session");
	return session;
}

static void on_accept(int listen_fd)
{
	int fd, one = 1;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

		if (!c)
			fatal("memory");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->fd = fd;
		c->session = session_new(c);
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 8080)), .sin6_addr = IN6ADDR_ANY_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, zero = 0;
	struct epoll_event ev = { .events = EPOLLIN }, events[256];

	signal(SIGPIPE, SIG_IGN);
	body_pattern_make();
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4096) < 0)
		fatal("listen");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (!c)
				on_accept(fd);
			else if (((events[i].events & ~(uint32_t)EPOLLOUT) && !conn_read(c)) || !conn_write(c))
				conn_close(c);
		}
	}
}
