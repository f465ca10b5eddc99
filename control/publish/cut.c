/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts: see cut.h. Messages are built on borrowed strings and live only until they are packed. */
#include "control/publish/cut.h"

#include <errno.h>
#include <stdlib.h>
#include "trammel/publish.pb-c.h"

#define TLS_MAX 16 /* 256 KiB of roots each */

#define P(name) ((char *)(uintptr_t)(name)) /* protobuf-c's structs are not const; packing does not write */

/* The hash of a version: FNV-1a, 64 bits. Never 0, which means "none". */
static uint64_t version_of(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h ? h : 1;
}

static struct cut *cut_free(struct cut *c)
{
	if (!c)
		return NULL;
	free(c->key);
	free(c->wire);
	free(c->service);
	free(c);
	return NULL;
}

/* Fills version and wire from @r, whose version is 0 yet: the hash is over all the rest. */
static int cut_pack(struct cut *c, Trammel__V1__Resource *r)
{
	size_t n;

	r->name = P(c->name);
	r->version = 0;
	n = trammel__v1__resource__get_packed_size(r) + 9; /* and the version */
	c->wire = malloc(n);
	if (!c->wire)
		return -ENOMEM;
	c->version = version_of(c->wire, trammel__v1__resource__pack(r, c->wire));
	r->version = c->version;
	c->wire_n = trammel__v1__resource__pack(r, c->wire);
	return 0;
}

static int cut_name_service(struct cut *c, const struct mesh_service *svc)
{
	if (!svc)
		return 0;
	c->service = str_printf("%s/%s", svc->namespace, svc->name);
	return c->service ? 0 : -ENOMEM;
}

static ProtobufCBinaryData *addresses_new(const struct addr *a, size_t n)
{
	ProtobufCBinaryData *out = calloc(n + 1, sizeof(*out));

	for (size_t i = 0; out && i < n; i++)
		out[i] = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)a[i].ip };
	return out;
}

static void endpoint_fill(const struct mesh_endpoint *from, Trammel__V1__Endpoint *to)
{
	trammel__v1__endpoint__init(to);
	to->ip = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)from->addr.ip };
	to->port = from->addr.port;
	to->ready = from->ready;
	to->terminating = from->terminating;
	to->mtls = from->mtls;
	to->tunnel = from->hbone ? TRAMMEL__V1__TUNNEL__TUNNEL_HBONE : TRAMMEL__V1__TUNNEL__TUNNEL_NONE;
	to->spiffe_id = P(from->spiffe_id);
	to->workload = P(from->workload);
	to->namespace_ = P(from->namespace);
}

/* self */

static void inbound_fill(const struct mesh_inbound *from, Trammel__V1__InboundPort *to)
{
	trammel__v1__inbound_port__init(to);
	to->port = from->port;
	to->mtls = (Trammel__V1__MtlsMode)from->mtls;
	to->has_mtls = from->has_mtls;
	to->protocol = (Trammel__V1__AppProtocol)from->protocol;
	to->http1 = from->http1;
	if (from->service) {
		to->service_namespace = P(from->service->namespace);
		to->service_name = P(from->service->name);
	}
}

