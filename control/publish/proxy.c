/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One proxy: its stream and its certificate requests
 *
 * What a proxy says is input of a process we do not trust: names are checked, numbers are bounded, its messages are
 * unpacked within a memory limit, and who it is was told by the kernel. It can harm its own stream alone.
 */
#include "control/publish/proxy.h"

#include <errno.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "trammel/publish.pb-c.h"

#define UNPACK_MAX_BYTES (16u * 1024 * 1024)
#define MESSAGE_MAX      (RPC_MESSAGE_MAX_BYTES - 1024)

/* Unpacking with a limit: a small message can ask for a lot of memory. */

struct limit {
	ProtobufCAllocator allocator;
	size_t left;
};

static void *limit_alloc(void *user, size_t n)
{
	struct limit *l = user;

	if (n + 32 > l->left)
		return NULL;
	l->left -= n + 32;
	return malloc(n);
}

static void limit_free(void *user, void *p)
{
	free(p);
}

static struct limit limit_new(void)
{
	return (struct limit){ { limit_alloc, limit_free, NULL }, UNPACK_MAX_BYTES };
}

/* The stream */

static const struct mesh_workload *workload_of(const struct proxy *p)
{
	const struct mesh_snapshot *s = p->publish->cuts.snapshot;

	return s && !p->refusal ? mesh_snapshot_workload_by_id(s, p->stats.workload_id) : NULL;
}

static void stream_reset(struct proxy *p)
{
	p->stream = NULL;
	p->has_hello = p->owes_answer = p->has_more = false;
	p->nonce = 0;
	p->stats.subscriptions = 0;
	slice_done(&p->slice);
	slice_init(&p->slice);
}

static void stream_end(struct proxy *p, enum rpc_status status, const char *why)
{
	log_limited(LOG_WARN, "proxy's stream ended by us", "workload=%u pid=%u reason=\"%s\"", p->stats.workload_id,
		    p->stats.pid, why);
	rpc_call_finish(p->stream, status, why);
	stream_reset(p);
}

/* Nonce and generation go before what slice_next() appended; protobuf does not mind the order. */
static int message_send(struct proxy *p, struct buf *b)
{
	Trammel__V1__ToProxy m = TRAMMEL__V1__TO_PROXY__INIT;
	uint8_t head[32];
	int r;

	m.nonce = p->last_nonce + 1;
	m.generation = mesh_snapshot_generation(p->publish->cuts.snapshot);
	r = buf_append(b, head, trammel__v1__to_proxy__pack(&m, head));
	if (r == 0)
		r = rpc_call_send(p->stream, buf_head(b), b->len);
	if (r < 0)
		return r;
	p->nonce = p->last_nonce = m.nonce;
	p->stats.sent_generation = m.generation;
	p->stats.messages_sent++;
	return 0;
}

void proxy_push(struct proxy *p)
{
	const struct mesh_workload *w = workload_of(p);
	bool some, all;
	struct buf b;
	int r;

	if (!p->stream || !p->has_hello || p->nonce || !w)
		return;
	buf_init(&b, MESSAGE_MAX);
	r = slice_next(&p->slice, &p->publish->cuts, w, &b, &some, &all);
	if (r == 0 && !some && !p->owes_answer) {
		if (!p->slice.has_refused)
			p->stats.in_force_generation = mesh_snapshot_generation(p->publish->cuts.snapshot);
	} else if (r == 0) {
		p->has_more = !all;
		r = message_send(p, &b);
	}
	buf_done(&b);
	if (r < 0) {
		log_limited(LOG_ERROR, "proxy's slice could not be sent", "workload=%u err=%s", p->stats.workload_id,
			    strerror(-r));
		stream_end(p, RPC_RESOURCE_EXHAUSTED, "slice could not be sent");
	}
}

