/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop: see loop.h
 *
 * Timers live in a hierarchical wheel: LEVELS levels of 64 slots, level k of 64^k ms per slot, a bitmap of occupied
 * slots per level. Arming and cancelling are O(1); a timer of a higher level is moved down when its slot comes up.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "base/clock.h"

#define LEVELS	    6
#define SLOT_BITS   6
#define SLOTS	    (1u << SLOT_BITS)
#define EVENT_BATCH 64
#define DELAY_MAX_MS (1ull << 42) /* 139 years: no sum below overflows */
#define SIGNALS_MAX 64

struct loop_signal {
	void (*on_signal)(int signo, void *user);
	void *user;
};

struct loop {
	int epoll_fd, wake_fd, signal_fd;
	bool stopped;
	uint64_t now_ns;

	struct list slots[LEVELS][SLOTS];
	uint64_t occupied[LEVELS];
	uint64_t wheel_ms; /* all timers that expire at or before this have fired */
	size_t n_timers;

	struct list tasks;

	/* the batch in dispatch: an event of a source that was removed meanwhile is struck out */
	struct epoll_event batch[EVENT_BATCH];
	int batch_at, batch_len;

	struct loop_io wake_io, signal_io;
	struct loop_signal signals[SIGNALS_MAX + 1];
	sigset_t signal_set;
};

static void on_wake(struct loop_io *io, uint32_t revents)
{
	uint64_t v;

	(void)!read(io->fd, &v, sizeof(v)); /* the wake-up itself was the message */
}

int loop_new(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->epoll_fd = l->wake_fd = l->signal_fd = -1;
	for (int k = 0; k < LEVELS; k++)
		for (unsigned int s = 0; s < SLOTS; s++)
			list_init(&l->slots[k][s]);
	list_init(&l->tasks);
	sigemptyset(&l->signal_set);
	l->now_ns = clock_mono_ns();
	l->wheel_ms = l->now_ns / NS_PER_MS;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = l->epoll_fd < 0 || l->wake_fd < 0 ? -errno : loop_io_add(l, &l->wake_io, l->wake_fd, EPOLLIN, on_wake);
	if (r < 0) {
		loop_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l);
	return NULL;
}

uint64_t loop_now_ns(const struct loop *l)
{
	return l->now_ns;
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

void loop_wake(struct loop *l)
{
	uint64_t one = 1;

	(void)!write(l->wake_fd, &one, sizeof(one)); /* EAGAIN: a wake-up is pending already */
}

/* I/O sources */

int loop_io_add(struct loop *l, struct loop_io *io, int fd, uint32_t events,
		void (*on_ready)(struct loop_io *io, uint32_t revents))
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*io = (struct loop_io){ .loop = l, .fd = fd, .events = events, .on_ready = on_ready };
	return 0;
}

void loop_io_set_events(struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };
	int r;

	if (io->events == events)
		return;
	r = epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev);
	assert(r == 0);
	(void)r;
	io->events = events;
}

void loop_io_remove(struct loop_io *io)
{
	if (!io->loop)
		return;
	epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	loop_io_forget(io);
}

void loop_io_forget(struct loop_io *io)
{
	struct loop *l = io->loop;

	if (!l)
		return;
	for (int i = l->batch_at; i < l->batch_len; i++)
		if (l->batch[i].data.ptr == io)
			l->batch[i].data.ptr = NULL;
	io->loop = NULL;
}

/* Timers */

static void wheel_insert(struct loop *l, struct loop_timer *t)
{
	/* The level is the highest 6-bit digit in which expiry and wheel differ: its slot comes up before expiry. */
	uint64_t diff = t->expires_ms ^ l->wheel_ms;
	unsigned int level = diff ? (unsigned int)(63 - __builtin_clzll(diff)) / SLOT_BITS : 0;
	unsigned int slot;

	if (level >= LEVELS) {
		/* Over the border of the top level: its slots go round. More than a round ahead: looked at again at its end. */
		uint64_t ahead;

		level = LEVELS - 1;
		ahead = (t->expires_ms >> (SLOT_BITS * level)) - (l->wheel_ms >> (SLOT_BITS * level));
		slot = (unsigned int)((l->wheel_ms >> (SLOT_BITS * level)) + MIN(ahead, (uint64_t)SLOTS - 1)) % SLOTS;
	} else {
		slot = (unsigned int)(t->expires_ms >> (SLOT_BITS * level)) % SLOTS;
	}
	list_push_back(&l->slots[level][slot], &t->link);
	l->occupied[level] |= 1ull << slot;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms, void (*on_expire)(struct loop_timer *timer))
{
	/* Not loop_now_ns(): a callback that worked for long, or set-up before the first turn, must not shorten the delay. */
	uint64_t now_ms = clock_mono_ns() / NS_PER_MS;

	loop_timer_cancel(t);
	if (delay_ms > DELAY_MAX_MS)
		delay_ms = DELAY_MAX_MS;
	/* The current millisecond is partly over: one more makes "at least delay_ms" true. */
	t->expires_ms = MAX(now_ms + delay_ms + 1, l->wheel_ms + 1);
	t->on_expire = on_expire;
	t->loop = l;
	l->n_timers++;
	wheel_insert(l, t);
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->loop)
		return;
	list_remove(&t->link); /* the slot's bit may stay: an empty slot costs one look */
	t->loop->n_timers--;
	t->loop = NULL;
}

