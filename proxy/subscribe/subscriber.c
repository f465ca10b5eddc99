/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's side of the agent: see subscriber.h
 *
 *   subscriber.c    connection, stream, messages -> snapshots
 *   subscription.c  what was asked for, who waits
 *   renewal.c       key and certificate
 *
 * One connection at a time. Whatever ends it leads to lost(): the last snapshot stays in force, a new connection is
 * made after a while and tells the agent what we still hold. Hello and the first certificate request leave in the same
 * flight.
 */
#include "proxy/subscribe/subscriber.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/rpc/rpc.h"
#include "base/unix_socket.h"
#include "config.h"
#include "proxy/snapshot/build.h"
#include "proxy/subscribe/renewal.h"
#include "proxy/subscribe/subscription.h"
#include "trammel/publish.pb-c.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define SWEEP_MS       60000
#define IDLE_NS        (600 * NS_PER_S)
#define EVICT_IDLE_NS  (10 * NS_PER_S) /* at the bound, what was not used for so long may go */
#define EVICT_BATCH    64

struct subscriber {
	struct loop *loop;
	const char *socket_path;
	const struct subscriber_ops *ops;
	void *user;
	struct snapshot *snapshot; /* in force; NULL before the first */

	struct rpc_conn *conn;
	struct rpc_call *stream;
	struct loop_timer reconnect, sweep;
	struct loop_task tell;
	uint32_t backoff_ms;
	bool was_connected;

	struct subscriptions subs;
	struct buf given_back; /* NUL-ended names the agent has to be told of */
	uint32_t n_given_back;
	struct renewal renewal;
	struct subscriber_stats stats;
};

static const struct rpc_settings conn_settings = { .keepalive_ms = 30000, .keepalive_timeout_ms = 20000 };

static void on_reconnect(struct loop_timer *timer);
static void on_tell(struct loop_task *task);

/* Connection */

