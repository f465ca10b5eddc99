/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections to an endpoint, the connection: see h2_client.h. */
#include "proxy/upstream/h2_client.h"

#include <errno.h>
#include "base/log.h"
#include "proxy/upstream/connect.h"
#include "proxy/upstream/deadline.h"

#define READS_PER_TURN 8

static void on_write(struct loop_task *task);

void h2_client_touch(struct h2_client *c)
{
	loop_task_defer(c->w->loop, &c->write, on_write);
}

static void client_free(struct h2_client *c)
{
	c->dead = true;
	if (c->busy)
		return; /* the frame that is at work frees it */
	upstream_pool_leave(&c->w->pool, &c->link);
	loop_task_cancel(&c->write);
	deadline_done(&c->deadline);
	h2_conn_done(&c->h2);
	transport_close(&c->t);
	free(c);
}

/* No new streams; closed once the last has ended. */
void h2_client_go(struct h2_client *c)
{
	if (!c->going && c->kind->on_going)
		c->kind->on_going(c);
	c->going = true;
	upstream_pool_withdraw(&c->w->pool, &c->link);
	if (c->n_streams == 0 && !c->dead)
		client_free(c);
}

/* The connection is lost: every stream hears why. */
static void client_lost(struct h2_client *c, enum trm_reason reason, uint16_t status)
{
	bool was_busy = c->busy;

	c->busy = true;
	c->going = true;
	c->h2.over = true;
	upstream_pool_withdraw(&c->w->pool, &c->link);
	c->kind->lose_streams(c, reason, status);
	c->busy = was_busy;
	client_free(c);
}

static void idle_arm(struct h2_client *c)
{
	deadline_set(&c->deadline, c->n_streams > 0 ? H2_PING_QUIET_MS :
				   c->is_app	    ? H2_CLIENT_LOCAL_IDLE_MS :
						      H2_CLIENT_IDLE_MS);
}

/* In the pool while there is room. */
static void room_offer(struct h2_client *c)
{
	if (c->going || c->dead || c->link.is_idle)
		return;
	if (c->h2.goaway_received || loop_now_ns(c->w->loop) / NS_PER_MS >= c->old_at_ms || c->w->draining) {
		h2_client_go(c);
		return;
	}
	/* streams that are opened but have not sent their head yet take room, too */
	if (h2_conn_room(&c->h2) > c->n_streams - MIN(c->h2.n_streams, c->n_streams) && !upstream_pool_put(&c->w->pool, &c->link))
		h2_client_go(c);
}

/* The connection's turn */

/* false: the connection is lost. */
static bool client_read(struct h2_client *c)
{
	size_t n = 0;
	int r = transport_read(&c->t, c->w->shared.plain, TRANSPORT_READ_BYTES, &n);

	if (r == TRANSPORT_E_AGAIN)
		return true;
	if (r == TRANSPORT_E_END) {
		client_lost(c, TRM_REASON_UPSTREAM_CLOSED, 502);
		return false;
	}
	if (r < 0) {
		client_lost(c, c->t.reason ? c->t.reason : TRM_REASON_UPSTREAM_RESET, 502);
		return false;
	}
	r = h2_conn_read(&c->h2, (struct str){ c->w->shared.plain, n }, loop_now_ns(c->w->loop));
	h2_conn_dispatch(&c->h2);
	if (r == 0 || c->dead)
		return !c->dead;
	if (r < 0 || c->h2.faulty)
		log_limited(LOG_INFO, "HTTP/2 connection to an endpoint ended", "why=\"%s\"", r < 0 ? "memory is out" : c->h2.why);
	(void)!h2_conn_write(&c->h2, transport_out(&c->t), false); /* GOAWAY, if it can be said */
	(void)transport_flush(&c->t);
	client_lost(c, TRM_REASON_HTTP_UPSTREAM_MALFORMED, 502);
	return false;
}

static bool client_write(struct h2_client *c)
{
	int r;

	if (!c->opened && c->link.host->key.tls)
		return true; /* it may come to HTTP/1.1 */
	for (int i = 0; i < READS_PER_TURN && !c->dead; i++) {
		r = h2_conn_write(&c->h2, transport_out(&c->t), !transport_is_full(&c->t));
		if (transport_flush(&c->t) < 0 || c->t.write_failed)
			return true; /* the reading side tells */
		if (r != 0) {
			client_lost(c, r != HTTP_E_END ? TRM_REASON_NO_MEMORY :
				       c->h2.faulty    ? TRM_REASON_HTTP_UPSTREAM_MALFORMED :
							 TRM_REASON_UPSTREAM_CLOSED, 502);
			return false;
		}
		if (!h2_conn_has_news(&c->h2) && (transport_is_full(&c->t) || !h2_conn_wants_write(&c->h2)))
			return true;
		h2_conn_dispatch(&c->h2);
	}
	if (!c->dead)
		h2_client_touch(c);
	return !c->dead;
}

static void client_opened(struct h2_client *c)
{
	c->opened = true;
	if (c->kind->on_opened)
		c->kind->on_opened(c);
	idle_arm(c);
}

