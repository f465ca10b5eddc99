/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's snapshot from messages: one good message, then each way in which it can be bad
 *
 * Also the use marks and the giving back of idle subscriptions, with time turned by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "proxy/snapshot/build.h"
#include "proxy/subscribe/subscription.h"

#define TEXT(s) ((char *)(uintptr_t)(s))

/* One message with every kind; tests spoil single fields of it. */
struct sample {
	Trammel__V1__ToProxy m;
	Trammel__V1__Resource r[6], *rp[7];
	Trammel__V1__Self self;
	Trammel__V1__InboundPort in[2], *inp[2];
	Trammel__V1__Service svc;
	Trammel__V1__ServicePort port[2], *portp[2];
	Trammel__V1__Endpoints eps;
	Trammel__V1__PortEndpoints pe[2], *pep[2];
	Trammel__V1__Endpoint ep, dest_ep, *epp[1];
	Trammel__V1__Dest dest, dest2;
	Trammel__V1__DnsName dns;
	uint8_t ip[16];
	ProtobufCBinaryData ips[1];
	char *upstream[1], *zones[2], *removed[1];
};

enum { SELF, SVC, EPS, DEST, DEST2, DNS };

static void endpoint_set(Trammel__V1__Endpoint *e, struct sample *s)
{
	trammel__v1__endpoint__init(e);
	e->ip = s->ips[0];
	e->port = 8080;
	e->ready = true;
	e->mtls = true;
	e->spiffe_id = TEXT("spiffe://cluster.local/ns/default/sa/x");
	e->workload = TEXT("x-1");
	e->namespace_ = TEXT("default");
}

static void resource_set(struct sample *s, int i, const char *name, Trammel__V1__Resource__KindCase kind, void *content)
{
	trammel__v1__resource__init(&s->r[i]);
	s->r[i].name = TEXT(name);
	s->r[i].version = 10 + (uint64_t)i;
	s->r[i].kind_case = kind;
	s->r[i].self = content; /* all are pointers in one union */
	s->rp[i] = &s->r[i];
}

static void sample_self(struct sample *s)
{
	trammel__v1__self__init(&s->self);
	s->self.namespace_ = TEXT("default");
	s->self.name = TEXT("web");
	s->self.service_account = TEXT("web");
	s->self.trust_domain = TEXT("cluster.local");
	s->self.cluster_domain = TEXT("cluster.local");
	s->self.spiffe_id = TEXT("spiffe://cluster.local/ns/default/sa/web");
	s->self.n_addresses = 1;
	s->self.addresses = s->ips;
	for (uint32_t i = 0; i < 2; i++) {
		trammel__v1__inbound_port__init(&s->in[i]);
		s->in[i].port = 8080 + i;
		s->in[i].has_mtls = i == 0;
		s->in[i].mtls = TRAMMEL__V1__MTLS_MODE__MTLS_STRICT;
		s->inp[i] = &s->in[i];
	}
	s->self.n_inbound = 2;
	s->self.inbound = s->inp;
	s->upstream[0] = TEXT("10.96.0.10:53");
	s->zones[0] = TEXT("77.10.in-addr.arpa");
	s->zones[1] = TEXT("7.7.d.f.ip6.arpa");
	s->self.n_reverse_zones = 2;
	s->self.reverse_zones = s->zones;
	s->self.n_dns_upstream = 1;
	s->self.dns_upstream = s->upstream;
}

static void sample_service(struct sample *s)
{
	trammel__v1__service__init(&s->svc);
	s->svc.namespace_ = TEXT("default");
	s->svc.name = TEXT("x");
	s->svc.n_addresses = 1;
	s->svc.addresses = s->ips;
	trammel__v1__endpoints__init(&s->eps);
	endpoint_set(&s->ep, s);
	s->epp[0] = &s->ep;
	for (uint32_t i = 0; i < 2; i++) {
		trammel__v1__service_port__init(&s->port[i]);
		s->port[i].port = 80 + i;
		s->port[i].name = TEXT("http");
		s->portp[i] = &s->port[i];
		trammel__v1__port_endpoints__init(&s->pe[i]);
		s->pe[i].service_port = 80 + i;
		s->pe[i].n_endpoints = 1;
		s->pe[i].endpoints = s->epp;
		s->pep[i] = &s->pe[i];
	}
	s->svc.n_ports = s->eps.n_ports = 2;
	s->svc.ports = s->portp;
	s->eps.ports = s->pep;
}

