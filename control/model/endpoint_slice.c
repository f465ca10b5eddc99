/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EndpointSlice (discovery.k8s.io/v1)
 *
 * Addresses given by hand for a Service without selector. Joined to it by the label kubernetes.io/service-name and
 * to its ports by name.
 */
#include <string.h>
#include "control/model/kind.h"

#define SERVICE_NAME_LABEL	   "kubernetes.io/service-name"
#define TUNNEL_LABEL		   "networking.istio.io/tunnel"
#define REDIRECTION_ANNOTATION	   "ambient.istio.io/redirection"
#define SERVICE_ACCOUNT_ANNOTATION "alpha.istio.io/kubernetes-serviceaccounts"

static const struct member slice_members[] = {
	{"apiVersion"}, {"kind"}, {"metadata"}, {"addressType"}, {"endpoints"}, {"ports"},
};

static const struct member endpoint_members[] = {
	{"addresses"},
	{"conditions"},
	{"hostname"},
	{"targetRef", MEMBER_IGNORED}, /* which object this is: told by the address here */
	{"nodeName", MEMBER_IGNORED},
	{"zone", MEMBER_IGNORED},
	{"hints", MEMBER_IGNORED},
	{"deprecatedTopology", MEMBER_IGNORED},
};

static const struct member condition_members[] = {{"ready"}, {"serving"}, {"terminating"}};

static const struct member port_members[] = {{"name"}, {"protocol"}, {"port"}, {"appProtocol"}};

static void address_read(struct check *c, const struct field *f, bool v6, struct addr *ret)
{
	const char *text;
	struct addr a;

	if (!field_string(c, f, &text))
		return;
	if (addr_parse_ip(str_from(text), &a) < 0) {
		field_refuse(c, f, "\"%.60s\" is not an address", text);
		return;
	}
	if (addr_is_v4(&a) == v6)
		field_refuse(c, f, "%s is not of addressType %s: put it into a slice of its own", text,
			     v6 ? "IPv6" : "IPv4");
	else if (addr_is_any(&a) || addr_is_loopback(&a) || a.ip[0] == 0xff || (!v6 && (a.ip[12] & 0xf0) == 0xe0) ||
		 (v6 && a.ip[0] == 0xfe && (a.ip[1] & 0xc0) == 0x80) || (!v6 && a.ip[12] == 169 && a.ip[13] == 254))
		field_refuse(c, f, "%s cannot be an endpoint: use an address that other workloads can reach", text);
	else
		*ret = a;
}

static void addresses_read(struct check *c, const struct field *list, bool v6, struct slice_endpoint *e)
{
	size_t n = field_count(list);

	e->addresses = check_alloc(c, n, sizeof(*e->addresses));
	if (!e->addresses)
		return;
	e->n_addresses = n;
	for (size_t i = 0; i < n; i++) {
		struct field item = field_item(list, i);

		address_read(c, &item, v6, &e->addresses[i]);
	}
}

static void endpoint_read(struct check *c, const struct field *f, bool v6, struct slice_endpoint *e)
{
	bool serving = true;
	const char *hostname = "";
	struct field list, conditions, hf;

	*e = (struct slice_endpoint){.ready = true, .hostname = ""};
	if (!field_members(c, f, endpoint_members, ARRAY_SIZE(endpoint_members)) && !json_is_object(f->value))
		return;
	if (field_is_missing(f, "addresses"))
		field_refuse_member(c, f, "addresses", "missing: an endpoint needs an address");
	else if (!field_get_array(c, f, "addresses", &list))
		return;
	else
		addresses_read(c, &list, v6, e);
	if (field_get(f, "conditions", &conditions) &&
	    (field_members(c, &conditions, condition_members, ARRAY_SIZE(condition_members)) ||
	     json_is_object(conditions.value))) {
		(void)field_get_bool(c, &conditions, "ready", &e->ready); /* left out: true */
		(void)field_get_bool(c, &conditions, "serving", &serving);
		(void)field_get_bool(c, &conditions, "terminating", &e->terminating);
	}
	if (!serving)
		e->ready = false;
	if (field_get(f, "hostname", &hf) && field_string(c, &hf, &hostname) && field_is_dns_label(c, &hf, hostname))
		e->hostname = check_strdup(c, hostname);
}

static void endpoints_read(struct check *c, const struct field *root, bool v6, struct endpoint_slice *s)
{
	struct field list;
	size_t n;

	if (!field_get_array(c, root, "endpoints", &list)) {
		if (field_is_missing(root, "endpoints"))
			field_refuse_member(c, root, "endpoints",
					    "missing: a slice needs a list of endpoints (it may be empty)");
		return;
	}
	n = field_count(&list);
	s->endpoints = check_alloc(c, n, sizeof(*s->endpoints));
	if (!s->endpoints)
		return;
	for (size_t i = 0; i < n; i++) {
		struct field f = field_item(&list, i);

		endpoint_read(c, &f, v6, &s->endpoints[i]);
	}
	s->n_endpoints = n;
}

