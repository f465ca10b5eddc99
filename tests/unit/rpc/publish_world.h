/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agent and proxies in one loop, for the tests of publishing and subscribing
 *
 *   fake mesh -> publish -> unix socket -> subscriber -> snapshot
 *
 * Each proxy of a test connects in its own turn and the test tells the agent which workload that is, so that several
 * workloads can live in this one process.
 */
#ifndef TRAMMEL_TESTS_PUBLISH_WORLD_H
#define TRAMMEL_TESTS_PUBLISH_WORLD_H

#include <openssl/evp.h>
#include "base/x509/svid.h"
#include "control/publish/publish.h"
#include "fake_mesh.h"
#include "proxy/subscribe/subscriber.h"

struct world {
	struct loop *loop;
	char dir[64], socket_path[96], ca_dir[96];
	struct ca *ca;
	struct publish *publish;
	struct fake_mesh mesh;
	struct mesh_snapshot *snapshot;
	uint32_t next_workload; /* of the next connection */
	char cgroup[4096];
	int acks, nacks, signs;
	uint64_t last_acked;
	uint32_t last_workload;
	char last_error[256];
};

struct client {
	struct world *w;
	struct subscriber *s;
	int snapshots, certificates, refuse_certificates;
	char spiffe_id[SPIFFE_ID_MAX_BYTES + 1];
	EVP_PKEY *key;
};

struct asked {
	struct subscriber_wait wait;
	int answers;
	bool ok;
};

extern const struct publish_ops publish_ops;

void until(struct world *w, bool (*done)(void *user), void *user);
void turn(struct world *w, int n);
void publish_mesh(struct world *w);
void agent_start(struct world *w);
void agent_stop(struct world *w);
void world_open(struct world *w);
void world_close(struct world *w);
bool client_is_ready(void *user);
void client_start(struct world *w, struct client *c, uint32_t workload);
void client_open(struct world *w, struct client *c, uint32_t workload);
void client_close(struct client *c);
void on_answer(struct subscriber_wait *wait, bool answered);
bool is_answered(void *user);
struct addr addr_of(const char *text);
bool ask(struct client *c, const char *addr);
bool ask_dns(struct client *c, const char *name);
struct dest look(struct client *c, const char *addr);
struct publish_proxy stats_of(struct world *w, uint32_t workload);

#endif