static int self_pack(struct cut *c, const struct cut_store *s, const struct mesh_workload *w, Trammel__V1__Self *self)
{
	const struct mesh_settings *set = mesh_snapshot_settings(s->snapshot);
	_cleanup_(freep) ProtobufCBinaryData *addresses = addresses_new(w->addresses, w->n_addresses);
	_cleanup_(freep) Trammel__V1__InboundPort *in = calloc(w->n_inbound + 1, sizeof(*in));
	_cleanup_(freep) Trammel__V1__InboundPort **in_p = calloc(w->n_inbound + 1, sizeof(*in_p));
	_cleanup_(freep) char(*dns)[ADDR_TEXT_BYTES] = calloc(set->n_dns_upstream + 1, sizeof(*dns));
	_cleanup_(freep) char **dns_p = calloc(set->n_dns_upstream + 1, sizeof(*dns_p));
	Trammel__V1__Resource r = TRAMMEL__V1__RESOURCE__INIT;

	if (!addresses || !in || !in_p || !dns || !dns_p)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_inbound; i++) {
		inbound_fill(&w->inbound[i], &in[i]);
		in_p[i] = &in[i];
	}
	for (size_t i = 0; i < set->n_dns_upstream; i++)
		dns_p[i] = P(addr_format(&set->dns_upstream[i], dns[i]));
	self->namespace_ = P(w->namespace);
	self->name = P(w->name);
	self->service_account = P(w->service_account);
	self->trust_domain = P(set->trust_domain);
	self->spiffe_id = P(w->spiffe_id);
	self->n_addresses = w->n_addresses;
	self->addresses = addresses;
	self->default_mtls = (Trammel__V1__MtlsMode)w->default_mtls;
	self->n_inbound = w->n_inbound;
	self->inbound = in_p;
	self->refuse_unknown = set->refuse_unknown;
	self->h2_upgrade = set->h2_upgrade;
	self->n_dns_upstream = set->n_dns_upstream;
	self->dns_upstream = dns_p;
	self->trust_bundle_pem = P(s->trust_bundle_pem);
	self->n_labels = w->n_labels;
	self->labels = (char **)(uintptr_t)w->labels;
	self->cluster_domain = P(set->cluster_domain);
	self->n_reverse_zones = set->n_reverse_zones;
	self->reverse_zones = (char **)(uintptr_t)set->reverse_zones;
	r.kind_case = TRAMMEL__V1__RESOURCE__KIND_SELF;
	r.self = self;
	return cut_pack(c, &r);
}

static int self_cut(struct cut *c, const struct cut_store *s, const struct mesh_workload *w)
{
	Trammel__V1__Self self = TRAMMEL__V1__SELF__INIT;

	return self_pack(c, s, w, &self);
}

/* addr/ */

static int dest_pack(struct cut *c, const struct mesh_service *svc, const struct mesh_service_port *port,
		     const struct mesh_endpoint *ep, int protocol)
{
	Trammel__V1__Resource r = TRAMMEL__V1__RESOURCE__INIT;
	Trammel__V1__Dest d = TRAMMEL__V1__DEST__INIT;
	Trammel__V1__Endpoint e;
	int err;

	d.kind = ep     ? TRAMMEL__V1__DEST__KIND__ENDPOINT
		 : !svc ? TRAMMEL__V1__DEST__KIND__UNKNOWN
		 : port ? TRAMMEL__V1__DEST__KIND__SERVICE
			: TRAMMEL__V1__DEST__KIND__SERVICE_NO_PORT;
	if (svc) {
		d.service_namespace = P(svc->namespace);
		d.service_name = P(svc->name);
	}
	d.service_port = port ? port->port : 0;
	d.protocol = (Trammel__V1__AppProtocol)protocol;
	if (ep) {
		endpoint_fill(ep, &e);
		d.endpoint = &e;
	}
	r.kind_case = TRAMMEL__V1__RESOURCE__KIND_DEST;
	r.dest = &d;
	err = cut_pack(c, &r);
	return err == 0 ? cut_name_service(c, svc) : err;
}

/* A workload's own address on a port that no service has. */
static int dest_cut_workload(struct cut *c, const struct mesh_workload *w, const struct addr *addr)
{
	struct mesh_endpoint ep = {
		.addr = *addr, .ready = true, .spiffe_id = w->spiffe_id, .workload = w->name, .namespace = w->namespace
	};
	enum mesh_mtls mtls = w->default_mtls;
	int protocol = MESH_APP_UNDECLARED;

	for (size_t i = 0; i < w->n_inbound; i++)
		if (w->inbound[i].port == addr->port) {
			mtls = w->inbound[i].has_mtls ? w->inbound[i].mtls : mtls;
			protocol = w->inbound[i].protocol;
		}
	if (mesh_port_is_open(addr->port)) {
		mtls = MESH_MTLS_DISABLE;
		protocol = MESH_APP_HTTP1;
	}
	ep.mtls = mtls != MESH_MTLS_DISABLE;
	ep.hbone = ep.mtls && w->hbone;
	return dest_pack(c, NULL, NULL, &ep, protocol);
}

