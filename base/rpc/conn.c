/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: socket <-> HTTP/2 session
 *
 * Reads what is there, lets the session frame what is due, writes it in batches. Between two writes at most one batch
 * is held here; everything else waits unframed in the calls. An idle connection holds no buffer.
 */
#include "base/rpc/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"

#define READ_BYTES      16384
#define READS_PER_TURN  4
#define WIRE_BATCH      16384
#define WIRE_MAX        (64 * 1024)
#define WINDOW_DEFAULT  65535
#define CALLS_DEFAULT   100
#define PING_TIMEOUT_MS 10000

static int transport_read(struct rpc_conn *c, void *p, size_t n, size_t *ret_n)
{
	ssize_t r;

	if (c->set.transport)
		return c->set.transport->read(c->set.transport_user, p, n, ret_n);
	do
		r = read(c->fd, p, n);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	*ret_n = (size_t)r;
	return 0;
}

static int transport_write(struct rpc_conn *c, const void *p, size_t n, size_t *ret_n)
{
	ssize_t r;

	if (c->set.transport)
		return c->set.transport->write(c->set.transport_user, p, n, ret_n);
	do
		r = send(c->fd, p, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	*ret_n = (size_t)r;
	return 0;
}

/* Life */

static void conn_destroy(struct rpc_conn *c)
{
	struct rpc_call *call, *tmp;

	loop_io_remove(&c->io);
	loop_task_cancel(&c->flush);
	loop_timer_cancel(&c->keepalive);
	if (c->fd >= 0 && c->set.transport)
		c->set.transport->close(c->set.transport_user);
	c->fd = fd_close(c->fd);
	nghttp2_session_del(c->session);
	list_splice(&c->dead, &c->calls);
	list_for_each_entry_safe (call, tmp, &c->dead, link)
		rpc_call_free(call);
	buf_done(&c->wire);
	free(c);
}

void rpc_conn_enter(struct rpc_conn *c)
{
	c->depth++;
}

bool rpc_conn_leave(struct rpc_conn *c)
{
	struct rpc_call *call, *tmp;

	if (--c->depth > 0)
		return c->freed;
	if (c->freed) {
		conn_destroy(c);
		return true;
	}
	list_for_each_entry_safe (call, tmp, &c->dead, link)
		rpc_call_free(call);
	return false;
}

struct rpc_conn *rpc_conn_free(struct rpc_conn *c)
{
	struct rpc_call *call;

	if (!c || c->freed)
		return NULL;
	c->freed = true;
	c->closed = true;
	list_for_each_entry (call, &c->calls, link)
		call->over = true;
	if (c->depth == 0)
		conn_destroy(c);
	return NULL;
}

/* The end of the connection: calls first, then the owner. Within enter/leave. */
static void conn_close(struct rpc_conn *c, int err)
{
	struct rpc_call *call;

	if (c->closed)
		return;
	c->closed = true;
	loop_io_remove(&c->io);
	loop_task_cancel(&c->flush);
	loop_timer_cancel(&c->keepalive);
	if (c->set.transport)
		c->set.transport->close(c->set.transport_user);
	c->fd = fd_close(c->fd);
	while (!c->freed && (call = list_first(&c->calls, struct rpc_call, link))) {
		rpc_call_end(call, c->server ? RPC_CANCELLED : RPC_UNAVAILABLE, "connection closed");
		rpc_call_bury(call);
	}
	if (!c->freed && c->ops && c->ops->on_close)
		c->ops->on_close(c, err, c->user);
}

/* Writing */

/* Frames what is due, up to a batch. */
static int wire_fill(struct rpc_conn *c)
{
	while (c->wire.len < WIRE_BATCH) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(c->session, &p);
		int r;

		if (n < 0)
			return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
		if (n == 0)
			break;
		r = buf_append(&c->wire, p, (size_t)n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int conn_write(struct rpc_conn *c)
{
	for (;;) {
		size_t n;
		int r = wire_fill(c);

		if (r < 0)
			return r;
		if (c->wire.len == 0)
			break;
		r = transport_write(c, buf_head(&c->wire), c->wire.len, &n);
		if (r == -EAGAIN) {
			loop_io_set_events(&c->io, EPOLLIN | EPOLLOUT);
			return 0;
		}
		if (r < 0)
			return r;
		buf_consume(&c->wire, n);
	}
	buf_release(&c->wire);
	loop_io_set_events(&c->io, EPOLLIN);
	return 0;
}

static void calls_tell_writable(struct rpc_conn *c)
{
	struct rpc_call *call;

again: /* a callback may take any call away */
	list_for_each_entry (call, &c->calls, link) {
		if (c->freed)
			return;
		if (call->over || !call->wants_writable || call->out.len)
			continue;
		call->wants_writable = false;
		if (call->ops && call->ops->on_writable) {
			call->ops->on_writable(call, call->user);
			goto again;
		}
	}
}

/* Within enter/leave. */
static void conn_flush(struct rpc_conn *c)
{
	int r;

	if (c->closed)
		return;
	r = conn_write(c);
	if (r < 0) {
		conn_close(c, r);
		return;
	}
	calls_tell_writable(c);
	if (!c->closed && c->wire.len == 0 && !nghttp2_session_want_read(c->session) &&
	    !nghttp2_session_want_write(c->session))
		conn_close(c, c->draining ? 0 : -EPROTO);
}

static void on_flush(struct loop_task *task)
{
	struct rpc_conn *c = container_of(task, struct rpc_conn, flush);

	rpc_conn_enter(c);
	conn_flush(c);
	rpc_conn_leave(c);
}

void rpc_conn_flush_soon(struct rpc_conn *c)
{
	if (!c->closed)
		loop_task_defer(c->loop, &c->flush, on_flush);
}

/* Reading */

static int conn_read(struct rpc_conn *c)
{
	uint8_t bytes[READ_BYTES];

	for (int i = 0; i < READS_PER_TURN && !c->closed; i++) {
		size_t n;
		ssize_t taken;
		int r = transport_read(c, bytes, sizeof(bytes), &n);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		if (n == 0) {
			c->read_closed = true;
			return 0;
		}
		c->last_read_ns = loop_now_ns(c->loop);
		c->ping_sent = false;
		taken = nghttp2_session_mem_recv(c->session, bytes, n);
		if (taken < 0)
			return taken == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
		if (n < sizeof(bytes))
			return 0;
	}
	return 0;
}

static void on_ready(struct loop_io *io, uint32_t revents)
{
	struct rpc_conn *c = container_of(io, struct rpc_conn, io);
	int r = 0;

	rpc_conn_enter(c);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = conn_read(c);
	conn_flush(c); /* also after a protocol error: its GOAWAY */
	if (r < 0)
		conn_close(c, r);
	else if (c->read_closed)
		conn_close(c, c->n_calls && !c->draining ? -ECONNRESET : 0);
	rpc_conn_leave(c);
}

/* Keepalive */

static void on_keepalive(struct loop_timer *timer)
{
	struct rpc_conn *c = container_of(timer, struct rpc_conn, keepalive);
	uint64_t silent_ms = (loop_now_ns(c->loop) - c->last_read_ns) / NS_PER_MS;

	rpc_conn_enter(c);
	if (c->ping_sent) {
		conn_close(c, -ETIMEDOUT);
	} else if (silent_ms < c->set.keepalive_ms) {
		loop_timer_set(c->loop, timer, c->set.keepalive_ms - silent_ms, on_keepalive);
	} else {
		c->ping_sent = nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL) == 0;
		loop_timer_set(c->loop, timer, c->set.keepalive_timeout_ms, on_keepalive);
		conn_flush(c);
	}
	rpc_conn_leave(c);
}

/* Start */

static void settings_default(struct rpc_settings *s)
{
	if (!s->message_max_bytes)
		s->message_max_bytes = RPC_MESSAGE_MAX_BYTES;
	if (!s->queue_max_bytes)
		s->queue_max_bytes = RPC_MESSAGE_MAX_BYTES + RPC_PREFIX_BYTES;
	if (!s->window_bytes)
		s->window_bytes = WINDOW_DEFAULT;
	if (!s->calls_max)
		s->calls_max = CALLS_DEFAULT;
	if (!s->keepalive_timeout_ms)
		s->keepalive_timeout_ms = PING_TIMEOUT_MS;
}

static int settings_submit(struct rpc_conn *c)
{
	nghttp2_settings_entry entries[4];
	size_t n = 0;
	int r;

	entries[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->set.window_bytes };
	entries[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384 };
	if (c->server)
		entries[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->set.calls_max };
	else
		entries[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
	r = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries, n);
	if (r == 0)
		r = nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
							  (int32_t)c->set.window_bytes);
	return r == 0 ? 0 : r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EINVAL;
}

static int conn_start(struct rpc_conn *c, int fd)
{
	int r = rpc_session_new(c);

	if (r == 0)
		r = settings_submit(c);
	if (r == 0)
		r = loop_io_add(c->loop, &c->io, fd, EPOLLIN, on_ready);
	if (r < 0)
		return r;
	c->last_read_ns = loop_now_ns(c->loop);
	if (c->set.keepalive_ms)
		loop_timer_set(c->loop, &c->keepalive, c->set.keepalive_ms, on_keepalive);
	rpc_conn_flush_soon(c);
	return 0;
}

static int conn_new(struct loop *loop, int fd, const struct rpc_conn *start, const struct rpc_settings *settings,
		    struct rpc_conn **ret)
{
	struct rpc_conn *c = malloc(sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = *start;
	c->loop = loop;
	c->fd = fd;
	if (settings)
		c->set = *settings;
	settings_default(&c->set);
	list_init(&c->calls);
	list_init(&c->dead);
	buf_init(&c->wire, WIRE_MAX);
	r = conn_start(c, fd);
	if (r < 0) {
		conn_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}

int rpc_client_new(struct loop *loop, int fd, const struct rpc_settings *settings, const struct rpc_conn_ops *ops,
		   void *user, struct rpc_conn **ret)
{
	return conn_new(loop, fd, &(struct rpc_conn){ .ops = ops, .user = user }, settings, ret);
}

int rpc_server_new(struct loop *loop, int fd, const struct rpc_method *methods, size_t n_methods,
		   const struct rpc_settings *settings, const struct rpc_conn_ops *ops, void *user,
		   struct rpc_conn **ret)
{
	const struct rpc_conn start = {
		.server = true, .methods = methods, .n_methods = n_methods, .ops = ops, .user = user
	};

	return conn_new(loop, fd, &start, settings, ret);
}

void rpc_conn_drain(struct rpc_conn *c)
{
	int32_t last;

	if (c->closed || c->draining)
		return;
	c->draining = true;
	last = nghttp2_session_get_last_proc_stream_id(c->session);
	/* failure is lack of memory: the connection then ends without its GOAWAY, with the last call */
	(void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
	rpc_conn_flush_soon(c);
}

bool rpc_conn_is_usable(const struct rpc_conn *c)
{
	return !c->closed && !c->draining;
}