/* Milliseconds of the next slot that has to be looked at, or UINT64_MAX. */
static uint64_t wheel_next_ms(struct loop *l)
{
	uint64_t best = UINT64_MAX;

	if (!l->n_timers)
		return best;
	for (unsigned int k = 0; k < LEVELS; k++) {
		uint64_t unit = l->wheel_ms >> (SLOT_BITS * k);
		unsigned int cur = (unsigned int)unit % SLOTS, ahead;
		uint64_t rot, at;

		if (!l->occupied[k])
			continue;
		/* rotate so that bit 0 is the slot right after the current one */
		rot = cur == SLOTS - 1 ? l->occupied[k] : (l->occupied[k] >> (cur + 1)) | (l->occupied[k] << (SLOTS - 1 - cur));
		ahead = (unsigned int)__builtin_ctzll(rot) + 1;
		at = (unit + ahead) << (SLOT_BITS * k);
		if (at < best)
			best = at;
	}
	return best;
}

static void wheel_advance(struct loop *l, uint64_t now_ms)
{
	struct list due;

	list_init(&due);
	for (;;) {
		uint64_t at = wheel_next_ms(l);

		if (at > now_ms)
			break;
		l->wheel_ms = at;
		for (int k = LEVELS - 1; k >= 0; k--) {
			unsigned int slot = (unsigned int)(at >> (SLOT_BITS * k)) % SLOTS;
			struct list moved;

			if (k > 0 && (at & ((1ull << (SLOT_BITS * k)) - 1)) != 0)
				continue; /* not at a border of this level */
			if (!(l->occupied[k] & (1ull << slot)))
				continue;
			l->occupied[k] &= ~(1ull << slot);
			list_init(&moved);
			list_splice(&moved, &l->slots[k][slot]);
			while (!list_is_empty(&moved)) {
				struct loop_timer *t = list_entry(moved.next, struct loop_timer, link);

				list_remove(&t->link);
				if (t->expires_ms <= at)
					list_push_back(&due, &t->link);
				else
					wheel_insert(l, t);
			}
		}
		while (!list_is_empty(&due)) {
			struct loop_timer *t = list_entry(due.next, struct loop_timer, link);

			loop_timer_cancel(t);
			t->on_expire(t);
		}
	}
	if (now_ms > l->wheel_ms)
		l->wheel_ms = now_ms;
}

/* Tasks */

void loop_task_defer(struct loop *l, struct loop_task *task, void (*on_run)(struct loop_task *task))
{
	task->on_run = on_run;
	if (list_is_linked(&task->link))
		return;
	list_push_back(&l->tasks, &task->link);
}

void loop_task_cancel(struct loop_task *task)
{
	list_remove(&task->link);
}

static void tasks_run(struct loop *l)
{
	struct list now;

	if (list_is_empty(&l->tasks))
		return;
	list_init(&now);
	list_splice(&now, &l->tasks);
	while (!list_is_empty(&now)) {
		struct loop_task *t = list_entry(now.next, struct loop_task, link);

		list_remove(&t->link);
		t->on_run(t);
	}
}

/* Signals */

static void on_signal_ready(struct loop_io *io, uint32_t revents)
{
	struct loop *l = container_of(io, struct loop, signal_io);
	struct signalfd_siginfo si;

	while (read(io->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo <= SIGNALS_MAX && l->signals[si.ssi_signo].on_signal)
			l->signals[si.ssi_signo].on_signal((int)si.ssi_signo, l->signals[si.ssi_signo].user);
}

int loop_signal_add(struct loop *l, int signo, void (*on_signal)(int signo, void *user), void *user)
{
	int fd;

	if (signo <= 0 || signo > SIGNALS_MAX)
		return -EINVAL;
	if (l->signals[signo].on_signal)
		return -EEXIST;
	sigaddset(&l->signal_set, signo);
	if (sigprocmask(SIG_BLOCK, &l->signal_set, NULL) < 0)
		return -errno;
	fd = signalfd(l->signal_fd, &l->signal_set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	l->signals[signo] = (struct loop_signal){ on_signal, user };
	if (l->signal_fd >= 0)
		return 0;
	l->signal_fd = fd;
	return loop_io_add(l, &l->signal_io, fd, EPOLLIN, on_signal_ready);
}

/* Turns */

static int wait_timeout_ms(struct loop *l, int timeout_ms)
{
	uint64_t next, now_ms = l->now_ns / NS_PER_MS;

	if (!list_is_empty(&l->tasks))
		return 0;
	next = wheel_next_ms(l);
	if (next == UINT64_MAX)
		return timeout_ms;
	next = next > now_ms ? next - now_ms : 0;
	if (next > 3600000)
		next = 3600000;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < next ? timeout_ms : (int)next;
}

int loop_turn(struct loop *l, int timeout_ms)
{
	int n;

	l->now_ns = clock_mono_ns(); /* what the last turn's callbacks took must not be slept again */
	tasks_run(l);
	wheel_advance(l, l->now_ns / NS_PER_MS);
	if (l->stopped)
		return 0;
	n = epoll_wait(l->epoll_fd, l->batch, EVENT_BATCH, wait_timeout_ms(l, timeout_ms));
	if (n < 0 && errno != EINTR)
		return -errno;
	l->now_ns = clock_mono_ns();
	l->batch_len = n < 0 ? 0 : n;
	for (l->batch_at = 0; l->batch_at < l->batch_len;) {
		struct epoll_event *ev = &l->batch[l->batch_at++];
		struct loop_io *io = ev->data.ptr;

		if (io)
			io->on_ready(io, ev->events);
	}
	l->batch_len = 0;
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	l->stopped = false;
	while (!l->stopped && r == 0)
		r = loop_turn(l, -1);
	return r;
}