static void lost(struct subscriber *s, const char *why)
{
	uint32_t delay_ms = s->backoff_ms / 2 + jitter(s->backoff_ms / 2 + 1);

	if (s->stats.connected)
		log_limited(LOG_WARN, "agent lost", "reason=\"%s\" retry_ms=%u", why, delay_ms);
	else
		log_limited(LOG_INFO, "agent not reached", "reason=\"%s\" retry_ms=%u", why, delay_ms);
	s->stream = NULL;
	s->conn = rpc_conn_free(s->conn);
	s->stats.connected = false;
	renewal_disconnected(&s->renewal);
	loop_task_cancel(&s->tell);
	loop_timer_set(s->loop, &s->reconnect, delay_ms, on_reconnect);
	s->backoff_ms = MIN(s->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

static void on_close(struct rpc_conn *c, int err, void *user)
{
	lost(user, err < 0 ? strerror(-err) : "closed by the agent");
}

static const struct rpc_conn_ops conn_ops = { .on_close = on_close };

/* Talking */

static int message_send(struct subscriber *s, const Trammel__V1__ToAgent *m)
{
	_cleanup_(freep) uint8_t *bytes = malloc(trammel__v1__to_agent__get_packed_size(m) + 1);

	if (!bytes)
		return -ENOMEM;
	return rpc_call_send(s->stream, bytes, trammel__v1__to_agent__pack(m, bytes));
}

struct held {
	Trammel__V1__Held *items, **pointers;
	size_t n, room;
};

static void held_count(const char *name, uint64_t version, void *user)
{
	((struct held *)user)->room++;
}

static void held_add(const char *name, uint64_t version, void *user)
{
	struct held *h = user;
	Trammel__V1__Held *item = &h->items[h->n];

	trammel__v1__held__init(item);
	item->name = (char *)(uintptr_t)name;
	item->version = version;
	h->pointers[h->n++] = item;
}

/* Subscriptions that are neither held nor told yet; fills @names, which has room for all. */
static size_t names_to_ask(struct subscriber *s, bool held_are_told, char **names)
{
	struct subscription *sub;
	size_t n = 0;

	list_for_each_entry (sub, &s->subs.by_use, link) {
		if (sub->told)
			continue;
		sub->told = true;
		if (held_are_told && s->snapshot && snapshot_has(s->snapshot, str_from(sub->name)))
			continue;
		names[n++] = sub->name;
	}
	return n;
}

static void snapshot_swap(struct subscriber *s, struct snapshot *new_)
{
	snapshot_unref(s->snapshot);
	s->snapshot = new_;
	s->stats.generation = snapshot_generation(new_);
	s->ops->on_snapshot(new_, s->user);
	subscriptions_check(&s->subs, new_);
}

/*
 * Takes what was given back out of the snapshot, but for what was asked for again meanwhile. Done from the loop and not
 * where it is given back: a caller of subscriber_want_dest() may be looking at the snapshot. @names has room for all
 * and is borrowed from s->given_back.
 */
static int given_back_apply(struct subscriber *s, struct str *names, size_t *ret_n)
{
	char *at = buf_head(&s->given_back);
	struct snapshot *new_;
	size_t n = 0;
	int r;

	for (uint32_t i = 0; i < s->n_given_back;
	     i++, at += names[n].n + 1, n += !subscription_find(&s->subs, names[n]))
		names[n] = str_from(at);
	*ret_n = n;
	if (!n || !s->snapshot)
		return 0;
	r = snapshot_without(s->snapshot, names, n, &new_);
	if (r == 0)
		snapshot_swap(s, new_);
	return r;
}

static void given_back_clear(struct subscriber *s)
{
	buf_release(&s->given_back);
	s->n_given_back = 0;
}

static int hello_send(struct subscriber *s)
{
	Trammel__V1__ToAgent m = TRAMMEL__V1__TO_AGENT__INIT;
	Trammel__V1__Hello hello = TRAMMEL__V1__HELLO__INIT;
	_cleanup_(freep) char **names = calloc(s->subs.n + 1, sizeof(*names));
	_cleanup_(freep) void *items = NULL, *pointers = NULL;
	_cleanup_(freep) struct str *back = calloc(s->n_given_back + 1, sizeof(*back));
	struct held held = { 0 };
	struct subscription *sub;
	size_t n_back;

	if (!back || given_back_apply(s, back, &n_back) < 0)
		return -ENOMEM;
	given_back_clear(s);
	if (s->snapshot)
		snapshot_each_resource(s->snapshot, held_count, &held);
	items = held.items = calloc(held.room + 1, sizeof(*held.items));
	pointers = held.pointers = calloc(held.room + 1, sizeof(*held.pointers));
	if (!names || !items || !pointers)
		return -ENOMEM;
	if (s->snapshot)
		snapshot_each_resource(s->snapshot, held_add, &held);
	list_for_each_entry (sub, &s->subs.by_use, link)
		sub->told = false;
	hello.version = (char *)(uintptr_t)TRAMMEL_VERSION;
	hello.pid = (uint32_t)getpid();
	hello.n_held = held.n;
	hello.held = held.pointers;
	m.hello = &hello;
	m.n_subscribe = names_to_ask(s, true, names);
	m.subscribe = names;
	return message_send(s, &m);
}

/* Tells the agent what was asked for and given back since the last time; without a stream, Hello will. */
static int changes_send(struct subscriber *s)
{
	Trammel__V1__ToAgent m = TRAMMEL__V1__TO_AGENT__INIT;
	_cleanup_(freep) char **names = calloc(s->subs.n + 1, sizeof(*names));
	_cleanup_(freep) char **back_p = calloc(s->n_given_back + 1, sizeof(*back_p));
	_cleanup_(freep) struct str *back = calloc(s->n_given_back + 1, sizeof(*back));
	int r;

	if (!names || !back || !back_p)
		return -ENOMEM;
	r = given_back_apply(s, back, &m.n_unsubscribe);
	if (r == 0 && !s->stream)
		given_back_clear(s);
	if (r < 0 || !s->stream)
		return r;
	for (size_t i = 0; i < m.n_unsubscribe; i++)
		back_p[i] = (char *)(uintptr_t)back[i].p;
	m.n_subscribe = names_to_ask(s, false, names);
	m.subscribe = names;
	m.unsubscribe = back_p;
	r = m.n_subscribe || m.n_unsubscribe ? message_send(s, &m) : 0;
	if (r == 0)
		given_back_clear(s);
	return r;
}

static void on_tell(struct loop_task *task)
{
	struct subscriber *s = container_of(task, struct subscriber, tell);
	int r = changes_send(s);

	if (r < 0 && s->conn)
		lost(s, strerror(-r));
}

/* Listening */

static bool is_wanted(struct str name, void *user)
{
	return subscription_find(&((struct subscriber *)user)->subs, name) != NULL;
}

/* 0: in force or refused, and answered so. */
static int message_apply(struct subscriber *s, const Trammel__V1__ToProxy *m)
{
	Trammel__V1__ToAgent answer = TRAMMEL__V1__TO_AGENT__INIT;
	Trammel__V1__Ack ack = TRAMMEL__V1__ACK__INIT;
	_cleanup_(freep) char *error = NULL;
	struct snapshot *new_ = NULL;
	int r = snapshot_apply(s->snapshot, m, is_wanted, s, &new_, &error);

	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		s->stats.nacks++;
		ack.error = error;
		log_limited(LOG_ERROR, "agent's message refused", "nonce=%llu reason=\"%s\"",
			    (unsigned long long)m->nonce, error);
	} else {
		snapshot_swap(s, new_);
	}
	s->stats.last_nonce = m->nonce;
	ack.nonce = m->nonce;
	ack.generation = s->snapshot ? snapshot_generation(s->snapshot) : 0;
	answer.ack = &ack;
	return s->stream ? message_send(s, &answer) : 0;
}

static void on_message(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	struct subscriber *s = user;
	Trammel__V1__ToProxy *m = trammel__v1__to_proxy__unpack(NULL, n, p);
	int r = m ? message_apply(s, m) : -EBADMSG; /* without its nonce it cannot be answered */

	if (m)
		trammel__v1__to_proxy__free_unpacked(m, NULL);
	if (r < 0) {
		lost(s, r == -EBADMSG ? "message cannot be read" : strerror(-r));
		return;
	}
	if (!s->stats.connected && s->conn) {
		s->stats.connected = true;
		s->stats.connected_since_ns = loop_now_ns(s->loop);
		s->stats.reconnects += s->was_connected;
		s->was_connected = true;
	}
	s->backoff_ms = BACKOFF_MIN_MS;
}

static void on_writable(struct rpc_call *call, void *user)
{
	struct subscriber *s = user;

	loop_task_defer(s->loop, &s->tell, on_tell);
}

static void on_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	struct subscriber *s = user;

	s->stream = NULL;
	lost(s, *message ? message : rpc_status_name(status));
}

