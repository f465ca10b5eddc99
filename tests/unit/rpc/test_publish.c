/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agent and proxies in one loop: publishing and subscribing end to end
 *
 *   fake mesh -> publish -> unix socket -> subscriber -> snapshot
 *
 * Each proxy of the test connects in its own turn and the test tells the agent which workload that is, so that several
 * workloads can live in this one process. Hostile proxies speak the protocol by hand over base/rpc.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/rpc/rpc.h"
#include "base/x509/svid.h"
#include "control/publish/publish.h"
#include "fake_mesh.h"
#include "proxy/snapshot/build.h"
#include "proxy/subscribe/subscriber.h"
#include "trammel/publish.pb-c.h"

#define WAIT_MS 3000

struct world {
	struct loop *loop;
	char dir[64], socket_path[96], ca_dir[96];
	struct ca *ca;
	struct publish *publish;
	struct fake_mesh mesh;
	struct mesh_snapshot *snapshot;
	uint32_t next_workload; /* of the next connection */
	char cgroup[4096];
	int acks, nacks, signs;
	uint64_t last_acked;
	uint32_t last_workload;
	char last_error[256];
};

struct client {
	struct world *w;
	struct subscriber *s;
	int snapshots, certificates, refuse_certificates;
	char spiffe_id[SPIFFE_ID_MAX_BYTES + 1];
	EVP_PKEY *key;
};

struct asked {
	struct subscriber_wait wait;
	int answers;
	bool ok;
};

static uint32_t workload_of_cgroup(const char *cgroup, void *user)
{
	struct world *w = user;

	snprintf(w->cgroup, sizeof(w->cgroup), "%s", cgroup);
	return w->next_workload;
}

static void on_ack(uint32_t workload_id, uint64_t generation, const char *error, void *user)
{
	struct world *w = user;

	w->acks += !error;
	w->nacks += error != NULL;
	w->last_workload = workload_id;
	w->last_acked = generation;
	snprintf(w->last_error, sizeof(w->last_error), "%s", error ? error : "");
}

static void on_sign(uint32_t workload_id, const struct ca_leaf *leaf, void *user)
{
	((struct world *)user)->signs++;
}

static const struct publish_ops publish_ops = { workload_of_cgroup, on_ack, on_sign };

static int on_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

/* Turns until @flag() is true, or fails. */
static void until(struct world *w, bool (*done)(void *user), void *user)
{
	uint64_t end = clock_mono_ns() + WAIT_MS * NS_PER_MS;

	while (!done(user)) {
		assert_true(clock_mono_ns() < end);
		assert_int_equal(loop_turn(w->loop, 10), 0);
	}
}

static void turn(struct world *w, int n)
{
	while (n-- > 0)
		assert_int_equal(loop_turn(w->loop, 1), 0);
}

static void publish_mesh(struct world *w)
{
	mesh_snapshot_unref(w->snapshot);
	w->snapshot = fake_cut(&w->mesh);
	if (w->publish)
		publish_set_snapshot(w->publish, w->snapshot);
}

static void agent_start(struct world *w)
{
	char *error = NULL;

	assert_int_equal(ca_open(w->ca_dir, "cluster.local", &w->ca, &error), 0);
	assert_int_equal(publish_new(w->loop, w->socket_path, w->ca, &publish_ops, w, &w->publish), 0);
	if (w->snapshot)
		publish_set_snapshot(w->publish, w->snapshot);
}

static void agent_stop(struct world *w)
{
	w->publish = publish_free(w->publish);
	w->ca = ca_free(w->ca);
}

static void world_open(struct world *w)
{
	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "/tmp/trammel-publish-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->socket_path, sizeof(w->socket_path), "%s/proxy.sock", w->dir);
	snprintf(w->ca_dir, sizeof(w->ca_dir), "%s/ca", w->dir);
	assert_int_equal(loop_new(&w->loop), 0);
	w->mesh.n_workloads = 2;
	w->next_workload = 1;
	for (int i = 0; i < 3; i++)
		fake_service_add(&w->mesh);
	publish_mesh(w);
	agent_start(w);
}

