/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of proxy/snapshot: parts
 *
 * A part is one resource as the agent sent it, checked and laid out in one allocation, immutable but for its counts. A
 * snapshot is a table of parts. What callers see as a service is a view: a part made here from a svc/ and an eps/ part.
 */
#ifndef TRAMMEL_PROXY_SNAPSHOT_PART_H
#define TRAMMEL_PROXY_SNAPSHOT_PART_H

#include <stdatomic.h>
#include "proxy/snapshot/build.h"

enum part_kind {
	PART_SELF,
	PART_DEST,
	PART_DNS,
	PART_SVC,
	PART_EPS,
	PART_VIEW, /* same name as the svc/ part */
};

struct part {
	atomic_uint refs;
	atomic_bool used; /* looked up since the last reset */
	enum part_kind kind;
	uint64_t hash; /* of kind and name */
	uint64_t version;
	const char *name;
	size_t name_n;
};

struct self_part {
	struct part part;
	struct self self;
};

struct dest_part {
	struct part part;
	enum dest_kind kind;
	enum app_protocol protocol;
	const char *service; /* "svc/NAMESPACE/NAME", or "" */
	uint16_t service_port;
	struct endpoint endpoint;
};

struct dns_part {
	struct part part;
	struct dns_name dns;
	const char *service; /* "svc/NAMESPACE/NAME", or "" */
};

struct svc_port {
	uint16_t port;
	enum app_protocol protocol;
	const char *name;
	const struct backend_tls *tls;
};

struct svc_part {
	struct part part;
	const char *namespace, *name;
	struct addr *addresses;
	size_t n_addresses;
	bool headless;
	struct svc_port *ports;
	size_t n_ports;
};

struct eps_port {
	uint16_t port;
	struct endpoint *endpoints;
	size_t n_endpoints, n_ready;
};

struct eps_part {
	struct part part;
	struct eps_port *ports;
	size_t n_ports;
};

struct view_part {
	struct part part;
	struct svc_part *svc; /* holds a reference */
	struct eps_part *eps; /* holds a reference; NULL when there is none */
	struct service service;
};

struct part_slot {
	uint64_t hash;
	struct part *part; /* NULL: free */
};

struct snapshot {
	atomic_uint refs;
	uint64_t generation;
	struct self_part *self; /* borrowed from the table */
	size_t n_slots;		/* power of two, at least one is free */
	struct part_slot slots[];
};

/** part_new() - lay out one checked resource; NULL when memory is out */
struct part *part_new(const Trammel__V1__Resource *r);

/** part_view_new() - the service of @svc and @eps (may be NULL); takes references to both */
struct view_part *part_view_new(struct svc_part *svc, struct eps_part *eps, const char *cluster_domain);

struct part *part_ref(struct part *p);
struct part *part_unref(struct part *p);

uint64_t part_hash(enum part_kind kind, struct str name);

/** part_find() - in @s's table, or NULL */
struct part *part_find(const struct snapshot *s, enum part_kind kind, struct str name);

/** part_kind_of_name() - by prefix; -EINVAL for names of no kind */
MUST_CHECK int part_kind_of_name(struct str name, enum part_kind *ret);

/* check.c: NULL, or why the resource is refused (a constant sentence) */
const char *resource_check(const Trammel__V1__Resource *r);

#endif
