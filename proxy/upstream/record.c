/* SPDX-License-Identifier: Apache-2.0 */
/* What an exchange or a relayed connection says of itself at its end: see record.h. */
#include "proxy/upstream/record.h"

#include "base/clock.h"

static void self_fill(const struct snapshot *s, struct observe_party *p)
{
	const struct self *self = s ? snapshot_self(s) : NULL;

	if (!self)
		return;
	p->workload = self->name;
	p->namespace = self->namespace;
	p->spiffe_id = self->spiffe_id;
}

void record_fill(struct observe_record *rec, struct worker *w, const struct conn *c, const struct snapshot *s,
		 const struct target *t, const struct tls_peer *peer)
{
	uint64_t now = loop_now_ns(w->loop);

	*rec = (struct observe_record){
		.direction = c->direction,
		.client = c->client,
		.orig_dst = c->orig_dst,
		.conn_id = c->id,
		.duration_ns = now - c->opened_ns,
		.started_wall_ns = c->opened_wall_ns,
	};
	if (t) {
		rec->endpoint = t->addr;
		if (t->service) {
			rec->destination.service_name = t->service->name;
			rec->destination.service_namespace = t->service->namespace;
		}
	}
	if (c->direction == OBSERVE_OUTBOUND) {
		self_fill(s, &rec->source);
		rec->mtls = t && t->mtls;
		if (t && t->endpoint) {
			rec->destination.workload = t->endpoint->workload;
			rec->destination.namespace = t->endpoint->namespace;
			rec->destination.spiffe_id = peer ? peer->spiffe_id : NULL;
		}
	} else {
		self_fill(s, &rec->destination);
		if (s) {
			struct inbound_port port = snapshot_inbound_port(s, c->orig_dst.port);

			rec->destination.service_name = port.service_name;
			rec->destination.service_namespace = port.service_namespace;
		}
		rec->mtls = c->mtls;
		if (peer) {
			rec->source.spiffe_id = peer->spiffe_id;
			rec->source.namespace = peer->namespace;
		}
	}
}
