/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from the agent: the input is a packed ToProxy
 *
 * It is applied to nothing, then to a good snapshot, then to what came of it. A refusal says what and why and leaves the old one
 * alone; what is accepted can be looked up in every way and keeps its promises.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "proxy/snapshot/build.h"

static void check_service(const struct service *svc, void *user)
{
	FUZZ_CHECK(*svc->name && *svc->namespace && strstr(svc->hostname, ".svc."));
	FUZZ_CHECK(snapshot_service_find(user, svc->namespace, svc->name) == svc);
	for (size_t i = 0; i < svc->n_ports; i++) {
		size_t ready = 0;

		FUZZ_CHECK(svc->ports[i].port && svc->ports[i].protocol <= APP_SERVER_FIRST);
		for (size_t k = 0; k < svc->ports[i].n_endpoints; k++) {
			const struct endpoint *e = &svc->ports[i].endpoints[k];

			FUZZ_CHECK(e->addr.port && (!e->mtls || !strncmp(e->spiffe_id, "spiffe://", 9)));
			FUZZ_CHECK(e->mtls || !e->hbone);
			ready += e->ready;
		}
		FUZZ_CHECK(ready == svc->ports[i].n_ready);
	}
}

static void check_resource(const char *name, uint64_t version, void *user)
{
	struct snapshot *s = user;
	struct addr addr;
	struct dest d;
	struct dns_name dns;

	struct str all = { name, strlen(name) };

	FUZZ_CHECK(snapshot_has(s, all));
	(void)snapshot_was_used(s, all);
	if (str_starts(all, STR("addr/"))) {
		FUZZ_CHECK(addr_parse((struct str){ name + 5, all.n - 5 }, &addr) == 0 && snapshot_dest_find(s, &addr, &d));
		FUZZ_CHECK(d.kind != DEST_SERVICE || (d.service && d.port));
		FUZZ_CHECK(d.kind != DEST_ENDPOINT || d.endpoint);
		FUZZ_CHECK(d.kind != DEST_SERVICE_NO_PORT || d.service);
	} else if (str_starts(all, STR("dns/"))) {
		FUZZ_CHECK(snapshot_dns_find(s, (struct str){ name + 4, all.n - 4 }, &dns));
	}
}

static void check_snapshot(struct snapshot *s)
{
	const struct self *self = snapshot_self(s);

	FUZZ_CHECK(*self->name && *self->namespace && !strncmp(self->spiffe_id, "spiffe://", 9));
	for (unsigned int port = 0; port < 65536; port += 4099)
		(void)snapshot_inbound_port(s, (uint16_t)port);
	snapshot_service_each(s, check_service, s);
	snapshot_each_resource(s, check_resource, s);
}

static struct snapshot *apply(struct snapshot *old, const Trammel__V1__ToProxy *m)
{
	struct snapshot *s = NULL;
	char *error = NULL;
	int r = snapshot_apply(old, m, NULL, NULL, &s, &error);

	FUZZ_CHECK(r == 0 || (r < 0 && !s && error && strstr(error, ": ")));
	if (s)
		check_snapshot(s);
	free(error);
	return s;
}

static struct snapshot *good(void)
{
	Trammel__V1__ToProxy m = TRAMMEL__V1__TO_PROXY__INIT;
	Trammel__V1__Resource r = TRAMMEL__V1__RESOURCE__INIT, *all[] = { &r };
	Trammel__V1__Self self = TRAMMEL__V1__SELF__INIT;
	char ns[] = "default", name[] = "web", td[] = "cluster.local", id[] = "spiffe://cluster.local/ns/default/sa/web", me[] = "self";

	self.namespace_ = ns;
	self.name = name;
	self.trust_domain = self.cluster_domain = td;
	self.spiffe_id = id;
	r.name = me;
	r.version = 1;
	r.kind_case = TRAMMEL__V1__RESOURCE__KIND_SELF;
	r.self = &self;
	m.n_resources = 1;
	m.resources = all;
	return apply(NULL, &m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	Trammel__V1__ToProxy *m = n <= 65536 ? trammel__v1__to_proxy__unpack(NULL, n, bytes) : NULL;
	struct snapshot *first, *base, *second;

	if (!m)
		return 0;
	first = apply(NULL, m);
	base = good();
	FUZZ_CHECK(base);
	second = apply(base, m);
	if (second)
		snapshot_unref(apply(second, m));
	check_snapshot(base);
	snapshot_unref(first);
	snapshot_unref(second);
	snapshot_unref(base);
	trammel__v1__to_proxy__free_unpacked(m, NULL);
	return 0;
}
