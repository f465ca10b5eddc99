/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ConfigMaps: the mesh's settings, "trammel" in namespace "trammel-system", in flat keys; and bundles of certificates under
 * "ca.crt", as a BackendTLSPolicy names them
 *
 * Any other is refused: here it could only be the settings under a mistaken name.
 */
#include <string.h>
#include "base/x509/bundle.h"
#include "control/model/kind.h"

#define DNS_PORT         53
#define DNS_UPSTREAM_MAX 8

static const struct member members[] = {
	{"apiVersion"},
	{"kind"},
	{"metadata"},
	{"data"},
	{"immutable", MEMBER_IGNORED},
	{"binaryData", MEMBER_REFUSED, "settings are text: put them under data"},
};

static const struct member data_members[] = {{"outboundTrafficPolicy"}, {"h2UpgradePolicy"}, {"dnsUpstream"}};

/* "IP", "IP:PORT" or "[IPv6]:PORT" */
static bool upstream_parse(struct str s, struct addr *ret)
{
	struct addr a;

	if (addr_parse_ip(s, &a) == 0)
		a.port = DNS_PORT;
	else if (addr_parse(s, &a) < 0)
		return false;
	*ret = a;
	return true;
}

static void upstreams_read(struct check *c, const struct field *data, const char *text, struct config_map *config)
{
	struct str rest = str_from(text), part;

	if (str_trim_ows(rest).n == 0)
		return;
	config->dns_upstream = check_alloc(c, DNS_UPSTREAM_MAX, sizeof(*config->dns_upstream));
	if (!config->dns_upstream)
		return;
	while (str_split(&rest, ',', &part)) {
		struct addr a;

		part = str_trim_ows(part);
		if (!upstream_parse(part, &a)) {
			field_refuse_member(c, data, "dnsUpstream",
					    "\"%.*s\" is not an address: use IP, IP:PORT or [IPv6]:PORT",
					    (int)MIN(part.n, (size_t)60), part.p);
			return;
		}
		if (config->n_dns_upstream == DNS_UPSTREAM_MAX) {
			field_refuse_member(c, data, "dnsUpstream", "more than %d addresses: leave some out",
					    DNS_UPSTREAM_MAX);
			return;
		}
		config->dns_upstream[config->n_dns_upstream++] = a;
	}
}

/* false: it is none. */
static bool bundle_read(struct check *c, const struct field *root, struct config_map *config)
{
	const char *text = NULL;
	struct field data, f;
	int n;

	if (!field_get(root, "data", &data) || !json_is_object(data.value) || !field_get(&data, "ca.crt", &f))
		return false;
	if (!field_string(c, &f, &text))
		return true;
	n = x509_bundle_count(str_from(text));
	config->n_certs = (unsigned int)MAX(n, 0);
	if (n <= 0)
		field_refuse(c, &f, "holds no certificate in PEM that can be read, or more than %d", X509_BUNDLE_MAX);
	config->ca_pem = check_strdup(c, text);
	return true;
}

void config_map_parse(struct check *c, const struct field *root, struct resource *r)
{
	struct config_map *config = &r->config;
	const char *text = NULL;
	struct field data;

	(void)field_members(c, root, members, ARRAY_SIZE(members));
	if (strcmp(r->namespace, "trammel-system") != 0 || strcmp(r->name, "trammel") != 0) {
		if (!bundle_read(c, root, config))
			field_refuse_member(c, root, "metadata",
					    "%s/%s is not read: settings are in ConfigMap \"trammel\" in namespace \"trammel-system\", "
					    "and others hold certificates under data.ca.crt",
					    r->namespace, r->name);
		return;
	}
	if (!field_get(root, "data", &data) ||
	    (!field_members(c, &data, data_members, ARRAY_SIZE(data_members)) && !json_is_object(data.value)))
		return;
	if (field_get_string(c, &data, "outboundTrafficPolicy", &text)) {
		config->refuse_unknown = strcmp(text, "REGISTRY_ONLY") == 0;
		if (!config->refuse_unknown && strcmp(text, "ALLOW_ANY") != 0)
			field_refuse_member(c, &data, "outboundTrafficPolicy",
					    "unknown policy \"%.40s\": use ALLOW_ANY or REGISTRY_ONLY", text);
	}
	if (field_get_string(c, &data, "h2UpgradePolicy", &text)) {
		config->h2_upgrade = strcmp(text, "UPGRADE") == 0;
		if (!config->h2_upgrade && strcmp(text, "DO_NOT_UPGRADE") != 0)
			field_refuse_member(c, &data, "h2UpgradePolicy",
					    "unknown policy \"%.40s\": use DO_NOT_UPGRADE or UPGRADE", text);
	}
	if (field_get_string(c, &data, "dnsUpstream", &text))
		upstreams_read(c, &data, text, config);
}
