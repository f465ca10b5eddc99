/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two proxies in one loop, without an agent and without the kernel's hooks
 *
 * caller -> OUT (outbound worker) -> mTLS -> IN (inbound worker) -> app. Accepted connections are given their original
 * destination by hand; the snapshots come from messages as the agent would send them; the certificates from the embedded CA.
 */
#ifndef TRAMMEL_TEST_PAIR_H
#define TRAMMEL_TEST_PAIR_H

#include "proxy/listener/listener.h"
#include "proxy/observe/observe.h"
#include "proxy/worker.h"

struct pair_worker {
	struct worker worker;
	struct observe *observe;
	struct loop_io listen_io;
	int listen_fd;
	uint16_t port; /* where it listens, on 127.0.0.1 */
	struct addr orig_dst;
	bool inbound;
};

struct pair_options {
	uint16_t out_port, in_port, app_port; /* of 127.0.0.1; 0: any, for out and in */
	enum app_protocol protocol;	      /* of the service and of the inbound port */
	enum mtls_mode mtls;		      /* of the inbound port */
	bool plaintext;			      /* OUT speaks plaintext to IN */
	const char *endpoint_sa;	      /* service account OUT expects of IN; NULL: "app" */
	const char *dead_endpoint;	      /* "IP:PORT" of a ready endpoint that refuses, before the good one */
	int log_fd;			      /* access log; -1: off */
	const char *ca_dir;
};

struct pair {
	struct loop *loop;
	struct pair_worker out, in;
	struct pair_options options;
	struct ca *ca;
	uint64_t generation;
};

/** pair_start() - 0 or negative errno */
int pair_start(struct pair *p, struct loop *loop, const struct pair_options *o);
void pair_stop(struct pair *p);

/** pair_set_mtls() - the agent sends IN another mode for its port */
int pair_set_mtls(struct pair *p, enum mtls_mode mode);

#endif
