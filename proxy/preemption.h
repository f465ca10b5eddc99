/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preemption: whether a worker interrupts what runs on the CPU where it is woken
 *
 * A call goes from process to process, each of which sends and then sleeps. A process that is woken by a send, and at
 * once takes the CPU from its sender, leaves the sender half way to its sleep: two are runnable now, so the kernel wakes
 * the next one of the chain on another CPU, which has to be woken itself, and that costs more than all the work. A worker
 * under SCHED_BATCH (sched(7)) waits until its sender sleeps, some microseconds, and the whole chain stays on one CPU.
 *
 * Where the CPUs have other work to do, the same patience means to wait for the end of somebody's time slice. So a
 * worker that waits much longer than it runs becomes an ordinary one (SCHED_OTHER) again, and tries anew after a while,
 * which doubles each time that did not last.
 *
 * Nothing here has a timer: an idle worker costs nothing. One thread; the decision is pure (preemption_review()).
 */
#ifndef TRAMMEL_PROXY_PREEMPTION_H
#define TRAMMEL_PROXY_PREEMPTION_H

#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"

/* What a thread has had since it began: /proc/thread-self/schedstat (kernel Documentation/scheduler/sched-stats.rst). */
struct preemption_use {
	uint64_t run_ns;  /* on a CPU */
	uint64_t wait_ns; /* runnable, without one */
	uint64_t runs;	  /* times it was given one */
};

struct preemption {
	int schedstat_fd;   /* -1: off; the kernel does not tell, or somebody else has given us a policy */
	bool gives_way;	    /* SCHED_BATCH */
	uint64_t n_changes; /* of gives_way */
	uint64_t window_ns; /* monotonic: start of the window */
	uint32_t turns;	    /* of the loop, in this window: about as many runs */
	struct preemption_use window_use;
	uint32_t n_bad; /* windows in a row in which we waited too long */
	uint64_t since_ns, hold_until_ns, hold_ns; /* gives way since; not before; for how long the next time */
};

/** preemption_init() - of the calling thread, which alone may use @p; from now on it gives way, where that can be watched */
void preemption_init(struct preemption *p, uint64_t now_ns);
void preemption_done(struct preemption *p);

/** preemption_note() - the loop has turned, at @now_ns (monotonic); looks at what we waited now and then */
void preemption_note(struct preemption *p, uint64_t now_ns);

/**
 * preemption_review() - the end of a window, where it is one
 * @now_ns:	   monotonic
 * @use:	   what the thread has had until now
 * @ret_give_way:  whether to from now on
 *
 * Return: true when a window has ended, and a new one begun.
 */
bool preemption_review(struct preemption *p, uint64_t now_ns, const struct preemption_use *use, bool *ret_give_way);

#endif
