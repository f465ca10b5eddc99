/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: on which CPU a worker runs
 *
 * To wake a sleeping CPU costs more than all that a proxy does with a request. The kernel says of each connection on
 * which CPU its last packet came in (SO_INCOMING_CPU): over loopback and veth that is the CPU on which the caller ran.
 * A worker that calls mostly come to from one CPU moves there and stays ("home"), so that call, work and answer need
 * no other CPU. It is a way to do little work quickly; where there is more, or the CPU has something else to do, the
 * kernel's own choice is better: a worker that is busy, or that waits for its CPU, is let go and comes back only after
 * a while, which doubles each time it did not last.
 *
 * Nothing here has a timer: an idle worker costs nothing. One thread; the decisions are pure (placement_vote(),
 * placement_review()), placement_note() asks the kernel.
 */
#ifndef TRAMMEL_PROXY_PLACEMENT_H
#define TRAMMEL_PROXY_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"

#define PLACEMENT_CPUS 1024 /* as many as a cpu_set_t holds; calls from others are not counted */

/* What a thread has had since it began: /proc/thread-self/schedstat (kernel Documentation/scheduler/sched-stats.rst). */
struct placement_use {
	uint64_t run_ns;  /* on a CPU */
	uint64_t wait_ns; /* runnable, without one */
	uint64_t runs;	  /* times it was given one */
};

struct placement {
	int schedstat_fd;  /* -1: off, the kernel does not tell */
	cpu_set_t allowed; /* where we may run when we have no home */
	int home;	   /* the only CPU we may run on, or -1 */
	uint64_t n_moves;  /* changes of home, from or to none as well */

	uint64_t window_ns, note_ns; /* monotonic: start of the window, the last sample */
	struct placement_use window_use;
	uint16_t votes[PLACEMENT_CPUS];
	uint32_t n_votes;
	uint64_t home_ns, hold_until_ns, hold_ns; /* when we came home; no new one before; how long the next time */
};

/** placement_init() - of the calling thread, which alone may use @p; where the kernel cannot tell, it stays off */
void placement_init(struct placement *p);
void placement_done(struct placement *p);

/** placement_note() - a call came in over the socket @fd at @now_ns (monotonic); looks at a few of them, and may move us */
void placement_note(struct placement *p, int fd, uint64_t now_ns);

/** placement_vote() - one call came from @cpu */
void placement_vote(struct placement *p, int cpu);

/**
 * placement_review() - the end of a window, where it is one
 * @now_ns:	monotonic
 * @use:	what the thread has had until now
 * @ret_home:	the CPU to be on, or -1 for any
 *
 * Return: true when a window has ended, and a new one begun.
 */
bool placement_review(struct placement *p, uint64_t now_ns, const struct placement_use *use, int *ret_home);

#endif
