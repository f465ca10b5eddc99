/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connection from a caller: the connection, its turns and its end
 *
 * What its streams are is for others to say: see h2_server.h.
 */
#include "base/clock.h"
#include "base/log.h"
#include "proxy/listener/h2_server.h"

#define READS_PER_TURN	 10
#define HEADS_PER_TURN	 H2_STREAMS_MAX /* new requests: a caller with many does not hold up the others, nor do those that are reset at once */
#define AGE_MS		 3600000 /* less up to a fifth, at random: callers of the mesh get to balance anew */
#define GOING_MS	 1000 /* between "we are going" and "no more" */

static void on_write(struct loop_task *task);
static void server_shut(struct h2_server *s);

void h2_server_touch(struct h2_server *s)
{
	loop_task_defer(s->d->w->loop, &s->write, on_write);
}

/* Not in line: the compiler would follow it into callers that are busy, and see a use after it where there is none. */
static __attribute__((noinline)) void server_destroy(struct h2_server *s)
{
	loop_task_cancel(&s->write);
	buf_done(&s->unread);
	h2_conn_done(&s->h2);
	downstream_free(s->d);
	free(s);
}

static void server_free(struct h2_server *s)
{
	s->dead = true;
	if (!s->busy) /* else the frame that is at work does it */
		server_destroy(s);
}

static void idle_arm(struct h2_server *s)
{
	if (s->phase == H2_SERVER_OPEN) /* else it is the final GOAWAY's */
		deadline_set(&s->d->deadline, H2_SERVER_IDLE_MS);
}

void h2_server_idle_look(struct h2_server *s)
{
	struct downstream *d = s->d;

	if (s->n_streams > 0 || s->phase == H2_SERVER_LINGER || s->dead)
		return;
	if (s->phase == H2_SERVER_LAST) {
		server_shut(s);
		return;
	}
	d->conn.state = CONN_IDLE;
	idle_arm(s);
}

void h2_server_stream_began(struct h2_server *s)
{
	s->n_streams++;
	s->d->conn.state = CONN_OPEN;
	idle_arm(s);
}

void h2_server_gone(struct h2_server *s, enum trm_reason reason)
{
	bool was_busy = s->busy;

	s->busy = true;
	s->dead = true;
	s->d->conn.state = CONN_CLOSING;
	s->kind->lose_streams(s, reason);
	s->busy = was_busy;
	server_free(s);
}

static void server_shut(struct h2_server *s)
{
	s->phase = H2_SERVER_LINGER;
	downstream_linger_start(s->d);
}

/* Announces the end: streams that are on their way are still taken for a second. */
void h2_server_go(struct h2_server *s)
{
	if (s->phase != H2_SERVER_OPEN)
		return;
	s->phase = H2_SERVER_GOING;
	h2_conn_goaway(&s->h2, false, NGHTTP2_NO_ERROR);
	h2_server_touch(s);
	deadline_set(&s->d->deadline, GOING_MS);
}

/* The connection's turn */

/* What the peer did ends the connection. GOAWAY says so; the answers that are there already leave before it. */
static void server_fail(struct h2_server *s, int r)
{
	struct downstream *d = s->d;
	enum trm_reason reason = r < 0 ? TRM_REASON_NO_MEMORY : s->h2.reason;

	if (r < 0 || s->h2.faulty) {
		log_limited(LOG_INFO, "HTTP/2 connection ended", "conn=%llu reason=%s why=\"%s\"", (unsigned long long)d->conn.id,
			    trm_reason_label(reason), r < 0 ? "memory is out" : s->h2.why);
		observe_count(d->w->observe, reason);
	}
	(void)!h2_conn_write(&s->h2, transport_out(&d->t), true);
	(void)transport_flush(&d->t);
	s->phase = H2_SERVER_LINGER;
	s->kind->lose_streams(s, reason == TRM_REASON_NONE ? TRM_REASON_DOWNSTREAM_CLOSED : reason);
	server_shut(s);
}

