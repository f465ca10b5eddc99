/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources: what the model holds once a document has been found good
 *
 * Seen by the snapshot, which is built from them. Immutable once in the model, save for the virtual addresses of a
 * service, which are dealt out when the whole set is known. Everything a resource points at lives in its pool.
 */
#ifndef TRAMMEL_MODEL_RESOURCE_H
#define TRAMMEL_MODEL_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/pool.h"
#include "control/model/model.h"

enum resource_kind {
	RESOURCE_SERVICE,
	RESOURCE_ENDPOINT_SLICE,
	RESOURCE_PEER_AUTHENTICATION,
	RESOURCE_CONFIG_MAP,
	RESOURCE_BACKEND_TLS_POLICY,
	RESOURCE_KINDS,
};

/* In the order of enum mesh_protocol. */
enum model_protocol {
	MODEL_APP_UNDECLARED,
	MODEL_APP_HTTP1,
	MODEL_APP_HTTP2,
	MODEL_APP_GRPC,
	MODEL_APP_TCP,
	MODEL_APP_TLS,
	MODEL_APP_SERVER_FIRST,
};

/* In the order of enum mesh_mtls, and UNSET: take what the next wider policy says. */
enum model_mtls {
	MODEL_MTLS_PERMISSIVE,
	MODEL_MTLS_STRICT,
	MODEL_MTLS_DISABLE,
	MODEL_MTLS_UNSET,
};

struct service_port {
	const char *name; /* "" for the only port of a service */
	uint16_t port, target_port;
	enum model_protocol protocol;
};

struct service_address {
	struct addr addr; /* zero until dealt out */
	bool v6;
	bool stated; /* in the document: never changed */
};

#define SERVICE_ADDRESSES_MAX 2

struct service {
	struct service_port *ports;
	size_t n_ports;
	const char *const *selector; /* "key=value" */
	size_t n_selector;
	bool headless, publish_not_ready;
	bool dual_stated; /* the author asked for both families */
	/* Families in order of preference; where headless, only v6 means something. */
	struct service_address addresses[SERVICE_ADDRESSES_MAX];
	size_t n_addresses;
};

struct slice_port {
	const char *name;
	uint16_t port;
	enum model_protocol protocol;
};

struct slice_endpoint {
	struct addr *addresses; /* port 0 */
	size_t n_addresses;
	bool ready, terminating;
	const char *hostname; /* "" */
};

struct endpoint_slice {
	const char *service; /* name; of the same namespace */
	struct slice_port *ports;
	size_t n_ports;
	struct slice_endpoint *endpoints;
	size_t n_endpoints;
	/* Addresses that are no workload's: they speak HBONE, as this account of the slice's namespace. "": plaintext. */
	bool hbone;
	const char *service_account;
};

struct port_mtls {
	uint16_t port;
	enum model_mtls mode;
};

struct peer_authentication {
	const char *const *selector;
	size_t n_selector;
	enum model_mtls mode;
	struct port_mtls *ports; /* sorted by port */
	size_t n_ports;
};

/* The mesh's settings, or roots of somebody's certificates. */
struct config_map {
	const char *ca_pem; /* data["ca.crt"], with a certificate at least; NULL: settings */
	unsigned int n_certs;
	bool refuse_unknown, h2_upgrade;
	struct addr *dns_upstream; /* with port */
	size_t n_dns_upstream;
};

struct backend_tls_target {
	const char *service; /* of the policy's namespace */
	const char *section; /* name of its port; "": all */
};

#define BACKEND_TLS_BUNDLES_MAX 8

struct backend_tls_policy {
	struct backend_tls_target *targets;
	size_t n_targets;
	const char *hostname;
	const char **names; /* that the certificate may have instead */
	size_t n_names;
	const char **bundles; /* ConfigMaps of the policy's namespace; none where system */
	size_t n_bundles;
	bool system; /* the roots that this machine trusts */
};

struct resource {
	enum resource_kind kind;
	const char *namespace, *name;
	const char *created; /* creationTimestamp, or "" */
	const char *file;
	int line;
	const struct origin *origin;
	bool kept; /* while a set is applied: stays although not in it, or in it but refused */
	struct pool pool;
	union {
		struct service service;
		struct endpoint_slice slice;
		struct peer_authentication peer_auth;
		struct config_map config;
		struct backend_tls_policy backend_tls;
	};
};

/** model_resources() - all of one kind, sorted by (namespace, name); borrowed until the next change of the model */
struct resource *const *model_resources(const struct model *m, enum resource_kind kind, size_t *ret_n);
/** model_resource_find() - NULL when there is none */
const struct resource *model_resource_find(const struct model *m, enum resource_kind kind, const char *namespace,
					   const char *name);
/** model_workloads() - sorted by (namespace, name); borrowed until the next change of the model */
const struct model_workload *const *model_workloads(const struct model *m, size_t *ret_n);
const struct model_settings *model_get_settings(const struct model *m);

/** resource_is_root_namespace() - a namespace whose policies without a selector hold for the whole mesh */
bool resource_is_root_namespace(const char *namespace);

/** labels_match() - has @labels every one of @selector ("key=value")? An empty selector matches nothing. */
bool labels_match(const char *const *selector, size_t n_selector, const char *const *labels, size_t n_labels);

#endif
