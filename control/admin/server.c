/* SPDX-License-Identifier: Apache-2.0 */
/* Admin server: see server.h. */
#include "control/admin/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "base/unix_socket.h"
#include "trammel/admin.h"

#define CLIENTS_MAX	  64
#define CLIENT_MS	  10000
#define REQUEST_MAX_BYTES (1024 * 1024)

enum request_state {
	REQUEST_READING,
	REQUEST_PENDING, /* handed to the agent */
	REQUEST_WRITING,
};

struct admin_request {
	struct list link;
	struct admin_server *server;
	struct loop_io io;
	struct loop_timer timer;
	enum request_state state;
	int fd;
	bool gone; /* the client left while the answer was pending */
	struct buf in, out;
	json_t *args;
	struct json_writer writer;
};

struct admin_server {
	struct loop *loop;
	struct loop_io io;
	int fd;
	char *path;
	admin_op_fn on_op;
	void *user;
	struct list requests;
	unsigned int n_requests;
};

static void request_free(struct admin_request *req)
{
	loop_io_remove(&req->io);
	loop_timer_cancel(&req->timer);
	list_remove(&req->link);
	if (req->server->n_requests-- == CLIENTS_MAX && req->server->io.loop)
		loop_io_set_events(&req->server->io, EPOLLIN);
	fd_close(req->fd);
	buf_done(&req->in);
	buf_done(&req->out);
	json_decref(req->args);
	free(req);
}

/* Sends what is left; frees the request when all is out or the client is gone. */
static void request_flush(struct admin_request *req)
{
	while (req->out.len) {
		ssize_t k = send(req->fd, buf_head(&req->out), req->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN) {
			loop_io_set_events(&req->io, EPOLLOUT);
			return;
		}
		if (k < 0)
			break;
		buf_consume(&req->out, (size_t)k);
	}
	request_free(req);
}

static void on_client_late(struct loop_timer *timer)
{
	struct admin_request *req = container_of(timer, struct admin_request, timer);

	log_limited(LOG_WARN, "admin client too slow, dropped", "state=%s", req->state == REQUEST_READING ? "reading" : "writing");
	request_free(req);
}

static void answer_send(struct admin_request *req)
{
	req->state = REQUEST_WRITING;
	if (req->gone) {
		request_free(req);
		return;
	}
	loop_timer_set(req->server->loop, &req->timer, CLIENT_MS, on_client_late);
	request_flush(req);
}

struct json_writer *admin_answer_begin(struct admin_request *req)
{
	json_writer_init(&req->writer, &req->out);
	json_open_object(&req->writer, NULL);
	json_bool(&req->writer, "ok", true);
	return &req->writer;
}

void admin_answer_end(struct admin_request *req)
{
	int r;

	json_close_object(&req->writer);
	r = json_writer_end(&req->writer);
	if (r == 0)
		r = buf_append(&req->out, "\n", 1);
	if (r < 0) {
		struct fault fault = { 0 };

		buf_consume(&req->out, req->out.len);
		fault_set(&fault, "answer", NULL, "could not be written: %s", strerror(-r));
		admin_refuse(req, &fault);
		return;
	}
	answer_send(req);
}

void admin_refuse(struct admin_request *req, struct fault *fault)
{
	struct json_writer w;

	json_writer_init(&w, &req->out);
	json_open_object(&w, NULL);
	json_bool(&w, "ok", false);
	fault_json(fault, &w);
	json_close_object(&w);
	if (json_writer_end(&w) < 0 || buf_append(&req->out, "\n", 1) < 0)
		buf_consume(&req->out, req->out.len); /* no memory even for this: the client sees the connection end */
	fault_done(fault);
	answer_send(req);
}

void admin_answer_empty(struct admin_request *req)
{
	admin_answer_begin(req);
	admin_answer_end(req);
}

