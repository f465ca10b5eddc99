/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing and subscribing end to end: what proxies see, when, and what they are spared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "publish_world.h"

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
	assert_int_equal(self->n_reverse_zones, 1);
	assert_string_equal(self->reverse_zones[0], "77.10.in-addr.arpa");
	assert_int_equal(self->n_dns_upstream, 1);
	assert_int_equal(self->dns_upstream[0].port, 53);
	assert_non_null(strstr(self->trust_bundle_pem, "BEGIN CERTIFICATE"));
	assert_int_equal(snapshot_inbound_port(subscriber_snapshot(c.s), 8080).mtls, MTLS_STRICT);
	assert_int_equal(snapshot_inbound_port(subscriber_snapshot(c.s), 8081).mtls, MTLS_PERMISSIVE);
	assert_string_equal(snapshot_inbound_port(subscriber_snapshot(c.s), 8080).service_name, "svc0");
	assert_true(
		snapshot_is_self(subscriber_snapshot(c.s), &(struct addr){ .ip = { [10] = 0xff, 0xff, 10, 7, 0, 2 } }));
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
	assert_false(d.port->endpoints[0].hbone);
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
	assert_true(d.endpoint->hbone);
	assert_string_equal(d.service->name, "svc2");
	assert_int_equal(d.port->port, 80);
	assert_true(ask(&c, "10.7.0.2:8080"));
	d = look(&c, "10.7.0.2:8080");
	assert_int_equal(d.kind, DEST_ENDPOINT);
	assert_true(d.endpoint->mtls && d.endpoint->hbone);
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
			w.mesh.services[0].endpoints[1] = w.mesh.services[0].endpoints[2] =
				w.mesh.services[0].endpoints[0];
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

	w.mesh.services[2].bad =
		true; /* never good: what names it is refused too, and the asker is not left waiting for ever */
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
	struct asked a[3] = { { .wait.on_answer = on_answer },
			      { .wait.on_answer = on_answer },
			      { .wait.on_answer = on_answer } };
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
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_destinations),
		cmocka_unit_test(test_only_concerned),
		cmocka_unit_test(test_service_goes_and_comes),
		cmocka_unit_test(test_coalescing),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_agent_later),
		cmocka_unit_test(test_workload_later),
		cmocka_unit_test(test_stranger),
		cmocka_unit_test(test_certificate_refused_by_worker),
		cmocka_unit_test(test_wait_cancel),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_socket_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