static void sample_init(struct sample *s)
{
	memset(s, 0, sizeof(*s));
	s->ip[10] = s->ip[11] = 0xff;
	s->ip[12] = 10;
	s->ips[0] = (ProtobufCBinaryData){ 16, s->ip };
	trammel__v1__to_proxy__init(&s->m);
	s->m.generation = 7;
	sample_self(s);
	sample_service(s);
	endpoint_set(&s->dest_ep, s);
	trammel__v1__dest__init(&s->dest);
	s->dest.kind = TRAMMEL__V1__DEST__KIND__SERVICE;
	s->dest.service_namespace = TEXT("default");
	s->dest.service_name = TEXT("x");
	s->dest.service_port = 80;
	s->dest2 = s->dest;
	s->dest2.kind = TRAMMEL__V1__DEST__KIND__ENDPOINT;
	s->dest2.endpoint = &s->dest_ep;
	trammel__v1__dns_name__init(&s->dns);
	s->dns.known = true;
	s->dns.service_namespace = TEXT("default");
	s->dns.service_name = TEXT("x");
	s->dns.canonical = TEXT("x.default.svc.cluster.local");
	s->dns.n_addresses = 1;
	s->dns.addresses = s->ips;
	resource_set(s, SELF, "self", TRAMMEL__V1__RESOURCE__KIND_SELF, &s->self);
	resource_set(s, SVC, "svc/default/x", TRAMMEL__V1__RESOURCE__KIND_SERVICE, &s->svc);
	resource_set(s, EPS, "eps/default/x", TRAMMEL__V1__RESOURCE__KIND_ENDPOINTS, &s->eps);
	resource_set(s, DEST, "addr/10.9.0.1:80", TRAMMEL__V1__RESOURCE__KIND_DEST, &s->dest);
	resource_set(s, DEST2, "addr/10.0.0.0:8080", TRAMMEL__V1__RESOURCE__KIND_DEST, &s->dest2);
	resource_set(s, DNS, "dns/x", TRAMMEL__V1__RESOURCE__KIND_DNS, &s->dns);
	s->m.n_resources = 6;
	s->m.resources = s->rp;
}

static struct snapshot *apply_ok(struct snapshot *old, struct sample *s)
{
	struct snapshot *snap = NULL;
	char *error = NULL;
	int r = snapshot_apply(old, &s->m, NULL, NULL, &snap, &error);

	if (r < 0)
		fail_msg("refused: %s", error);
	return snap;
}

static void test_good(void **state)
{
	struct sample s;
	struct snapshot *snap;
	struct dns_name dns;
	struct addr a;
	struct dest d;

	sample_init(&s);
	snap = apply_ok(NULL, &s);
	assert_int_equal(snapshot_generation(snap), 7);
	assert_int_equal(snapshot_inbound_port(snap, 8080).mtls, MTLS_STRICT);
	assert_int_equal(snapshot_inbound_port(snap, 8081).mtls, MTLS_PERMISSIVE); /* has_mtls is false: the default */
	assert_int_equal(addr_parse(STR("10.9.0.1:80"), &a), 0);
	assert_true(snapshot_dest_find(snap, &a, &d));
	assert_int_equal(d.kind, DEST_SERVICE);
	assert_string_equal(d.service->hostname, "x.default.svc.cluster.local");
	assert_int_equal(d.port->n_ready, 1);
	a.port = 81;
	assert_false(snapshot_dest_find(snap, &a, &d));
	assert_true(snapshot_dns_find(snap, STR("x"), &dns));
	assert_int_equal(dns.n_addresses, 1);
	assert_false(snapshot_dns_find(snap, STR("y"), &dns));
	snapshot_unref(snap);
}

#define SPOIL(name, field, value)                  \
	static void spoil_##name(struct sample *s) \
	{                                          \
		s->field = value;                  \
	}