static void line_dispatch(struct admin_request *req, size_t len)
{
	struct fault fault = { 0 };
	json_error_t error;
	const char *op;

	loop_timer_cancel(&req->timer);
	req->state = REQUEST_PENDING;
	loop_io_set_events(&req->io, 0); /* EPOLLHUP and EPOLLERR still come */
	req->args = json_loadb(buf_head(&req->in), len, JSON_REJECT_DUPLICATES, &error);
	op = json_string_value(json_object_get(req->args, "op"));
	if (!op) {
		fault_set(&fault, "request", "see include/trammel/admin.h", "%s", req->args ? "has no \"op\"" : error.text);
		admin_refuse(req, &fault);
		return;
	}
	req->server->on_op(req, op, req->args, req->server->user);
}

static void request_read(struct admin_request *req)
{
	struct fault fault = { 0 };
	char *tail, *newline;
	size_t room;
	ssize_t k;

	if (buf_reserve(&req->in, 1024) < 0) {
		fault_set(&fault, "request", NULL, "is over %d bytes", REQUEST_MAX_BYTES);
		loop_io_set_events(&req->io, 0);
		admin_refuse(req, &fault);
		return;
	}
	tail = buf_tail(&req->in, &room);
	k = recv(req->fd, tail, room, MSG_DONTWAIT);
	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (k <= 0) {
		request_free(req);
		return;
	}
	buf_commit(&req->in, (size_t)k);
	newline = memchr(tail, '\n', (size_t)k);
	if (newline)
		line_dispatch(req, (size_t)(newline - buf_head(&req->in)));
}

static void on_client_ready(struct loop_io *io, uint32_t revents)
{
	struct admin_request *req = container_of(io, struct admin_request, io);

	if (req->state == REQUEST_READING)
		request_read(req);
	else if (req->state == REQUEST_WRITING)
		request_flush(req);
	else if (revents & (EPOLLHUP | EPOLLERR)) { /* the answer will have no reader */
		loop_io_remove(&req->io);
		req->gone = true;
	}
}

static void on_server_ready(struct loop_io *io, uint32_t revents)
{
	struct admin_server *s = container_of(io, struct admin_server, io);
	struct admin_request *req;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	req = calloc(1, sizeof(*req));
	if (!req) {
		log_limited(LOG_WARN, "admin client refused", "err=memory");
		fd_close(fd);
		return;
	}
	req->server = s;
	req->fd = fd;
	buf_init(&req->in, REQUEST_MAX_BYTES);
	buf_init(&req->out, TRM_ADMIN_MAX_BYTES);
	list_push_back(&s->requests, &req->link);
	if (++s->n_requests == CLIENTS_MAX)
		loop_io_set_events(&s->io, 0); /* the next ones wait in the backlog */
	if (loop_io_add(s->loop, &req->io, fd, EPOLLIN, on_client_ready) < 0) {
		request_free(req);
		return;
	}
	loop_timer_set(s->loop, &req->timer, CLIENT_MS, on_client_late);
}

int admin_server_new(struct loop *loop, const char *path, admin_op_fn on_op, void *user, struct admin_server **ret)
{
	struct admin_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->fd = -1;
	s->on_op = on_op;
	s->user = user;
	list_init(&s->requests);
	s->path = str_dup(str_from(path));
	r = s->path ? unix_socket_listen(path, 0600, &s->fd) : -ENOMEM;
	if (r == 0)
		r = loop_io_add(loop, &s->io, s->fd, EPOLLIN, on_server_ready);
	if (r < 0) {
		fd_close(s->fd);
		free(s->path);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct admin_server *admin_server_free(struct admin_server *s)
{
	struct admin_request *req, *next;

	if (!s)
		return NULL;
	list_for_each_entry_safe(req, next, &s->requests, link)
		request_free(req);
	loop_io_remove(&s->io);
	fd_close(s->fd);
	unlink(s->path);
	free(s->path);
	free(s);
	return NULL;
}

bool admin_server_is_idle(const struct admin_server *s)
{
	return s->n_requests == 0;
}
