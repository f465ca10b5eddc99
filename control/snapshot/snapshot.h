/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's snapshot: one immutable, complete, generation-numbered version of everything
 *
 * Built aside from the model and never edited. The datapath and every proxy's slice are cut from it. Reference-counted;
 * the agent is single-threaded. Strings are NUL-ended, never NULL, and live as long as the snapshot.
 */
#ifndef TRAMMEL_CONTROL_SNAPSHOT_H
#define TRAMMEL_CONTROL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "trammel/abi.h"

struct model;

/* Same values as trammel.v1.MtlsMode and trammel.v1.AppProtocol in publish.proto. */
enum mesh_mtls {
	MESH_MTLS_PERMISSIVE,
	MESH_MTLS_STRICT,
	MESH_MTLS_DISABLE,
};

enum mesh_protocol {
	MESH_APP_UNDECLARED,
	MESH_APP_HTTP1,
	MESH_APP_HTTP2,
	MESH_APP_GRPC,
	MESH_APP_TCP,
	MESH_APP_TLS,
	MESH_APP_SERVER_FIRST,
};

struct mesh_endpoint {
	struct addr addr;
	bool ready, terminating;
	bool mtls;		     /* an enrolled workload whose PeerAuthentication on this port is not DISABLE, or hbone */
	bool hbone;		     /* by a tunnel to port 15008, rather than on the port itself; never without mtls */
	const char *spiffe_id;	     /* "" unless an enrolled workload, or hbone */
	const char *workload, *namespace; /* "" for an address given by hand */
};

/* What the endpoints of a port that are not in the mesh speak: TLS. */
struct mesh_backend_tls {
	const char *hostname;	  /* asked for */
	const char *const *names; /* one of which the certificate has; none: hostname */
	size_t n_names;
	const char *ca_pem; /* who vouches for it; "": those that the proxy's machine trusts */
	const char *error;  /* not "": why the policy cannot be followed; nothing goes there */
};

struct mesh_service_port {
	uint16_t port;
	const struct mesh_backend_tls *tls; /* NULL: plaintext */
	const char *name;
	enum mesh_protocol protocol;
	struct mesh_endpoint *endpoints; /* all, ready or not; sorted by address */
	size_t n_endpoints;
};

struct mesh_service {
	const char *namespace, *name;
	const char *hostname; /* web.default.svc.cluster.local */
	struct addr *addresses; /* virtual, port 0; none where headless */
	size_t n_addresses;
	bool headless;
	struct mesh_service_port *ports;
	size_t n_ports;
};

struct mesh_inbound {
	uint16_t port; /* of the workload */
	bool has_mtls;
	enum mesh_mtls mtls;
	enum mesh_protocol protocol;
	bool http1; /* some service declares it as HTTP/1.1, be it the first or not */
	const struct mesh_service *service; /* first by name that targets this port, or NULL */
	uint16_t service_port;
};

struct mesh_workload {
	uint32_t id; /* of the datapath; unique on the node */
	const char *namespace, *name, *service_account, *spiffe_id;
	const char *const *labels; /* "key=value", sorted */
	size_t n_labels;
	struct addr *addresses; /* port 0 */
	size_t n_addresses;
	bool hbone; /* label networking.istio.io/tunnel=http: others reach it by HBONE */
	enum mesh_mtls default_mtls;
	struct mesh_inbound *inbound; /* sorted by port */
	size_t n_inbound;
};

/**
 * mesh_port_is_open() - do proxies answer at @port of their workloads themselves, in plaintext? It is for probes and scrapers, which
 * have no certificate; whatever policy says of other ports
 */
static inline bool mesh_port_is_open(uint16_t port)
{
	return port == TRM_PORT_READY || port == TRM_PORT_METRICS;
}

