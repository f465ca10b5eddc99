/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's snapshot: everything policy says to this one workload, immutable
 *
 * Built from the agent's resources (include/trammel/publish.proto) by the subscriber, handed to each worker, replaced
 * whole and never edited. Parts are shared between successive snapshots by reference count (atomic), so that a change
 * of one service costs a copy of the tables and of that service alone. An exchange holds a reference to its end.
 */
#ifndef TRAMMEL_PROXY_SNAPSHOT_H
#define TRAMMEL_PROXY_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"

enum mtls_mode {
	MTLS_PERMISSIVE,
	MTLS_STRICT,
	MTLS_DISABLE,
};

enum app_protocol {
	APP_UNDECLARED,
	APP_HTTP1,
	APP_HTTP2,
	APP_GRPC,
	APP_TCP,
	APP_TLS,
	APP_SERVER_FIRST,
};

/** app_is_http() - is it declared as a protocol whose messages are read? */
static inline bool app_is_http(enum app_protocol p)
{
	return p == APP_HTTP1 || p == APP_HTTP2 || p == APP_GRPC;
}

/** app_is_h2() - is it declared as HTTP/2, or as what stands on it? */
static inline bool app_is_h2(enum app_protocol p)
{
	return p == APP_HTTP2 || p == APP_GRPC;
}

/* Strings below are NUL-ended, never NULL ("" where absent), and live as long as the part that holds them. */

struct inbound_port {
	uint16_t port;
	enum mtls_mode mtls;
	enum app_protocol protocol;
	bool http1; /* some service declares it as HTTP/1.1, be it the first or not */
	const char *service_namespace, *service_name;
};

struct self {
	const char *namespace, *name, *service_account, *trust_domain, *spiffe_id, *cluster_domain;
	struct addr *addresses; /* port 0 */
	size_t n_addresses;
	enum mtls_mode default_mtls;
	struct inbound_port *inbound;
	size_t n_inbound;
	bool refuse_unknown;
	bool h2_upgrade; /* requests of HTTP/1.1 to ports declared so go to other proxies in HTTP/2 */
	const char **reverse_zones; /* with cluster_domain: names that are the mesh's to answer */
	size_t n_reverse_zones;
	struct addr *dns_upstream;
	size_t n_dns_upstream;
	const char *trust_bundle_pem;
};

struct endpoint {
	struct addr addr;
	bool ready, terminating, mtls;
	bool hbone; /* mtls by a tunnel to port 15008; else on its own port */
	const char *spiffe_id, *workload, *namespace;
};

/* What endpoints that do not take the mesh's TLS speak: TLS of their own. */
struct backend_tls {
	const char *hostname;	  /* asked for */
	const char *const *names; /* one of which the certificate has; none: hostname */
	size_t n_names;
	const char *ca_pem; /* who vouches for it; "": those that this machine trusts */
	const char *error;  /* not "": nothing goes there, and why */
	uint64_t key;	    /* of all of the above */
};

struct service_port {
	uint16_t port;
	const struct backend_tls *tls; /* NULL: plaintext */
	const char *name;
	enum app_protocol protocol;
	const struct endpoint *endpoints; /* all, ready or not */
	size_t n_endpoints;
	size_t n_ready;
};

struct service {
	const char *namespace, *name;
	const char *hostname; /* web.default.svc.cluster.local */
	struct addr *addresses;
	size_t n_addresses;
	bool headless;
	struct service_port *ports;
	size_t n_ports;
	uint64_t version; /* changes when service or endpoints change */
};

enum dest_kind {
	DEST_UNKNOWN,	      /* the agent says: not in the mesh */
	DEST_SERVICE,	      /* service and port are set */
	DEST_ENDPOINT,	      /* endpoint is set; service and port too where one has it */
	DEST_SERVICE_NO_PORT, /* service is set */
};

struct dest {
	enum dest_kind kind;
	const struct service *service;
	const struct service_port *port;
	const struct endpoint *endpoint;
	enum app_protocol protocol;
};

struct dns_name {
	bool known;
	const char *canonical;
	const struct addr *addresses; /* port 0 */
	size_t n_addresses;
};

struct snapshot;

struct snapshot *snapshot_ref(struct snapshot *s);
struct snapshot *snapshot_unref(struct snapshot *s);
DEFINE_CLEANUP(struct snapshot, snapshot_unref)

/** snapshot_generation() - of the agent's snapshot it was cut from */
uint64_t snapshot_generation(const struct snapshot *s);

/** snapshot_self() - never NULL: a snapshot without self is not built */
const struct self *snapshot_self(const struct snapshot *s);

/** snapshot_inbound_port() - settings of one of our own ports; a filled-in default for ports not listed */
struct inbound_port snapshot_inbound_port(const struct snapshot *s, uint16_t port);

/** snapshot_is_self() - is @ip one of the workload's own addresses? */
bool snapshot_is_self(const struct snapshot *s, const struct addr *ip);

/**
 * snapshot_dest_find() - what stands behind a dialled address
 * @ret:  filled on success; borrowed, lives as long as @s
 *
 * Return: false when it was never asked for: subscriber_want_dest() asks.
 */
bool snapshot_dest_find(const struct snapshot *s, const struct addr *addr, struct dest *ret);

/** snapshot_dns_find() - @name lower case without final dot; false when it was never asked for */
bool snapshot_dns_find(const struct snapshot *s, struct str name, struct dns_name *ret);

/** snapshot_service_find() - NULL when not held */
const struct service *snapshot_service_find(const struct snapshot *s, const char *namespace, const char *name);

/** snapshot_service_each() - call @fn for every service held */
void snapshot_service_each(const struct snapshot *s, void (*fn)(const struct service *svc, void *user), void *user);

#endif