static void client_step(struct h2_client *c)
{
	enum trm_reason reason;
	uint16_t status;
	int r;

	r = connect_step(&c->t, &c->deadline, &c->connected, &reason, &status);
	if (r == CONNECT_E_FAILED)
		client_lost(c, reason, status);
	if (r != 0)
		return;
	if (!c->opened) {
		if (c->t.ssl && c->t.alpn != c->link.host->key.alpn) {
			client_lost(c, c->link.host->key.tls ? TRM_REASON_BACKEND_NO_H2 : TRM_REASON_TLS_HANDSHAKE, 503);
			return;
		}
		client_opened(c);
		if (c->n_streams > 0)
			h2_client_touch(c);
	}
	for (int i = 0; i < READS_PER_TURN && transport_may_read(&c->t); i++)
		if (!client_read(c))
			return;
	h2_conn_batch_end(&c->h2);
	if (c->h2.settings_seen && !c->settled && !c->dead) {
		c->settled = true;
		if (c->kind->on_settled)
			c->kind->on_settled(c);
	}
	if (c->dead || !client_write(c))
		return;
	if (c->ack_wanted && !c->t.readable)
		transport_ack_now(&c->t);
	c->ack_wanted = false;
	if (transport_may_read(&c->t))
		transport_poke(&c->t);
	if ((c->h2.goaway_received || c->t.going) && !c->going)
		h2_client_go(c);
	else
		room_offer(c);
}

/* Work on @c with nobody freeing it under us. */
static void client_run(struct h2_client *c, void (*step)(struct h2_client *c))
{
	if (c->busy)
		return;
	c->busy = true;
	step(c);
	c->busy = false;
	if (c->dead || (c->going && c->n_streams == 0))
		client_free(c);
}

static void on_event(struct transport *t)
{
	client_run(container_of(t, struct h2_client, t), client_step);
}

static void write_step(struct h2_client *c)
{
	if (c->t.state != TRANSPORT_OPEN && c->opened)
		return;
	if (client_write(c))
		h2_conn_batch_end(&c->h2);
}

static void on_write(struct loop_task *task)
{
	client_run(container_of(task, struct h2_client, write), write_step);
}

/* Nothing came for a while. Apps are not asked, wherever they are: gRPC servers take PINGs amiss that follow no DATA of theirs. */
static void quiet_step(struct h2_client *c)
{
	if (c->n_streams == 0) {
		h2_client_go(c);
		return;
	}
	idle_arm(c);
	if (c->is_app || c->heard_bytes != c->t.received_bytes) {
		c->heard_bytes = c->t.received_bytes;
		return;
	}
	if (c->h2.ping_pending) {
		client_lost(c, TRM_REASON_H2_PING_TIMEOUT, 504);
		return;
	}
	(void)!h2_conn_ping(&c->h2, loop_now_ns(c->w->loop)); /* no memory: asked again next time */
	h2_client_touch(c);
}

static void on_due(struct deadline *d)
{
	struct h2_client *c = container_of(d, struct h2_client, deadline);

	enum trm_reason reason = connect_due(&c->t);

	if (reason != TRM_REASON_NONE)
		client_lost(c, reason, 504);
	else
		client_run(c, quiet_step);
}

static void on_pool_close(struct pool_link *l)
{
	h2_client_go(container_of(l, struct h2_client, link));
}

static void on_pool_kill(struct pool_link *l)
{
	client_lost(container_of(l, struct h2_client, link), TRM_REASON_DRAIN, 503);
}

/* Life */

static int client_dial(struct worker *w, const struct target *target, const struct pool_key *key,
		       const struct h2_client_kind *kind, struct h2_client **ret, enum trm_reason *ret_reason)
{
	struct h2_client *c = calloc(1, sizeof(*c));
	struct h2_settings settings = *kind->settings;
	uint64_t now_ms = loop_now_ns(w->loop) / NS_PER_MS;
	int r;

	*ret_reason = TRM_REASON_NO_MEMORY;
	if (!c)
		return -ENOMEM;
	c->w = w;
	c->link.close = on_pool_close;
	c->link.kill = on_pool_kill;
	list_init(&c->streams);
	deadline_init(&c->deadline, w->loop, on_due);
	c->kind = kind;
	c->is_app = !target->mtls;
	settings.window_max = target->is_local ? 0 : H2_WINDOW_MAX;
	r = h2_conn_init(&c->h2, false, &settings, kind->ops);
	c->h2.budget = &w->stalls;
	if (r == 0)
		r = upstream_pool_join(&w->pool, key, &c->link);
	if (r == 0)
		r = connect_start(w, &c->t, target, key->alpn, c->link.host->spiffe_id, on_event, ret_reason);
	if (r < 0) {
		upstream_pool_leave(&w->pool, &c->link);
		h2_conn_done(&c->h2);
		free(c);
		return r;
	}
	c->old_at_ms = now_ms + H2_CLIENT_AGE_MS - trace_random_next(&w->random) % (H2_CLIENT_AGE_MS / 5);
	deadline_set(&c->deadline, connect_timeout_ms(target));
	*ret = c;
	return 0;
}

int h2_client_get(struct worker *w, const struct target *target, const struct h2_client_kind *kind, bool fresh,
		  struct h2_client **ret, bool *ret_reused, enum trm_reason *ret_reason)
{
	struct pool_key key;
	struct pool_link *l;

	pool_key_fill(&key, target, target->tls ? TLS_ALPN_H2 : kind->alpn);
	l = fresh ? NULL : upstream_pool_take(&w->pool, &key);
	*ret_reused = l && container_of(l, struct h2_client, link)->opened;
	if (!l)
		return client_dial(w, target, &key, kind, ret, ret_reason);
	*ret = container_of(l, struct h2_client, link);
	return 0;
}

void h2_client_stream_added(struct h2_client *c)
{
	c->n_streams++;
	if (c->opened && c->n_streams == 1)
		idle_arm(c);
	room_offer(c);
}

void h2_client_stream_removed(struct h2_client *c)
{
	c->n_streams--;
	if (c->dead || c->h2.over)
		return;
	if (c->n_streams == 0 && c->opened)
		idle_arm(c);
	h2_client_touch(c); /* a reset may have to leave */
	room_offer(c);
}
