/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Families and stated addresses of a Service
 *
 * The order of families follows ipFamilies, else the stated addresses, else IPv4 before IPv6. Unlike a cluster, which
 * gives one family unless asked, a service that says nothing gets both: nothing here is short of addresses.
 */
#include <string.h>
#include "control/model/kind.h"

struct families {
	bool v6[2];
	size_t n;
	struct addr stated[2];
	size_t n_stated;
};

static bool family_is_available(const struct check *c, bool v6)
{
	return (v6 ? c->settings->service_cidr6 : c->settings->service_cidr4).prefix_bits != 0;
}

static void family_list_read(struct check *c, const struct field *spec, struct families *f)
{
	struct field list;
	size_t n;

	if (!field_get_array(c, spec, "ipFamilies", &list))
		return;
	n = field_count(&list);
	if (n > 2) {
		field_refuse(c, &list, "has %zu families: there are IPv4 and IPv6", n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct field item = field_item(&list, i);
		const char *name;
		bool v6;

		if (!field_string(c, &item, &name))
			continue;
		if (strcmp(name, "IPv4") != 0 && strcmp(name, "IPv6") != 0) {
			field_refuse(c, &item, "unknown family \"%.40s\": use IPv4 or IPv6", name);
			continue;
		}
		v6 = name[3] == '6';
		if (f->n && f->v6[0] == v6)
			field_refuse(c, &item, "%s is named twice", name);
		else if (!family_is_available(c, v6))
			field_refuse(c, &item, "there is no %s range for services here: use the other family", name);
		else
			f->v6[f->n++] = v6;
	}
}

static void stated_read(struct check *c, const struct field *f, const char *text, struct families *fam)
{
	const struct cidr *range;
	struct addr a;

	if (addr_parse_ip(str_from(text), &a) < 0) {
		field_refuse(c, f, "\"%.60s\" is not an address", text);
		return;
	}
	range = addr_is_v4(&a) ? &c->settings->service_cidr4 : &c->settings->service_cidr6;
	if (range->prefix_bits == 0 || !cidr_has(range, a.ip)) {
		char net[ADDR_TEXT_BYTES];
		struct addr base = {0};

		memcpy(base.ip, range->ip, 16);
		field_refuse(c, f, "%s is outside of the services' range %s/%u: remove it, and an address is given",
			     text, addr_format_ip(&base, net), range->prefix_bits - (addr_is_v4(&a) ? 96u : 0u));
		return;
	}
	if (memcmp(a.ip, range->ip, 16) == 0) {
		field_refuse(c, f, "%s is the services' range itself: remove it, and an address is given", text);
		return;
	}
	fam->stated[fam->n_stated++] = a;
}

/* clusterIP and clusterIPs; returns whether the service is headless. */
static bool cluster_ip_read(struct check *c, const struct field *spec, struct families *fam)
{
	const char *first = "", *text;
	struct field one, list;
	size_t n;

	if (field_get(spec, "clusterIP", &one) && !field_string(c, &one, &first))
		return false;
	if (!field_get_array(c, spec, "clusterIPs", &list) || field_count(&list) == 0) {
		if (first[0] && strcmp(first, "None") != 0)
			stated_read(c, &one, first, fam);
		return strcmp(first, "None") == 0;
	}
	n = field_count(&list);
	if (n > 2) {
		field_refuse(c, &list, "has %zu addresses: one for each family is the most", n);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		struct field item = field_item(&list, i);

		if (!field_string(c, &item, &text))
			return false;
		if (i == 0 && first[0] && strcmp(first, text) != 0)
			field_refuse(c, &item, "\"%.60s\" is not clusterIP, \"%.60s\": the first of both must be equal",
				     text, first);
		if (strcmp(text, "None") == 0 && n == 1)
			return true;
		stated_read(c, &item, text, fam);
	}
	if (fam->n_stated == 2 && addr_is_v4(&fam->stated[0]) == addr_is_v4(&fam->stated[1]))
		field_refuse(c, &list, "has two addresses of one family: one for each family is the most");
	return false;
}

/* Which families, in which order, once everything that was said is known. */
static void families_settle(struct check *c, const struct field *spec, struct families *f, bool *ret_dual)
{
	const char *policy = "";
	bool dual, known;

	if (!f->n)
		for (size_t i = 0; i < f->n_stated; i++)
			f->v6[f->n++] = !addr_is_v4(&f->stated[i]);
	*ret_dual = f->n == 2;
	known = f->n > 0;
	if (!known) {
		if (family_is_available(c, false))
			f->v6[f->n++] = false;
		if (family_is_available(c, true))
			f->v6[f->n++] = true;
	}
	(void)field_get_string(c, spec, "ipFamilyPolicy", &policy);
	dual = strcmp(policy, "PreferDualStack") == 0 || strcmp(policy, "RequireDualStack") == 0;
	if (policy[0] && !dual && strcmp(policy, "SingleStack") != 0)
		field_refuse_member(c, spec, "ipFamilyPolicy",
				    "unknown policy \"%.40s\": use SingleStack, PreferDualStack or RequireDualStack",
				    policy);
	if (dual) {
		if (f->n == 1 && family_is_available(c, !f->v6[0])) {
			f->v6[1] = !f->v6[0];
			f->n = 2;
		}
		*ret_dual = f->n == 2;
		if (f->n < 2 && policy[0] == 'R')
			field_refuse_member(c, spec, "ipFamilyPolicy",
					    "there is a range of one family alone for services here: use SingleStack");
	} else if (policy[0] == 'S' && f->n == 2) {
		if (known)
			field_refuse_member(c, spec, "ipFamilyPolicy",
					    "SingleStack with two families: leave one of them out");
		f->n = 1;
	}
}

void service_addresses_read(struct check *c, const struct field *spec, struct service *s)
{
	unsigned int before = c->n_refused;
	struct families f = {0};

	family_list_read(c, spec, &f);
	s->headless = cluster_ip_read(c, spec, &f);
	if (c->n_refused != before)
		return;
	families_settle(c, spec, &f, &s->dual_stated);
	for (size_t i = 0; i < f.n; i++)
		s->addresses[i].v6 = f.v6[i];
	for (size_t i = 0; i < f.n_stated; i++) {
		if (i >= f.n || f.v6[i] == addr_is_v4(&f.stated[i])) {
			field_refuse_member(c, spec, "ipFamilies",
					    "do not fit the stated addresses: name the families in their order");
			return;
		}
		s->addresses[i].addr = f.stated[i];
		s->addresses[i].stated = true;
	}
	s->n_addresses = f.n;
}