static void port_read(struct check *c, const struct field *f, struct slice_port *p)
{
	const char *name = "", *app_protocol = NULL;
	struct field nf, pf;

	p->name = "";
	if (!field_members(c, f, port_members, ARRAY_SIZE(port_members)) && !json_is_object(f->value))
		return;
	if (field_get(f, "name", &nf) && field_string(c, &nf, &name) && name[0] && field_is_dns_label(c, &nf, name))
		p->name = check_strdup(c, name);
	tcp_only(c, f);
	if (!field_get(f, "port", &pf))
		field_refuse_member(c, f, "port", "missing: every port needs its number");
	else
		(void)field_port(c, &pf, &p->port);
	(void)field_get_string(c, f, "appProtocol", &app_protocol);
	p->protocol = port_protocol(app_protocol && app_protocol[0] ? app_protocol : NULL, p->name, p->port);
}

static void ports_read(struct check *c, const struct field *root, struct endpoint_slice *s)
{
	struct field list;
	size_t n;

	if (field_is_missing(root, "ports")) {
		field_refuse_member(c, root, "ports", "missing: a slice needs the ports of its endpoints");
		return;
	}
	if (!field_get_array(c, root, "ports", &list))
		return;
	n = field_count(&list);
	s->ports = check_alloc(c, n, sizeof(*s->ports));
	if (!s->ports)
		return;
	for (size_t i = 0; i < n; i++) {
		struct field f = field_item(&list, i);

		port_read(c, &f, &s->ports[i]);
		for (size_t k = 0; k < i; k++)
			if (strcmp(s->ports[k].name, s->ports[i].name) == 0) {
				field_refuse_member(c, &f, "name",
						    "\"%s\" is the name of port %zu already: give it another name",
						    s->ports[i].name, k);
				break;
			}
	}
	s->n_ports = n;
}

static void service_name_read(struct check *c, const struct field *root, struct endpoint_slice *s)
{
	struct field metadata, labels, f;
	const char *name = NULL;

	if (!field_get_object(c, root, "metadata", &metadata))
		return;
	if (!field_get_object(c, &metadata, "labels", &labels) || !field_get(&labels, SERVICE_NAME_LABEL, &f)) {
		field_refuse_member(c, &metadata, "labels",
				    "label " SERVICE_NAME_LABEL " is missing: it names the Service");
		return;
	}
	if (field_string(c, &f, &name) && field_is_dns1035_label(c, &f, name))
		s->service = check_strdup(c, name);
}

/*
 * Istio marks pods so, and tells their identity by the pod's account. Endpoints by hand have no pod: the slice bears the mark, and
 * the account in the annotation that Istio reads from a Service for the same purpose.
 */
static void tunnel_read(struct check *c, const struct field *root, struct endpoint_slice *s)
{
	const char *tunnel = NULL, *redirection = NULL, *account = NULL;
	struct field metadata, labels, annotations, f;

	if (!field_get_object(c, root, "metadata", &metadata))
		return;
	if (field_get_object(c, &metadata, "labels", &labels) && field_get(&labels, TUNNEL_LABEL, &f) &&
	    field_string(c, &f, &tunnel)) {
		if (strcmp(tunnel, "http") == 0)
			s->hbone = true;
		else
			field_refuse(c, &f, "unknown tunnel \"%.40s\": write http, or leave it out", tunnel);
	}
	if (!field_get_object(c, &metadata, "annotations", &annotations)) {
		if (s->hbone)
			field_refuse_member(c, &metadata, "annotations",
					    "annotation " SERVICE_ACCOUNT_ANNOTATION
					    " is missing: it names the service account that must answer in the tunnel");
		return;
	}
	if (field_get(&annotations, REDIRECTION_ANNOTATION, &f) && field_string(c, &f, &redirection)) {
		if (strcmp(redirection, "enabled") == 0)
			s->hbone = true;
		else if (strcmp(redirection, "disabled") != 0)
			field_refuse(c, &f, "unknown redirection \"%.40s\": write enabled or disabled", redirection);
	}
	if (!s->hbone)
		return;
	if (!field_get(&annotations, SERVICE_ACCOUNT_ANNOTATION, &f))
		field_refuse_member(c, &annotations, SERVICE_ACCOUNT_ANNOTATION,
				    "missing: it names the service account that must answer in the tunnel");
	else if (field_string(c, &f, &account) && field_is_dns_subdomain(c, &f, account))
		s->service_account = check_strdup(c, account);
}

void endpoint_slice_parse(struct check *c, const struct field *root, struct resource *r)
{
	struct endpoint_slice *s = &r->slice;
	const char *type = NULL;
	bool v6;

	s->service = "";
	s->service_account = "";
	(void)field_members(c, root, slice_members, ARRAY_SIZE(slice_members));
	service_name_read(c, root, s);
	tunnel_read(c, root, s);
	if (!field_get_string(c, root, "addressType", &type)) {
		if (field_is_missing(root, "addressType"))
			field_refuse_member(c, root, "addressType", "missing: write IPv4 or IPv6");
		return;
	}
	if (strcmp(type, "FQDN") == 0) {
		field_refuse_member(c, root, "addressType",
				    "FQDN is not supported, as endpoints are addresses: write IPv4 or IPv6");
		return;
	}
	v6 = strcmp(type, "IPv6") == 0;
	if (!v6 && strcmp(type, "IPv4") != 0) {
		field_refuse_member(c, root, "addressType", "unknown type \"%.40s\": write IPv4 or IPv6", type);
		return;
	}
	endpoints_read(c, root, v6, s);
	ports_read(c, root, s);
}
