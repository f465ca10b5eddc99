/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy says of itself: see report.h. */
#include "proxy/report.h"

#include <openssl/x509.h>
#include <unistd.h>
#include "base/clock.h"
#include "config.h"

/* Admin */

static bool on_is_ready(const char **ret_reason, void *user)
{
	struct proxy *p = user;
	enum trm_reason why;
	bool ready = worker_is_ready(&p->worker, &why);

	if (!ready)
		*ret_reason = trm_reason_text(why);
	return ready;
}

static void on_status_json(struct json_writer *w, void *user)
{
	struct proxy *p = user;
	struct subscriber_stats stats;
	enum trm_reason why;
	bool ready = worker_is_ready(&p->worker, &why);

	subscriber_stats_get(p->subscriber, &stats);
	json_cstr(w, "namespace", p->launch->namespace);
	json_cstr(w, "workload", p->launch->name);
	json_cstr(w, "version", TRAMMEL_VERSION);
	json_u64(w, "pid", (uint64_t)getpid());
	json_u64(w, "uptime_s", (loop_now_ns(p->loop) - p->started_ns) / NS_PER_S);
	json_bool(w, "ready", ready);
	json_cstr(w, "not_ready_reason", ready ? NULL : trm_reason_label(why));
	json_bool(w, "draining", p->worker.draining);
	json_u64(w, "generation", p->worker.snapshot ? snapshot_generation(p->worker.snapshot) : 0);
	json_bool(w, "agent_connected", stats.connected);
	json_u64(w, "subscriptions", stats.subscriptions);
	json_u64(w, "nacks", stats.nacks);
	json_u64(w, "reconnects", stats.reconnects);
	json_u64(w, "connections", p->worker.conns.n_conns);
	json_u64(w, "connections_total", p->worker.conns.n_total);
	json_u64(w, "upstream_connections", p->worker.pool.n_conns);
	json_u64(w, "upstream_idle", p->worker.pool.n_idle);
	json_cstr(w, "spiffe_id", p->worker.identity ? p->worker.identity->spiffe_id : NULL);
}

static void time_json(struct json_writer *w, const char *key, const ASN1_TIME *t)
{
	char text[32];
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		json_none(w, key);
	else
		json_cstr(w, key, text);
}

static void on_cert_json(struct json_writer *w, void *user)
{
	struct proxy *p = user;
	const struct tls_identity *id = p->worker.identity;
	X509 *cert = id ? SSL_CTX_get0_certificate(id->server) : NULL;
	BIGNUM *serial;
	char *hex, *issuer;

	json_cstr(w, "spiffe_id", id ? id->spiffe_id : NULL);
	if (!cert)
		return;
	serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	hex = serial ? BN_bn2hex(serial) : NULL;
	issuer = X509_NAME_oneline(X509_get_issuer_name(cert), NULL, 0);
	json_cstr(w, "serial", hex);
	json_cstr(w, "issuer", issuer);
	time_json(w, "not_before", X509_get0_notBefore(cert));
	time_json(w, "not_after", X509_get0_notAfter(cert));
	json_cstr(w, "trust_domain", id->trust_domain);
	json_u64(w, "trust_bundle", (uint64_t)sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(id->server))));
	OPENSSL_free(hex);
	OPENSSL_free(issuer);
	BN_free(serial);
}

static void on_conns_json(struct json_writer *w, void *user)
{
	struct proxy *p = user;
	struct conn *c;

	list_for_each_entry(c, &p->worker.conns.conns, link)
		admin_conn_json(w, c, loop_now_ns(p->loop));
}

static void on_drain(void *user)
{
	proxy_drain(user);
}

const struct admin_ops report_admin_ops = {
	.is_ready = on_is_ready,
	.status_json = on_status_json,
	.cert_json = on_cert_json,
	.conns_json = on_conns_json,
	.drain = on_drain,
};

/* Metrics */

#define GAUGE(fn, expr)                                                                                                \
	static double gauge_##fn(void *user)                                                                           \
	{                                                                                                              \
		struct proxy *p = user;                                                                                \
		return (double)(expr);                                                                                 \
	}

GAUGE(inbound, p->worker.conns.n_by_direction[OBSERVE_INBOUND])
GAUGE(outbound, p->worker.conns.n_by_direction[OBSERVE_OUTBOUND])
GAUGE(conns_total, p->worker.conns.n_total)
GAUGE(upstream, p->worker.pool.n_conns)
GAUGE(upstream_idle, p->worker.pool.n_idle)
GAUGE(upstream_opened, p->worker.pool.n_opened)
GAUGE(upstream_reused, p->worker.pool.n_reused)
GAUGE(handshakes, p->worker.shared.n_handshakes)
GAUGE(generation, p->worker.snapshot ? snapshot_generation(p->worker.snapshot) : 0)
GAUGE(gives_way, p->preemption.gives_way)
GAUGE(gives_way_changes, p->preemption.n_changes)
GAUGE(cert_expiry, p->worker.identity ? p->worker.identity->not_after_s : 0)

int report_gauges_add(struct proxy *p)
{
	const struct observe_gauge gauges[] = {
		{ "trammel_connections_inbound", "Live inbound connections.", false, gauge_inbound, p },
		{ "trammel_connections_outbound", "Live outbound connections.", false, gauge_outbound, p },
		{ "trammel_connections_total", "Connections accepted.", true, gauge_conns_total, p },
		{ "trammel_upstream_connections", "HTTP connections to endpoints.", false, gauge_upstream, p },
		{ "trammel_upstream_connections_idle", "Of these, idle.", false, gauge_upstream_idle, p },
		{ "trammel_upstream_opened_total", "HTTP connections dialled.", true, gauge_upstream_opened, p },
		{ "trammel_upstream_reused_total", "Requests sent on a pooled connection.", true, gauge_upstream_reused, p },
		{ "trammel_handshakes_in_flight", "TLS handshakes with callers under way.", false, gauge_handshakes, p },
		{ "trammel_snapshot_generation", "Generation of the policy in force.", false, gauge_generation, p },
		{ "trammel_worker_gives_way", "1: the worker runs under SCHED_BATCH; 0: it had to wait too long.", false, gauge_gives_way, p },
		{ "trammel_worker_gives_way_changes_total", "Times that changed.", true, gauge_gives_way_changes, p },
		{ "trammel_certificate_expiry_seconds", "End of the certificate, since 1970.", false, gauge_cert_expiry, p },
	};

	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++) {
		int r = observe_gauge_add(p->observe, &gauges[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
