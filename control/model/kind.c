/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds: who a document is
 *
 * Reads apiVersion, kind and metadata, which all objects share. A kind that the mesh does not enforce is refused by
 * name: policy that looks applied and is not would be worse than none.
 */
#include "control/model/kind.h"

#include <stdio.h>
#include <string.h>

static void check_service_name(struct check *c, const struct field *f, const char *name)
{
	(void)field_is_dns1035_label(c, f, name);
}

static void check_subdomain(struct check *c, const struct field *f, const char *name)
{
	(void)field_is_dns_subdomain(c, f, name);
}

static void check_label(struct check *c, const struct field *f, const char *name)
{
	(void)field_is_dns_label(c, f, name);
}

static const struct kind kinds[] = {
	{"Service", {"v1"}, RESOURCE_SERVICE, check_service_name, service_parse},
	{"EndpointSlice", {"discovery.k8s.io/v1"}, RESOURCE_ENDPOINT_SLICE, check_subdomain, endpoint_slice_parse},
	{"PeerAuthentication",
	 {"security.istio.io/v1", "security.istio.io/v1beta1"},
	 RESOURCE_PEER_AUTHENTICATION,
	 check_subdomain,
	 peer_authentication_parse},
	{"BackendTLSPolicy",
	 {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha3"},
	 RESOURCE_BACKEND_TLS_POLICY,
	 check_subdomain,
	 backend_tls_policy_parse},
	{"ConfigMap", {"v1"}, RESOURCE_CONFIG_MAP, check_subdomain, config_map_parse},
	/* Namespaces and accounts need no declaration here: a workload names its own. */
	{"Namespace", {"v1"}, RESOURCE_KINDS, check_label, NULL},
	{"ServiceAccount", {"v1"}, RESOURCE_KINDS, check_subdomain, NULL},
};

const char *kind_name(enum resource_kind resource)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].resource == resource)
			return kinds[i].name;
	return "";
}

static const struct {
	const char *name, *why;
} refused_kinds[] = {
	{"Pod", "workloads are started with \"trammel run\""},
	{"Deployment", "workloads are started with \"trammel run\""},
	{"StatefulSet", "workloads are started with \"trammel run\""},
	{"DaemonSet", "workloads are started with \"trammel run\""},
	{"ReplicaSet", "workloads are started with \"trammel run\""},
	{"Job", "workloads are started with \"trammel run\""},
	{"Endpoints", "write an EndpointSlice (discovery.k8s.io/v1) instead"},
	{"AuthorizationPolicy", "this version does not enforce it: traffic it would deny is allowed"},
	{"RequestAuthentication", "this version does not enforce it: requests it would refuse are allowed"},
	{"NetworkPolicy", "this version does not enforce it: traffic it would deny is allowed"},
	{"HTTPRoute", "this version does not route by request"},
	{"GRPCRoute", "this version does not route by request"},
	{"TrafficPolicy", "this version does not read it"},
};

static const struct member head_members[] = {
	{"apiVersion"}, {"kind"}, {"metadata"}, {"spec"}, {"status", MEMBER_IGNORED},
};

static const struct member metadata_members[] = {
	{"name"},
	{"namespace"},
	{"labels"},
	{"annotations", MEMBER_IGNORED},
	{"creationTimestamp"},
	{"deletionTimestamp", MEMBER_REFUSED, "the object is being deleted: remove the document"},
	{"deletionGracePeriodSeconds", MEMBER_IGNORED},
	{"finalizers", MEMBER_IGNORED},
	{"generateName", MEMBER_IGNORED},
	{"generation", MEMBER_IGNORED},
	{"managedFields", MEMBER_IGNORED},
	{"ownerReferences", MEMBER_IGNORED},
	{"resourceVersion", MEMBER_IGNORED},
	{"selfLink", MEMBER_IGNORED},
	{"uid", MEMBER_IGNORED},
};