/* What a proxy says ends in logs and answers to people: no quotes, no control bytes. */
static void error_keep(struct proxy *p, const char *text)
{
	snprintf(p->last_error, sizeof(p->last_error), "%s", text);
	for (char *c = p->last_error; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"')
			*c = '?';
}

static void take_ack(struct proxy *p, const Trammel__V1__Ack *ack)
{
	struct publish *pub = p->publish;

	if (!p->nonce || ack->nonce != p->nonce)
		return; /* of a message that nobody waits for */
	p->nonce = 0;
	p->owes_answer = false;
	if (*ack->error) {
		p->stats.nacks++;
		error_keep(p, ack->error);
		slice_refused(&p->slice, ack->error);
	} else {
		p->stats.acks++;
		p->last_error[0] = '\0';
		p->stats.acked_generation = p->stats.sent_generation;
		if (!p->has_more && !p->slice.has_refused)
			p->stats.in_force_generation = p->stats.sent_generation;
		slice_acked(&p->slice);
	}
	if (pub->ops->on_ack)
		pub->ops->on_ack(p->stats.workload_id,
				 *ack->error ? p->stats.sent_generation : p->stats.acked_generation,
				 *ack->error ? p->last_error : NULL, pub->user);
}

/* NULL, or why the stream has to end. */
static const char *take_names(struct proxy *p, const Trammel__V1__ToAgent *m)
{
	int r = 0;

	for (size_t i = 0; m->hello && i < m->hello->n_held && r == 0; i++)
		r = slice_hold(&p->slice, str_from(m->hello->held[i]->name), m->hello->held[i]->version);
	for (size_t i = 0; i < m->n_unsubscribe; i++)
		slice_unwant(&p->slice, str_from(m->unsubscribe[i]));
	for (size_t i = 0; i < m->n_subscribe && r == 0; i++)
		r = slice_want(&p->slice, str_from(m->subscribe[i]));
	p->stats.subscriptions = p->slice.n_wanted;
	return r == 0              ? NULL
	       : r == SLICE_E_FULL ? "more subscriptions than the limit"
	       : r > 0             ? "malformed name"
				   : "out of memory";
}

static void take_message(struct proxy *p, const Trammel__V1__ToAgent *m)
{
	const char *why;

	if (!m->hello == !p->has_hello) {
		stream_end(p, RPC_INVALID_ARGUMENT, "Hello belongs into the first message, and there alone");
		return;
	}
	if (m->hello) {
		p->has_hello = p->owes_answer = true;
		log_info("proxy connected", "workload=%u pid=%u held=%zu", p->stats.workload_id, p->stats.pid,
			 m->hello->n_held);
	}
	why = take_names(p, m);
	if (why) {
		stream_end(p, RPC_RESOURCE_EXHAUSTED, why);
		return;
	}
	if (m->ack)
		take_ack(p, m->ack);
	proxy_push(p);
}

static void on_message(struct rpc_call *call, const uint8_t *bytes, size_t n, void *user)
{
	struct proxy *p = user;
	struct limit limit = limit_new();
	Trammel__V1__ToAgent *m;

	limit.allocator.allocator_data = &limit;
	m = trammel__v1__to_agent__unpack(&limit.allocator, n, bytes);
	if (!m) {
		stream_end(p, RPC_INVALID_ARGUMENT, "message is malformed or too large");
		return;
	}
	take_message(p, m);
	trammel__v1__to_agent__free_unpacked(m, &limit.allocator);
}

static void on_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	stream_reset(user);
}

static void on_half_close(struct rpc_call *call, void *user)
{
	rpc_call_finish(call, RPC_OK, NULL);
	stream_reset(user);
}

static const struct rpc_call_ops stream_ops = { .on_message = on_message,
						.on_half_close = on_half_close,
						.on_end = on_end };

static void on_stream(struct rpc_call *call, void *user)
{
	struct proxy *p = user;

	if (p->refusal) {
		rpc_call_finish(call, RPC_PERMISSION_DENIED, p->refusal);
		return;
	}
	if (p->stream) {
		rpc_call_finish(call, RPC_FAILED_PRECONDITION, "one stream per connection");
		return;
	}
	stream_reset(p);
	p->stream = call;
	rpc_call_set_ops(call, &stream_ops, p);
}