struct mesh_settings {
	const char *trust_domain, *cluster_domain;
	const char *const *reverse_zones; /* of the mesh's own addresses: "77.10.in-addr.arpa" */
	size_t n_reverse_zones;
	bool refuse_unknown; /* outboundTrafficPolicy REGISTRY_ONLY */
	bool h2_upgrade;     /* h2UpgradePolicy UPGRADE */
	struct addr *dns_upstream;
	size_t n_dns_upstream;
};

struct mesh_snapshot;

/** mesh_snapshot_build() - a complete snapshot of @model; -ENOMEM */
MUST_CHECK int mesh_snapshot_build(const struct model *model, uint64_t generation, struct mesh_snapshot **ret);
struct mesh_snapshot *mesh_snapshot_ref(struct mesh_snapshot *s);
struct mesh_snapshot *mesh_snapshot_unref(struct mesh_snapshot *s);
DEFINE_CLEANUP(struct mesh_snapshot, mesh_snapshot_unref)

uint64_t mesh_snapshot_generation(const struct mesh_snapshot *s);
const struct mesh_settings *mesh_snapshot_settings(const struct mesh_snapshot *s);

/* Iteration in (namespace, name) order. */
size_t mesh_snapshot_n_services(const struct mesh_snapshot *s);
const struct mesh_service *mesh_snapshot_service_at(const struct mesh_snapshot *s, size_t i);
size_t mesh_snapshot_n_workloads(const struct mesh_snapshot *s);
const struct mesh_workload *mesh_snapshot_workload_at(const struct mesh_snapshot *s, size_t i);

/* Look-ups in O(1) or O(log n); NULL when there is none. */
const struct mesh_service *mesh_snapshot_service_find(const struct mesh_snapshot *s, const char *namespace, const char *name);
const struct mesh_service *mesh_snapshot_service_by_ip(const struct mesh_snapshot *s, const struct addr *ip);
const struct mesh_workload *mesh_snapshot_workload_find(const struct mesh_snapshot *s, const char *namespace, const char *name);
const struct mesh_workload *mesh_snapshot_workload_by_id(const struct mesh_snapshot *s, uint32_t id);
const struct mesh_workload *mesh_snapshot_workload_by_ip(const struct mesh_snapshot *s, const struct addr *ip);

/** mesh_service_port_find() - NULL when the service has no such port */
const struct mesh_service_port *mesh_service_port_find(const struct mesh_service *svc, uint16_t port);

/**
 * mesh_snapshot_endpoint_by_addr() - the endpoint (of the first service by name) that has exactly this address and port
 * @ret_service, @ret_port:  set when found
 */
const struct mesh_endpoint *mesh_snapshot_endpoint_by_addr(const struct mesh_snapshot *s, const struct addr *addr,
							   const struct mesh_service **ret_service,
							   const struct mesh_service_port **ret_port);

struct mesh_dns_answer {
	const struct mesh_service *service;
	const char *canonical;	     /* "web.default.svc.cluster.local" or "pod.web.default.svc.cluster.local" */
	const struct addr *addresses; /* port 0: virtual addresses, or those of ready endpoints where headless */
	size_t n_addresses;
};

/**
 * mesh_snapshot_dns_find() - resolve a mesh name for a workload of @namespace
 * @name:  lower case, no final dot; "web", "web.default", "web.default.svc", "web.default.svc.cluster.local" and
 *         "POD.web.default.svc.cluster.local" for endpoints of a headless service
 *
 * Return: false when the mesh has no such name.
 */
bool mesh_snapshot_dns_find(const struct mesh_snapshot *s, const char *namespace, struct str name, struct mesh_dns_answer *ret);

/* What changed between two snapshots, for the datapath and for logs; @old may be NULL. */
struct mesh_change {
	enum { MESH_ADDED, MESH_CHANGED, MESH_REMOVED } how;
	const struct mesh_service *service;   /* either */
	const struct mesh_workload *workload; /* or */
};
MUST_CHECK int mesh_snapshot_diff(const struct mesh_snapshot *old, const struct mesh_snapshot *new_,
				  void (*on_change)(const struct mesh_change *change, void *user), void *user);

#endif
