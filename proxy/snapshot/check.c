/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking what the agent sent
 *
 * Everything that later code takes for granted is made certain here: kinds match names, addresses have 16 bytes, ports
 * and enumerations are in range, names hold no bytes that could break a log line or a header, identities are SPIFFE
 * IDs. Pure.
 */
#include "proxy/snapshot/part.h"

#include <errno.h>
#include "base/x509/spiffe_id.h"

#define NAME_MAX_BYTES 300

int part_kind_of_name(struct str name, enum part_kind *ret)
{
	static const struct {
		struct str prefix;
		enum part_kind kind;
	} kinds[] = { { STR("addr/"), PART_DEST },
		      { STR("dns/"), PART_DNS },
		      { STR("svc/"), PART_SVC },
		      { STR("eps/"), PART_EPS } };

	if (str_eq(name, STR("self"))) {
		*ret = PART_SELF;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_starts(name, kinds[i].prefix)) {
			*ret = kinds[i].kind;
			return 0;
		}
	return -EINVAL;
}

/* Printable ASCII without space; may be empty. */
static bool is_clean(const char *text)
{
	size_t n = strnlen(text, NAME_MAX_BYTES + 1);

	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return n <= NAME_MAX_BYTES;
}

static bool is_name(const char *text)
{
	return *text && is_clean(text) && !strchr(text, '/');
}

static bool is_port(uint32_t port)
{
	return port >= 1 && port <= 65535;
}

static bool is_protocol(int protocol)
{
	return protocol >= APP_UNDECLARED && protocol <= APP_SERVER_FIRST;
}

static bool is_mtls(int mtls)
{
	return mtls >= MTLS_PERMISSIVE && mtls <= MTLS_DISABLE;
}

static bool are_addresses(const ProtobufCBinaryData *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].len != 16)
			return false;
	return true;
}

static bool is_spiffe_id(const char *text, const char *trust_domain)
{
	struct spiffe_id id;

	return spiffe_id_parse(str_from(text), &id) == 0 && id.path.n &&
	       (!trust_domain || str_eq_c(id.trust_domain, trust_domain));
}

static const char *check_inbound(const Trammel__V1__Self *s)
{
	for (size_t i = 0; i < s->n_inbound; i++) {
		const Trammel__V1__InboundPort *p = s->inbound[i];

		if (!is_port(p->port))
			return "inbound port is out of range";
		if (i && s->inbound[i - 1]->port >= p->port)
			return "inbound ports are not in ascending order";
		if (!is_mtls(p->mtls) || !is_protocol(p->protocol))
			return "inbound port has an unknown mTLS mode or protocol";
		if (!is_clean(p->service_namespace) || !is_clean(p->service_name))
			return "inbound port's service has a malformed name";
	}
	return NULL;
}

static const char *check_self(const Trammel__V1__Self *s)
{
	struct addr addr;

	if (!is_name(s->namespace_) || !is_name(s->name) || !is_clean(s->service_account))
		return "namespace, name or service account is missing or malformed";
	if (!spiffe_trust_domain_is_valid(str_from(s->trust_domain)) || !is_name(s->cluster_domain))
		return "trust domain or cluster domain is malformed";
	if (!is_spiffe_id(s->spiffe_id, s->trust_domain))
		return "SPIFFE ID is malformed or of another trust domain";
	if (!are_addresses(s->addresses, s->n_addresses))
		return "an address has not 16 bytes";
	if (!is_mtls(s->default_mtls))
		return "unknown mTLS mode";
	for (size_t i = 0; i < s->n_reverse_zones; i++)
		if (!is_name(s->reverse_zones[i]))
			return "a reverse zone is malformed";
	for (size_t i = 0; i < s->n_dns_upstream; i++)
		if (addr_parse(str_from(s->dns_upstream[i]), &addr) < 0)
			return "an upstream DNS server is no IP:PORT";
	if (*s->trust_bundle_pem && !strstr(s->trust_bundle_pem, "-----BEGIN CERTIFICATE-----"))
		return "trust bundle holds no certificate";
	return check_inbound(s);
}

static const char *check_endpoint(const Trammel__V1__Endpoint *e)
{
	if (e->ip.len != 16)
		return "an endpoint's address has not 16 bytes";
	if (!is_port(e->port))
		return "an endpoint's port is out of range";
	if (!is_clean(e->workload) || !is_clean(e->namespace_))
		return "an endpoint's workload has a malformed name";
	if (*e->spiffe_id ? !is_spiffe_id(e->spiffe_id, NULL) : e->mtls)
		return "an endpoint's SPIFFE ID is missing or malformed";
	if (e->tunnel != TRAMMEL__V1__TUNNEL__TUNNEL_NONE && e->tunnel != TRAMMEL__V1__TUNNEL__TUNNEL_HBONE)
		return "an endpoint has an unknown tunnel";
	if (e->tunnel != TRAMMEL__V1__TUNNEL__TUNNEL_NONE && !e->mtls)
		return "an endpoint has a tunnel without mTLS";
	return NULL;
}

