/* SPDX-License-Identifier: Apache-2.0 */
/* What an honest HTTP/2 peer does not do: see h2_guard.h. */
#include "proxy/http/h2_guard.h"

/* Adds @n to what has leaked since the last time; the new level. */
static uint32_t bucket_add(struct h2_bucket *b, uint32_t n, uint32_t per_s, uint64_t now_ms)
{
	uint64_t leaked = now_ms > b->at_ms ? (now_ms - b->at_ms) * per_s / 1000 : 0;

	if (leaked > 0 || b->at_ms == 0) {
		b->level = leaked < b->level ? b->level - (uint32_t)leaked : 0;
		b->at_ms = now_ms;
	}
	b->level += n;
	return b->level;
}

enum h2_verdict h2_guard_reset(struct h2_guard *g, uint64_t now_ms)
{
	return bucket_add(&g->resets, 1, H2_RESET_PER_S, now_ms) > H2_RESET_BURST ? H2_CLOSE : H2_FINE;
}

enum h2_verdict h2_guard_refused_early(struct h2_guard *g)
{
	return ++g->n_early > H2_EARLY_REFUSED ? H2_CLOSE : H2_FINE;
}

enum h2_verdict h2_guard_glitch(struct h2_guard *g, uint32_t n, uint64_t now_ms)
{
	uint32_t level = bucket_add(&g->glitches, n, H2_GLITCH_PER_S, now_ms);

	return level > H2_GLITCH_CLOSE ? H2_CLOSE : level > H2_GLITCH_GOAWAY ? H2_GO : H2_FINE;
}

enum h2_verdict h2_guard_control(struct h2_guard *g, uint64_t now_ms)
{
	return bucket_add(&g->control, 1, H2_CONTROL_PER_S, now_ms) > H2_CONTROL_BURST ? H2_CLOSE : H2_FINE;
}

enum h2_verdict h2_guard_priority(struct h2_guard *g)
{
	return ++g->n_priority > H2_PRIORITY_BASE * (g->n_streams + 1) ? H2_CLOSE : H2_FINE;
}

enum h2_verdict h2_guard_window_update(struct h2_guard *g)
{
	return ++g->n_window_updates > H2_WINDOW_BASE + H2_WINDOW_PER_DATA * (g->n_data_sent + g->n_streams) ? H2_CLOSE : H2_FINE;
}

bool h2_guard_is_busy(struct h2_guard *g)
{
	uint64_t mark = g->n_streams + g->n_data_sent;
	bool busy = mark != g->busy_mark;

	g->busy_mark = mark;
	return busy;
}
