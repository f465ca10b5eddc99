/* SPDX-License-Identifier: Apache-2.0 */
/* Windows by bandwidth-delay product: see h2_window.h. */
#include "proxy/http/h2_window.h"

#include "base/cleanup.h"
#include "base/clock.h"

bool h2_window_received(struct h2_window *w, size_t n, uint64_t now_ns)
{
	if (w->stream_bytes >= w->stream_max)
		return false;
	w->bytes += n;
	if (w->sampling || w->bytes < w->stream_bytes / 4)
		return false;
	/* A peer that the window holds back sends one in a burst, and waits: what is left of it is most of it, still. */
	w->sampling = true;
	w->bytes = n;
	w->sent_ns = now_ns;
	return true;
}

uint32_t h2_window_answered(struct h2_window *w, uint64_t now_ns)
{
	uint64_t took_ns = MAX(now_ns - w->sent_ns, (uint64_t)1000), bytes = w->bytes, per_s;

	if (!w->sampling)
		return 0;
	w->sampling = false;
	w->bytes = 0;
	per_s = bytes * NS_PER_S / took_ns;
	if (bytes < w->stream_bytes / 3 * 2 || per_s <= w->best_per_s)
		return 0;
	w->best_per_s = per_s;
	return MIN(w->stream_bytes * 2, w->stream_max);
}

uint32_t h2_window_conn(const struct h2_window *w, uint32_t stream_bytes)
{
	return MAX(w->conn_bytes, stream_bytes * 4);
}
