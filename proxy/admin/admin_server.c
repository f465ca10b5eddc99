/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the proxy's own listeners: see admin_server.h. */
#include "proxy/admin/admin_server.h"

#include <errno.h>
#include <sys/socket.h>
#include "proxy/admin/client.h"

#define CLIENT_MS       10000
#define ACCEPT_PAUSE_MS 100

/* Of each listener, so that who may only ask for /metrics cannot keep the operator or the kubelet out; 64 together. */
static const unsigned int clients_max[CLIENT_KINDS] = {[CLIENT_ADMIN] = 16, [CLIENT_READY] = 24, [CLIENT_METRICS] = 24};

static void client_free(struct admin_client *c)
{
	loop_io_remove(&c->io);
	loop_timer_cancel(&c->timer);
	list_remove(&c->link);
	c->server->n_clients[c->kind]--;
	fd_close(c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void on_client_late(struct loop_timer *timer)
{
	client_free(container_of(timer, struct admin_client, timer));
}

/* Sends; 0 when all is out, 1 when the socket is full, negative errno. */
static int out_flush(struct admin_client *c)
{
	while (c->out.len) {
		ssize_t k = send(c->fd, buf_head(&c->out), c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return errno == EAGAIN ? 1 : -errno;
		buf_consume(&c->out, (size_t)k);
	}
	return 0;
}

static int in_read(struct admin_client *c)
{
	size_t room;
	char *tail;
	ssize_t k;
	int r = buf_reserve(&c->in, 512);

	if (r < 0)
		return r;
	tail = buf_tail(&c->in, &room);
	k = recv(c->fd, tail, room, MSG_DONTWAIT);
	if (k < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (k == 0)
		return -ECONNRESET;
	buf_commit(&c->in, (size_t)k);
	return 0;
}

/* Answers what is whole and sends; false when the client is done with. */
static bool client_turn(struct admin_client *c)
{
	for (;;) {
		int r = out_flush(c);

		if (r < 0 || (r == 0 && c->answered && !c->keep))
			return false;
		loop_io_set_events(&c->io, r ? EPOLLOUT : EPOLLIN);
		if (r)
			return true;
		r = c->kind == CLIENT_ADMIN ? admin_json_answer(c) : admin_http_answer(c);
		if (r == CLIENT_E_MORE)
			return true;
		if (r < 0)
			return false;
		c->answered = true;
		loop_timer_set(c->server->loop, &c->timer, CLIENT_MS, on_client_late);
	}
}

static void on_client_ready(struct loop_io *io, uint32_t revents)
{
	struct admin_client *c = container_of(io, struct admin_client, io);

	if (((revents & ~(uint32_t)EPOLLOUT) && in_read(c) < 0) || !client_turn(c))
		client_free(c);
}

static void listeners_set_events(struct admin_server *s, uint32_t events)
{
	for (int i = 0; i < CLIENT_KINDS; i++)
		if (s->io[i].loop)
			loop_io_set_events(&s->io[i], events);
}

static void on_accept_again(struct loop_timer *timer)
{
	listeners_set_events(container_of(timer, struct admin_server, accept_timer), EPOLLIN);
}

/* No descriptor or memory for a client that waits: without a pause the loop would turn on it for nothing. */
static void accept_failed(struct admin_server *s, int err)
{
	if (err != EMFILE && err != ENFILE && err != ENOMEM && err != ENOBUFS)
		return;
	observe_count(s->observe, TRM_REASON_FD_LIMIT);
	listeners_set_events(s, 0);
	loop_timer_set(s->loop, &s->accept_timer, ACCEPT_PAUSE_MS, on_accept_again);
}

static void client_accept(struct admin_server *s, enum client_kind kind)
{
	int fd = accept4(s->io[kind].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct admin_client *c;

	if (fd < 0) {
		accept_failed(s, errno);
		return;
	}
	c = s->n_clients[kind] < clients_max[kind] ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		fd_close(fd);
		observe_count(s->observe, TRM_REASON_CONN_LIMIT);
		return;
	}
	c->server = s;
	c->kind = kind;
	c->fd = fd;
	buf_init(&c->in, CLIENT_IN_BYTES);
	buf_init(&c->out, CLIENT_OUT_BYTES);
	list_push_back(&s->clients, &c->link);
	s->n_clients[kind]++;
	if (loop_io_add(s->loop, &c->io, fd, EPOLLIN, on_client_ready) < 0) {
		client_free(c);
		return;
	}
	loop_timer_set(s->loop, &c->timer, CLIENT_MS, on_client_late);
}

static void on_admin_ready(struct loop_io *io, uint32_t revents)
{
	client_accept(container_of(io, struct admin_server, io[CLIENT_ADMIN]), CLIENT_ADMIN);
}

static void on_ready_ready(struct loop_io *io, uint32_t revents)
{
	client_accept(container_of(io, struct admin_server, io[CLIENT_READY]), CLIENT_READY);
}

static void on_metrics_ready(struct loop_io *io, uint32_t revents)
{
	client_accept(container_of(io, struct admin_server, io[CLIENT_METRICS]), CLIENT_METRICS);
}

int admin_server_new(struct loop *loop, int admin_fd, int ready_fd, int metrics_fd, const struct admin_ops *ops,
		     void *user, struct observe *observe, struct admin_server **ret)
{
	static void (*const on_ready[CLIENT_KINDS])(struct loop_io *, uint32_t) = {on_admin_ready, on_ready_ready,
										   on_metrics_ready};
	const int fds[CLIENT_KINDS] = {admin_fd, ready_fd, metrics_fd};
	struct admin_server *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	*s = (struct admin_server){.loop = loop, .ops = ops, .user = user, .observe = observe};
	list_init(&s->clients);
	for (int i = 0; i < CLIENT_KINDS && r == 0; i++)
		if (fds[i] >= 0)
			r = loop_io_add(loop, &s->io[i], fds[i], EPOLLIN, on_ready[i]);
	if (r < 0) {
		admin_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct admin_server *admin_server_free(struct admin_server *s)
{
	struct admin_client *c, *next;

	if (!s)
		return NULL;
	list_for_each_entry_safe (c, next, &s->clients, link)
		client_free(c);
	for (int i = 0; i < CLIENT_KINDS; i++)
		loop_io_remove(&s->io[i]);
	loop_timer_cancel(&s->accept_timer);
	free(s);
	return NULL;
}
