/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadline: a timer that is cheap to move
 *
 * Moving a deadline later is one store: the timer fires at the old time, sees that it is early and arms itself for the
 * rest. Only a move to earlier touches the wheel. For time-outs that are set with every request and almost never come.
 */
#ifndef TRAMMEL_PROXY_DEADLINE_H
#define TRAMMEL_PROXY_DEADLINE_H

#include "base/clock.h"
#include "base/loop.h"

struct deadline {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t at_ms; /* monotonic; 0 = none */
	void (*on_due)(struct deadline *d);
};

static inline void deadline_init(struct deadline *d, struct loop *loop, void (*on_due)(struct deadline *d))
{
	*d = (struct deadline){ .loop = loop, .on_due = on_due };
}

static inline void deadline_on_expire(struct loop_timer *t)
{
	struct deadline *d = container_of(t, struct deadline, timer);
	uint64_t now_ms = loop_now_ns(d->loop) / NS_PER_MS;

	if (d->at_ms == 0)
		return;
	if (now_ms < d->at_ms) {
		loop_timer_set(d->loop, &d->timer, d->at_ms - now_ms, deadline_on_expire);
		return;
	}
	d->at_ms = 0;
	d->on_due(d);
}

static inline void deadline_set(struct deadline *d, uint64_t delay_ms)
{
	d->at_ms = loop_now_ns(d->loop) / NS_PER_MS + delay_ms;
	if (!loop_timer_is_armed(&d->timer) || d->timer.expires_ms > d->at_ms + 1)
		loop_timer_set(d->loop, &d->timer, delay_ms, deadline_on_expire);
}

/* At @at_ns (monotonic), or in the next millisecond where that is over. */
static inline void deadline_set_at(struct deadline *d, uint64_t at_ns)
{
	uint64_t now_ns = loop_now_ns(d->loop);

	deadline_set(d, at_ns > now_ns ? (at_ns - now_ns) / NS_PER_MS + 1 : 1);
}

/* Lets a timer that is armed run out by itself. */
static inline void deadline_clear(struct deadline *d)
{
	d->at_ms = 0;
}

static inline void deadline_done(struct deadline *d)
{
	d->at_ms = 0;
	loop_timer_cancel(&d->timer);
}

#endif
