/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Target: where one attempt goes, and how it speaks there
 *
 * Pure: from what the snapshot says of a dialled address to an address, an identity to demand and a way to speak.
 * Everything is borrowed from the snapshot that was asked.
 */
#ifndef TRAMMEL_PROXY_TARGET_H
#define TRAMMEL_PROXY_TARGET_H

#include "base/addr.h"
#include "proxy/cluster/balance.h"
#include "proxy/snapshot/snapshot.h"
#include "trammel/reason.h"

struct target {
	struct addr addr;
	struct addr client; /* towards the app: the true caller. port 0 and zero address: none */
	bool is_local;	    /* the app in this pod: over loopback, its own time-out */
	bool mtls;
	bool hbone;	    /* mtls by a tunnel to port 15008 */
	bool is_h2;	    /* HTTP/2 there, else HTTP/1.1; chosen for each request */
	const char *spiffe_id;		   /* mtls: who must answer */
	const struct backend_tls *tls;	   /* not mtls: TLS of its own, as policy says; NULL: plaintext */
	const struct service *service;	   /* NULL: none */
	const struct service_port *port;   /* NULL: none */
	const struct endpoint *endpoint;   /* NULL: none */
	struct addr caller;		   /* hbone: the app's connection that the tunnel is opened for */
	struct str traceparent;		   /* hbone: of the request the tunnel is opened for; empty: none */
};

#define TARGET_SNI_BYTES 320

/**
 * target_outbound() - choose for an outbound destination
 * @dest:   what stands behind @dialled
 * @self:   our own workload: an endpoint that is ourselves is dialled in plaintext over loopback
 * @avoid:  tried before; may be NULL
 * @ret:    filled on 0
 *
 * Return: TRM_REASON_NONE, or why there is none (NO_READY_ENDPOINT, PORT_UNKNOWN, DST_UNKNOWN, BACKEND_POLICY).
 */
enum trm_reason target_outbound(const struct snapshot *snap, const struct dest *dest, const struct addr *dialled,
				struct balance *b, const struct balance_avoid *avoid, struct target *ret);

/** target_inbound() - the app behind @orig_dst, called by @client */
void target_inbound(const struct addr *orig_dst, const struct addr *client, struct target *ret);

/** target_passthrough() - @addr as it is, in plaintext */
void target_passthrough(const struct addr *addr, struct target *ret);

/** target_sni() - outbound_.PORT_._.HOSTNAME; "" where there is no service */
void target_sni(const struct target *t, char sni[TARGET_SNI_BYTES]);

#endif
