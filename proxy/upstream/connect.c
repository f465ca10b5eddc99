/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling a target: see connect.h. */
#include "proxy/upstream/connect.h"

#include <errno.h>
#include "base/clock.h"
#include "proxy/upstream/tunnel_client.h"

uint64_t connect_timeout_ms(const struct target *target)
{
	return target->hbone ? TUNNEL_TIMEOUT_MS : target->is_local ? CONNECT_LOCAL_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
}

static bool has_client(const struct target *target)
{
	struct addr none = { 0 };

	return !addr_ip_eq(&target->client, &none);
}

static int tls_start(struct worker *w, struct transport *t, const struct target *target, enum tls_alpn alpn,
		     const char *expected_id)
{
	struct transport_origin origin = { .alpn = alpn };
	char sni[TARGET_SNI_BYTES];
	int r;

	if (target->mtls) {
		target_sni(target, sni);
		return transport_start_client(t, w->identity, alpn, sni, expected_id);
	}
	if (!target->tls)
		return 0;
	r = tls_origins_get(&w->origins, target->tls->ca_pem, &origin.ctx);
	if (r < 0)
		return r;
	origin.hostname = target->tls->hostname;
	origin.names = target->tls->names;
	origin.n_names = target->tls->n_names;
	return transport_start_origin(t, &origin);
}

int connect_start(struct worker *w, struct transport *t, const struct target *target, enum tls_alpn alpn,
		  const char *expected_id, void (*on_event)(struct transport *t), enum trm_reason *ret_reason)
{
	struct transport_dial dial = {
		.addr = target->addr,
		.client = target->is_local && has_client(target) ? &target->client : NULL,
		.keepalive = !target->is_local,
	};
	int r;

	*ret_reason = TRM_REASON_NO_CERTIFICATE;
	if (target->mtls && !tls_identity_is_valid(w->identity, worker_wall_ns(w) / NS_PER_S))
		return -EKEYEXPIRED;
	if (target->hbone)
		return tunnel_client_connect(w, t, target, on_event, ret_reason);
	r = transport_connect(t, &w->shared, &dial, on_event);
	if (r < 0) {
		*ret_reason = r == -EMFILE || r == -ENFILE ? TRM_REASON_FD_LIMIT :
			      r == -ECONNREFUSED	   ? TRM_REASON_CONNECT_REFUSED :
			      r == -ENOMEM		   ? TRM_REASON_NO_MEMORY :
							     TRM_REASON_CONNECT_FAILED;
		return r;
	}
	r = tls_start(w, t, target, alpn, expected_id);
	if (r < 0) {
		*ret_reason = r == -EINVAL ? TRM_REASON_BACKEND_POLICY : TRM_REASON_NO_MEMORY;
		transport_close(t);
		return r;
	}
	*ret_reason = TRM_REASON_NONE;
	return 0;
}

uint16_t reason_status(enum trm_reason reason)
{
	switch (reason) {
	case TRM_REASON_CONNECT_TIMEOUT:
	case TRM_REASON_HTTP_REQUEST_TIMEOUT:
	case TRM_REASON_IDLE_TIMEOUT:
	case TRM_REASON_GRPC_DEADLINE:
	case TRM_REASON_H2_PING_TIMEOUT:
		return 504;
	case TRM_REASON_HTTP_HEADER_TIMEOUT:
	case TRM_REASON_HTTP_BODY_TIMEOUT:
		return 408;
	case TRM_REASON_HTTP_UPSTREAM_MALFORMED:
	case TRM_REASON_UPSTREAM_RESET:
	case TRM_REASON_UPSTREAM_CLOSED:
		return 502;
	case TRM_REASON_INTERNAL:
		return 500;
	default:
		return 503;
	}
}

enum trm_reason connect_failure(const struct transport *t, uint16_t *ret_status)
{
	enum trm_reason reason = t->reason;

	if (reason == TRM_REASON_NONE)
		reason = t->error == -ETIMEDOUT ? TRM_REASON_CONNECT_TIMEOUT : TRM_REASON_UPSTREAM_RESET;
	*ret_status = reason_status(reason);
	return reason;
}

int connect_step(const struct transport *t, struct deadline *deadline, bool *connected, enum trm_reason *ret_reason,
		 uint16_t *ret_status)
{
	if (t->state == TRANSPORT_FAILED) {
		*ret_reason = connect_failure(t, ret_status);
		return CONNECT_E_FAILED;
	}
	if (t->state == TRANSPORT_HANDSHAKE && !*connected) {
		*connected = true;
		deadline_set(deadline, HANDSHAKE_TIMEOUT_MS);
	}
	return t->state == TRANSPORT_OPEN ? 0 : CONNECT_E_MORE;
}

enum trm_reason connect_due(const struct transport *t)
{
	return t->state == TRANSPORT_CONNECTING ? TRM_REASON_CONNECT_TIMEOUT :
	       t->state == TRANSPORT_HANDSHAKE	? TRM_REASON_HANDSHAKE_TIMEOUT :
						  TRM_REASON_NONE;
}
