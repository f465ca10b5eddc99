/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a worker interrupts what runs: see preemption.h. */
#include "proxy/preemption.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/str.h"

#define WINDOW_NS    (25 * NS_PER_MS)
#define RUNS_MIN     12
#define BAD_WINDOWS  4 /* in a row: a hypervisor that takes the CPU away for a moment is nobody to make way for */
#define WAIT_NS	     100000 /* each time, in the mean: what waking another CPU takes, and more */
#define WAITS_TO_RUN 2	    /* below that a queue may be our own chain's, which is there whoever goes first */
#define HOLD_MIN_NS  NS_PER_S
#define HOLD_MAX_NS  (32 * NS_PER_S)
#define LASTED_NS    (10 * NS_PER_S)

/* The decision */

static bool waits_too_long(const struct preemption *p, const struct preemption_use *use)
{
	uint64_t run = use->run_ns - p->window_use.run_ns, wait = use->wait_ns - p->window_use.wait_ns;

	return wait > (use->runs - p->window_use.runs) * WAIT_NS && wait > run * WAITS_TO_RUN;
}

bool preemption_review(struct preemption *p, uint64_t now_ns, const struct preemption_use *use, bool *ret_give_way)
{
	if (now_ns - p->window_ns < WINDOW_NS || use->runs - p->window_use.runs < RUNS_MIN)
		return false; /* what a few runs say is gathered for longer */
	*ret_give_way = p->gives_way;
	if (!p->gives_way) {
		*ret_give_way = now_ns >= p->hold_until_ns;
		p->since_ns = now_ns;
	} else if (!waits_too_long(p, use)) {
		p->n_bad = 0;
	} else if (++p->n_bad == BAD_WINDOWS) {
		p->n_bad = 0;
		*ret_give_way = false;
		p->hold_ns = now_ns - p->since_ns < LASTED_NS ? MIN(MAX(p->hold_ns * 2, HOLD_MIN_NS), HOLD_MAX_NS) : HOLD_MIN_NS;
		p->hold_until_ns = now_ns + p->hold_ns;
	}
	p->window_ns = now_ns;
	p->window_use = *use;
	p->turns = 0;
	return true;
}

/* The kernel */

static bool use_read(const struct preemption *p, struct preemption_use *ret)
{
	uint64_t *fields[] = { &ret->run_ns, &ret->wait_ns, &ret->runs };
	char text[96];
	ssize_t n = pread(p->schedstat_fd, text, sizeof(text), 0);
	struct str rest = { text, n > 0 ? (size_t)n : 0 }, word;

	while (rest.n > 0 && rest.p[rest.n - 1] == '\n')
		rest.n--;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!str_split(&rest, ' ', &word) || str_parse_u64(word, UINT64_MAX, fields[i]) < 0)
			return false;
	return ret->runs > 0; /* zeros: a kernel without CONFIG_SCHED_INFO */
}

static void off(struct preemption *p)
{
	if (p->schedstat_fd >= 0)
		close(p->schedstat_fd);
	p->schedstat_fd = -1;
	p->gives_way = false;
}

/* False: it is not ours to say. An operator's policy (nice is none) stays as it is. */
static bool policy_set(struct preemption *p, bool give_way)
{
	const struct sched_param none = { 0 };

	if (sched_getscheduler(0) != (p->gives_way ? SCHED_BATCH : SCHED_OTHER) ||
	    (give_way != p->gives_way && sched_setscheduler(0, give_way ? SCHED_BATCH : SCHED_OTHER, &none) < 0))
		return false;
	p->n_changes += give_way != p->gives_way;
	p->gives_way = give_way;
	return true;
}

void preemption_init(struct preemption *p, uint64_t now_ns)
{
	*p = (struct preemption){ .window_ns = now_ns, .since_ns = now_ns };
	p->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (p->schedstat_fd >= 0 && (!use_read(p, &p->window_use) || !policy_set(p, true)))
		off(p);
}

void preemption_done(struct preemption *p)
{
	off(p);
}

void preemption_note(struct preemption *p, uint64_t now_ns)
{
	struct preemption_use use;
	bool give_way;

	p->turns++;
	if (p->schedstat_fd < 0 || p->turns < RUNS_MIN || now_ns - p->window_ns < WINDOW_NS || !use_read(p, &use))
		return;
	if (preemption_review(p, now_ns, &use, &give_way) && !policy_set(p, give_way))
		off(p);
}
