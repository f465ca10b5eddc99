/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts: see part.h
 *
 * The room of a part is counted before it is made: every text of a message takes at most its packed size (a text of n
 * bytes is packed in n + 2 or more, and takes n + 1 here), every address 18 bytes both ways, arrays are counted by
 * item.
 */
#include "proxy/snapshot/part.h"

#include <assert.h>
#include <stdio.h>

#define ALIGN 8

struct room {
	char *at, *end;
};

static void *take(struct room *room, size_t n, size_t align)
{
	char *p = (char *)(((uintptr_t)room->at + align - 1) & ~(uintptr_t)(align - 1));

	assert(p + n <= room->end); /* counted by us, not by the peer */
	room->at = p + n;
	return p;
}

static const char *take_text(struct room *room, const char *text)
{
	size_t n = strlen(text) + 1;

	return n == 1 ? "" : memcpy(take(room, n, 1), text, n);
}

static const char *take_svc_name(struct room *room, const char *namespace, const char *name)
{
	size_t n = 4 + strlen(namespace) + 1 + strlen(name) + 1;
	char *p;

	if (!*name)
		return "";
	p = take(room, n, 1);
	snprintf(p, n, "svc/%s/%s", namespace, name);
	return p;
}

static struct addr *take_addresses(struct room *room, const ProtobufCBinaryData *a, size_t n)
{
	struct addr *out = take(room, n * sizeof(*out), _Alignof(struct addr));

	for (size_t i = 0; i < n; i++) {
		memcpy(out[i].ip, a[i].data, 16);
		out[i].port = 0;
	}
	return out;
}

static void endpoint_fill(struct room *room, const Trammel__V1__Endpoint *from, struct endpoint *to)
{
	*to = (struct endpoint){ .addr.port = (uint16_t)from->port,
				 .ready = from->ready,
				 .terminating = from->terminating,
				 .mtls = from->mtls,
				 .hbone = from->tunnel == TRAMMEL__V1__TUNNEL__TUNNEL_HBONE,
				 .spiffe_id = take_text(room, from->spiffe_id),
				 .workload = take_text(room, from->workload),
				 .namespace = take_text(room, from->namespace_) };
	memcpy(to->addr.ip, from->ip.data, 16);
}

static void self_fill(struct room *room, const Trammel__V1__Self *from, struct self *to)
{
	struct inbound_port *in = take(room, from->n_inbound * sizeof(*in), ALIGN);
	struct addr *dns = take(room, from->n_dns_upstream * sizeof(*dns), ALIGN);
	const char **zones = take(room, from->n_reverse_zones * sizeof(*zones), ALIGN);

	*to = (struct self){ .namespace = take_text(room, from->namespace_),
			     .name = take_text(room, from->name),
			     .service_account = take_text(room, from->service_account),
			     .trust_domain = take_text(room, from->trust_domain),
			     .spiffe_id = take_text(room, from->spiffe_id),
			     .cluster_domain = take_text(room, from->cluster_domain),
			     .trust_bundle_pem = take_text(room, from->trust_bundle_pem),
			     .n_addresses = from->n_addresses,
			     .default_mtls = (enum mtls_mode)from->default_mtls,
			     .inbound = in,
			     .n_inbound = from->n_inbound,
			     .refuse_unknown = from->refuse_unknown,
			     .h2_upgrade = from->h2_upgrade,
			     .reverse_zones = zones,
			     .n_reverse_zones = from->n_reverse_zones,
			     .dns_upstream = dns };
	for (size_t i = 0; i < from->n_reverse_zones; i++)
		zones[i] = take_text(room, from->reverse_zones[i]);
	to->addresses = take_addresses(room, from->addresses, from->n_addresses);
	for (size_t i = 0; i < from->n_inbound; i++) {
		const Trammel__V1__InboundPort *p = from->inbound[i];

		in[i] = (struct inbound_port){ .port = (uint16_t)p->port,
					       .mtls = (enum mtls_mode)(p->has_mtls ? p->mtls : from->default_mtls),
					       .protocol = (enum app_protocol)p->protocol,
					       .http1 = p->http1,
					       .service_namespace = take_text(room, p->service_namespace),
					       .service_name = take_text(room, p->service_name) };
	}
	for (size_t i = 0; i < from->n_dns_upstream; i++)
		to->n_dns_upstream += addr_parse(str_from(from->dns_upstream[i]), &dns[to->n_dns_upstream]) == 0;
}

