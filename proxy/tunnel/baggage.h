/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Baggage (W3C), as tunnels carry it: k8s.namespace.name=default,k8s.pod.name=web-1,service.name=web
 *
 * What the tunnel's client says of its workload. A claim of the peer: for people, never for a decision or a metric's label.
 */
#ifndef TRAMMEL_PROXY_TUNNEL_BAGGAGE_H
#define TRAMMEL_PROXY_TUNNEL_BAGGAGE_H

#include "base/cleanup.h"
#include "base/pool.h"
#include "base/str.h"

#define BAGGAGE_MAX_BYTES   4096
#define BAGGAGE_VALUE_BYTES 512
#define BAGGAGE_MEMBERS_MAX 64 /* W3C Baggage section 3.3.2 */

enum baggage_kind {
	BAGGAGE_DEPLOYMENT,
	BAGGAGE_CRONJOB,
	BAGGAGE_POD,
	BAGGAGE_JOB,
};

/* Empty texts are left out. */
struct baggage {
	struct str cluster, namespace, workload, service, version, region, zone;
	enum baggage_kind kind; /* of @workload */
};

/** baggage_format() - in @pool; what a value may not hold is percent-encoded; -EINVAL for control bytes and too long values, -ENOMEM */
MUST_CHECK int baggage_format(const struct baggage *b, struct pool *pool, struct str *ret);

/**
 * baggage_parse() - the members that are known; others are passed over, properties too
 * @pool:  for decoded values
 *
 * Of one key twice the first counts.
 *
 * Return: 0, -EINVAL (no list of key=value, bad percent-encoding, a control byte in a value, too long, too many), -ENOMEM.
 */
MUST_CHECK int baggage_parse(struct str text, struct pool *pool, struct baggage *ret);

#endif