SPOIL(name_kind, r[DNS].name, TEXT("what/x"))
SPOIL(name_empty, r[DNS].name, TEXT(""))
SPOIL(name_space, r[DNS].name, TEXT("dns/a b"))
SPOIL(kind_mixed, r[DNS].kind_case, TRAMMEL__V1__RESOURCE__KIND_DEST)
SPOIL(kind_none, r[DNS].kind_case, TRAMMEL__V1__RESOURCE__KIND__NOT_SET)
SPOIL(twice, r[DNS].name, s->r[DEST].name; s->r[DNS].kind_case = TRAMMEL__V1__RESOURCE__KIND_DEST;
      s->r[DNS].dest = &s->dest)
SPOIL(self_missing, rp[SELF], s->rp[DNS]; s->m.n_resources = 5)
SPOIL(self_name, self.name, TEXT(""))
SPOIL(self_slash, self.namespace_, TEXT("a/b"))
SPOIL(self_domain, self.trust_domain, TEXT("Cluster.local"))
SPOIL(self_id, self.spiffe_id, TEXT("spiffe://cluster.local/a/../b"))
SPOIL(self_id_foreign, self.spiffe_id, TEXT("spiffe://other/ns/default/sa/web"))
SPOIL(self_ip, ips[0].len, 4)
SPOIL(self_mtls, self.default_mtls, (Trammel__V1__MtlsMode)9)
SPOIL(self_dns, upstream[0], TEXT("dns.example:53"))
SPOIL(self_zone, zones[1], TEXT("in addr.arpa"))
SPOIL(self_zone_none, zones[0], TEXT(""))
SPOIL(self_bundle, self.trust_bundle_pem, TEXT("trust me"))
SPOIL(in_zero, in[0].port, 0)
SPOIL(in_large, in[1].port, 65536)
SPOIL(in_order, in[1].port, 8080)
SPOIL(in_mtls, in[1].mtls, (Trammel__V1__MtlsMode)3)
SPOIL(in_protocol, in[1].protocol, (Trammel__V1__AppProtocol)7)
SPOIL(in_service, in[1].service_name, TEXT("a\nb"))
SPOIL(svc_name, svc.name, TEXT("y"))
SPOIL(svc_ns, svc.namespace_, TEXT("other"))
SPOIL(svc_port_zero, port[0].port, 0)
SPOIL(svc_port_twice, port[1].port, 80)
SPOIL(svc_port_name, port[1].name, TEXT("ht tp"))
SPOIL(svc_protocol, port[1].protocol, (Trammel__V1__AppProtocol)-1)
SPOIL(eps_port_large, pe[0].service_port, 70000)
SPOIL(eps_port_twice, pe[1].service_port, 80)
SPOIL(ep_port, ep.port, 0)
SPOIL(ep_id_missing, ep.spiffe_id, TEXT(""))
SPOIL(ep_id_bad, ep.spiffe_id, TEXT("spiffe://cluster.local"))
SPOIL(ep_workload, ep.workload, TEXT("a\"b c"))
SPOIL(ep_tunnel, ep.tunnel, (Trammel__V1__Tunnel)2)
SPOIL(ep_tunnel_negative, ep.tunnel, (Trammel__V1__Tunnel)-1)
SPOIL(ep_tunnel_plain, ep.tunnel, TRAMMEL__V1__TUNNEL__TUNNEL_HBONE; s->ep.mtls = false)
SPOIL(dest_name, r[DEST].name, TEXT("addr/10.9.0.1"))
SPOIL(dest_form, r[DEST].name, TEXT("addr/010.9.0.1:80"))
SPOIL(dest_form6, r[DEST].name, TEXT("addr/[fd00:0::1]:80"))
SPOIL(dest_port_zero, dest.service_port, 0)
SPOIL(dest_port_unknown, dest.service_port, 99)
SPOIL(dest_service_unknown, dest.service_name, TEXT("z"))
SPOIL(dest_service_none, dest.service_name, TEXT(""))
SPOIL(dest_kind, dest.kind, (Trammel__V1__Dest__Kind)8)
SPOIL(dest_protocol, dest.protocol, (Trammel__V1__AppProtocol)8)
SPOIL(dest_ep_none, dest2.endpoint, NULL)
SPOIL(dest_ep_bad, dest_ep.port, 0)
SPOIL(dns_upper, r[DNS].name, TEXT("dns/X"))
SPOIL(dns_dot, r[DNS].name, TEXT("dns/x."))
SPOIL(dns_empty, r[DNS].name, TEXT("dns/"))
SPOIL(dns_canonical, dns.canonical, TEXT(""))
SPOIL(removed_addr, removed[0], TEXT("addr/10.9.0.1:80"); s->m.removed = s->removed; s->m.n_removed = 1)