static void dest_fill(struct room *room, const Trammel__V1__Dest *from, struct dest_part *to)
{
	static const enum dest_kind kinds[] = { DEST_UNKNOWN, DEST_SERVICE, DEST_ENDPOINT, DEST_SERVICE_NO_PORT };

	to->kind = kinds[from->kind];
	to->protocol = (enum app_protocol)from->protocol;
	to->service = take_svc_name(room, from->service_namespace, from->service_name);
	to->service_port = (uint16_t)from->service_port;
	if (to->kind == DEST_ENDPOINT)
		endpoint_fill(room, from->endpoint, &to->endpoint);
}

static void dns_fill(struct room *room, const Trammel__V1__DnsName *from, struct dns_part *to)
{
	to->dns = (struct dns_name){ .known = from->known,
				     .canonical = take_text(room, from->canonical),
				     .n_addresses = from->n_addresses };
	to->service = take_svc_name(room, from->service_namespace, from->service_name);
	to->dns.addresses = take_addresses(room, from->addresses, from->n_addresses);
}

static void take_tls(struct room *room, const Trammel__V1__BackendTls *from, struct backend_tls *to)
{
	const char **names = take(room, from->n_names * sizeof(*names), ALIGN);

	*to = (struct backend_tls){ .hostname = take_text(room, from->hostname),
				    .ca_pem = take_text(room, from->ca_pem),
				    .error = take_text(room, from->error),
				    .names = names,
				    .n_names = from->n_names };
	to->key = hash_str(str_from(to->hostname)) * 31 + hash_str(str_from(to->ca_pem));
	for (size_t i = 0; i < from->n_names; i++) {
		names[i] = take_text(room, from->names[i]);
		to->key = to->key * 31 + hash_str(str_from(names[i]));
	}
}

static void svc_fill(struct room *room, const Trammel__V1__Service *from, struct svc_part *to)
{
	struct backend_tls *tls = take(room, from->n_tls * sizeof(*tls), ALIGN);

	to->ports = take(room, from->n_ports * sizeof(*to->ports), ALIGN);
	to->n_ports = from->n_ports;
	to->namespace = take_text(room, from->namespace_);
	to->name = take_text(room, from->name);
	to->headless = from->headless;
	to->n_addresses = from->n_addresses;
	for (size_t i = 0; i < from->n_ports; i++)
		to->ports[i] = (struct svc_port){ .port = (uint16_t)from->ports[i]->port,
						  .protocol = (enum app_protocol)from->ports[i]->protocol,
						  .name = take_text(room, from->ports[i]->name) };
	for (size_t i = 0; i < from->n_tls; i++)
		take_tls(room, from->tls[i], &tls[i]);
	for (size_t i = 0; i < from->n_ports; i++)
		to->ports[i].tls = from->ports[i]->tls ? &tls[from->ports[i]->tls - 1] : NULL;
	to->addresses = take_addresses(room, from->addresses, from->n_addresses);
}

static void eps_fill(struct room *room, const Trammel__V1__Endpoints *from, struct eps_part *to)
{
	to->ports = take(room, from->n_ports * sizeof(*to->ports), ALIGN);
	to->n_ports = from->n_ports;
	for (size_t i = 0; i < from->n_ports; i++) {
		const Trammel__V1__PortEndpoints *p = from->ports[i];
		struct eps_port *port = &to->ports[i];

		*port = (struct eps_port){ .port = (uint16_t)p->service_port, .n_endpoints = p->n_endpoints };
		port->endpoints = take(room, p->n_endpoints * sizeof(*port->endpoints), ALIGN);
		for (size_t k = 0; k < p->n_endpoints; k++) {
			endpoint_fill(room, p->endpoints[k], &port->endpoints[k]);
			port->n_ready += port->endpoints[k].ready;
		}
	}
}

/* Bytes of the arrays in a message, beside its texts and addresses. */
static size_t arrays_bytes(const Trammel__V1__Resource *r)
{
	size_t n = 64; /* alignment, and "svc/" before a name */

	switch (r->kind_case) {
	case TRAMMEL__V1__RESOURCE__KIND_SELF:
		n += r->self->n_inbound * sizeof(struct inbound_port) + r->self->n_dns_upstream * sizeof(struct addr) +
		     r->self->n_reverse_zones * sizeof(char *);
		break;
	case TRAMMEL__V1__RESOURCE__KIND_SERVICE:
		n += r->service->n_ports * sizeof(struct svc_port);
		for (size_t i = 0; i < r->service->n_tls; i++)
			n += sizeof(struct backend_tls) + 2 * ALIGN + r->service->tls[i]->n_names * sizeof(char *);
		break;
	case TRAMMEL__V1__RESOURCE__KIND_ENDPOINTS:
		for (size_t i = 0; i < r->endpoints->n_ports; i++)
			n += sizeof(struct eps_port) + ALIGN +
			     r->endpoints->ports[i]->n_endpoints * sizeof(struct endpoint);
		break;
	default:
		break;
	}
	return n;
}