/* It sends no more. What it has asked for whole is still answered. */
static void server_eof(struct h2_server *s)
{
	s->eof = true;
	if (s->phase < H2_SERVER_LAST)
		s->phase = H2_SERVER_LAST;
	s->kind->end_streams(s);
	if (s->n_streams == 0 || s->d->t.broken)
		h2_server_gone(s, TRM_REASON_DOWNSTREAM_CLOSED);
	else
		h2_server_touch(s);
}

/* What the last turn left, or what has come. */
static int server_input(struct h2_server *s, size_t *ret_n)
{
	char *plain = s->d->w->shared.plain;

	if (s->unread.len == 0)
		return transport_read(&s->d->t, plain, TRANSPORT_READ_BYTES, ret_n);
	*ret_n = s->unread.len;
	memcpy(plain, buf_str(&s->unread).p, s->unread.len);
	buf_release(&s->unread);
	return 0;
}

/* false: stop. */
static bool server_read(struct h2_server *s)
{
	char *plain = s->d->w->shared.plain;
	size_t n = 0;
	int r = server_input(s, &n);

	if (r == TRANSPORT_E_AGAIN)
		return false;
	if (r == TRANSPORT_E_END)
		server_eof(s);
	else if (r < 0)
		h2_server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
	if (r != 0)
		return false;
	r = h2_conn_read(&s->h2, (struct str){ plain, n }, loop_now_ns(s->d->w->loop));
	if (r == 0 && s->h2.unread > 0)
		r = buf_append(&s->unread, plain + n - s->h2.unread, s->h2.unread);
	if (!s->greeted && s->h2.settings_seen) {
		s->greeted = true;
		idle_arm(s);
	}
	h2_conn_dispatch(&s->h2);
	if (r != 0 && !s->dead)
		server_fail(s, r);
	return r == 0 && !s->dead && s->unread.len == 0;
}

static void server_write(struct h2_server *s)
{
	struct transport *t = &s->d->t;
	int r;

	for (int i = 0; i < READS_PER_TURN && !s->dead; i++) {
		r = h2_conn_write(&s->h2, transport_out(t), !transport_is_full(t));
		if (transport_flush(t) < 0 || t->write_failed) {
			h2_server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
			return;
		}
		h2_conn_dispatch(&s->h2);
		if (s->dead || s->phase == H2_SERVER_LINGER)
			return;
		if (r != 0) {
			if (r == HTTP_E_END && s->h2.faulty)
				server_fail(s, r);
			else if (r == HTTP_E_END && s->n_streams == 0)
				server_shut(s);
			else
				h2_server_gone(s, TRM_REASON_NO_MEMORY);
			return;
		}
		if (!h2_conn_has_news(&s->h2) && (transport_is_full(t) || !h2_conn_wants_write(&s->h2)))
			return;
	}
	if (!s->dead)
		h2_server_touch(s);
}

/* A caller that takes nothing is not read either: what it sends would make more to be kept. */
static bool server_may_read(struct h2_server *s)
{
	struct transport *t = &s->d->t;

	return !s->eof && (s->unread.len > 0 || transport_may_read(t)) && !(t->stuck && transport_pending(t) > H2_STREAM_OUT);
}

static void server_step(struct h2_server *s)
{
	struct transport *t = &s->d->t;

	if (s->phase == H2_SERVER_LINGER) {
		s->dead = downstream_linger_read(s->d);
		return;
	}
	if (s->eof && t->broken) {
		h2_server_gone(s, TRM_REASON_DOWNSTREAM_RESET);
		return;
	}
	s->h2.heads_left = HEADS_PER_TURN;
	for (int i = 0; i < READS_PER_TURN && server_may_read(s); i++)
		if (!server_read(s))
			break;
	if (s->dead || s->phase == H2_SERVER_LINGER)
		return;
	h2_conn_batch_end(&s->h2);
	if (s->dead)
		return;
	server_write(s);
	if (!s->dead && (t->readable || s->unread.len > 0) && !t->stuck && !s->eof)
		transport_poke(t);
}

