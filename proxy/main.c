/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trammel-proxy: one workload's data plane
 *
 * Started by the agent in the workload's network namespace, without rights, with its listening sockets open:
 * TRAMMEL_LISTEN_FDS="outbound=3,inbound=4,ready=5,metrics=6,...", TRAMMEL_AGENT_SOCKET, TRAMMEL_WORKLOAD=NAMESPACE/NAME.
 * SIGTERM or SIGINT drains: nothing new is accepted, what is under way may end within 45 s, then the rest is reset.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "config.h"
#include "proxy/admin/admin_server.h"
#include "proxy/dns/dns_server.h"
#include "proxy/launch.h"
#include "proxy/listener/listener.h"
#include "proxy/report.h"
#include "proxy/sandbox.h"
#include "proxy/subscribe/subscriber.h"
#include "proxy/worker.h"

#define DRAIN_MS 45000
#define LOG_MS	 100 /* how long an access log line may be kept: a write costs as much as a request */

static void on_drained(struct worker *w)
{
	struct proxy *p = container_of(w, struct proxy, worker);

	p->stopped = true;
	loop_stop(p->loop); /* this turn still has its wait before it */
}

static void on_drain_due(struct loop_timer *t)
{
	struct proxy *p = container_of(t, struct proxy, drain_timer);

	log_warn("drain time is over, ending what is left", "connections=%zu", p->worker.conns.n_conns);
	worker_kill(&p->worker, TRM_REASON_DRAIN);
	p->stopped = true;
	loop_stop(p->loop);
}

void proxy_drain(struct proxy *p)
{
	if (p->worker.draining) {
		if (p->worker.conns.n_conns == 0)
			p->stopped = true;
		return;
	}
	log_info("draining", "connections=%zu", p->worker.conns.n_conns);
	listener_stop(&p->outbound);
	listener_stop(&p->inbound);
	loop_timer_set(p->loop, &p->drain_timer, DRAIN_MS, on_drain_due);
	worker_drain(&p->worker, on_drained);
}

static void on_signal(int signo, void *user)
{
	proxy_drain(user);
}

/* From the agent */

static void on_snapshot(struct snapshot *s, void *user)
{
	struct proxy *p = user;
	const struct self *self = snapshot_self(s);

	if (observe_set_self(p->observe, self->namespace, self->name, self->service_account, self->spiffe_id) < 0)
		log_limited(LOG_WARN, "telemetry keeps the old names", "workload=%s/%s", self->namespace, self->name);
	worker_set_snapshot(&p->worker, s);
}

static int on_certificate(EVP_PKEY *key, const char *chain_pem, const char *trust_bundle_pem, uint64_t not_after_s,
			  const char **ret_error, void *user)
{
	struct proxy *p = user;
	struct tls_identity *id;
	int r = tls_identity_new(key, chain_pem, trust_bundle_pem, not_after_s, &id, ret_error);

	if (r < 0) {
		log_error("certificate refused", "why=\"%s\"", *ret_error);
		return r;
	}
	log_info("certificate in force", "spiffe_id=%s not_after=%llu", id->spiffe_id, (unsigned long long)not_after_s);
	worker_set_identity(&p->worker, id);
	tls_identity_unref(id);
	return 0;
}

static const struct subscriber_ops subscriber_ops = { .on_snapshot = on_snapshot, .on_certificate = on_certificate };

/* Start, in order; what fails ends the program, and the agent starts it again. */

static int rooms_start(struct proxy *p, const struct launch *l)
{
	struct dns_server_fds dns = { l->fds[LAUNCH_DNS_UDP4], l->fds[LAUNCH_DNS_UDP6], l->fds[LAUNCH_DNS_TCP4],
				      l->fds[LAUNCH_DNS_TCP6] };
	int r;

	r = observe_new(l->fds[LAUNCH_ACCESS_LOG], l->namespace, l->name, &p->observe);
	if (r == 0)
		r = worker_init(&p->worker, p->loop, p->observe, 1);
	if (r == 0)
		r = report_gauges_add(p);
	if (r == 0)
		r = subscriber_new(p->loop, l->agent_socket, &subscriber_ops, p, &p->subscriber);
	if (r < 0)
		return r;
	p->worker.subscriber = p->subscriber;
	r = dns_server_new(p->loop, &dns, p->subscriber, p->observe, &p->dns);
	if (r == 0)
		r = admin_server_new(p->loop, l->fds[LAUNCH_ADMIN], l->fds[LAUNCH_READY], l->fds[LAUNCH_METRICS],
				     &report_admin_ops, p, p->observe, &p->admin);
	if (r == 0)
		r = listener_start(&p->outbound, &p->worker, l->fds[LAUNCH_OUTBOUND], OBSERVE_OUTBOUND);
	if (r == 0)
		r = listener_start(&p->inbound, &p->worker, l->fds[LAUNCH_INBOUND], OBSERVE_INBOUND);
	return r;
}

static void rooms_stop(struct proxy *p)
{
	listener_stop(&p->outbound);
	listener_stop(&p->inbound);
	p->admin = admin_server_free(p->admin);
	p->dns = dns_server_free(p->dns);
	if (p->worker.loop)
		worker_done(&p->worker);
	p->subscriber = subscriber_free(p->subscriber);
	if (p->observe)
		observe_flush(p->observe);
	p->observe = observe_free(p->observe);
	loop_timer_cancel(&p->drain_timer);
	loop_timer_cancel(&p->log_timer);
	p->loop = loop_free(p->loop);
}

static void on_log_due(struct loop_timer *t)
{
	observe_flush(container_of(t, struct proxy, log_timer)->observe);
}

static int proxy_run(struct proxy *p)
{
	int r = 0;

	while (!p->stopped && r == 0) {
		r = loop_turn(p->loop, -1);
		preemption_note(&p->preemption, loop_now_ns(p->loop));
		if (observe_is_pending(p->observe) && !loop_timer_is_armed(&p->log_timer))
			loop_timer_set(p->loop, &p->log_timer, LOG_MS, on_log_due);
	}
	return r;
}

int main(int argc, char **argv)
{
	static struct proxy p;
	const char *error = NULL;
	struct launch l;
	int r;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("trammel-proxy " TRAMMEL_VERSION);
		return 0;
	}
	log_init("trammel-proxy", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	p.started_ns = clock_mono_ns();
	r = launch_read(&l, &error);
	if (r < 0 || argc > 1) {
		log_error("cannot start", "why=\"%s\"", argc > 1 ? "unexpected argument" : error);
		return 2;
	}
	p.launch = &l;
	/* No configuration file: it costs memory and start time, and could change what we promise. */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	r = loop_new(&p.loop);
	if (r == 0)
		r = loop_signal_add(p.loop, SIGTERM, on_signal, &p);
	if (r == 0)
		r = loop_signal_add(p.loop, SIGINT, on_signal, &p);
	if (r == 0)
		r = rooms_start(&p, &l);
	if (r < 0) {
		log_error("cannot start", "errno=%d", -r);
	} else {
		preemption_init(&p.preemption, clock_mono_ns());
		r = sandbox_enter();
		if (r < 0)
			log_warn("runs without its sandbox", "errno=%d", -r);
		log_info("started", "workload=%s/%s", l.namespace, l.name);
		r = proxy_run(&p);
		preemption_done(&p.preemption);
		log_info("stopped", "errno=%d", -r);
	}
	rooms_stop(&p);
	return r < 0 ? 1 : 0;
}