static void test_refused(void **state)
{
#define CASE(name, text)                  \
	{                                 \
#name, spoil_##name, text \
	}
	static const struct {
		const char *name;
		void (*spoil)(struct sample *s);
		const char *says;
	} cases[] = {
		CASE(name_kind, "what/x: "),
		CASE(name_empty, "(no name): "),
		CASE(name_space, "kind"),
		CASE(kind_mixed, "dns/x: "),
		CASE(kind_none, "dns/x: "),
		CASE(twice, "twice"),
		CASE(self_missing, "self: "),
		CASE(self_name, "self: "),
		CASE(self_slash, "self: "),
		CASE(self_domain, "domain"),
		CASE(self_id, "SPIFFE"),
		CASE(self_id_foreign, "SPIFFE"),
		CASE(self_ip, "16 bytes"),
		CASE(self_mtls, "mTLS"),
		CASE(self_dns, "DNS"),
		CASE(self_zone, "reverse zone"),
		CASE(self_zone_none, "reverse zone"),
		CASE(self_bundle, "bundle"),
		CASE(in_zero, "range"),
		CASE(in_large, "range"),
		CASE(in_order, "order"),
		CASE(in_mtls, "mTLS"),
		CASE(in_protocol, "protocol"),
		CASE(in_service, "malformed"),
		CASE(svc_name, "svc/default/x: "),
		CASE(svc_ns, "svc/default/x: "),
		CASE(svc_port_zero, "port"),
		CASE(svc_port_twice, "twice"),
		CASE(svc_port_name, "malformed"),
		CASE(svc_protocol, "protocol"),
		CASE(eps_port_large, "eps/default/x: "),
		CASE(eps_port_twice, "twice"),
		CASE(ep_port, "range"),
		CASE(ep_id_missing, "SPIFFE"),
		CASE(ep_id_bad, "SPIFFE"),
		CASE(ep_workload, "malformed"),
		CASE(ep_tunnel, "unknown tunnel"),
		CASE(ep_tunnel_negative, "unknown tunnel"),
		CASE(ep_tunnel_plain, "without mTLS"),
		CASE(dest_name, "form"),
		CASE(dest_form, "form"),
		CASE(dest_form6, "form"),
		CASE(dest_port_zero, "missing"),
		CASE(dest_port_unknown, "no such port"),
		CASE(dest_service_unknown, "not held"),
		CASE(dest_service_none, "missing"),
		CASE(dest_kind, "kind"),
		CASE(dest_protocol, "protocol"),
		CASE(dest_ep_none, "missing"),
		CASE(dest_ep_bad, "range"),
		CASE(dns_upper, "lower"),
		CASE(dns_dot, "dot"),
		CASE(dns_empty, "empty"),
		CASE(dns_canonical, "canonical"),
		CASE(removed_addr, "removed"),
	};
	struct sample good, s;
	struct snapshot *old, *snap = NULL;

	sample_init(&good);
	old = apply_ok(NULL, &good);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *error = NULL;

		sample_init(&s);
		cases[i].spoil(&s);
		if (snapshot_apply(strcmp(cases[i].name, "self_missing") ? old : NULL, &s.m, NULL, NULL, &snap,
				   &error) != -EINVAL)
			fail_msg("%s was taken", cases[i].name);
		if (!strstr(error, cases[i].says) || !strstr(error, ": "))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].name, error, cases[i].says);
		free(error);
	}
	snapshot_unref(old);
}

