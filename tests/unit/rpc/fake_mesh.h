/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mesh snapshot made by hand
 *
 * Implements control/snapshot/snapshot.h as far as publishing needs it, so that publishing is tested without the model. A
 * struct mesh is edited by the test; each mesh_cut() of it is a snapshot.
 */
#ifndef TRAMMEL_TESTS_FAKE_MESH_H
#define TRAMMEL_TESTS_FAKE_MESH_H

#include "control/snapshot/snapshot.h"

#define FAKE_SERVICES  700
#define FAKE_ENDPOINTS 4
#define FAKE_WORKLOADS 4

struct fake_service {
	char namespace[16], name[32], host[80];
	struct addr vip;
	uint16_t port;
	struct mesh_endpoint endpoints[FAKE_ENDPOINTS];
	size_t n_endpoints;
	bool bad; /* the proxy will not take it: a port name with a space */
	bool gone;
};

struct fake_mesh {
	struct fake_service services[FAKE_SERVICES];
	size_t n_services;
	uint64_t generation;
	size_t n_workloads; /* ids 1.., "client1".. in "default" */
};

/** fake_service_add() - "svcN" in "default" at 10.9.x.y:80 with one endpoint 10.8.x.y:8080 */
struct fake_service *fake_service_add(struct fake_mesh *m);

/** fake_cut() - the next generation */
struct mesh_snapshot *fake_cut(struct fake_mesh *m);

#endif
