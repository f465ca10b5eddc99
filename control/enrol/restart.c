/* SPDX-License-Identifier: Apache-2.0 */
/* The wait before a proxy is started again: see restart.h. */
#include "control/enrol/restart.h"

#include <signal.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "base/clock.h"

#define FIRST_MS      50
#define SERVED_MAX_MS 200
#define FAULT_MAX_MS  5000
#define LIVED_NS      (10 * NS_PER_S)

void restart_started(struct restart *r, uint64_t now_ns, bool is_ready)
{
	r->started_ns = now_ns;
	r->is_ready = is_ready;
}

void restart_ready(struct restart *r)
{
	r->is_ready = true;
}

/*
 * Asked to end (it drains, then exits with 0), or killed. The kernel's own kill for want of memory looks the same: the short wait
 * still keeps a proxy that is too large for its memory to five starts a second.
 */
static bool is_from_outside(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status) == 0;
	switch (WTERMSIG(status)) {
	case SIGKILL:
	case SIGTERM:
	case SIGINT:
	case SIGHUP:
	case SIGQUIT:
		return true;
	default:
		return false;
	}
}

static uint32_t wait_take(struct restart *r, uint32_t max_ms)
{
	uint32_t wait_ms = MIN(r->next_ms, max_ms);

	r->next_ms = MIN(MAX(wait_ms * 2, (uint32_t)FIRST_MS), max_ms);
	return wait_ms;
}

uint32_t restart_ended(struct restart *r, uint64_t now_ns, int status)
{
	if (now_ns - r->started_ns >= LIVED_NS)
		r->next_ms = 0;
	return wait_take(r, r->is_ready || is_from_outside(status) ? SERVED_MAX_MS : FAULT_MAX_MS);
}

uint32_t restart_failed(struct restart *r)
{
	r->next_ms = MAX(r->next_ms, (uint32_t)FIRST_MS);
	return wait_take(r, FAULT_MAX_MS);
}