static const size_t part_bytes[] = {
	[PART_SELF] = sizeof(struct self_part), [PART_DEST] = sizeof(struct dest_part),
	[PART_DNS] = sizeof(struct dns_part),   [PART_SVC] = sizeof(struct svc_part),
	[PART_EPS] = sizeof(struct eps_part),
};

uint64_t part_hash(enum part_kind kind, struct str name)
{
	return hash_str(name) ^ (uint64_t)kind * 0x9e3779b97f4a7c15ull;
}

static void part_init(struct part *p, enum part_kind kind, uint64_t version, const char *name)
{
	atomic_init(&p->refs, 1);
	p->kind = kind;
	p->version = version;
	p->name = name;
	p->name_n = strlen(name);
	p->hash = part_hash(kind, (struct str){ name, p->name_n });
}

struct part *part_new(const Trammel__V1__Resource *r)
{
	enum part_kind kind = PART_SELF;
	struct room room;
	struct part *p;
	size_t n;

	if (part_kind_of_name(str_from(r->name), &kind) < 0)
		return NULL;
	n = part_bytes[kind] + arrays_bytes(r) + protobuf_c_message_get_packed_size(&r->base);
	p = calloc(1, n);
	if (!p)
		return NULL;
	room = (struct room){ (char *)p + part_bytes[kind], (char *)p + n };
	switch (kind) {
	case PART_SELF:
		self_fill(&room, r->self, &((struct self_part *)p)->self);
		break;
	case PART_DEST:
		dest_fill(&room, r->dest, (struct dest_part *)p);
		break;
	case PART_DNS:
		dns_fill(&room, r->dns, (struct dns_part *)p);
		break;
	case PART_SVC:
		svc_fill(&room, r->service, (struct svc_part *)p);
		break;
	default:
		eps_fill(&room, r->endpoints, (struct eps_part *)p);
	}
	part_init(p, kind, r->version, take_text(&room, r->name));
	return p;
}

static const struct eps_port *eps_port_find(const struct eps_part *eps, uint16_t port)
{
	for (size_t i = 0; eps && i < eps->n_ports; i++)
		if (eps->ports[i].port == port)
			return &eps->ports[i];
	return NULL;
}

struct view_part *part_view_new(struct svc_part *svc, struct eps_part *eps, const char *cluster_domain)
{
	size_t host_n = strlen(svc->name) + strlen(svc->namespace) + strlen(cluster_domain) + 8;
	struct view_part *v = calloc(1, sizeof(*v) + svc->n_ports * sizeof(struct service_port) + host_n);
	struct service_port *ports;
	char *host;

	if (!v)
		return NULL;
	ports = (struct service_port *)(v + 1);
	host = (char *)(ports + svc->n_ports);
	snprintf(host, host_n, "%s.%s.svc.%s", svc->name, svc->namespace, cluster_domain);
	for (size_t i = 0; i < svc->n_ports; i++) {
		const struct eps_port *e = eps_port_find(eps, svc->ports[i].port);

		ports[i] = (struct service_port){ .port = svc->ports[i].port,
						  .name = svc->ports[i].name,
						  .protocol = svc->ports[i].protocol,
						  .tls = svc->ports[i].tls,
						  .endpoints = e ? e->endpoints : NULL,
						  .n_endpoints = e ? e->n_endpoints : 0,
						  .n_ready = e ? e->n_ready : 0 };
	}
	v->svc = (struct svc_part *)part_ref(&svc->part);
	v->eps = eps ? (struct eps_part *)part_ref(&eps->part) : NULL;
	v->service = (struct service){ .namespace = svc->namespace,
				       .name = svc->name,
				       .hostname = host,
				       .addresses = svc->addresses,
				       .n_addresses = svc->n_addresses,
				       .headless = svc->headless,
				       .ports = ports,
				       .n_ports = svc->n_ports };
	v->service.version = svc->part.version * 31 + (eps ? eps->part.version : 0);
	part_init(&v->part, PART_VIEW, v->service.version, svc->part.name);
	return v;
}

struct part *part_ref(struct part *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct part *part_unref(struct part *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	if (p->kind == PART_VIEW) {
		part_unref(&((struct view_part *)p)->svc->part);
		if (((struct view_part *)p)->eps)
			part_unref(&((struct view_part *)p)->eps->part);
	}
	free(p);
	return NULL;
}
