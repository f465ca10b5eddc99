/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups in a snapshot: see snapshot.h
 *
 * The table is open-addressed and never changes; a look-up is a hash of the name and a few compares. The only write is
 * the mark "used" of what was found, which is skipped when it is set already, so that workers do not fight for the
 * line.
 */
#include "proxy/snapshot/snapshot.h"

#include "proxy/snapshot/part.h"

struct snapshot *snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct snapshot *snapshot_unref(struct snapshot *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i < s->n_slots; i++)
		part_unref(s->slots[i].part);
	free(s);
	return NULL;
}

struct part *part_find(const struct snapshot *s, enum part_kind kind, struct str name)
{
	uint64_t hash = part_hash(kind, name);

	for (size_t i = hash & (s->n_slots - 1); s->slots[i].part; i = (i + 1) & (s->n_slots - 1)) {
		struct part *p = s->slots[i].part;

		if (s->slots[i].hash == hash && p->kind == kind && str_eq((struct str){ p->name, p->name_n }, name))
			return p;
	}
	return NULL;
}

static void part_mark_used(struct part *p)
{
	if (!atomic_load_explicit(&p->used, memory_order_relaxed))
		atomic_store_explicit(&p->used, true, memory_order_relaxed);
}

uint64_t snapshot_generation(const struct snapshot *s)
{
	return s->generation;
}

const struct self *snapshot_self(const struct snapshot *s)
{
	return &s->self->self;
}

struct inbound_port snapshot_inbound_port(const struct snapshot *s, uint16_t port)
{
	const struct self *self = &s->self->self;
	size_t lo = 0, hi = self->n_inbound;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (self->inbound[mid].port == port)
			return self->inbound[mid];
		if (self->inbound[mid].port < port)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (struct inbound_port){ .port = port,
				      .mtls = self->default_mtls,
				      .protocol = APP_UNDECLARED,
				      .service_namespace = "",
				      .service_name = "" };
}

bool snapshot_is_self(const struct snapshot *s, const struct addr *ip)
{
	const struct self *self = &s->self->self;

	for (size_t i = 0; i < self->n_addresses; i++)
		if (addr_ip_eq(&self->addresses[i], ip))
			return true;
	return false;
}

static const struct service *service_of_name(const struct snapshot *s, const char *name)
{
	struct part *p = *name ? part_find(s, PART_VIEW, str_from(name)) : NULL;

	if (!p)
		return NULL;
	part_mark_used(p);
	return &((struct view_part *)p)->service;
}

static const struct service_port *port_of(const struct service *svc, uint16_t port)
{
	for (size_t i = 0; svc && i < svc->n_ports; i++)
		if (svc->ports[i].port == port)
			return &svc->ports[i];
	return NULL;
}

bool snapshot_dest_find(const struct snapshot *s, const struct addr *addr, struct dest *ret)
{
	char name[5 + ADDR_TEXT_BYTES] = "addr/";
	struct dest_part *d;

	addr_format(addr, name + 5);
	d = (struct dest_part *)part_find(s, PART_DEST, str_from(name));
	if (!d)
		return false;
	part_mark_used(&d->part);
	*ret = (struct dest){ .kind = d->kind, .protocol = d->protocol, .service = service_of_name(s, d->service) };
	if (d->kind == DEST_SERVICE || d->kind == DEST_ENDPOINT)
		ret->port = port_of(ret->service, d->service_port);
	if (d->kind == DEST_ENDPOINT)
		ret->endpoint = &d->endpoint;
	return true;
}

bool snapshot_dns_find(const struct snapshot *s, struct str name, struct dns_name *ret)
{
	char full[4 + 256] = "dns/";
	struct dns_part *d;

	if (name.n > 253)
		return false;
	memcpy(full + 4, name.p, name.n);
	d = (struct dns_part *)part_find(s, PART_DNS, (struct str){ full, 4 + name.n });
	if (!d)
		return false;
	part_mark_used(&d->part);
	*ret = d->dns;
	return true;
}

const struct service *snapshot_service_find(const struct snapshot *s, const char *namespace, const char *name)
{
	char full[640];
	int n = snprintf(full, sizeof(full), "svc/%s/%s", namespace, name);

	return n > 0 && (size_t)n < sizeof(full) ? service_of_name(s, full) : NULL;
}

void snapshot_service_each(const struct snapshot *s, void (*fn)(const struct service *svc, void *user), void *user)
{
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i].part && s->slots[i].part->kind == PART_VIEW)
			fn(&((struct view_part *)s->slots[i].part)->service, user);
}

/* For the subscriber */

bool snapshot_has(const struct snapshot *s, struct str name)
{
	enum part_kind kind;

	return part_kind_of_name(name, &kind) == 0 && part_find(s, kind, name);
}

void snapshot_each_resource(const struct snapshot *s, void (*fn)(const char *name, uint64_t version, void *user),
			    void *user)
{
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i].part && s->slots[i].part->kind != PART_VIEW)
			fn(s->slots[i].part->name, s->slots[i].part->version, user);
}

static const char *service_named_by(const struct part *p)
{
	if (p->kind == PART_DEST)
		return ((const struct dest_part *)p)->service;
	return p->kind == PART_DNS ? ((const struct dns_part *)p)->service : "";
}

bool snapshot_was_used(const struct snapshot *s, struct str name)
{
	enum part_kind kind;
	struct part *p = part_kind_of_name(name, &kind) == 0 ? part_find(s, kind, name) : NULL;

	if (!p)
		return false;
	if (atomic_load_explicit(&p->used, memory_order_relaxed))
		return true;
	if (kind == PART_DNS || !*service_named_by(p))
		return false;
	p = part_find(s, PART_VIEW, str_from(service_named_by(p)));
	return p && atomic_load_explicit(&p->used, memory_order_relaxed);
}

void snapshot_used_reset(const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i].part)
			atomic_store_explicit(&s->slots[i].part->used, false, memory_order_relaxed);
}