static void world_close(struct world *w)
{
	agent_stop(w);
	mesh_snapshot_unref(w->snapshot);
	loop_free(w->loop);
	assert_int_equal(nftw(w->dir, on_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Clients */

static void on_snapshot(struct snapshot *s, void *user)
{
	((struct client *)user)->snapshots++;
}

static int on_certificate(EVP_PKEY *key, const char *chain, const char *bundle, uint64_t not_after_s, const char **ret_error,
			  void *user)
{
	struct client *c = user;
	BIO *bio = BIO_new_mem_buf(chain, -1);
	X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	struct spiffe_id id;

	BIO_free(bio);
	assert_non_null(leaf);
	assert_int_equal(X509_check_private_key(leaf, key), 1);
	assert_int_equal(x509_spiffe_id(leaf, c->spiffe_id, &id), 0);
	X509_free(leaf);
	assert_non_null(strstr(bundle, "BEGIN CERTIFICATE"));
	assert_true(not_after_s > clock_wall_ns() / NS_PER_S + 86000);
	if (c->refuse_certificates > 0) {
		c->refuse_certificates--;
		*ret_error = "the test says no";
		return -EINVAL;
	}
	c->certificates++;
	return 0;
}

static const struct subscriber_ops client_ops = { on_snapshot, on_certificate };

static bool client_is_ready(void *user)
{
	struct client *c = user;

	return c->snapshots && c->certificates;
}

static void client_start(struct world *w, struct client *c, uint32_t workload)
{
	*c = (struct client){ .w = w };
	w->next_workload = workload;
	assert_int_equal(subscriber_new(w->loop, w->socket_path, &client_ops, c, &c->s), 0);
}

static void client_open(struct world *w, struct client *c, uint32_t workload)
{
	client_start(w, c, workload);
	until(w, client_is_ready, c);
}

static void client_close(struct client *c)
{
	c->s = subscriber_free(c->s);
}

static void on_answer(struct subscriber_wait *wait, bool answered)
{
	struct asked *a = container_of(wait, struct asked, wait);

	a->answers++;
	a->ok = answered;
}

static bool is_answered(void *user)
{
	return ((struct asked *)user)->answers > 0;
}

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(str_from(text), &a), 0);
	return a;
}

static bool ask(struct client *c, const char *addr)
{
	struct asked a = { .wait.on_answer = on_answer };
	struct addr ip = addr_of(addr);

	subscriber_want_dest(c->s, &ip, 2000, &a.wait);
	assert_int_equal(a.answers, 0); /* never within the call */
	until(c->w, is_answered, &a);
	return a.ok;
}

static bool ask_dns(struct client *c, const char *name)
{
	struct asked a = { .wait.on_answer = on_answer };

	subscriber_want_dns(c->s, str_from(name), 2000, &a.wait);
	until(c->w, is_answered, &a);
	return a.ok;
}

static struct dest look(struct client *c, const char *addr)
{
	struct addr ip = addr_of(addr);
	struct dest d = { 0 };

	assert_true(snapshot_dest_find(subscriber_snapshot(c->s), &ip, &d));
	return d;
}

struct stats_of {
	uint32_t workload;
	struct publish_proxy stats;
	int found;
};

static void stats_take(const struct publish_proxy *p, void *user)
{
	struct stats_of *s = user;

	if (p->workload_id != s->workload)
		return;
	s->stats = *p;
	s->found++;
}

static struct publish_proxy stats_of(struct world *w, uint32_t workload)
{
	struct stats_of s = { .workload = workload };

	publish_each_proxy(w->publish, stats_take, &s);
	assert_int_equal(s.found, 1);
	return s.stats;
}

/* In order */

static void test_start(void **state)
{
	const struct self *self;
	struct world w;
	struct client c;
	struct subscriber_stats st;
	uint64_t begin;

	world_open(&w);
	begin = clock_mono_ns();
	client_open(&w, &c, 2);
	print_message("first snapshot and certificate after %.1f ms\n", (double)(clock_mono_ns() - begin) / 1e6);
	self = snapshot_self(subscriber_snapshot(c.s));
	assert_string_equal(self->name, "client2");
	assert_string_equal(self->spiffe_id, "spiffe://cluster.local/ns/default/sa/client2");
	assert_string_equal(c.spiffe_id, self->spiffe_id);
	assert_string_equal(self->cluster_domain, "cluster.local");
	assert_int_equal(self->n_dns_upstream, 1);
	assert_int_equal(self->dns_upstream[0].port, 53);
	assert_non_null(strstr(self->trust_bundle_pem, "BEGIN CERTIFICATE"));
	assert_int_equal(snapshot_inbound_port(subscriber_snapshot(c.s), 8080).mtls, MTLS_STRICT);
	assert_int_equal(snapshot_inbound_port(subscriber_snapshot(c.s), 8081).mtls, MTLS_PERMISSIVE);
	assert_string_equal(snapshot_inbound_port(subscriber_snapshot(c.s), 8080).service_name, "svc0");
	assert_true(snapshot_is_self(subscriber_snapshot(c.s), &(struct addr){ .ip = { [10] = 0xff, 0xff, 10, 7, 0, 2 } }));
	assert_true(w.cgroup[0] == '/');
	subscriber_stats_get(c.s, &st);
	assert_true(st.connected);
	assert_int_equal(st.cert_renewals, 1);
	assert_true(st.cert_not_before_s < st.cert_not_after_s);
	turn(&w, 5);
	assert_int_equal(w.acks, 1);
	assert_int_equal(w.last_workload, 2);
	assert_int_equal(w.last_acked, 1);
	assert_int_equal(w.signs, 1);
	client_close(&c);
	turn(&w, 5);
	world_close(&w);
}

static void test_destinations(void **state)
{
	struct dns_name dns;
	struct world w;
	struct client c;
	struct dest d;

	world_open(&w);
	client_open(&w, &c, 1);
	assert_true(ask(&c, "10.9.0.2:80"));
	d = look(&c, "10.9.0.2:80");
	assert_int_equal(d.kind, DEST_SERVICE);
	assert_string_equal(d.service->hostname, "svc1.default.svc.cluster.local");
	assert_int_equal(d.port->port, 80);
	assert_int_equal(d.port->n_endpoints, 1);
	assert_int_equal(d.port->n_ready, 1);
	assert_int_equal(d.port->endpoints[0].addr.port, 8080);
	assert_string_equal(d.port->endpoints[0].spiffe_id, "spiffe://cluster.local/ns/default/sa/server");
	assert_int_equal(d.protocol, APP_HTTP1);
	assert_true(ask(&c, "10.9.0.2:81"));
	d = look(&c, "10.9.0.2:81");
	assert_int_equal(d.kind, DEST_SERVICE_NO_PORT);
	assert_non_null(d.service);
	assert_null(d.port);
	assert_true(ask(&c, "10.8.0.3:8080"));
	d = look(&c, "10.8.0.3:8080");
	assert_int_equal(d.kind, DEST_ENDPOINT);
	assert_string_equal(d.endpoint->workload, "svc2");
	assert_string_equal(d.service->name, "svc2");
	assert_int_equal(d.port->port, 80);
	assert_true(ask(&c, "10.7.0.2:8080"));
	d = look(&c, "10.7.0.2:8080");
	assert_int_equal(d.kind, DEST_ENDPOINT);
	assert_true(d.endpoint->mtls);
	assert_null(d.service);
	assert_true(ask(&c, "192.0.2.1:443"));
	assert_int_equal(look(&c, "192.0.2.1:443").kind, DEST_UNKNOWN);
	assert_true(ask(&c, "[fd00::1]:443"));
	assert_int_equal(look(&c, "[fd00::1]:443").kind, DEST_UNKNOWN);
	assert_true(ask(&c, "10.9.0.2:80")); /* what is held is answered again */
	assert_true(ask_dns(&c, "svc0"));
	assert_true(snapshot_dns_find(subscriber_snapshot(c.s), STR("svc0"), &dns));
	assert_true(dns.known);
	assert_string_equal(dns.canonical, "svc0.default.svc.cluster.local");
	assert_int_equal(dns.n_addresses, 1);
	assert_true(ask_dns(&c, "no.such.name"));
	assert_true(snapshot_dns_find(subscriber_snapshot(c.s), STR("no.such.name"), &dns));
	assert_false(dns.known);
	assert_false(ask_dns(&c, "Upper"));
	assert_false(ask_dns(&c, "with space"));
	assert_false(ask_dns(&c, ""));
	assert_non_null(snapshot_service_find(subscriber_snapshot(c.s), "default", "svc0"));
	assert_null(snapshot_service_find(subscriber_snapshot(c.s), "other", "svc0"));
	assert_int_equal(w.nacks, 0);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

struct gone {
	struct client *c;
	const char *addr;
	enum dest_kind kind;
	size_t n_endpoints;
};

static bool has_become(void *user)
{
	struct gone *g = user;
	struct dest d = look(g->c, g->addr);

	return d.kind == g->kind && (d.kind != DEST_SERVICE || d.port->n_endpoints == g->n_endpoints);
}

/* A change reaches whom it concerns, and nobody else gets a message. */
static void test_only_concerned(void **state)
{
	struct publish_proxy before1, before2, after1, after2;
	struct world w;
	struct client a, b;
	struct gone g = { &a, "10.9.0.1:80", DEST_SERVICE, 2 };
	struct snapshot *old;
	const struct service *kept;

	world_open(&w);
	client_open(&w, &a, 1);
	client_open(&w, &b, 2);
	assert_true(ask(&a, "10.9.0.1:80"));
	assert_true(ask(&a, "10.9.0.2:80"));
	assert_true(ask(&b, "10.9.0.2:80"));
	turn(&w, 5);
	before1 = stats_of(&w, 1);
	before2 = stats_of(&w, 2);
	old = snapshot_ref(subscriber_snapshot(a.s));
	kept = snapshot_service_find(old, "default", "svc1");

	w.mesh.services[0].endpoints[1] = w.mesh.services[0].endpoints[0];
	w.mesh.services[0].endpoints[1].addr.port = 9090;
	w.mesh.services[0].n_endpoints = 2;
	publish_mesh(&w);
	until(&w, has_become, &g);
	turn(&w, 10);
	after1 = stats_of(&w, 1);
	after2 = stats_of(&w, 2);
	assert_int_equal(after1.messages_sent, before1.messages_sent + 1);
	assert_int_equal(after1.acked_generation, 2);
	assert_int_equal(after2.messages_sent, before2.messages_sent);
	assert_int_equal(after2.acked_generation, before2.acked_generation);
	assert_int_equal(after2.in_force_generation, 2);
	/* the old snapshot is as it was, and what did not change is shared */
	assert_int_equal(snapshot_service_find(old, "default", "svc0")->ports[0].n_endpoints, 1);
	assert_ptr_equal(snapshot_service_find(subscriber_snapshot(a.s), "default", "svc1"), kept);
	snapshot_unref(old);

	publish_mesh(&w); /* nothing changed: nobody is told */
	turn(&w, 10);
	assert_int_equal(stats_of(&w, 1).messages_sent, after1.messages_sent);
	assert_int_equal(stats_of(&w, 1).in_force_generation, 3);
	client_close(&a);
	client_close(&b);
	turn(&w, 3);
	world_close(&w);
}

static void test_service_goes_and_comes(void **state)
{
	struct world w;
	struct client c;
	struct gone g = { &c, "10.9.0.1:80", DEST_UNKNOWN, 0 };

	world_open(&w);
	client_open(&w, &c, 1);
	assert_true(ask(&c, "10.9.0.1:80"));
	w.mesh.services[0].gone = true;
	publish_mesh(&w);
	until(&w, has_become, &g);
	assert_null(snapshot_service_find(subscriber_snapshot(c.s), "default", "svc0"));
	w.mesh.services[0].gone = false;
	publish_mesh(&w);
	g = (struct gone){ &c, "10.9.0.1:80", DEST_SERVICE, 1 };
	until(&w, has_become, &g);
	assert_int_equal(w.nacks, 0);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

/* Many snapshots while one message is not answered: one more message, with the newest state. */
static void test_coalescing(void **state)
{
	uint64_t before;
	struct world w;
	struct client c;
	struct gone g = { &c, "10.9.0.1:80", DEST_SERVICE, 3 };

	world_open(&w);
	client_open(&w, &c, 1);
	assert_true(ask(&c, "10.9.0.1:80"));
	turn(&w, 5);
	before = stats_of(&w, 1).messages_sent;
	for (int i = 0; i < 200; i++) {
		w.mesh.services[0].endpoints[0].addr.port = (uint16_t)(1000 + i);
		if (i == 199) {
			w.mesh.services[0].endpoints[1] = w.mesh.services[0].endpoints[2] = w.mesh.services[0].endpoints[0];
			w.mesh.services[0].endpoints[1].addr.port = 3;
			w.mesh.services[0].endpoints[2].addr.port = 4;
			w.mesh.services[0].n_endpoints = 3;
		}
		publish_mesh(&w);
	}
	until(&w, has_become, &g);
	assert_int_equal(look(&c, "10.9.0.1:80").port->endpoints[0].addr.port, 1199);
	turn(&w, 5);
	assert_true(stats_of(&w, 1).messages_sent <= before + 2);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

struct nack_wait {
	struct world *w;
	int nacks;
};

static bool is_refused(void *user)
{
	struct nack_wait *n = user;

	return n->w->nacks >= n->nacks;
}

/* One bad resource is refused alone: others go through, and the last good one stays. */
static void test_refused(void **state)
{
	struct world w;
	struct client c;
	struct asked a = { .wait.on_answer = on_answer };
	struct addr bad;
	struct gone g = { &c, "10.9.0.1:80", DEST_SERVICE, 1 };
	struct nack_wait n = { &w, 1 };
	struct subscriber_stats st;
	int nacks;

	world_open(&w);
	client_open(&w, &c, 1);
	assert_true(ask(&c, "10.9.0.1:80"));
	assert_true(ask(&c, "10.9.0.2:80"));
	w.mesh.services[0].bad = true; /* the last good one stays */
	w.mesh.services[1].endpoints[0].addr.port = 4242;
	publish_mesh(&w);
	until(&w, is_refused, &n);
	assert_non_null(strstr(w.last_error, "svc/default/svc0: "));
	turn(&w, 10);
	assert_true(has_become(&g));
	assert_int_equal(look(&c, "10.9.0.2:80").port->endpoints[0].addr.port, 4242);
	assert_string_equal(stats_of(&w, 1).last_error, "");
	assert_int_equal(stats_of(&w, 1).nacks, 1);
	assert_true(stats_of(&w, 1).in_force_generation < 2); /* not all of it is in force */
	subscriber_stats_get(c.s, &st);
	assert_int_equal(st.nacks, 1);
	nacks = w.nacks;
	publish_mesh(&w); /* the same again is not sent again */
	turn(&w, 10);
	assert_int_equal(w.nacks, nacks);
	w.mesh.services[0].bad = false;
	w.mesh.services[0].endpoints[0].addr.port = 77;
	publish_mesh(&w);
	turn(&w, 10);
	assert_int_equal(look(&c, "10.9.0.1:80").port->endpoints[0].addr.port, 77);
	assert_int_equal(stats_of(&w, 1).in_force_generation, 4);

	w.mesh.services[2].bad = true; /* never good: what names it is refused too, and the asker is not left waiting for ever */
	publish_mesh(&w);
	turn(&w, 5);
	bad = addr_of("10.9.0.3:80");
	subscriber_want_dest(c.s, &bad, 200, &a.wait);
	until(&w, is_answered, &a);
	assert_false(a.ok);
	assert_true(w.nacks >= nacks + 2 && w.nacks < nacks + 6);
	assert_true(ask(&c, "10.9.0.2:81")); /* and the stream goes on */
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

static bool is_connected(void *user)
{
	struct subscriber_stats st;

	subscriber_stats_get(((struct client *)user)->s, &st);
	return st.connected;
}

static bool is_lost(void *user)
{
	return !is_connected(user);
}

/* The agent goes and comes back with another state; the proxy keeps serving meanwhile and gets only what changed. */
static void test_reconnect(void **state)
{
	struct world w;
	struct client c;
	struct asked a = { .wait.on_answer = on_answer }, late = { .wait.on_answer = on_answer };
	struct addr ip, new_ip;
	struct subscriber_stats st;
	const struct service *kept;

	world_open(&w);
	client_open(&w, &c, 1);
	assert_true(ask(&c, "10.9.0.1:80"));
	assert_true(ask(&c, "10.9.0.2:80"));
	kept = look(&c, "10.9.0.1:80").service;
	agent_stop(&w);
	until(&w, is_lost, &c);
	assert_int_equal(look(&c, "10.9.0.1:80").kind, DEST_SERVICE); /* still there */
	ip = addr_of("10.9.0.3:80");
	subscriber_want_dest(c.s, &ip, 30, &a.wait);
	until(&w, is_answered, &a);
	assert_false(a.ok); /* nobody to ask */
	new_ip = addr_of("10.9.0.3:81");
	subscriber_want_dest(c.s, &new_ip, 3000, &late.wait);
	w.mesh.services[1].gone = true;
	publish_mesh(&w);
	agent_start(&w);
	until(&w, is_answered, &late);
	assert_true(late.ok); /* asked for while the agent was away, answered when it is back */
	assert_true(is_connected(&c));
	assert_int_equal(look(&c, "10.9.0.2:80").kind, DEST_UNKNOWN);
	assert_null(snapshot_service_find(subscriber_snapshot(c.s), "default", "svc1"));
	assert_ptr_equal(look(&c, "10.9.0.1:80").service, kept); /* its version was the same: not sent */
	subscriber_stats_get(c.s, &st);
	assert_int_equal(st.reconnects, 1);
	assert_int_equal(st.nacks, 0);
	assert_int_equal(c.certificates, 1); /* the one at hand is good */
	turn(&w, 5);
	assert_int_equal(stats_of(&w, 1).messages_sent, 1);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

/* An agent that starts after the proxy. */
static void test_agent_later(void **state)
{
	struct world w;
	struct client c;

	world_open(&w);
	agent_stop(&w);
	client_start(&w, &c, 1);
	turn(&w, 20);
	assert_null(subscriber_snapshot(c.s));
	agent_start(&w);
	until(&w, client_is_ready, &c);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

/* The workload comes into the snapshot after its proxy connected. */
static void test_workload_later(void **state)
{
	struct world w;
	struct client c;

	world_open(&w);
	client_start(&w, &c, 3);
	turn(&w, 20);
	assert_null(subscriber_snapshot(c.s));
	w.mesh.n_workloads = 3;
	publish_mesh(&w);
	until(&w, client_is_ready, &c); /* the certificate is asked for again by itself */
	assert_string_equal(c.spiffe_id, "spiffe://cluster.local/ns/default/sa/client3");
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

static void test_stranger(void **state)
{
	struct world w;
	struct client c;
	struct subscriber_stats st;

	world_open(&w);
	client_start(&w, &c, 0);
	turn(&w, 60);
	assert_null(subscriber_snapshot(c.s));
	assert_int_equal(c.certificates, 0);
	assert_int_equal(w.signs, 0);
	subscriber_stats_get(c.s, &st);
	assert_false(st.connected);
	w.next_workload = 1; /* enrolled now: the next try succeeds */
	until(&w, client_is_ready, &c);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

static void test_certificate_refused_by_worker(void **state)
{
	struct world w;
	struct client c;
	struct subscriber_stats st;

	world_open(&w);
	client_start(&w, &c, 1);
	c.refuse_certificates = 1;
	until(&w, client_is_ready, &c);
	subscriber_stats_get(c.s, &st);
	assert_int_equal(st.cert_failures, 1);
	assert_int_equal(st.cert_renewals, 1);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
}

static void test_wait_cancel(void **state)
{
	struct world w;
	struct client c;
	struct asked a[3] = { { .wait.on_answer = on_answer }, { .wait.on_answer = on_answer }, { .wait.on_answer = on_answer } };
	struct addr ip = addr_of("10.9.0.1:80"), none = { 0 };

	world_open(&w);
	client_open(&w, &c, 1);
	for (int i = 0; i < 3; i++)
		subscriber_want_dest(c.s, &ip, 1000, &a[i].wait);
	subscriber_wait_cancel(&a[1].wait);
	until(&w, is_answered, &a[2]);
	assert_int_equal(a[0].answers, 1);
	assert_int_equal(a[1].answers, 0);
	subscriber_want_dest(c.s, &none, 1000, &a[1].wait); /* port 0 */
	until(&w, is_answered, &a[1]);
	assert_false(a[1].ok);
	a[0].answers = 0;
	subscriber_want_dest(c.s, &ip, 1000, &a[0].wait); /* held: would be answered in the next turn */
	client_close(&c);
	turn(&w, 3);
	assert_int_equal(a[0].answers, 0);
	world_close(&w);
}

/* The bound holds, and the refusal is said at once. */
static void test_limit(void **state)
{
	struct world w;
	struct client c;
	struct asked *all = calloc(4097, sizeof(*all));
	struct subscriber_stats st;
	int ok = 0;

	assert_non_null(all);
	world_open(&w);
	client_open(&w, &c, 1);
	for (int i = 0; i < 4097; i++) {
		struct addr ip = { .ip = { [10] = 0xff, 0xff, 192, 0, (uint8_t)(i >> 8), (uint8_t)i }, .port = 80 };

		all[i].wait.on_answer = on_answer;
		subscriber_want_dest(c.s, &ip, 3000, &all[i].wait);
	}
	until(&w, is_answered, &all[0]);
	turn(&w, 30);
	for (int i = 0; i < 4097; i++) {
		assert_int_equal(all[i].answers, 1);
		ok += all[i].ok;
	}
	assert_int_equal(ok, 4096);
	assert_false(all[4096].ok);
	subscriber_stats_get(c.s, &st);
	assert_int_equal(st.subscriptions, 4096);
	assert_int_equal(stats_of(&w, 1).subscriptions, 4096);
	client_close(&c);
	turn(&w, 3);
	world_close(&w);
	free(all);
}

/* Proxies that misbehave: the protocol by hand */

struct hostile {
	struct world *w;
	struct rpc_conn *conn;
	struct rpc_call *stream;
	int ends, messages, closed;
	enum rpc_status status;
	char message[256];
};

static void on_hostile_close(struct rpc_conn *c, int err, void *user)
{
	struct hostile *h = user;

	h->closed++;
	h->conn = rpc_conn_free(c);
}

static void on_hostile_message(struct rpc_call *call, const uint8_t *p, size_t n, void *user)
{
	((struct hostile *)user)->messages++;
}

static void on_hostile_end(struct rpc_call *call, enum rpc_status status, const char *message, void *user)
{
	struct hostile *h = user;

	h->ends++;
	h->status = status;
	h->stream = NULL;
	snprintf(h->message, sizeof(h->message), "%s", message);
}

static const struct rpc_conn_ops hostile_conn_ops = { on_hostile_close };
static const struct rpc_call_ops hostile_ops = { .on_message = on_hostile_message, .on_end = on_hostile_end };

static void hostile_open(struct world *w, struct hostile *h, uint32_t workload)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*h = (struct hostile){ .w = w };
	w->next_workload = workload;
	strcpy(sa.sun_path, w->socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(rpc_client_new(w->loop, fd, NULL, &hostile_conn_ops, h, &h->conn), 0);
	assert_int_equal(rpc_stream_new(h->conn, &(struct rpc_target){ .path = "/trammel.v1.Publish/Stream" }, &hostile_ops, h,
					&h->stream), 0);
	turn(w, 3);
}

static void hostile_say(struct hostile *h, const Trammel__V1__ToAgent *m)
{
	size_t n = trammel__v1__to_agent__get_packed_size(m);
	uint8_t *p = malloc(n + 1);

	assert_non_null(p);
	assert_int_equal(rpc_call_send(h->stream, p, trammel__v1__to_agent__pack(m, p)), 0);
	free(p);
}

static bool hostile_has_ended(void *user)
{
	return ((struct hostile *)user)->ends > 0;
}

static void hostile_expect(struct hostile *h, enum rpc_status status, const char *text)
{
	until(h->w, hostile_has_ended, h);
	assert_int_equal(h->status, status);
	if (!strstr(h->message, text))
		fail_msg("\"%s\" does not say \"%s\"", h->message, text);
	rpc_conn_free(h->conn);
	turn(h->w, 5);
}

static void test_hostile(void **state)
{
	Trammel__V1__Hello hello = TRAMMEL__V1__HELLO__INIT;
	Trammel__V1__ToAgent m = TRAMMEL__V1__TO_AGENT__INIT, empty = TRAMMEL__V1__TO_AGENT__INIT;
	static char bad_names[][16] = { "x", "", "addr/", "addr/1.2.3.4", "addr/1.2.3.4:0", "dns/", "svc/a", "svc//b", "svc/a/b/c",
					   "dns/a b", "dns/\xc3\xa4" };
	static char many[4098][24], *names[4098];
	struct world w;
	struct hostile h;

	world_open(&w);
	hostile_open(&w, &h, 1); /* no Hello */
	hostile_say(&h, &empty);
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "Hello");
	hostile_open(&w, &h, 1); /* Hello twice */
	m.hello = &hello;
	hostile_say(&h, &m);
	hostile_say(&h, &m);
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "Hello");
	hostile_open(&w, &h, 1); /* no protobuf */
	assert_int_equal(rpc_call_send(h.stream, "\xff\xff\xff", 3), 0);
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "malformed");
	hostile_open(&w, &h, 1); /* many empty Held: small on the wire, large in memory */
	{
		struct buf b;
		uint32_t n = 400000 * 2;

		buf_init(&b, 1 << 20);
		assert_int_equal(buf_append(&b, (uint8_t[]){ 0x0a, (uint8_t)(n | 0x80), (uint8_t)(n >> 7 | 0x80), (uint8_t)(n >> 14) }, 4), 0);
		for (uint32_t i = 0; i < n / 2; i++)
			assert_int_equal(buf_append(&b, "\x1a\0", 2), 0);
		assert_int_equal(rpc_call_send(h.stream, buf_head(&b), b.len), 0);
		buf_done(&b);
	}
	hostile_expect(&h, RPC_INVALID_ARGUMENT, "too large");
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
		Trammel__V1__ToAgent bad = TRAMMEL__V1__TO_AGENT__INIT;
		char *one[] = { bad_names[i] };

		hostile_open(&w, &h, 1);
		bad.hello = &hello;
		bad.n_subscribe = 1;
		bad.subscribe = one;
		hostile_say(&h, &bad);
		hostile_expect(&h, RPC_RESOURCE_EXHAUSTED, "malformed name");
	}
	for (int i = 0; i < 4098; i++) {
		snprintf(many[i], sizeof(many[i]), "dns/n%d", i);
		names[i] = many[i];
	}
	hostile_open(&w, &h, 1);
	m.n_subscribe = 4098;
	m.subscribe = names;
	hostile_say(&h, &m);
	hostile_expect(&h, RPC_RESOURCE_EXHAUSTED, "limit");
	hostile_open(&w, &h, 0); /* no workload */
	hostile_expect(&h, RPC_PERMISSION_DENIED, "cgroup");
	assert_int_equal(w.acks, 0);
	world_close(&w);
}

/* A proxy that never acknowledges gets one message and no more; a stale nonce is nothing. */
static void test_never_acks(void **state)
{
	Trammel__V1__Hello hello = TRAMMEL__V1__HELLO__INIT;
	Trammel__V1__ToAgent m = TRAMMEL__V1__TO_AGENT__INIT, stale = TRAMMEL__V1__TO_AGENT__INIT;
	Trammel__V1__Ack ack = TRAMMEL__V1__ACK__INIT;
	char name[] = "addr/10.9.0.1:80", *names[] = { name };
	struct world w;
	struct hostile h;

	world_open(&w);
	hostile_open(&w, &h, 1);
	m.hello = &hello;
	m.n_subscribe = 1;
	m.subscribe = names;
	hostile_say(&h, &m);
	for (int i = 0; i < 50; i++) {
		w.mesh.services[0].endpoints[0].addr.port++;
		publish_mesh(&w);
		turn(&w, 2);
	}
	assert_int_equal(h.messages, 1);
	ack.nonce = 77;
	stale.ack = &ack;
	hostile_say(&h, &stale);
	turn(&w, 5);
	assert_int_equal(h.messages, 1);
	assert_int_equal(w.acks, 0);
	ack.nonce = 1;
	hostile_say(&h, &stale);
	turn(&w, 5);
	assert_int_equal(h.messages, 2);
	assert_int_equal(w.acks, 1);
	rpc_conn_free(h.conn);
	turn(&w, 3);
	world_close(&w);
}

static void test_per_workload_limit(void **state)
{
	struct world w;
	struct hostile h[9];

	world_open(&w);
	for (int i = 0; i < 9; i++)
		hostile_open(&w, &h[i], 1);
	until(&w, hostile_has_ended, &h[8]);
	assert_int_equal(h[8].status, RPC_PERMISSION_DENIED);
	assert_int_equal(h[7].ends, 0);
	for (int i = 0; i < 9; i++)
		rpc_conn_free(h[i].conn);
	turn(&w, 3);
	world_close(&w);
}

static void test_socket_file(void **state)
{
	struct publish *p = NULL;
	struct stat st;
	struct world w;

	world_open(&w);
	assert_int_equal(stat(w.socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	assert_int_equal(publish_new(w.loop, w.socket_path, w.ca, &publish_ops, &w, &p), -EADDRINUSE);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start), cmocka_unit_test(test_destinations), cmocka_unit_test(test_only_concerned),
		cmocka_unit_test(test_service_goes_and_comes), cmocka_unit_test(test_coalescing), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reconnect), cmocka_unit_test(test_agent_later), cmocka_unit_test(test_workload_later),
		cmocka_unit_test(test_stranger), cmocka_unit_test(test_certificate_refused_by_worker),
		cmocka_unit_test(test_wait_cancel), cmocka_unit_test(test_limit), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_never_acks), cmocka_unit_test(test_per_workload_limit), cmocka_unit_test(test_socket_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