static int dest_cut(struct cut *c, const struct mesh_snapshot *s, struct str text)
{
	const struct mesh_service *svc;
	const struct mesh_service_port *port = NULL;
	const struct mesh_workload *w;
	const struct mesh_endpoint *ep;
	struct addr addr;

	if (addr_parse(text, &addr) < 0)
		return -EINVAL;
	svc = mesh_snapshot_service_by_ip(s, &addr);
	if (svc) {
		port = mesh_service_port_find(svc, addr.port);
		return dest_pack(c, svc, port, NULL, port ? (int)port->protocol : MESH_APP_UNDECLARED);
	}
	ep = mesh_snapshot_endpoint_by_addr(s, &addr, &svc, &port);
	if (ep)
		return dest_pack(c, svc, port, ep, port ? (int)port->protocol : MESH_APP_UNDECLARED);
	w = mesh_snapshot_workload_by_ip(s, &addr);
	return w ? dest_cut_workload(c, w, &addr) : dest_pack(c, NULL, NULL, NULL, MESH_APP_UNDECLARED);
}

/* dns/ */

static int dns_cut(struct cut *c, const struct mesh_snapshot *s, const char *namespace, struct str name)
{
	Trammel__V1__Resource r = TRAMMEL__V1__RESOURCE__INIT;
	Trammel__V1__DnsName d = TRAMMEL__V1__DNS_NAME__INIT;
	_cleanup_(freep) ProtobufCBinaryData *addresses = NULL;
	struct mesh_dns_answer answer = { 0 };
	int err;

	d.known = mesh_snapshot_dns_find(s, namespace, name, &answer);
	if (d.known) {
		addresses = addresses_new(answer.addresses, answer.n_addresses);
		if (!addresses)
			return -ENOMEM;
		d.canonical = P(answer.canonical);
		d.n_addresses = answer.n_addresses;
		d.addresses = addresses;
		if (answer.service) {
			d.service_namespace = P(answer.service->namespace);
			d.service_name = P(answer.service->name);
		}
	}
	r.kind_case = TRAMMEL__V1__RESOURCE__KIND_DNS;
	r.dns = &d;
	err = cut_pack(c, &r);
	return err == 0 && d.known ? cut_name_service(c, answer.service) : err;
}

/* svc/ and eps/ */

/* Each policy once, however many ports it holds for. */
struct tls_list {
	const struct mesh_backend_tls *from[TLS_MAX + 1];
	Trammel__V1__BackendTls to[TLS_MAX + 1], *to_p[TLS_MAX + 1];
	size_t n;
};

static void tls_fill(const struct mesh_backend_tls *from, Trammel__V1__BackendTls *to)
{
	trammel__v1__backend_tls__init(to);
	to->hostname = P(from->hostname);
	to->n_names = from->n_names;
	to->names = (char **)(uintptr_t)from->names;
	to->ca_pem = P(from->ca_pem);
	to->error = P(from->error);
}

/* Its number in the list, from 1; 0: none. Beyond TLS_MAX all are one, and an error: a message has its bounds. */
static uint32_t tls_number(struct tls_list *l, const struct mesh_backend_tls *tls)
{
	static const struct mesh_backend_tls too_many = {
		.hostname = "too-many", .ca_pem = "", .error = "more than 16 different policies hold for ports of this Service"
	};

	if (!tls)
		return 0;
	for (size_t i = 0; i < l->n; i++)
		if (l->from[i] == tls)
			return (uint32_t)i + 1;
	if (l->n > TLS_MAX)
		return TLS_MAX + 1; /* too_many stands there */
	if (l->n == TLS_MAX)
		tls = &too_many;
	l->from[l->n] = tls;
	tls_fill(tls, &l->to[l->n]);
	l->to_p[l->n] = &l->to[l->n];
	return (uint32_t)++l->n;
}

