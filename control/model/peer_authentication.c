/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PeerAuthentication (security.istio.io/v1, v1beta1)
 *
 * Whether a workload takes plaintext. With a selector it holds for the workloads of its namespace that match; without
 * one for the namespace, and in a root namespace for the mesh. Where Istio would silently pass over a part
 * (portLevelMtls without selector, a selector in a root namespace), the object is refused.
 */
#include <stdlib.h>
#include <string.h>
#include "control/model/kind.h"

static const struct member spec_members[] = {{"selector"}, {"mtls"}, {"portLevelMtls"}};
static const struct member selector_members[] = {{"matchLabels"}};
static const struct member mtls_members[] = {{"mode"}};

static const struct {
	const char *name;
	enum model_mtls mode;
} modes[] = {
	{"UNSET", MODEL_MTLS_UNSET},
	{"DISABLE", MODEL_MTLS_DISABLE},
	{"PERMISSIVE", MODEL_MTLS_PERMISSIVE},
	{"STRICT", MODEL_MTLS_STRICT},
};

static enum model_mtls mtls_read(struct check *c, const struct field *f)
{
	const char *name = "UNSET";

	if (!field_members(c, f, mtls_members, ARRAY_SIZE(mtls_members)) || !field_get_string(c, f, "mode", &name))
		return MODEL_MTLS_UNSET;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(modes[i].name, name) == 0)
			return modes[i].mode;
	field_refuse_member(c, f, "mode", "unknown mode \"%.40s\": use UNSET, DISABLE, PERMISSIVE or STRICT", name);
	return MODEL_MTLS_UNSET;
}

static int port_compare(const void *a, const void *b)
{
	const struct port_mtls *x = a, *y = b;

	return (int)x->port - (int)y->port;
}

static void port_level_read(struct check *c, const struct field *f, struct peer_authentication *pa)
{
	const char *key;
	json_t *v;

	pa->ports = check_alloc(c, json_object_size(f->value), sizeof(*pa->ports));
	if (!pa->ports)
		return;
	json_object_foreach ((json_t *)f->value, key, v) {
		struct port_mtls *p = &pa->ports[pa->n_ports];
		struct field item;
		uint64_t port;

		if (str_parse_u64(str_from(key), 65535, &port) < 0 || port == 0 || key[0] == '0') {
			field_refuse_member(c, f, key, "\"%.40s\" is not a port: use 1 to 65535", key);
			continue;
		}
		*p = (struct port_mtls){.port = (uint16_t)port, .mode = MODEL_MTLS_UNSET};
		if (field_get(f, key, &item))
			p->mode = mtls_read(c, &item);
		pa->n_ports++;
	}
	if (pa->n_ports > 1)
		qsort(pa->ports, pa->n_ports, sizeof(*pa->ports), port_compare);
}

void peer_authentication_parse(struct check *c, const struct field *root, struct resource *r)
{
	struct peer_authentication *pa = &r->peer_auth;
	struct field spec, f, labels;

	pa->mode = MODEL_MTLS_UNSET;
	if (!field_get(root, "spec", &spec))
		return; /* says nothing, as in Istio */
	if (!field_members(c, &spec, spec_members, ARRAY_SIZE(spec_members)) && !json_is_object(spec.value))
		return;
	if (field_get(&spec, "selector", &f) && field_members(c, &f, selector_members, ARRAY_SIZE(selector_members)) &&
	    field_get_object(c, &f, "matchLabels", &labels))
		(void)field_labels(c, &labels, &pa->selector, &pa->n_selector);
	if (field_get(&spec, "mtls", &f))
		pa->mode = mtls_read(c, &f);
	if (field_get_object(c, &spec, "portLevelMtls", &f))
		port_level_read(c, &f, pa);
	if (pa->n_ports && !pa->n_selector)
		field_refuse_member(c, &spec, "portLevelMtls",
				    "holds for workloads alone: add a selector with matchLabels");
	if (pa->n_selector && resource_is_root_namespace(r->namespace))
		field_refuse_member(
			c, &spec, "selector",
			"has no effect in the root namespace %s: move the policy to the workload's namespace",
			r->namespace);
}