static const struct rpc_call_ops stream_ops = { .on_message = on_message,
						.on_writable = on_writable,
						.on_end = on_end };

/* Connecting */

static int open_stream(struct subscriber *s)
{
	const struct rpc_target target = { .path = "/trammel.v1.Publish/Stream" };
	int fd = -1, r = unix_socket_connect_at_once(s->socket_path, &fd);

	if (r == 0)
		r = rpc_client_new(s->loop, fd, &conn_settings, &conn_ops, s, &s->conn);
	if (r == 0)
		r = rpc_stream_new(s->conn, &target, &stream_ops, s, &s->stream);
	return r == 0 ? hello_send(s) : r;
}

static void on_reconnect(struct loop_timer *timer)
{
	struct subscriber *s = container_of(timer, struct subscriber, reconnect);
	int r = open_stream(s);

	if (r < 0)
		lost(s, strerror(-r));
	else
		renewal_connected(&s->renewal, s->conn);
}

/* Giving back */

/* Drops up to EVICT_BATCH subscriptions that are idle for @idle_ns; snapshot and agent follow in the next turn. */
static uint32_t give_back_some(struct subscriber *s, uint64_t idle_ns)
{
	struct subscription *sub;
	uint32_t n = 0;

	for (; n < EVICT_BATCH && (sub = subscriptions_idle(&s->subs, idle_ns)); n++) {
		if (buf_append(&s->given_back, sub->name, strlen(sub->name) + 1) < 0)
			break; /* full: the next turn empties it */
		s->n_given_back++;
		subscription_drop(&s->subs, sub);
	}
	if (n)
		loop_task_defer(s->loop, &s->tell, on_tell);
	return n;
}

