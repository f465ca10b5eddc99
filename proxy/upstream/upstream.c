/* SPDX-License-Identifier: Apache-2.0 */
/* Upstream: see upstream.h. */
#include "proxy/upstream/upstream.h"

#include "proxy/upstream/h1_client.h"
#include "proxy/upstream/h2_client.h"

int upstream_open(struct worker *w, const struct target *target, bool fresh, struct upstream **ret,
		  enum trm_reason *ret_reason)
{
	if (target->is_h2)
		return h2_client_open(w, target, fresh, ret, ret_reason);
	return h1_client_open(w, target, fresh, ret, ret_reason);
}
