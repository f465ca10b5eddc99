/* SPDX-License-Identifier: Apache-2.0 */
/* Transport: see transport.h. This file is the socket; transport_tls.c is what stands on it, transport_carrier.c what may stand in its place. */
#include "proxy/tls/transport.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "base/log.h"
#include "proxy/tls/transport_tls.h"
#include "trammel/abi.h"

#define OUT_SPARE_BYTES	   (40 * 1024)
#define OUT_FLUSH_BYTES	   (32 * 1024)
#define IN_PLAIN_MAX	   (128 * 1024)
#define KEEPALIVE_IDLE_S   60
#define KEEPALIVE_EACH_S   10
#define KEEPALIVE_PROBES   3
#define USER_TIMEOUT_MS	   90000
#define CIPHER_OUT_SCRATCH (96 * 1024)

int transport_shared_init(struct transport_shared *sh, struct loop *loop, struct tls_peer_table *peers)
{
	*sh = (struct transport_shared){ .loop = loop, .peers = peers };
	sh->cipher_in = malloc(TRANSPORT_READ_BYTES);
	sh->cipher_out = malloc(CIPHER_OUT_SCRATCH);
	sh->plain = malloc(TRANSPORT_READ_BYTES);
	if (sh->cipher_in && sh->cipher_out && sh->plain)
		return 0;
	transport_shared_done(sh);
	return -ENOMEM;
}

void transport_shared_done(struct transport_shared *sh)
{
	free(sh->cipher_in);
	free(sh->cipher_out);
	free(sh->plain);
	while (sh->n_spare > 0)
		free(sh->spare[--sh->n_spare]);
	*sh = (struct transport_shared){ 0 };
}

/* Output memory */

struct buf *transport_out(struct transport *t)
{
	struct transport_shared *sh = t->shared;

	if (!t->out.mem) {
		t->out.mem = sh->n_spare > 0 ? sh->spare[--sh->n_spare] : malloc(OUT_SPARE_BYTES);
		t->out.cap = t->out.mem ? OUT_SPARE_BYTES : 0; /* no memory: the append will say so */
		t->out.off = t->out.len = 0;
	}
	return &t->out;
}

static void out_release(struct transport *t)
{
	struct transport_shared *sh = t->shared;

	if (t->out.cap == OUT_SPARE_BYTES && sh->n_spare < TRANSPORT_SPARES) {
		sh->spare[sh->n_spare++] = t->out.mem;
		t->out = (struct buf){ .max_bytes = t->out.max_bytes };
	} else if (t->out.mem) {
		buf_release(&t->out);
	}
}

/* What stays goes into memory of its own size: a slow reader must not hold a big buffer for a few bytes. */
static void out_shrink(struct transport *t)
{
	struct buf small;

	if (t->out.len * 2 > t->out.cap || t->out.cap < 4096)
		return;
	buf_init(&small, t->out.max_bytes);
	if (buf_append(&small, buf_head(&t->out), t->out.len) < 0)
		return;
	out_release(t);
	buf_done(&t->out);
	t->out = small;
}

/* The socket */