static void on_sweep(struct loop_timer *timer)
{
	struct subscriber *s = container_of(timer, struct subscriber, sweep);

	if (s->snapshot)
		subscriptions_note_use(&s->subs, s->snapshot);
	while (give_back_some(s, IDLE_NS) == EVICT_BATCH)
		;
	if (s->subs.n)
		loop_timer_set(s->loop, timer, SWEEP_MS, on_sweep);
}

/* Asking */

static struct subscription *subscription_get(struct subscriber *s, struct str name)
{
	struct subscription *sub = subscription_ensure(&s->subs, name);

	if (sub)
		return sub;
	if (s->snapshot)
		subscriptions_note_use(&s->subs, s->snapshot);
	return give_back_some(s, EVICT_IDLE_NS) ? subscription_ensure(&s->subs, name) : NULL;
}

static void want(struct subscriber *s, struct str name, uint32_t timeout_ms, struct subscriber_wait *wait)
{
	struct subscription *sub = subscription_get(s, name);

	subscriber_wait_cancel(wait);
	if (!sub || (s->snapshot && snapshot_has(s->snapshot, name))) {
		subscriptions_answer(&s->subs, wait, sub != NULL);
		return;
	}
	subscription_wait(&s->subs, sub, timeout_ms, wait);
	if (!sub->told)
		loop_task_defer(s->loop, &s->tell, on_tell);
	if (!loop_timer_is_armed(&s->sweep))
		loop_timer_set(s->loop, &s->sweep, SWEEP_MS, on_sweep);
}

void subscriber_want_dest(struct subscriber *s, const struct addr *addr, uint32_t timeout_ms,
			  struct subscriber_wait *wait)
{
	char name[5 + ADDR_TEXT_BYTES] = "addr/";

	if (addr->port == 0) { /* nothing can stand there */
		subscriptions_answer(&s->subs, wait, false);
		return;
	}
	addr_format(addr, name + 5);
	want(s, str_from(name), timeout_ms, wait);
}

void subscriber_want_dns(struct subscriber *s, struct str name, uint32_t timeout_ms, struct subscriber_wait *wait)
{
	char full[SUBSCRIPTION_NAME_MAX] = "dns/";

	for (size_t i = 0; i < name.n; i++)
		if (i >= 253 || name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] != ascii_lower(name.p[i])) {
			subscriptions_answer(&s->subs, wait, false); /* the agent would end the stream over it */
			return;
		}
	if (name.n == 0 || name.p[name.n - 1] == '.') {
		subscriptions_answer(&s->subs, wait, false);
		return;
	}
	memcpy(full + 4, name.p, name.n);
	want(s, (struct str){ full, 4 + name.n }, timeout_ms, wait);
}

/* Life */

int subscriber_new(struct loop *loop, const char *socket_path, const struct subscriber_ops *ops, void *user,
		   struct subscriber **ret)
{
	struct subscriber *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->socket_path = socket_path;
	s->ops = ops;
	s->user = user;
	s->backoff_ms = BACKOFF_MIN_MS;
	subscriptions_init(&s->subs, loop);
	buf_init(&s->given_back, SUBSCRIPTIONS_MAX * SUBSCRIPTION_NAME_MAX);
	renewal_init(&s->renewal, loop, ops, user);
	on_reconnect(&s->reconnect);
	*ret = s;
	return 0;
}

struct subscriber *subscriber_free(struct subscriber *s)
{
	if (!s)
		return NULL;
	loop_timer_cancel(&s->reconnect);
	loop_timer_cancel(&s->sweep);
	loop_task_cancel(&s->tell);
	renewal_done(&s->renewal);
	rpc_conn_free(s->conn);
	subscriptions_done(&s->subs);
	buf_done(&s->given_back);
	snapshot_unref(s->snapshot);
	free(s);
	return NULL;
}

struct snapshot *subscriber_snapshot(const struct subscriber *s)
{
	return s->snapshot;
}

void subscriber_stats_get(const struct subscriber *s, struct subscriber_stats *ret)
{
	*ret = s->stats;
	ret->subscriptions = s->subs.n;
	ret->cert_not_before_s = s->renewal.not_before_s;
	ret->cert_not_after_s = s->renewal.not_after_s;
	ret->cert_renewals = s->renewal.renewals;
	ret->cert_failures = s->renewal.failures;
}
