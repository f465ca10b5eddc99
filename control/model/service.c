/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service (v1)
 *
 * Read: ports, selector, clusterIP(s), ipFamilies, ipFamilyPolicy, publishNotReadyAddresses. What would need something
 * that is not there (a load balancer, a node port, session affinity) is refused with the reason.
 */
#include <string.h>
#include "control/model/kind.h"

static const struct member spec_members[] = {
	{"ports"},
	{"selector"},
	{"clusterIP"},
	{"clusterIPs"},
	{"type"},
	{"ipFamilies"},
	{"ipFamilyPolicy"},
	{"publishNotReadyAddresses"},
	{"sessionAffinity"},
	{"internalTrafficPolicy"},
	{"trafficDistribution", MEMBER_IGNORED}, /* a preference among zones: all workloads here are in one place */
	{"externalName", MEMBER_REFUSED, "write a Service without selector and an EndpointSlice with the addresses"},
	{"sessionAffinityConfig", MEMBER_REFUSED, "sessions are not pinned to an endpoint; remove it"},
	{"externalIPs", MEMBER_REFUSED, "a service has cluster addresses alone; remove it"},
	{"externalTrafficPolicy", MEMBER_REFUSED, "it belongs to types NodePort and LoadBalancer; remove it"},
	{"healthCheckNodePort", MEMBER_REFUSED, "it belongs to type LoadBalancer; remove it"},
	{"allocateLoadBalancerNodePorts", MEMBER_REFUSED, "it belongs to type LoadBalancer; remove it"},
	{"loadBalancerClass", MEMBER_REFUSED, "it belongs to type LoadBalancer; remove it"},
	{"loadBalancerIP", MEMBER_REFUSED, "it belongs to type LoadBalancer; remove it"},
	{"loadBalancerSourceRanges", MEMBER_REFUSED, "it belongs to type LoadBalancer; remove it"},
};

static const struct member port_members[] = {
	{"name"},        {"protocol"},
	{"port"},        {"targetPort"},
	{"appProtocol"}, {"nodePort", MEMBER_REFUSED, "it belongs to types NodePort and LoadBalancer; remove it"},
};

static void target_port_read(struct check *c, const struct field *f, struct service_port *p)
{
	struct field target;

	p->target_port = p->port;
	if (!field_get(f, "targetPort", &target))
		return;
	if (json_is_string(target.value))
		field_refuse(
			c, &target,
			"\"%.40s\" is the name of a container's port, and workloads here have no containers: write the "
			"number",
			json_string_value(target.value));
	else
		(void)field_port(c, &target, &p->target_port);
}

static void port_read(struct check *c, const struct field *f, size_t n_ports, struct service_port *p)
{
	const char *name = NULL, *app_protocol = NULL;
	struct field nf, port;

	p->name = "";
	if (!field_members(c, f, port_members, ARRAY_SIZE(port_members)) && !json_is_object(f->value))
		return;
	if (field_get(f, "name", &nf) && field_string(c, &nf, &name) && name[0] && field_is_dns_label(c, &nf, name))
		p->name = check_strdup(c, name);
	else if (n_ports > 1 && (!name || !name[0]))
		field_refuse_member(c, f, "name", "missing: a service of several ports needs a name for each");
	tcp_only(c, f);
	if (!field_get(f, "port", &port))
		field_refuse_member(c, f, "port", "missing: every port needs its number");
	else
		(void)field_port(c, &port, &p->port);
	target_port_read(c, f, p);
	(void)field_get_string(c, f, "appProtocol", &app_protocol);
	p->protocol = port_protocol(app_protocol && app_protocol[0] ? app_protocol : NULL, p->name, p->port);
}

static void ports_read(struct check *c, const struct field *spec, struct service *s)
{
	struct field list;
	size_t n;

	if (field_is_missing(spec, "ports")) {
		if (!s->headless)
			field_refuse_member(c, spec, "ports", "missing: a service needs at least one port");
		return;
	}
	if (!field_get_array(c, spec, "ports", &list))
		return;
	n = field_count(&list);
	s->ports = check_alloc(c, n, sizeof(*s->ports));
	if (!s->ports)
		return;
	for (size_t i = 0; i < n; i++) {
		struct field f = field_item(&list, i);

		port_read(c, &f, n, &s->ports[i]);
		for (size_t k = 0; k < i; k++) {
			if (s->ports[i].port && s->ports[k].port == s->ports[i].port)
				field_refuse_member(c, &f, "port",
						    "%u is port %zu of this service already: give it another number",
						    s->ports[i].port, k);
			if (s->ports[i].name[0] && strcmp(s->ports[k].name, s->ports[i].name) == 0)
				field_refuse_member(c, &f, "name",
						    "\"%s\" is the name of port %zu already: give it another name",
						    s->ports[i].name, k);
		}
	}
	s->n_ports = n;
}

static void type_check(struct check *c, const struct field *spec)
{
	const char *type = "ClusterIP", *affinity = "None", *traffic = "Cluster";

	(void)field_get_string(c, spec, "type", &type);
	if (strcmp(type, "ExternalName") == 0)
		field_refuse_member(
			c, spec, "type",
			"ExternalName is not supported, as it is an alias in DNS and no destination of the mesh: write "
			"a Service without selector and an EndpointSlice with the addresses");
	else if (strcmp(type, "NodePort") == 0 || strcmp(type, "LoadBalancer") == 0)
		field_refuse_member(c, spec, "type",
				    "%s is not supported, as there is no outside to publish to: use ClusterIP", type);
	else if (strcmp(type, "ClusterIP") != 0)
		field_refuse_member(c, spec, "type", "unknown type \"%.40s\": use ClusterIP", type);
	(void)field_get_string(c, spec, "sessionAffinity", &affinity);
	if (strcmp(affinity, "None") != 0)
		field_refuse_member(c, spec, "sessionAffinity", "\"%.40s\" is not supported: use None, or leave it out",
				    affinity);
	(void)field_get_string(c, spec, "internalTrafficPolicy", &traffic);
	if (strcmp(traffic, "Cluster") != 0)
		field_refuse_member(c, spec, "internalTrafficPolicy",
				    "\"%.40s\" is not supported: use Cluster, or leave it out", traffic);
}

void service_parse(struct check *c, const struct field *root, struct resource *r)
{
	struct service *s = &r->service;
	struct field spec, selector;

	if (!field_get_object(c, root, "spec", &spec)) {
		if (field_is_missing(root, "spec"))
			field_refuse_member(c, root, "spec", "missing: a Service needs a spec with ports");
		return;
	}
	(void)field_members(c, &spec, spec_members, ARRAY_SIZE(spec_members));
	type_check(c, &spec);
	service_addresses_read(c, &spec, s);
	ports_read(c, &spec, s);
	if (field_get_object(c, &spec, "selector", &selector))
		(void)field_labels(c, &selector, &s->selector, &s->n_selector);
	(void)field_get_bool(c, &spec, "publishNotReadyAddresses", &s->publish_not_ready);
}
