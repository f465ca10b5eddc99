/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downstream connection: from accept() to what it turns out to be
 *
 * Accepted, it has an entry in the registry and a transport. A stage owns its transport's callback: downstream.c until there
 * is a snapshot, outbound.c or inbound.c until the protocol is known, http_server.c until its version is, then
 * h1_server.c, h2_server.c or tcp_relay.c.
 */
#ifndef TRAMMEL_PROXY_DOWNSTREAM_H
#define TRAMMEL_PROXY_DOWNSTREAM_H

#include "proxy/listener/conn_registry.h"
#include "proxy/route/target.h"
#include "proxy/tls/transport.h"
#include "proxy/upstream/deadline.h"
#include "proxy/worker.h"

struct downstream;

/* What inbound and outbound connections differ in at their beginning. */
struct downstream_way {
	enum observe_direction direction;
	/* Is @dst a port of the proxy that must not be asked for this way? */
	bool (*is_proxy_port)(const struct worker *w, const struct addr *dst);
	/* A snapshot is there: decide. */
	void (*policy_take)(struct downstream *d);
};

struct downstream {
	struct conn conn;
	struct worker *w;
	const struct downstream_way *way;
	struct transport t;
	struct deadline deadline;
	struct worker_wait snapshot_wait;
	struct subscriber_wait dest_wait;
	uint8_t mtls;	  /* enum mtls_mode: inbound */
	uint8_t protocol; /* enum app_protocol */
	bool first_byte;  /* one has come: the detection time-out runs */
	enum trm_reason reason; /* why it came to nothing, once it did */
	void (*connected)(struct downstream *d); /* in a tunnel: the app is there; NULL elsewhere */
	uint32_t lingered_bytes;
};

/**
 * downstream_start() - from accept() to the first decision
 * @fd:        taken
 * @orig_dst:  NULL: the kernel knows none, and the connection is refused
 * @way:       lives for ever
 *
 * Held for a snapshot for at most 5 s, then @way->policy_take() decides. Its deadline is free then.
 */
void downstream_start(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst,
		      const struct downstream_way *way);

/**
 * downstream_start_inner() - a connection inside of another one's tunnel
 * @outer:       whose source, way and proven peer it has
 * @carrier:     what it stands on
 * @orig_dst:    what it asked for
 * @ret_reason:  why there is none: a limit, or no memory
 *
 * Its transport is CONNECTING; the caller decides what becomes of it. NULL: nothing is held.
 */
struct downstream *downstream_start_inner(struct downstream *outer, struct transport_carrier *carrier,
					  const struct addr *orig_dst, void (*connected)(struct downstream *d),
					  enum trm_reason *ret_reason);

/** downstream_free() - closes what is open and leaves the registry; @d as allocated by downstream_new() */
void downstream_free(struct downstream *d);

/** downstream_refuse() - reset, count and log a connection that became nothing */
void downstream_refuse(struct downstream *d, enum trm_reason reason);

/**
 * downstream_linger_start() - a connection that is not to be used again
 *
 * Our end is told once all is sent; what the caller still sends is read and dropped, at most 1 MiB, so that no reset
 * overtakes what we have said. Its deadline is set to when that is over, 2 s from now.
 */
void downstream_linger_start(struct downstream *d);

/** downstream_linger_read() - on each event from then on; true: it is over, free it */
MUST_CHECK bool downstream_linger_read(struct downstream *d);

/* What it becomes. All take over @d; @d->t may have bytes put back. */
void h1_server_start(struct downstream *d);
void h2_server_start(struct downstream *d);
/** tunnel_server_start() - HBONE: each stream is a connection of its own */
void tunnel_server_start(struct downstream *d);
/** inbound_tunnel_take() - one of them (downstream_start_inner()) becomes what its port says */
void inbound_tunnel_take(struct downstream *d);
/** http_server_start() - HTTP in plaintext: its first bytes say which */
void http_server_start(struct downstream *d);
void tcp_relay_start(struct downstream *d, const struct target *target, struct snapshot *snap);
/** tcp_relay_start_sniffed() - as tcp_relay_start(), but first bytes that are HTTP make it HTTP once the app is connected */
void tcp_relay_start_sniffed(struct downstream *d, const struct target *target, struct snapshot *snap);

/** tcp_relay_start_dest() - as tcp_relay_start() to an endpoint of @dest, another one where connecting fails */
void tcp_relay_start_dest(struct downstream *d, struct snapshot *snap);

#endif
