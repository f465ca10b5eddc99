/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before a proxy that ended is started again
 *
 * The first time not at all, then 50 ms and twice as long each time, until one has lived 10 s. One that had served, or was ended
 * by somebody else, waits at most 200 ms: however often it is killed, it is back within a second. One that ends by its own fault
 * before it ever served would do so again: it waits up to 5 s. Pure; the caller owns the clock.
 */
#ifndef TRAMMEL_CONTROL_ENROL_RESTART_H
#define TRAMMEL_CONTROL_ENROL_RESTART_H

#include <stdbool.h>
#include <stdint.h>

struct restart {
	uint64_t started_ns;
	uint32_t next_ms; /* the wait after the next end */
	bool is_ready;	  /* the one that runs has served */
};

/** restart_started() - a proxy runs since @now_ns (monotonic); @is_ready: it was found serving */
void restart_started(struct restart *r, uint64_t now_ns, bool is_ready);
/** restart_ready() - it serves */
void restart_ready(struct restart *r);
/** restart_ended() - milliseconds to wait, 0 = none; @status as of waitpid(2), 0 where it is not known */
uint32_t restart_ended(struct restart *r, uint64_t now_ns, int status);
/** restart_failed() - it could not even be started: milliseconds to wait, never 0 */
uint32_t restart_failed(struct restart *r);

#endif
