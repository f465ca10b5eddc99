/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the mesh
 *
 * What a resolver with the search list of a pod (NS.svc.DOMAIN, svc.DOMAIN, DOMAIN) would find. Of two labels the
 * reading "service.namespace" comes before "pod.service".
 */
#include <string.h>
#include "control/snapshot/tables.h"

#define LABELS_MAX     3
#define NAME_MAX_BYTES 64

bool pod_eq(const struct hash_node *n, const void *key)
{
	const struct pod_entry *e = container_of(n, struct pod_entry, node);
	const struct pod_key *k = key;

	return e->service == k->service && str_eq_c(k->name, e->name);
}

uint64_t pod_hash(const struct mesh_service *service, struct str name)
{
	return hash_str(name) ^ (uint64_t)(uintptr_t)service;
}

static bool label_copy(struct str s, char text[NAME_MAX_BYTES])
{
	if (s.n == 0 || s.n >= NAME_MAX_BYTES || memchr(s.p, '\0', s.n))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	return true;
}

static const struct mesh_service *service_find(const struct mesh_snapshot *s, struct str namespace, struct str name)
{
	char ns[NAME_MAX_BYTES], n[NAME_MAX_BYTES];

	return label_copy(namespace, ns) && label_copy(name, n) ? mesh_snapshot_service_find(s, ns, n) : NULL;
}

static bool service_answer(const struct mesh_snapshot *s, struct str namespace, struct str name,
			   struct mesh_dns_answer *ret)
{
	const struct mesh_service *svc = service_find(s, namespace, name);
	const struct dns_entry *e;

	if (!svc)
		return false;
	e = &s->dns[svc - s->services];
	*ret = (struct mesh_dns_answer){svc, svc->hostname, e->addresses, e->n_addresses};
	return true;
}

static bool pod_answer(const struct mesh_snapshot *s, struct str namespace, struct str name, struct str pod,
		       struct mesh_dns_answer *ret)
{
	const struct mesh_service *svc = service_find(s, namespace, name);
	const struct pod_entry *e;
	struct hash_node *n;

	if (!svc || !svc->headless)
		return false;
	n = hash_table_find(&s->pods, pod_hash(svc, pod), pod_eq, &(struct pod_key){svc, pod});
	if (!n)
		return false;
	e = container_of(n, struct pod_entry, node);
	*ret = (struct mesh_dns_answer){svc, e->canonical, e->addresses, e->n_addresses};
	return true;
}

/* Without the suffix and the dot before it, if @s has it. */
static bool suffix_strip(struct str *s, struct str suffix)
{
	if (s->n <= suffix.n + 1 || !str_ends(*s, suffix) || s->p[s->n - suffix.n - 1] != '.')
		return false;
	s->n -= suffix.n + 1;
	return true;
}

bool mesh_snapshot_dns_find(const struct mesh_snapshot *s, const char *namespace, struct str name,
			    struct mesh_dns_answer *ret)
{
	struct str own = str_from(namespace), rest = name, part, label[LABELS_MAX];
	bool with_domain = suffix_strip(&rest, str_from(s->settings.cluster_domain));
	bool with_svc = suffix_strip(&rest, STR("svc"));
	size_t n = 0;

	if (with_domain && !with_svc)
		return false;
	while (str_split(&rest, '.', &part)) {
		if (n == LABELS_MAX || part.n == 0)
			return false;
		label[n++] = part;
	}
	if (with_svc && n == 1) /* "web.svc": the namespace is called so, or there is none such */
		return !with_domain && service_answer(s, STR("svc"), label[0], ret);
	switch (n) {
	case 1:
		return service_answer(s, own, label[0], ret);
	case 2:
		return service_answer(s, label[1], label[0], ret) ||
		       (!with_svc && pod_answer(s, own, label[1], label[0], ret));
	case 3:
		return pod_answer(s, label[2], label[1], label[0], ret);
	default:
		return false;
	}
}