int transport_socket_recv(struct transport *t, char *dst, size_t cap, size_t *ret_n)
{
	ssize_t n;

	if (t->end_read)
		return TRANSPORT_E_END;
	if (!t->readable)
		return TRANSPORT_E_AGAIN;
	if (t->carrier)
		return transport_carrier_recv(t, dst, cap, ret_n);
	do {
		n = recv(t->fd, dst, cap, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		/* Edge-triggered: a short read has emptied the socket, unless an end stands behind the bytes. */
		if ((size_t)n < cap && !t->hangup)
			t->readable = false;
		t->received_bytes += (uint64_t)n;
		*ret_n = (size_t)n;
		return 0;
	}
	if (n == 0) {
		t->end_read = true;
		return TRANSPORT_E_END;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		t->readable = false;
		return TRANSPORT_E_AGAIN;
	}
	t->error = -errno;
	t->end_read = true;
	return t->error;
}

int transport_socket_send(struct transport *t, const char *p, size_t n, size_t *ret_n)
{
	ssize_t done;

	*ret_n = 0;
	if (t->write_failed)
		return -EPIPE;
	if (t->carrier)
		return transport_carrier_send(t, p, n, ret_n);
	do {
		done = send(t->fd, p, n, MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	if (done >= 0) {
		*ret_n = (size_t)done;
		t->sent_bytes += (uint64_t)done;
		t->stuck = (size_t)done < n;
		return 0;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		t->stuck = true;
		return 0;
	}
	t->write_failed = true;
	return -errno;
}

/* Life */

static void connect_finish(struct transport *t)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	if (err != 0) {
		t->state = TRANSPORT_FAILED;
		t->error = -err;
		t->reason = err == ECONNREFUSED ? TRM_REASON_CONNECT_REFUSED :
			    err == ETIMEDOUT	? TRM_REASON_CONNECT_TIMEOUT :
						  TRM_REASON_CONNECT_FAILED;
		return;
	}
	t->state = t->ssl ? TRANSPORT_HANDSHAKE : TRANSPORT_OPEN;
}

static void event_deliver(struct transport *t)
{
	if (t->state == TRANSPORT_HANDSHAKE) {
		transport_tls_handshake(t);
		if (t->state != TRANSPORT_HANDSHAKE && t->is_server)
			t->shared->n_handshakes--;
		if (t->state == TRANSPORT_OPEN && t->out.len > 0)
			(void)transport_flush(t); /* a failure shows as write_failed */
	}
	t->on_event(t);
}

static void on_again(struct loop_task *task)
{
	struct transport *t = container_of(task, struct transport, again);

	if (t->writable_again) {
		t->writable_again = false;
		if (transport_pending(t) > 0)
			(void)transport_flush(t); /* a failure shows as write_failed */
		else
			t->stuck = false;
	}
	event_deliver(t);
}

static void on_ready(struct loop_io *io, uint32_t revents)
{
	struct transport *t = container_of(io, struct transport, io);

	if (revents & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		t->readable = true;
	if (revents & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		t->hangup = true;
	if (revents & (EPOLLHUP | EPOLLERR))
		t->broken = true;
	if (t->state == TRANSPORT_CONNECTING) {
		if (!(revents & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
			return;
		connect_finish(t);
	}
	if ((revents & EPOLLOUT) && (t->state == TRANSPORT_OPEN || t->cipher.len > 0) && transport_pending(t) > 0)
		(void)transport_flush(t); /* a failure shows as write_failed */
	event_deliver(t);
}

void transport_init(struct transport *t, struct transport_shared *sh, int fd, void (*on_event)(struct transport *t))
{
	*t = (struct transport){ .shared = sh, .fd = fd, .on_event = on_event };
	buf_init(&t->out, TRANSPORT_OUT_BYTES);
	buf_init(&t->in, IN_PLAIN_MAX);
	buf_init(&t->cipher, TRANSPORT_OUT_BYTES);
}

static void nodelay_set(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* slower without, not wrong */
}

static void keepalive_set(int fd)
{
	int one = 1, idle = KEEPALIVE_IDLE_S, each = KEEPALIVE_EACH_S, probes = KEEPALIVE_PROBES;
	unsigned int timeout = USER_TIMEOUT_MS;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &each, sizeof(each));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

int transport_accept(struct transport *t, struct transport_shared *sh, int fd, void (*on_event)(struct transport *t))
{
	int r;

	transport_init(t, sh, fd, on_event);
	nodelay_set(fd);
	t->state = TRANSPORT_OPEN; /* bytes that are there already are reported when it is added to the loop */
	r = loop_io_add(sh->loop, &t->io, fd, EVENTS, on_ready);
	if (r < 0) {
		close(fd);
		*t = (struct transport){ .fd = -1 };
	}
	return r;
}

static void client_tell(int fd, const struct addr *client)
{
	struct trm_addr ta = { .port = htons(client->port) };

	memcpy(ta.ip, client->ip, sizeof(ta.ip));
	if (setsockopt(fd, TRM_SOL, TRM_SO_CLIENT_ADDR, &ta, sizeof(ta)) < 0) {
		static bool told;

		if (!told)
			log_warn("the app will see the proxy as its peer: the kernel takes no client address", "errno=%d",
				 errno);
		told = true;
	}
}

int transport_connect(struct transport *t, struct transport_shared *sh, const struct transport_dial *dial,
		      void (*on_event)(struct transport *t))
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(&dial->addr, &ss);
	int fd, r;

	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	transport_init(t, sh, fd, on_event);
	nodelay_set(fd);
	if (dial->keepalive)
		keepalive_set(fd);
	if (dial->client)
		client_tell(fd, dial->client);
	r = connect(fd, (struct sockaddr *)&ss, n) < 0 ? -errno : 0;
	t->state = TRANSPORT_CONNECTING;
	if (r == 0 || r == -EINPROGRESS || r == -EINTR)
		r = loop_io_add(sh->loop, &t->io, fd, EVENTS, on_ready);
	if (r < 0) {
		close(fd);
		*t = (struct transport){ .fd = -1 };
	}
	return r;
}

int transport_start_server(struct transport *t, struct tls_identity *id)
{
	int r = transport_tls_new(t, id->server, id, true);

	if (r < 0)
		return r;
	if (!t->carrier)
		keepalive_set(t->fd);
	t->state = TRANSPORT_HANDSHAKE;
	t->shared->n_handshakes++;
	transport_poke(t);
	return 0;
}

/* The handshake begins when it is connected, which it may be. */
static void client_began(struct transport *t)
{
	if (t->state != TRANSPORT_OPEN)
		return;
	t->state = TRANSPORT_HANDSHAKE;
	transport_poke(t);
}

int transport_start_client(struct transport *t, struct tls_identity *id, enum tls_alpn alpn, const char *sni,
			   const char *expected_id)
{
	struct str wire = tls_alpn_wire(alpn);
	int r = transport_tls_new(t, id->client, id, false);

	if (r < 0)
		return r;
	t->expected_id = expected_id;
	if ((wire.n && SSL_set_alpn_protos(t->ssl, (const unsigned char *)wire.p, (unsigned int)wire.n) != 0) ||
	    (sni && *sni && SSL_set_tlsext_host_name(t->ssl, sni) != 1))
		return -ENOMEM;
	client_began(t);
	return 0;
}

int transport_start_origin(struct transport *t, const struct transport_origin *o)
{
	struct str wire = o->alpn == TLS_ALPN_H2    ? STR("\x02h2\x08http/1.1") :
			  o->alpn == TLS_ALPN_HTTP1 ? STR("\x08http/1.1") :
						      STR("");
	int r = transport_tls_new(t, o->ctx, NULL, false);

	if (r < 0)
		return r;
	if ((wire.n && SSL_set_alpn_protos(t->ssl, (const unsigned char *)wire.p, (unsigned int)wire.n) != 0) ||
	    SSL_set_tlsext_host_name(t->ssl, o->hostname) != 1 ||
	    SSL_set1_host(t->ssl, o->n_names ? o->names[0] : o->hostname) != 1)
		return -ENOMEM;
	for (size_t i = 1; i < o->n_names; i++)
		if (SSL_add1_host(t->ssl, o->names[i]) != 1)
			return -ENOMEM;
	client_began(t);
	return 0;
}

static void let_go(struct transport *t, bool reset)
{
	if (t->state == TRANSPORT_HANDSHAKE && t->is_server)
		t->shared->n_handshakes--;
	loop_task_cancel(&t->again);
	loop_io_forget(&t->io);
	out_release(t);
	buf_done(&t->out);
	buf_done(&t->in);
	transport_tls_free(t);
	t->peer = tls_peer_unref(t->peer);
	if (t->carrier)
		transport_carrier_close(t, reset);
	else
		close(t->fd);
	*t = (struct transport){ .fd = -1 };
}

void transport_close(struct transport *t)
{
	if (t->shared)
		let_go(t, false);
}

void transport_reset(struct transport *t)
{
	struct linger now = { .l_onoff = 1 };

	if (!t->shared)
		return;
	if (!t->carrier)
		(void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	let_go(t, true);
}

/* Reading */

bool transport_may_read(const struct transport *t)
{
	return t->readable || t->in.len > 0 || t->end_read || (t->ssl && (t->tls_verdict || SSL_pending(t->ssl) > 0));
}

int transport_read(struct transport *t, char *dst, size_t cap, size_t *ret_n)
{
	if (t->ssl)
		return transport_tls_read(t, dst, cap, ret_n);
	if (t->in.len > 0) {
		size_t n = MIN(cap, t->in.len);

		memcpy(dst, buf_head(&t->in), n);
		buf_consume(&t->in, n);
		if (t->in.len == 0)
			buf_release(&t->in);
		*ret_n = n;
		return 0;
	}
	if (t->error < 0)
		return t->error;
	return transport_socket_recv(t, dst, cap, ret_n);
}

int transport_unread(struct transport *t, const char *p, size_t n)
{
	struct buf joined;
	int r;

	if (t->in.len == 0)
		return buf_append(&t->in, p, n);
	buf_init(&joined, t->in.max_bytes);
	r = buf_append(&joined, p, n);
	if (r == 0)
		r = buf_append(&joined, buf_head(&t->in), t->in.len);
	if (r < 0) {
		buf_done(&joined);
		return r;
	}
	buf_done(&t->in);
	t->in = joined;
	return 0;
}

int transport_peek_more(struct transport *t, size_t *ret_n)
{
	size_t n = 0;
	int r = transport_socket_recv(t, t->shared->plain, TRANSPORT_READ_BYTES, &n);

	if (r == 0)
		r = buf_append(&t->in, t->shared->plain, n);
	*ret_n = n;
	return r;
}

void transport_ack_now(struct transport *t)
{
	int one = 1;

	if (!t->carrier)
		(void)setsockopt(t->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one)); /* slower without, not wrong */
}

void transport_poke(struct transport *t)
{
	loop_task_defer(t->shared->loop, &t->again, on_again);
}

/* Writing */

static void end_try(struct transport *t)
{
	if (!t->end_wanted || t->end_sent || transport_pending(t) > 0 || t->state != TRANSPORT_OPEN)
		return;
	if (t->ssl) {
		transport_tls_end(t);
		if (t->cipher.len > 0)
			return; /* FIN after close_notify has left */
	}
	t->end_sent = true;
	if (t->carrier)
		t->carrier->ops->end(t->carrier);
	else
		(void)shutdown(t->fd, SHUT_WR); /* fails only when the peer is gone already */
}

void transport_end(struct transport *t)
{
	t->end_wanted = true;
	end_try(t);
}

static int bytes_write(struct transport *t, const char *p, size_t n, size_t *ret_n)
{
	return t->ssl ? transport_tls_write(t, p, n, ret_n) : transport_socket_send(t, p, n, ret_n);
}

int transport_flush(struct transport *t)
{
	size_t n;
	int r;

	if (t->state != TRANSPORT_OPEN && t->cipher.len == 0)
		return t->state == TRANSPORT_FAILED ? -EPIPE : 0; /* kept until open */
	r = transport_tls_flush(t);
	while (r == 0 && t->out.len > 0 && t->cipher.len == 0 && t->state == TRANSPORT_OPEN) {
		size_t want = t->out.len;

		r = bytes_write(t, buf_head(&t->out), want, &n);
		if (r < 0)
			break;
		buf_consume(&t->out, n);
		if (n < want && !t->ssl)
			break;
	}
	if (r < 0) {
		t->write_failed = true;
		buf_consume(&t->out, t->out.len);
		buf_release(&t->cipher);
		out_release(t);
		return r;
	}
	if (t->out.len == 0)
		out_release(t);
	else
		out_shrink(t);
	if (t->end_wanted)
		end_try(t);
	return 0;
}

int transport_send(struct transport *t, const char *p, size_t n)
{
	size_t done = 0, step;
	int r = 0;

	if (t->write_failed)
		return -EPIPE;
	/* Small, or behind something: join it, so that all leaves in one send(). */
	if (t->out.len > 0 && n > 0 && t->out.len + n <= OUT_SPARE_BYTES) {
		r = buf_append(transport_out(t), p, n);
		return r < 0 ? r : transport_flush(t);
	}
	if (t->out.len > 0 || t->cipher.len > 0)
		r = transport_flush(t);
	while (r == 0 && done < n && transport_pending(t) == 0 && t->state == TRANSPORT_OPEN) {
		r = bytes_write(t, p + done, n - done, &step);
		done += step;
		if (step == 0 || (!t->ssl && done < n))
			break;
	}
	if (r < 0) {
		t->write_failed = true;
		return r;
	}
	return done < n ? buf_append(&t->out, p + done, n - done) : 0;
}

bool transport_is_full(struct transport *t)
{
	if (t->write_failed)
		return false;
	if (t->state != TRANSPORT_OPEN)
		return true;
	if (!t->stuck && t->out.len >= OUT_FLUSH_BYTES)
		(void)!transport_flush(t); /* a failure shows as write_failed */
	return t->stuck;
}

size_t transport_unacked(const struct transport *t)
{
	int n = 0;

	if (t->fd < 0 || ioctl(t->fd, SIOCOUTQ, &n) < 0 || n < 0)
		return 0;
	return (size_t)n;
}