static int service_cut(struct cut *c, const struct mesh_service *svc)
{
	Trammel__V1__Resource r = TRAMMEL__V1__RESOURCE__INIT;
	Trammel__V1__Service s = TRAMMEL__V1__SERVICE__INIT;
	_cleanup_(freep) ProtobufCBinaryData *addresses = addresses_new(svc->addresses, svc->n_addresses);
	_cleanup_(freep) Trammel__V1__ServicePort *ports = calloc(svc->n_ports + 1, sizeof(*ports));
	_cleanup_(freep) Trammel__V1__ServicePort **ports_p = calloc(svc->n_ports + 1, sizeof(*ports_p));
	_cleanup_(freep) struct tls_list *tls = calloc(1, sizeof(*tls));

	if (!addresses || !ports || !ports_p || !tls)
		return -ENOMEM;
	for (size_t i = 0; i < svc->n_ports; i++) {
		trammel__v1__service_port__init(&ports[i]);
		ports[i].port = svc->ports[i].port;
		ports[i].name = P(svc->ports[i].name);
		ports[i].protocol = (Trammel__V1__AppProtocol)svc->ports[i].protocol;
		ports[i].tls = tls_number(tls, svc->ports[i].tls);
		ports_p[i] = &ports[i];
	}
	s.namespace_ = P(svc->namespace);
	s.name = P(svc->name);
	s.n_addresses = svc->n_addresses;
	s.addresses = addresses;
	s.n_ports = svc->n_ports;
	s.ports = ports_p;
	s.headless = svc->headless;
	s.n_tls = tls->n;
	s.tls = tls->to_p;
	r.kind_case = TRAMMEL__V1__RESOURCE__KIND_SERVICE;
	r.service = &s;
	return cut_pack(c, &r);
}

/* The endpoints of all ports lie in one array, behind an array of pointers to them. */
static int endpoints_cut(struct cut *c, const struct mesh_service *svc)
{
	Trammel__V1__Resource r = TRAMMEL__V1__RESOURCE__INIT;
	Trammel__V1__Endpoints eps = TRAMMEL__V1__ENDPOINTS__INIT;
	_cleanup_(freep) Trammel__V1__PortEndpoints *ports = calloc(svc->n_ports + 1, sizeof(*ports));
	_cleanup_(freep) Trammel__V1__PortEndpoints **ports_p = calloc(svc->n_ports + 1, sizeof(*ports_p));
	_cleanup_(freep) Trammel__V1__Endpoint *all = NULL, **all_p = NULL;
	size_t n = 0;

	for (size_t i = 0; i < svc->n_ports; i++)
		n += svc->ports[i].n_endpoints;
	all = calloc(n + 1, sizeof(*all));
	all_p = calloc(n + 1, sizeof(*all_p));
	if (!ports || !ports_p || !all || !all_p)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < svc->n_ports; i++) {
		trammel__v1__port_endpoints__init(&ports[i]);
		ports[i].service_port = svc->ports[i].port;
		ports[i].n_endpoints = svc->ports[i].n_endpoints;
		ports[i].endpoints = &all_p[n];
		for (size_t k = 0; k < svc->ports[i].n_endpoints; k++, n++) {
			endpoint_fill(&svc->ports[i].endpoints[k], &all[n]);
			all_p[n] = &all[n];
		}
		ports_p[i] = &ports[i];
	}
	eps.n_ports = svc->n_ports;
	eps.ports = ports_p;
	r.kind_case = TRAMMEL__V1__RESOURCE__KIND_ENDPOINTS;
	r.endpoints = &eps;
	return cut_pack(c, &r);
}

/* Names */

/* "NAMESPACE/NAME" behind a prefix of four bytes. */
static bool name_split(struct str name, struct str *ret_namespace, struct str *ret_name)
{
	struct str rest = { name.p + 4, name.n - 4 };

	return str_split(&rest, '/', ret_namespace) && ret_namespace->n && rest.p && rest.n &&
	       (*ret_name = rest, str_find_char(rest, '/') < 0);
}

