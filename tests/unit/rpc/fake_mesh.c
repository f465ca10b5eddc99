/* SPDX-License-Identifier: Apache-2.0 */
/* A mesh snapshot made by hand: see fake_mesh.h. Look-ups are linear. */
#include "fake_mesh.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct mesh_snapshot {
	unsigned int refs;
	struct fake_mesh mesh;
	struct mesh_settings settings;
	struct mesh_service services[FAKE_SERVICES];
	struct mesh_service_port ports[FAKE_SERVICES];
	struct mesh_workload workloads[FAKE_WORKLOADS];
	struct addr addresses[FAKE_WORKLOADS];
	char names[FAKE_WORKLOADS][32], ids[FAKE_WORKLOADS][80];
	struct addr dns;
	struct mesh_inbound inbound;
};

static struct addr addr_of(const char *text)
{
	struct addr a = { 0 };

	assert(addr_parse(str_from(text), &a) == 0);
	return a;
}

struct fake_service *fake_service_add(struct fake_mesh *m)
{
	size_t i = m->n_services++;
	struct fake_service *s = &m->services[i];
	char text[64];

	assert(i < FAKE_SERVICES);
	snprintf(s->namespace, sizeof(s->namespace), "default");
	snprintf(s->name, sizeof(s->name), "svc%zu", i);
	snprintf(s->host, sizeof(s->host), "svc%zu.default.svc.cluster.local", i);
	snprintf(text, sizeof(text), "10.9.%zu.%zu:1", i / 250, i % 250 + 1);
	s->vip = addr_of(text);
	s->vip.port = 0;
	s->port = 80;
	snprintf(text, sizeof(text), "10.8.%zu.%zu:8080", i / 250, i % 250 + 1);
	s->endpoints[0] = (struct mesh_endpoint){ .addr = addr_of(text),
						  .ready = true,
						  .mtls = true,
						  .hbone = i == 2, /* one of the three that tests look at */
						  .spiffe_id = "spiffe://cluster.local/ns/default/sa/server",
						  .workload = s->name,
						  .namespace = "default" };
	s->n_endpoints = 1;
	return s;
}

static const char *const reverse_zones[] = { "77.10.in-addr.arpa" };

struct mesh_snapshot *fake_cut(struct fake_mesh *m)
{
	struct mesh_snapshot *s = calloc(1, sizeof(*s));

	assert(s);
	m->generation++;
	s->refs = 1;
	s->mesh = *m;
	s->dns = addr_of("10.96.0.10:53");
	s->settings = (struct mesh_settings){ .trust_domain = "cluster.local",
					      .cluster_domain = "cluster.local",
					      .reverse_zones = reverse_zones,
					      .n_reverse_zones = 1,
					      .dns_upstream = &s->dns,
					      .n_dns_upstream = 1 };
	for (size_t i = 0; i < m->n_services; i++) {
		struct fake_service *f = &s->mesh.services[i];

		for (size_t k = 0; k < f->n_endpoints; k++) /* the workload's name moved with the copy */
			f->endpoints[k].workload = f->name;
		s->ports[i] = (struct mesh_service_port){ .port = f->port,
							  .name = f->bad ? "ht tp" : "http",
							  .protocol = MESH_APP_HTTP1,
							  .endpoints = f->endpoints,
							  .n_endpoints = f->n_endpoints };
		s->services[i] = (struct mesh_service){ .namespace = f->namespace,
							.name = f->name,
							.hostname = f->host,
							.addresses = &f->vip,
							.n_addresses = 1,
							.ports = &s->ports[i],
							.n_ports = 1 };
	}
	s->inbound = (struct mesh_inbound){ .port = 8080,
					    .has_mtls = true,
					    .mtls = MESH_MTLS_STRICT,
					    .protocol = MESH_APP_HTTP1,
					    .service = m->n_services ? &s->services[0] : NULL,
					    .service_port = 80 };
	for (size_t i = 0; i < m->n_workloads; i++) {
		char text[64];

		snprintf(s->names[i], sizeof(s->names[i]), "client%zu", i + 1);
		snprintf(s->ids[i], sizeof(s->ids[i]), "spiffe://cluster.local/ns/default/sa/%s", s->names[i]);
		snprintf(text, sizeof(text), "10.7.0.%zu:1", i + 1);
		s->addresses[i] = addr_of(text);
		s->addresses[i].port = 0;
		s->workloads[i] = (struct mesh_workload){ .id = (uint32_t)i + 1,
							  .namespace = "default",
							  .name = s->names[i],
							  .service_account = s->names[i],
							  .hbone = i == 1,
							  .spiffe_id = s->ids[i],
							  .addresses = &s->addresses[i],
							  .n_addresses = 1,
							  .inbound = &s->inbound,
							  .n_inbound = 1 };
	}
	return s;
}

