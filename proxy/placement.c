/* SPDX-License-Identifier: Apache-2.0 */
/* On which CPU a worker runs: see placement.h. */
#include "proxy/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/str.h"

#define NOTE_EACH_NS   (8 * NS_PER_MS)
#define WINDOW_NS      (100 * NS_PER_MS)
#define VOTES_MIN      6
#define BUSY_PERCENT   50	 /* of a CPU: from here on the kernel places us */
#define WAIT_NS	       80000 /* for the CPU, each time, in the mean: as long as waking another one takes */
#define HOLD_MIN_NS    NS_PER_S
#define HOLD_MAX_NS    (64 * NS_PER_S)
#define LASTED_NS      (10 * NS_PER_S) /* a home of this long was a good one */

/* Decisions */

void placement_vote(struct placement *p, int cpu)
{
	if (cpu < 0 || cpu >= PLACEMENT_CPUS || p->n_votes == UINT16_MAX)
		return;
	p->votes[cpu]++;
	p->n_votes++;
}

/* The CPU of three in four calls, or -1. */
static int votes_winner(const struct placement *p)
{
	for (int cpu = 0; cpu < PLACEMENT_CPUS; cpu++)
		if (p->votes[cpu] * 4u >= p->n_votes * 3u)
			return cpu;
	return -1;
}

static bool is_too_much(const struct placement *p, uint64_t elapsed_ns, const struct placement_use *use)
{
	uint64_t run = use->run_ns - p->window_use.run_ns, wait = use->wait_ns - p->window_use.wait_ns;
	uint64_t runs = use->runs - p->window_use.runs;

	return run * 100 > elapsed_ns * BUSY_PERCENT || wait > runs * WAIT_NS;
}

static void window_begin(struct placement *p, uint64_t now_ns, const struct placement_use *use)
{
	p->window_ns = now_ns;
	p->window_use = *use;
	if (p->n_votes > 0)
		memset(p->votes, 0, sizeof(p->votes));
	p->n_votes = 0;
}

/* It was too much for one CPU: the longer the oftener. */
static void hold(struct placement *p, uint64_t now_ns)
{
	if (p->home >= 0 && now_ns - p->home_ns < LASTED_NS)
		p->hold_ns = MIN(MAX(p->hold_ns * 2, HOLD_MIN_NS), HOLD_MAX_NS);
	else
		p->hold_ns = HOLD_MIN_NS;
	p->hold_until_ns = now_ns + p->hold_ns;
}

bool placement_review(struct placement *p, uint64_t now_ns, const struct placement_use *use, int *ret_home)
{
	uint64_t elapsed_ns = now_ns - p->window_ns;
	int winner;

	if (elapsed_ns < WINDOW_NS)
		return false;
	*ret_home = p->home;
	if (is_too_much(p, elapsed_ns, use)) {
		hold(p, now_ns);
		*ret_home = -1;
	} else if (p->n_votes < VOTES_MIN) {
		return false; /* few calls: what they say is gathered for longer */
	} else if (now_ns >= p->hold_until_ns) {
		winner = votes_winner(p);
		if (winner >= 0 || p->home < 0 || p->votes[p->home] * 2u < p->n_votes)
			*ret_home = winner;
	}
	if (*ret_home >= 0 && *ret_home != p->home)
		p->home_ns = now_ns;
	window_begin(p, now_ns, use);
	return true;
}

/* The kernel */

static bool use_read(struct placement *p, struct placement_use *ret)
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

static void off(struct placement *p)
{
	if (p->schedstat_fd >= 0)
		close(p->schedstat_fd);
	p->schedstat_fd = -1;
}

void placement_init(struct placement *p)
{
	*p = (struct placement){ .home = -1 };
	p->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (p->schedstat_fd < 0)
		return;
	if (!use_read(p, &p->window_use) || sched_getaffinity(0, sizeof(p->allowed), &p->allowed) < 0 ||
	    CPU_COUNT(&p->allowed) < 2)
		off(p);
}

void placement_done(struct placement *p)
{
	off(p);
}

/* Somebody else (an operator, a cpuset) has placed us meanwhile: that holds, and we have no home any more. */
static void affinity_heed(struct placement *p)
{
	cpu_set_t ours, now;

	CPU_ZERO(&ours);
	if (p->home >= 0)
		CPU_SET(p->home, &ours);
	if (sched_getaffinity(0, sizeof(now), &now) < 0 || CPU_EQUAL(&now, p->home >= 0 ? &ours : &p->allowed))
		return;
	p->allowed = now;
	p->home = -1;
}

static void move(struct placement *p, int home)
{
	cpu_set_t to = p->allowed;

	if (home >= 0) {
		if (!CPU_ISSET(home, &p->allowed))
			return; /* the caller may run where we may not */
		CPU_ZERO(&to);
		CPU_SET(home, &to);
	}
	if (sched_setaffinity(0, sizeof(to), &to) < 0) {
		off(p); /* not ours to say: stay as we are */
		return;
	}
	p->home = home;
	p->n_moves++;
}

void placement_note(struct placement *p, int fd, uint64_t now_ns)
{
	struct placement_use use;
	socklen_t n = sizeof(int);
	int cpu = -1, home;

	if (p->schedstat_fd < 0 || now_ns - p->note_ns < NOTE_EACH_NS)
		return;
	p->note_ns = now_ns;
	if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &n) == 0)
		placement_vote(p, cpu);
	if (now_ns - p->window_ns < WINDOW_NS || !use_read(p, &use))
		return;
	affinity_heed(p);
	if (placement_review(p, now_ns, &use, &home) && home != p->home)
		move(p, home);
}
