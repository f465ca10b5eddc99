/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop
 *
 * One epoll loop per thread. Sources are embedded in their owner and removed before their fd is closed or their
 * memory goes. A turn is: run deferred tasks, expire timers, wait, dispatch. Callbacks may add and remove any source,
 * also the one being dispatched. Nothing here is thread-safe except loop_wake().
 */
#ifndef TRAMMEL_BASE_LOOP_H
#define TRAMMEL_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include "base/cleanup.h"
#include "base/list.h"

struct loop;

struct loop_io {
	struct loop *loop; /* NULL while not added */
	int fd;		   /* borrowed */
	uint32_t events;   /* EPOLLIN ... as asked for; EPOLLET allowed */
	void (*on_ready)(struct loop_io *io, uint32_t revents);
};

struct loop_timer {
	struct list link;
	struct loop *loop; /* NULL while not armed */
	uint64_t expires_ms;
	void (*on_expire)(struct loop_timer *timer);
};

struct loop_task {
	struct list link;
	void (*on_run)(struct loop_task *task);
};

MUST_CHECK int loop_new(struct loop **ret);
struct loop *loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop, loop_free)

/** loop_run() - turn until loop_stop(); returns 0 or negative errno of epoll_wait() */
MUST_CHECK int loop_run(struct loop *l);
/** loop_turn() - one turn that waits at most @timeout_ms (-1 = until something happens) */
MUST_CHECK int loop_turn(struct loop *l, int timeout_ms);
void loop_stop(struct loop *l);

/** loop_now_ns() - monotonic time read once per wake-up */
uint64_t loop_now_ns(const struct loop *l);

MUST_CHECK int loop_io_add(struct loop *l, struct loop_io *io, int fd, uint32_t events,
			   void (*on_ready)(struct loop_io *io, uint32_t revents));
/** loop_io_set_events() - no system call when unchanged; failure of epoll_ctl(MOD) is a broken invariant and aborts */
void loop_io_set_events(struct loop_io *io, uint32_t events);
/** loop_io_remove() - may be called on a source that was never added (zeroed) or already removed */
void loop_io_remove(struct loop_io *io);

/** loop_io_forget() - as loop_io_remove(), for a descriptor that has no copy and is closed next: the kernel lets go of it by itself */
void loop_io_forget(struct loop_io *io);

/** loop_timer_set() - (re)arm for @delay_ms from now, to a resolution of 1 ms; O(1); @timer zeroed before its first use */
void loop_timer_set(struct loop *l, struct loop_timer *timer, uint64_t delay_ms,
		    void (*on_expire)(struct loop_timer *timer));
void loop_timer_cancel(struct loop_timer *timer);
static inline bool loop_timer_is_armed(const struct loop_timer *t)
{
	return t->loop != NULL;
}

/** loop_task_defer() - run @task once at the start of the next turn (before waiting); idempotent; @task zeroed before first use */
void loop_task_defer(struct loop *l, struct loop_task *task, void (*on_run)(struct loop_task *task));
void loop_task_cancel(struct loop_task *task);

/**
 * loop_signal_add() - deliver @signo to @on_signal in the loop
 *
 * Blocks the signal in the calling thread: call before other threads start. -EEXIST when taken twice.
 */
MUST_CHECK int loop_signal_add(struct loop *l, int signo, void (*on_signal)(int signo, void *user), void *user);

/** loop_wake() - make a sleeping loop turn; any thread, async-signal-safe */
void loop_wake(struct loop *l);

#endif