/* Certificates */

static void sign_reply(struct rpc_call *call, const struct ca_leaf *leaf, const char *bundle, const char *error)
{
	Trammel__V1__SignReply reply = TRAMMEL__V1__SIGN_REPLY__INIT;
	uint8_t *bytes;

	if (leaf) {
		reply.chain_pem = leaf->chain_pem;
		reply.trust_bundle_pem = (char *)(uintptr_t)bundle;
		reply.not_after_s = leaf->not_after_s;
	}
	if (error)
		reply.error = (char *)(uintptr_t)error;
	bytes = malloc(trammel__v1__sign_reply__get_packed_size(&reply) + 1);
	if (!bytes) {
		rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	rpc_call_reply(call, bytes, trammel__v1__sign_reply__pack(&reply, bytes));
	free(bytes);
}

static void sign(struct proxy *p, struct rpc_call *call, const struct mesh_workload *w, const ProtobufCBinaryData *csr)
{
	struct publish *pub = p->publish;
	_cleanup_(freep) char *error = NULL;
	struct ca_leaf leaf = { 0 };
	int r = ca_sign(pub->ca, csr->data, csr->len, w->spiffe_id, pub->leaf_life_s, clock_wall_ns() / NS_PER_S, &leaf,
			&error);

	if (r < 0) {
		log_limited(LOG_WARN, "certificate refused", "workload=%u pid=%u reason=\"%s\"", p->stats.workload_id,
			    p->stats.pid, error ? error : strerror(-r));
		sign_reply(call, NULL, NULL, error ? error : strerror(-r));
		return;
	}
	sign_reply(call, &leaf, ca_bundle_pem(pub->ca), NULL);
	if (pub->ops->on_sign)
		pub->ops->on_sign(p->stats.workload_id, &leaf, pub->user);
	ca_leaf_done(&leaf);
}

static void on_sign_request(struct rpc_call *call, const uint8_t *bytes, size_t n, void *user)
{
	struct proxy *p = user;
	const struct mesh_workload *w = workload_of(p);
	struct limit limit = limit_new();
	Trammel__V1__SignRequest *m;

	if (p->refusal) {
		rpc_call_finish(call, RPC_PERMISSION_DENIED, p->refusal);
		return;
	}
	if (!w) {
		rpc_call_finish(call, RPC_UNAVAILABLE, "workload is not in the snapshot yet");
		return;
	}
	limit.allocator.allocator_data = &limit;
	m = trammel__v1__sign_request__unpack(&limit.allocator, n, bytes);
	if (!m) {
		rpc_call_finish(call, RPC_INVALID_ARGUMENT, "message is malformed");
		return;
	}
	sign(p, call, w, &m->csr_der);
	trammel__v1__sign_request__free_unpacked(m, &limit.allocator);
}

const struct rpc_method proxy_methods[] = {
	{ .path = "/trammel.v1.Publish/Stream", .on_stream = on_stream },
	{ .path = "/trammel.v1.Publish/SignCertificate", .on_request = on_sign_request },
};
const size_t proxy_n_methods = ARRAY_SIZE(proxy_methods);

/* Life */

struct proxy *proxy_free(struct proxy *p)
{
	if (p->refusal)
		p->publish->n_strangers--;
	else
		p->publish->n_proxies--;
	loop_timer_cancel(&p->stranger);
	list_remove(&p->link);
	rpc_conn_free(p->conn);
	slice_done(&p->slice);
	free(p);
	return NULL;
}

static void on_close(struct rpc_conn *c, int err, void *user)
{
	struct proxy *p = user;

	if (!p->refusal)
		log_info("proxy disconnected", "workload=%u pid=%u", p->stats.workload_id, p->stats.pid);
	proxy_free(p);
}

const struct rpc_conn_ops proxy_conn_ops = { .on_close = on_close };