static const char *check_dest(const Trammel__V1__Dest *d, struct str name)
{
	bool has_service = *d->service_name != '\0';
	char text[ADDR_TEXT_BYTES];
	struct addr addr;

	name = (struct str){ name.p + 5, name.n - 5 };
	if (addr_parse(name, &addr) < 0 || !str_eq_c(name, addr_format(&addr, text)))
		return "name is no IP:PORT in its one form";
	if (!is_protocol(d->protocol))
		return "unknown protocol";
	if (has_service && (!is_name(d->service_namespace) || !is_name(d->service_name)))
		return "service has a malformed name";
	switch (d->kind) {
	case TRAMMEL__V1__DEST__KIND__UNKNOWN:
		return NULL;
	case TRAMMEL__V1__DEST__KIND__SERVICE:
		return has_service && is_port(d->service_port) ? NULL : "service or its port is missing";
	case TRAMMEL__V1__DEST__KIND__SERVICE_NO_PORT:
		return has_service ? NULL : "service is missing";
	case TRAMMEL__V1__DEST__KIND__ENDPOINT:
		if (!d->endpoint || (has_service && !is_port(d->service_port)))
			return "endpoint or its service's port is missing";
		return check_endpoint(d->endpoint);
	default:
		return "unknown kind of destination";
	}
}

static const char *check_dns(const Trammel__V1__DnsName *d, struct str name)
{
	for (size_t i = 4; i < name.n; i++)
		if (name.p[i] != ascii_lower(name.p[i]))
			return "name is not in lower case";
	if (name.n == 4 || name.n > 4 + 253 || name.p[name.n - 1] == '.')
		return "name is empty, too long or ends in a dot";
	if (!are_addresses(d->addresses, d->n_addresses))
		return "an address has not 16 bytes";
	if (!is_clean(d->canonical) || (d->known && !*d->canonical))
		return "canonical name is missing or malformed";
	if (*d->service_name && (!is_name(d->service_namespace) || !is_name(d->service_name)))
		return "service has a malformed name";
	return NULL;
}

static const char *check_tls(const Trammel__V1__BackendTls *t)
{
	if (!is_name(t->hostname))
		return "a port's TLS has no host name, or a malformed one";
	for (size_t i = 0; i < t->n_names; i++)
		if (!is_name(t->names[i]))
			return "a port's TLS has a malformed name";
	return NULL; /* a bundle that cannot be read fails requests, where a refusal would leave what was before in force */
}

static const char *check_service(const Trammel__V1__Service *s, struct str name)
{
	size_t n = strlen(s->namespace_);

	if (!is_name(s->namespace_) || !is_name(s->name))
		return "namespace or name is missing or malformed";
	if (name.n != 5 + n + strlen(s->name) || memcmp(name.p + 4, s->namespace_, n) != 0 || name.p[4 + n] != '/' ||
	    memcmp(name.p + 5 + n, s->name, strlen(s->name)) != 0)
		return "namespace and name are not those of the resource";
	if (!are_addresses(s->addresses, s->n_addresses))
		return "an address has not 16 bytes";
	for (size_t i = 0; i < s->n_tls; i++)
		if (check_tls(s->tls[i]))
			return check_tls(s->tls[i]);
	for (size_t i = 0; i < s->n_ports; i++) {
		const Trammel__V1__ServicePort *p = s->ports[i];

		if (!is_port(p->port) || !is_protocol(p->protocol) || !is_clean(p->name))
			return "a port's number, name or protocol is malformed";
		if (p->tls > s->n_tls)
			return "a port's TLS is not there";
		for (size_t k = 0; k < i; k++)
			if (s->ports[k]->port == p->port)
				return "a port is there twice";
	}
	return NULL;
}

static const char *check_endpoints(const Trammel__V1__Endpoints *e)
{
	for (size_t i = 0; i < e->n_ports; i++) {
		const Trammel__V1__PortEndpoints *p = e->ports[i];

		if (!is_port(p->service_port))
			return "a port is out of range";
		for (size_t k = 0; k < i; k++)
			if (e->ports[k]->service_port == p->service_port)
				return "a port is there twice";
		for (size_t k = 0; k < p->n_endpoints; k++) {
			const char *why = check_endpoint(p->endpoints[k]);

			if (why)
				return why;
		}
	}
	return NULL;
}

const char *resource_check(const Trammel__V1__Resource *r)
{
	struct str name = str_from(r->name);
	enum part_kind kind;

	if (!is_clean(r->name) || part_kind_of_name(name, &kind) < 0)
		return "name is of no known kind";
	switch (kind) {
	case PART_SELF:
		return r->kind_case == TRAMMEL__V1__RESOURCE__KIND_SELF ? check_self(r->self)
									: "content is of another kind";
	case PART_DEST:
		return r->kind_case == TRAMMEL__V1__RESOURCE__KIND_DEST ? check_dest(r->dest, name)
									: "content is of another kind";
	case PART_DNS:
		return r->kind_case == TRAMMEL__V1__RESOURCE__KIND_DNS ? check_dns(r->dns, name)
								       : "content is of another kind";
	case PART_SVC:
		return r->kind_case == TRAMMEL__V1__RESOURCE__KIND_SERVICE ? check_service(r->service, name)
									   : "content is of another kind";
	default:
		return r->kind_case == TRAMMEL__V1__RESOURCE__KIND_ENDPOINTS ? check_endpoints(r->endpoints)
									     : "content is of another kind";
	}
}