/* Work on @s with nobody freeing it under us. */
static void server_run(struct h2_server *s, void (*step)(struct h2_server *s))
{
	if (s->busy)
		return;
	s->busy = true;
	step(s);
	s->busy = false;
	if (s->dead)
		server_destroy(s);
}

static void on_event(struct transport *t)
{
	struct downstream *d = container_of(t, struct downstream, t);

	server_run(d->conn.owner, server_step);
}

static void write_step(struct h2_server *s)
{
	if (s->phase == H2_SERVER_LINGER)
		return;
	server_write(s);
}

static void on_write(struct loop_task *task)
{
	server_run(container_of(task, struct h2_server, write), write_step);
}

/* Life */

static void due_step(struct h2_server *s)
{
	struct deadline *dl = &s->d->deadline;

	if (s->phase == H2_SERVER_LINGER) {
		server_free(s);
		return;
	}
	if (s->phase == H2_SERVER_GOING) {
		s->phase = H2_SERVER_LAST;
		h2_conn_goaway(&s->h2, true, NGHTTP2_NO_ERROR);
		server_write(s);
		if (!s->dead)
			h2_server_idle_look(s);
		return;
	}
	if (!s->greeted) {
		h2_server_gone(s, TRM_REASON_HTTP_HEADER_TIMEOUT);
		return;
	}
	if (s->n_streams == 0 && s->phase == H2_SERVER_OPEN)
		h2_server_go(s);
	else
		deadline_set(dl, H2_SERVER_IDLE_MS);
}

static void on_due(struct deadline *dl)
{
	struct downstream *d = container_of(dl, struct downstream, deadline);

	server_run(d->conn.owner, due_step);
}

static void on_drain(struct conn *c)
{
	h2_server_go(c->owner);
}

static void on_kill(struct conn *c, enum trm_reason reason)
{
	h2_server_gone(c->owner, reason);
}

static const struct conn_ops registry_ops = { .drain = on_drain, .kill = on_kill };

bool h2_server_takes_more(struct h2_server *s)
{
	if (s->n_streams >= s->n_streams_max || s->phase >= H2_SERVER_LAST)
		return false;
	if (s->d->conn.direction == OBSERVE_INBOUND && loop_now_ns(s->d->w->loop) / NS_PER_MS >= s->old_at_ms)
		h2_server_go(s);
	return true;
}

void h2_server_start_kind(struct downstream *d, const struct h2_server_kind *kind, const struct h2_settings *settings)
{
	struct h2_server *s = calloc(1, sizeof(*s));

	if (!s || h2_conn_init(&s->h2, true, settings, kind->ops) < 0) {
		free(s);
		downstream_refuse(d, TRM_REASON_NO_MEMORY);
		return;
	}
	s->d = d;
	s->kind = kind;
	s->h2.budget = &d->w->stalls;
	s->n_streams_max = settings->streams_max;
	s->old_at_ms = loop_now_ns(d->w->loop) / NS_PER_MS + AGE_MS - trace_random_next(&d->w->random) % (AGE_MS / 5);
	list_init(&s->streams);
	buf_init(&s->unread, TRANSPORT_READ_BYTES);
	d->conn.ops = &registry_ops;
	d->conn.owner = s;
	d->conn.protocol = kind->protocol;
	d->conn.state = CONN_IDLE;
	d->t.on_event = on_event;
	deadline_done(&d->deadline);
	deadline_init(&d->deadline, d->w->loop, on_due);
	deadline_set(&d->deadline, H2_SERVER_FIRST_MS);
	h2_server_touch(s);
	transport_poke(&d->t);
	if (d->w->draining)
		h2_server_go(s);
}
