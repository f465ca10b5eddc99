/* SPDX-License-Identifier: Apache-2.0 */
/* Target: see target.h. */
#include "proxy/route/target.h"

#include <stdio.h>

static void endpoint_take(const struct snapshot *snap, const struct endpoint *ep, struct target *ret)
{
	ret->endpoint = ep;
	ret->addr = ep->addr;
	if (snapshot_is_self(snap, &ep->addr)) {
		/* Ourselves: the bytes never leave the pod, and the app sees its own address as the caller. */
		ret->is_local = true;
		ret->client = ep->addr;
		ret->client.port = 0;
		return;
	}
	ret->mtls = ep->mtls;
	ret->hbone = ep->mtls && ep->hbone;
	ret->spiffe_id = ep->spiffe_id;
}

enum trm_reason target_outbound(const struct snapshot *snap, const struct dest *dest, const struct addr *dialled,
				struct balance *b, const struct balance_avoid *avoid, struct target *ret)
{
	const struct endpoint *ep = NULL;
	struct target t = { .service = dest->service, .port = dest->port };

	switch (dest->kind) {
	case DEST_SERVICE:
		ep = balance_pick(b, dest->service, dest->port, dialled, avoid);
		break;
	case DEST_ENDPOINT:
		ep = dest->endpoint;
		if (avoid && avoid->n > 0)
			ep = NULL; /* it was the only one */
		break;
	case DEST_SERVICE_NO_PORT:
		return TRM_REASON_PORT_UNKNOWN;
	case DEST_UNKNOWN:
		return TRM_REASON_DST_UNKNOWN;
	}
	if (!ep)
		return TRM_REASON_NO_READY_ENDPOINT;
	endpoint_take(snap, ep, &t);
	if (t.port && !ep->mtls)
		t.tls = t.port->tls;
	if (t.tls && *t.tls->error)
		return TRM_REASON_BACKEND_POLICY;
	*ret = t;
	return TRM_REASON_NONE;
}

void target_inbound(const struct addr *orig_dst, const struct addr *client, struct target *ret)
{
	*ret = (struct target){ .addr = *orig_dst, .client = *client, .is_local = true };
}

void target_passthrough(const struct addr *addr, struct target *ret)
{
	*ret = (struct target){ .addr = *addr };
}

void target_sni(const struct target *t, char sni[TARGET_SNI_BYTES])
{
	sni[0] = '\0';
	if (t->service && t->port)
		(void)snprintf(sni, TARGET_SNI_BYTES, "outbound_.%u_._.%s", t->port->port, t->service->hostname);
}