static const struct kind *kind_find(struct check *c, const struct field *root, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	for (size_t i = 0; i < ARRAY_SIZE(refused_kinds); i++)
		if (strcmp(refused_kinds[i].name, name) == 0) {
			field_refuse_member(c, root, "kind", "%s is not supported: %s", name, refused_kinds[i].why);
			return NULL;
		}
	field_refuse_member(
		c, root, "kind",
		"unknown kind \"%.80s\": Service, EndpointSlice, PeerAuthentication, BackendTLSPolicy, ConfigMap, "
		"Namespace and ServiceAccount are read",
		name);
	return NULL;
}

static bool api_version_fits(struct check *c, const struct field *root, const struct kind *kind)
{
	const char *version = NULL;
	struct field f;

	if (!field_get(root, "apiVersion", &f)) {
		field_refuse_member(c, root, "apiVersion", "missing: write \"%s\"", kind->api_versions[0]);
		return false;
	}
	if (!field_string(c, &f, &version))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kind->api_versions) && kind->api_versions[i]; i++)
		if (strcmp(kind->api_versions[i], version) == 0)
			return true;
	field_refuse(c, &f, "\"%.80s\" is not a version of %s that is read: write \"%s\"", version, kind->name,
		     kind->api_versions[0]);
	return false;
}

/* Name and namespace; a missing or malformed one is complained about and leaves the object unknown. */
static bool names_read(struct check *c, struct object_head *h)
{
	unsigned int before = c->n_refused;
	bool cluster_wide = strcmp(h->kind->name, "Namespace") == 0;
	const char *name = NULL, *namespace = "default";
	struct field f;
	size_t object_n;
	char *object;

	if (!field_get(&h->metadata, "name", &f))
		field_refuse_member(c, &h->metadata, "name", "missing: every object needs a name");
	else if (field_string(c, &f, &name))
		h->kind->check_name(c, &f, name);
	if (field_get(&h->metadata, "namespace", &f) && field_string(c, &f, &namespace) && !cluster_wide &&
	    namespace[0])
		(void)field_is_dns_label(c, &f, namespace);
	if (c->n_refused != before)
		return false;
	h->name = name;
	h->namespace = cluster_wide ? "" : namespace[0] ? namespace : "default";
	object_n = strlen(h->namespace) + strlen(name) + 2;
	object = check_alloc(c, object_n, 1);
	if (!object)
		return false;
	snprintf(object, object_n, "%s%s%s", h->namespace, cluster_wide ? "" : "/", name);
	c->object = object;
	return true;
}

bool object_head_read(struct check *c, const struct field *root, struct object_head *ret)
{
	struct object_head h = {.created = ""};
	const char *kind_name = NULL;
	struct field labels;

	if (!json_is_object(root->value)) {
		field_refuse(c, root, "is no object: a document needs apiVersion, kind and metadata");
		return false;
	}
	if (!field_get_string(c, root, "kind", &kind_name)) {
		if (field_is_missing(root, "kind"))
			field_refuse_member(c, root, "kind", "missing: every document needs a kind");
		return false;
	}
	c->kind = kind_name;
	h.kind = kind_find(c, root, kind_name);
	if (!h.kind)
		return false;
	h.version_fits = api_version_fits(c, root, h.kind);
	if (!field_get_object(c, root, "metadata", &h.metadata)) {
		if (field_is_missing(root, "metadata"))
			field_refuse_member(c, root, "metadata", "missing: every object needs metadata.name");
		return false;
	}
	if (!names_read(c, &h))
		return false;
	(void)field_members(c, &h.metadata, metadata_members, ARRAY_SIZE(metadata_members));
	(void)field_get_string(c, &h.metadata, "creationTimestamp", &h.created);
	if (field_get_object(c, &h.metadata, "labels", &labels)) {
		const char *const *list;
		size_t n;

		(void)field_labels(c, &labels, &list, &n);
	}
	if (h.kind->resource == RESOURCE_SERVICE || h.kind->resource == RESOURCE_PEER_AUTHENTICATION ||
	    h.kind->resource == RESOURCE_BACKEND_TLS_POLICY)
		(void)field_members(c, root, head_members, ARRAY_SIZE(head_members));
	*ret = h;
	return true;
}