/* A change keeps what it does not name; what is removed goes, and only if nothing names it. */
static void test_change(void **state)
{
	struct sample s;
	struct snapshot *a, *b, *c = NULL;
	const struct service *svc;
	struct str gone[] = { STR("addr/10.9.0.1:80"), STR("addr/10.0.0.0:8080") };
	char *error = NULL;

	sample_init(&s);
	a = apply_ok(NULL, &s);
	svc = snapshot_service_find(a, "default", "x");
	s.rp[0] = &s.r[DNS]; /* the name alone */
	s.m.n_resources = 1;
	b = apply_ok(a, &s);
	assert_ptr_equal(snapshot_service_find(b, "default", "x"), svc);
	s.removed[0] = TEXT("svc/default/x");
	s.m.removed = s.removed;
	s.m.n_removed = 1;
	s.m.n_resources = 0;
	assert_int_equal(snapshot_apply(b, &s.m, NULL, NULL, &c, &error), -EINVAL); /* two addresses name it */
	free(error);
	assert_int_equal(snapshot_without(b, gone, 2, &c), 0);
	snapshot_unref(b);
	b = apply_ok(c, &s);
	assert_null(snapshot_service_find(b, "default", "x"));
	assert_non_null(snapshot_service_find(a, "default", "x")); /* the first one is as it was */
	assert_true(snapshot_has(b, STR("eps/default/x")));
	snapshot_unref(c);
	snapshot_unref(b);

	s.m.n_removed = 0;
	s.rp[0] = &s.r[EPS]; /* only the endpoints change: the service is a new one, of a new version */
	s.m.n_resources = 1;
	s.r[EPS].version = 99;
	s.ep.ready = false;
	b = apply_ok(a, &s);
	assert_ptr_not_equal(snapshot_service_find(b, "default", "x"), svc);
	assert_true(snapshot_service_find(b, "default", "x")->version != svc->version);
	assert_int_equal(snapshot_service_find(b, "default", "x")->ports[0].n_ready, 0);
	assert_int_equal(svc->ports[0].n_ready, 1);
	snapshot_unref(b);
	snapshot_unref(a);
}

static bool wants_nothing(struct str name, void *user)
{
	return false;
}

static void test_not_wanted(void **state)
{
	struct sample s;
	struct snapshot *snap = NULL;
	char *error = NULL;

	sample_init(&s);
	assert_int_equal(snapshot_apply(NULL, &s.m, wants_nothing, NULL, &snap, &error), 0);
	assert_false(snapshot_has(snap, STR("dns/x")));
	assert_true(snapshot_has(snap, STR("svc/default/x")));
	snapshot_unref(snap);
}

static void test_use(void **state)
{
	struct subscriptions t;
	struct subscription *sub;
	struct loop *loop;
	struct sample s;
	struct snapshot *snap;
	struct addr a;
	struct dest d;

	assert_int_equal(loop_new(&loop), 0);
	subscriptions_init(&t, loop);
	sample_init(&s);
	snap = apply_ok(NULL, &s);
	assert_non_null(subscription_ensure(&t, STR("dns/x")));
	assert_non_null(subscription_ensure(&t, STR("addr/10.9.0.1:80")));
	assert_non_null(subscription_ensure(&t, STR("addr/10.0.0.0:8080")));
	assert_null(subscriptions_idle(&t, NS_PER_S));
	list_for_each_entry (sub, &t.by_use, link)
		sub->used_ns -= 700 * NS_PER_S;
	assert_int_equal(addr_parse(STR("10.0.0.0:8080"), &a), 0);
	assert_true(snapshot_dest_find(snap, &a, &d));
	subscriptions_note_use(&t, snap);
	/* the address was used, and so was the other address of the same service; the name was not */
	sub = subscriptions_idle(&t, 600 * NS_PER_S);
	assert_non_null(sub);
	assert_string_equal(sub->name, "dns/x");
	subscription_drop(&t, sub);
	assert_null(subscriptions_idle(&t, 600 * NS_PER_S));
	list_for_each_entry (sub, &t.by_use, link)
		sub->used_ns -= 700 * NS_PER_S;
	subscriptions_note_use(&t, snap); /* not looked up since the last time */
	assert_non_null(subscriptions_idle(&t, 600 * NS_PER_S));
	snapshot_unref(snap);
	subscriptions_done(&t);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),       cmocka_unit_test(test_refused), cmocka_unit_test(test_change),
		cmocka_unit_test(test_not_wanted), cmocka_unit_test(test_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