bool cut_name_is_valid(struct str name)
{
	struct str a, b;
	struct addr addr;

	if (name.n > CUT_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~')
			return false;
	if (str_starts(name, STR("addr/")))
		return addr_parse((struct str){ name.p + 5, name.n - 5 }, &addr) == 0;
	if (str_starts(name, STR("dns/")))
		return name.n > 4 && name.n <= 4 + 253;
	if (str_starts(name, STR("svc/")) || str_starts(name, STR("eps/")))
		return name_split(name, &a, &b);
	return str_eq(name, STR("self"));
}

static const struct mesh_service *service_of(const struct mesh_snapshot *s, struct str name)
{
	_cleanup_(freep) char *ns_z = NULL, *name_z = NULL;
	struct str ns, n;

	if (!name_split(name, &ns, &n))
		return NULL;
	ns_z = str_dup(ns);
	name_z = str_dup(n);
	return ns_z && name_z ? mesh_snapshot_service_find(s, ns_z, name_z) : NULL;
}

/* 0 with c->wire NULL: a service that is not there. */
static int cut_make(struct cut *c, struct cut_store *s, const struct mesh_workload *w)
{
	struct str name = str_from(c->name);
	const struct mesh_service *svc;

	if (str_eq(name, STR("self")))
		return self_cut(c, s, w);
	if (str_starts(name, STR("addr/")))
		return dest_cut(c, s->snapshot, (struct str){ name.p + 5, name.n - 5 });
	if (str_starts(name, STR("dns/")))
		return dns_cut(c, s->snapshot, w->namespace, (struct str){ name.p + 4, name.n - 4 });
	svc = service_of(s->snapshot, name);
	if (!svc)
		return 0;
	return str_starts(name, STR("svc/")) ? service_cut(c, svc) : endpoints_cut(c, svc);
}

/* The store */

static bool key_eq(const struct hash_node *node, const void *key)
{
	return strcmp(container_of(node, struct cut, node)->key, key) == 0;
}

/* A dns/ name is resolved for a namespace, self is a workload's own; the rest is the same for all. */
static char *key_of(const struct mesh_workload *w, const char *name)
{
	if (strcmp(name, "self") == 0)
		return str_printf("%s/%s|self", w->namespace, w->name);
	if (strncmp(name, "dns/", 4) == 0)
		return str_printf("%s|%s", w->namespace, name);
	return str_printf("|%s", name);
}

int cut_get(struct cut_store *s, const struct mesh_workload *w, const char *name, const struct cut **ret)
{
	char *key = key_of(w, name);
	struct hash_node *node;
	struct cut *c;
	int r;

	if (!key)
		return -ENOMEM;
	node = hash_table_find(&s->cuts, hash_str(str_from(key)), key_eq, key);
	c = node ? container_of(node, struct cut, node) : calloc(1, sizeof(*c));
	if (node || !c) {
		free(key);
	} else {
		c->key = key;
		c->name = strchr(key, '|') + 1;
		r = cut_make(c, s, w);
		if (r == 0)
			r = hash_table_add(&s->cuts, &c->node, hash_str(str_from(key)));
		if (r < 0) {
			cut_free(c);
			return r;
		}
	}
	if (!c)
		return -ENOMEM;
	*ret = c->wire ? c : NULL;
	return 0;
}

void cut_store_init(struct cut_store *s, const char *trust_bundle_pem)
{
	*s = (struct cut_store){ .trust_bundle_pem = trust_bundle_pem };
	hash_table_init(&s->cuts);
}

void cut_store_set(struct cut_store *s, struct mesh_snapshot *snapshot)
{
	struct hash_node *n = hash_table_first(&s->cuts), *next;

	for (; n; n = next) {
		next = hash_table_next(&s->cuts, n);
		hash_table_remove(&s->cuts, n);
		cut_free(container_of(n, struct cut, node));
	}
	hash_table_done(&s->cuts);
	hash_table_init(&s->cuts);
	if (snapshot)
		mesh_snapshot_ref(snapshot);
	s->snapshot = mesh_snapshot_unref(s->snapshot);
	s->snapshot = snapshot;
}