struct mesh_snapshot *mesh_snapshot_ref(struct mesh_snapshot *s)
{
	s->refs++;
	return s;
}

struct mesh_snapshot *mesh_snapshot_unref(struct mesh_snapshot *s)
{
	if (s && --s->refs == 0)
		free(s);
	return NULL;
}

uint64_t mesh_snapshot_generation(const struct mesh_snapshot *s)
{
	return s->mesh.generation;
}

const struct mesh_settings *mesh_snapshot_settings(const struct mesh_snapshot *s)
{
	return &s->settings;
}

const struct mesh_service *mesh_snapshot_service_find(const struct mesh_snapshot *s, const char *namespace,
						      const char *name)
{
	for (size_t i = 0; i < s->mesh.n_services; i++)
		if (!s->mesh.services[i].gone && strcmp(s->services[i].name, name) == 0 &&
		    strcmp(s->services[i].namespace, namespace) == 0)
			return &s->services[i];
	return NULL;
}

const struct mesh_service *mesh_snapshot_service_by_ip(const struct mesh_snapshot *s, const struct addr *ip)
{
	for (size_t i = 0; i < s->mesh.n_services; i++)
		if (!s->mesh.services[i].gone && addr_ip_eq(&s->mesh.services[i].vip, ip))
			return &s->services[i];
	return NULL;
}

const struct mesh_workload *mesh_snapshot_workload_by_id(const struct mesh_snapshot *s, uint32_t id)
{
	return id && id <= s->mesh.n_workloads ? &s->workloads[id - 1] : NULL;
}

const struct mesh_workload *mesh_snapshot_workload_by_ip(const struct mesh_snapshot *s, const struct addr *ip)
{
	for (size_t i = 0; i < s->mesh.n_workloads; i++)
		if (addr_ip_eq(&s->addresses[i], ip))
			return &s->workloads[i];
	return NULL;
}

const struct mesh_service_port *mesh_service_port_find(const struct mesh_service *svc, uint16_t port)
{
	return svc->ports[0].port == port ? &svc->ports[0] : NULL;
}

const struct mesh_endpoint *mesh_snapshot_endpoint_by_addr(const struct mesh_snapshot *s, const struct addr *addr,
							   const struct mesh_service **ret_service,
							   const struct mesh_service_port **ret_port)
{
	for (size_t i = 0; i < s->mesh.n_services; i++)
		for (size_t k = 0; k < s->mesh.services[i].n_endpoints && !s->mesh.services[i].gone; k++)
			if (addr_eq(&s->mesh.services[i].endpoints[k].addr, addr)) {
				*ret_service = &s->services[i];
				*ret_port = &s->ports[i];
				return &s->mesh.services[i].endpoints[k];
			}
	return NULL;
}

bool mesh_snapshot_dns_find(const struct mesh_snapshot *s, const char *namespace, struct str name,
			    struct mesh_dns_answer *ret)
{
	for (size_t i = 0; i < s->mesh.n_services; i++)
		if (!s->mesh.services[i].gone &&
		    (str_eq_c(name, s->services[i].name) || str_eq_c(name, s->services[i].hostname))) {
			*ret = (struct mesh_dns_answer){ &s->services[i], s->services[i].hostname,
							 &s->mesh.services[i].vip, 1 };
			return true;
		}
	return false;
}
