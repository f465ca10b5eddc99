/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BackendTLSPolicy (gateway.networking.k8s.io/v1, v1alpha3)
 *
 * That a service's endpoints speak TLS, whose name their certificate has, and who vouches for it. Bundles are ConfigMaps of
 * the policy's own namespace, which may come later, or not: a policy whose bundle is missing fails requests, never trust.
 */
#include <string.h>
#include "base/addr.h"
#include "control/model/kind.h"

#define TARGETS_MAX 16
#define NAMES_MAX   5

static const struct member spec_members[] = {
	{"targetRefs"},
	{"validation"},
	{"options", MEMBER_REFUSED, "no options are known"},
};
static const struct member target_members[] = {{"group"}, {"kind"}, {"name"}, {"sectionName"}};
static const struct member validation_members[] = {{"hostname"}, {"caCertificateRefs"}, {"wellKnownCACertificates"}, {"subjectAltNames"}};
static const struct member bundle_members[] = {{"group"}, {"kind"}, {"name"}};
static const struct member name_members[] = {{"type"}, {"hostname"}, {"uri"}};

/* group is written out, and empty: the core group. */
static bool ref_read(struct check *c, const struct field *f, const char *kind, const char **ret_name)
{
	const char *group = "", *got = "", *name = NULL;

	(void)field_get_string(c, f, "group", &group);
	(void)field_get_string(c, f, "kind", &got);
	if (group[0] || strcmp(got, kind) != 0) {
		field_refuse_member(c, f, group[0] ? "group" : "kind", "\"%.40s\" is not supported here: write group \"\" and kind %s",
				    group[0] ? group : got, kind);
		return false;
	}
	if (field_is_missing(f, "name"))
		field_refuse_member(c, f, "name", "missing: which %s?", kind);
	if (!field_get_string(c, f, "name", &name))
		return false;
	*ret_name = check_strdup(c, name);
	return *ret_name != NULL;
}

/* false: left out, wrong, or too long; complained about but where it is left out. */
static bool list_begin(struct check *c, const struct field *f, const char *key, size_t max, struct field *ret)
{
	if (!field_get_array(c, f, key, ret))
		return false;
	if (field_count(ret) <= max)
		return true;
	field_refuse(c, ret, "more than %zu: make two policies of it", max);
	return false;
}

static void targets_read(struct check *c, const struct field *spec, struct backend_tls_policy *p)
{
	struct field list;

	if (field_is_missing(spec, "targetRefs"))
		field_refuse_member(c, spec, "targetRefs", "missing: which Service's endpoints speak TLS?");
	if (!list_begin(c, spec, "targetRefs", TARGETS_MAX, &list))
		return;
	p->targets = check_alloc(c, field_count(&list), sizeof(*p->targets));
	for (size_t i = 0; p->targets && i < field_count(&list); i++) {
		struct backend_tls_target *t = &p->targets[p->n_targets];
		struct field item = field_item(&list, i);
		const char *section = "";

		if (!field_members(c, &item, target_members, ARRAY_SIZE(target_members)) || !ref_read(c, &item, "Service", &t->service))
			continue;
		(void)field_get_string(c, &item, "sectionName", &section);
		t->section = check_strdup(c, section);
		p->n_targets += t->section != NULL;
	}
}

static void bundles_read(struct check *c, const struct field *validation, struct backend_tls_policy *p)
{
	const char *well_known = NULL;
	struct field list;

	if (field_get_string(c, validation, "wellKnownCACertificates", &well_known)) {
		p->system = strcmp(well_known, "System") == 0;
		if (!p->system)
			field_refuse_member(c, validation, "wellKnownCACertificates", "unknown set \"%.40s\": use System", well_known);
	}
	if (field_is_missing(validation, "caCertificateRefs") == !well_known) {
		field_refuse_member(c, validation, "caCertificateRefs", "%s", well_known ?
				    "cannot stand beside wellKnownCACertificates: leave one out" :
				    "missing: name ConfigMaps that hold ca.crt, or set wellKnownCACertificates: System");
		return;
	}
	if (!list_begin(c, validation, "caCertificateRefs", BACKEND_TLS_BUNDLES_MAX, &list))
		return;
	p->bundles = check_alloc(c, field_count(&list), sizeof(*p->bundles));
	for (size_t i = 0; p->bundles && i < field_count(&list); i++) {
		struct field item = field_item(&list, i);

		if (field_members(c, &item, bundle_members, ARRAY_SIZE(bundle_members)))
			p->n_bundles += ref_read(c, &item, "ConfigMap", &p->bundles[p->n_bundles]);
	}
}

/* RFC 6066 section 3: what is asked for is a name, never an address. */
static const char *host_read(struct check *c, const struct field *f)
{
	const char *name = NULL;
	struct addr addr;

	if (!field_string(c, f, &name) || !field_is_dns_subdomain(c, f, name))
		return NULL;
	if (addr_parse_ip(str_from(name), &addr) == 0) {
		field_refuse(c, f, "is an address: the name in the certificate is needed");
		return NULL;
	}
	return check_strdup(c, name);
}

/* Where there are some, they are the names that count, and hostname is what is asked for alone. */
static void names_read(struct check *c, const struct field *validation, struct backend_tls_policy *p)
{
	struct field list;

	if (!list_begin(c, validation, "subjectAltNames", NAMES_MAX, &list))
		return;
	p->names = check_alloc(c, field_count(&list), sizeof(*p->names));
	for (size_t i = 0; p->names && i < field_count(&list); i++) {
		struct field item = field_item(&list, i), f;
		const char *type = "";

		if (!field_members(c, &item, name_members, ARRAY_SIZE(name_members)))
			continue;
		(void)field_get_string(c, &item, "type", &type);
		if (strcmp(type, "Hostname") != 0) {
			field_refuse_member(c, &item, "type", "\"%.40s\" is not supported: use Hostname", type);
			continue;
		}
		if (!field_get(&item, "hostname", &f))
			field_refuse_member(c, &item, "hostname", "missing");
		else
			p->n_names += (p->names[p->n_names] = host_read(c, &f)) != NULL;
	}
}

void backend_tls_policy_parse(struct check *c, const struct field *root, struct resource *r)
{
	struct backend_tls_policy *p = &r->backend_tls;
	struct field spec, validation, f;
	const char *host;

	p->hostname = "";
	if (!field_get_object(c, root, "spec", &spec)) {
		if (field_is_missing(root, "spec"))
			field_refuse_member(c, root, "spec", "missing: a policy needs targetRefs and validation");
		return;
	}
	(void)field_members(c, &spec, spec_members, ARRAY_SIZE(spec_members));
	targets_read(c, &spec, p);
	if (!field_get_object(c, &spec, "validation", &validation)) {
		if (field_is_missing(&spec, "validation"))
			field_refuse_member(c, &spec, "validation", "missing: whose certificate is it to be?");
		return;
	}
	(void)field_members(c, &validation, validation_members, ARRAY_SIZE(validation_members));
	if (!field_get(&validation, "hostname", &f))
		field_refuse_member(c, &validation, "hostname", "missing: the name that is asked for, and that the certificate has");
	else if ((host = host_read(c, &f)))
		p->hostname = host;
	bundles_read(c, &validation, p);
	names_read(c, &validation, p);
}
