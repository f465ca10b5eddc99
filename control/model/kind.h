/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds: what can be read, and by whom
 *
 * Each kind has a file that reads its spec into a resource. A parser complains through the check and never logs;
 * whether anything was refused is told by check.n_refused.
 */
#ifndef TRAMMEL_MODEL_KIND_H
#define TRAMMEL_MODEL_KIND_H

#include "control/model/field.h"
#include "control/model/resource.h"

void service_parse(struct check *c, const struct field *root, struct resource *r);
void endpoint_slice_parse(struct check *c, const struct field *root, struct resource *r);
void backend_tls_policy_parse(struct check *c, const struct field *root, struct resource *r);
void peer_authentication_parse(struct check *c, const struct field *root, struct resource *r);
void config_map_parse(struct check *c, const struct field *root, struct resource *r);

/* What stands in front of every object's spec. */
struct object_head {
	const struct kind *kind;
	const char *namespace, *name; /* borrowed from the document */
	const char *created;          /* "" */
	bool version_fits;            /* false: complained about; the rest is not worth reading */
	struct field metadata;
};

struct kind {
	const char *name;
	const char *api_versions[3];
	enum resource_kind resource; /* RESOURCE_KINDS: read and without effect */
	void (*check_name)(struct check *c, const struct field *f, const char *name);
	void (*parse)(struct check *c, const struct field *root, struct resource *r);
};

/**
 * object_head_read() - who is this?
 *
 * Return: true when kind, namespace and name are known (they may have been complained about otherwise); false when the
 * document cannot be told to be any object.
 */
bool object_head_read(struct check *c, const struct field *root, struct object_head *ret);

/** kind_name() - as documents call it */
const char *kind_name(enum resource_kind resource);

/** port_protocol() - how a port speaks: by @app_protocol (NULL: not stated), else by the prefix of @name, else by
 * number */
enum model_protocol port_protocol(const char *app_protocol, const char *name, uint16_t port);

/** tcp_only() - complain about the protocol member of a port unless it is TCP or left out */
void tcp_only(struct check *c, const struct field *port);

/** service_addresses_read() - families and stated addresses of a service */
void service_addresses_read(struct check *c, const struct field *spec, struct service *s);

#endif
