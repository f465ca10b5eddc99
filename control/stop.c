/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a workload, in phases
 *
 * Its processes are asked (TERM), then killed; its proxy gets a moment to send on what they left behind; then everything that was made
 * for it goes. Each phase ends by an event (cgroup empty, proxy gone) or by its time.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "control/agent.h"
#include "control/enrol/cgroup.h"

#define TERM_MS	 5000
#define KILL_MS	 2000
#define DRAIN_MS 3000

struct stop_waiter {
	struct list link;
	struct admin_request *req;
};

static void phase_next(struct agent_workload *w);

static void on_stop_due(struct loop_timer *timer)
{
	struct agent_workload *w = container_of(timer, struct agent_workload, stop_timer);

	log_warn("workload takes too long to end", "workload=%s phase=%s", w->enrolled->key,
		 w->phase == STOP_TERM ? "term" : w->phase == STOP_KILL ? "kill" : "drain");
	phase_next(w);
}

static void on_stop_task(struct loop_task *task)
{
	struct agent_workload *w = container_of(task, struct agent_workload, stop_task);

	if (w->phase == STOP_DRAIN ? w->enrolled->proxy_pid != 0 : cgroup_is_populated(w->enrolled->app_cgroup))
		return; /* not over yet */
	if (w->phase == STOP_TERM)
		w->phase = STOP_KILL; /* nobody left to kill */
	phase_next(w);
}

void stop_step(struct agent_workload *w)
{
	if (w->phase != STOP_NOT)
		loop_task_defer(w->agent->loop, &w->stop_task, on_stop_task);
}

/* The phase is over, by event or by time: begin the one behind it. */
static void phase_next(struct agent_workload *w)
{
	static const uint64_t phase_ms[] = { [STOP_TERM] = TERM_MS, [STOP_KILL] = KILL_MS, [STOP_DRAIN] = DRAIN_MS };

	if (w->phase == STOP_DRAIN) {
		enrolment_remove(w);
		return;
	}
	w->phase++;
	loop_timer_set(w->agent->loop, &w->stop_timer, phase_ms[w->phase], on_stop_due);
	if (w->phase == STOP_TERM)
		cgroup_signal(w->enrolled->app_cgroup, SIGTERM);
	else if (w->phase == STOP_KILL)
		cgroup_kill(w->enrolled->app_cgroup);
	else
		proxy_process_stop(w->process);
	stop_step(w);
}

void stop_begin(struct agent_workload *w, struct admin_request *req)
{
	struct stop_waiter *s = req ? calloc(1, sizeof(*s)) : NULL;

	if (s) {
		s->req = req;
		list_push_back(&w->stop_requests, &s->link);
	} else if (req) {
		admin_answer_empty(req); /* no memory to wait with: it is on its way */
	}
	if (w->phase != STOP_NOT)
		return;
	w->enrolled->stopping = true;
	enrolment_tell(w); /* endpoints drain while it ends */
	phase_next(w);
}

static void on_all_gone(struct agent *a)
{
	if (a->down_request)
		admin_answer_empty(a->down_request);
	a->down_request = NULL;
	loop_stop(a->loop);
}

void stop_done(struct agent_workload *w)
{
	struct stop_waiter *s, *next;

	list_for_each_entry_safe(s, next, &w->stop_requests, link) {
		list_remove(&s->link);
		admin_answer_empty(s->req);
		free(s);
	}
	if (w->agent->going_down && list_is_empty(&w->agent->workloads))
		on_all_gone(w->agent);
}

void stop_forget(struct agent_workload *w)
{
	const struct workload_spec *spec = &w->enrolled->spec;
	struct stop_waiter *s, *next;
	struct fault fault = { 0 };
	char thing[160];

	snprintf(thing, sizeof(thing), "workload %s/%s", spec->namespace, spec->name);
	list_for_each_entry_safe(s, next, &w->stop_requests, link) {
		list_remove(&s->link);
		fault_set(&fault, thing, "`trammel up`, then stop it again", "has not ended yet, and the agent ends");
		admin_refuse(s->req, &fault);
		free(s);
	}
}

void stop_all(struct agent *a, struct admin_request *req)
{
	struct agent_workload *w, *next;

	a->going_down = true;
	a->down_request = req;
	list_for_each_entry_safe(w, next, &a->workloads, link)
		stop_begin(w, NULL);
	if (list_is_empty(&a->workloads))
		on_all_gone(a);
}
