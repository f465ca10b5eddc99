/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoint selection
 *
 * Picks one endpoint of a service port for one attempt: round robin over the ready ones. The endpoints belong to the
 * snapshot and are read-only; the only state is a cursor per service port and worker.
 */
#ifndef TRAMMEL_PROXY_BALANCE_H
#define TRAMMEL_PROXY_BALANCE_H

#include "base/cleanup.h"
#include "base/hash.h"
#include "proxy/snapshot/snapshot.h"

#define BALANCE_AVOID_MAX 3

struct balance {
	struct hash_table cursors;
};

/* Endpoints that have been tried in vain for one request. */
struct balance_avoid {
	struct addr addrs[BALANCE_AVOID_MAX];
	uint8_t n;
};

void balance_init(struct balance *b);
void balance_done(struct balance *b);

/**
 * balance_pick() - next ready endpoint
 * @dialled: the address that was asked for: endpoints of its family come first, as behind a cluster's virtual address
 * @avoid:   addresses to pass over while another is ready; NULL = none
 *
 * Allocates once per service port. Return: borrowed from the snapshot; NULL when none is ready, or when all ready ones
 * are to be avoided.
 */
const struct endpoint *balance_pick(struct balance *b, const struct service *svc, const struct service_port *port,
				    const struct addr *dialled, const struct balance_avoid *avoid);

#endif
