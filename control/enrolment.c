/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads of this agent: added, watched, removed. Their end is in stop.c, their take-over in take_over.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/spawn.h"
#include "base/str.h"
#include "control/agent.h"
#include "control/enrol/cgroup.h"

#define LISTEN_AGAIN_MS 50
#define LISTEN_LOOK_MS	10000

struct agent_workload *enrolment_find(struct agent *a, const char *namespace, const char *name)
{
	struct agent_workload *w;

	list_for_each_entry(w, &a->workloads, link)
		if (strcmp(w->enrolled->spec.namespace, namespace) == 0 && strcmp(w->enrolled->spec.name, name) == 0)
			return w;
	return NULL;
}

struct agent_workload *enrolment_find_id(struct agent *a, uint32_t id)
{
	struct agent_workload *w;

	list_for_each_entry(w, &a->workloads, link)
		if (w->enrolled->id == id)
			return w;
	return NULL;
}

/* The next number nobody has: an address that was just given back is not another workload's a moment later. */
static uint32_t id_take(struct agent *a)
{
	for (uint32_t n = 0; n < WORKLOAD_IDS_MAX; n++) {
		uint32_t id = a->next_id % WORKLOAD_IDS_MAX + 1;

		a->next_id = id;
		if (!enrolment_find_id(a, id))
			return id;
	}
	return 0;
}

void enrolment_tell(struct agent_workload *w)
{
	const struct enrolled *e = w->enrolled;
	const struct addr addresses[2] = { e->addr4, e->addr6 };
	const struct model_workload m = {
		.id = e->id,
		.namespace = e->spec.namespace,
		.name = e->spec.name,
		.service_account = e->spec.service_account,
		.labels = (const char *const *)e->spec.labels,
		.n_labels = e->spec.n_labels,
		.addresses = addresses,
		.n_addresses = 2,
		.listening = e->ports,
		.n_listening = e->n_ports,
		.terminating = e->stopping,
	};
	int r = model_workload_set(w->agent->model, &m);

	if (r < 0)
		log_error("workload not in the model", "workload=%s err=%s", e->key, strerror(-r));
}

static void on_listen_due(struct loop_timer *timer)
{
	enrolment_listen_look(container_of(timer, struct agent_workload, listen_timer));
}

/* Events tell that something changed; this slow look makes good for events that were lost. */
void enrolment_listen_look(struct agent_workload *w)
{
	struct enrolled *e = w->enrolled;
	uint16_t ports[LISTENING_MAX];
	size_t n;
	int r = listening_ports(e->listening, ports, &n);

	loop_timer_set(w->agent->loop, &w->listen_timer, LISTEN_LOOK_MS, on_listen_due);
	if (r < 0) {
		log_limited(LOG_WARN, "listening ports unknown", "workload=%s err=%s", e->key, strerror(-r));
		return;
	}
	if (n == e->n_ports && memcmp(e->ports, ports, n * sizeof(ports[0])) == 0)
		return;
	memcpy(e->ports, ports, n * sizeof(ports[0]));
	e->n_ports = n;
	enrolment_tell(w);
}

static void on_listen_task(struct loop_task *task)
{
	struct agent_workload *w = container_of(task, struct agent_workload, listen_task);

	enrolment_listen_look(w);
	/* Once more soon: the kernel tells of a close before the socket has left its table. */
	loop_timer_set(w->agent->loop, &w->listen_timer, LISTEN_AGAIN_MS, on_listen_due);
}

void enrolment_listen_changed(struct agent_workload *w)
{
	loop_task_defer(w->agent->loop, &w->listen_task, on_listen_task);
}

static void owner_unwatch(struct agent_workload *w)
{
	loop_io_remove(&w->owner_io);
	w->owner_fd = fd_close(w->owner_fd);
}

static void watches_stop(struct agent_workload *w)
{
	owner_unwatch(w);
	loop_io_remove(&w->empty_io);
	loop_timer_cancel(&w->stop_timer);
	loop_timer_cancel(&w->listen_timer);
	loop_task_cancel(&w->stop_task);
	loop_task_cancel(&w->listen_task);
	w->empty_fd = fd_close(w->empty_fd);
	w->process = proxy_process_free(w->process);
}

/* Links after processes and interface: between the two, what ran in it would speak in the clear. The state file goes last. */
void enrolment_take_away(struct agent *a, struct enrolled *e)
{
	enrolled_end(&a->paths, e);
	datapath_workload_detach(a->datapath, e->id, e->key);
	enrolled_remove(&a->paths, e);
}

void enrolment_remove(struct agent_workload *w)
{
	struct agent *a = w->agent;

	model_workload_remove(a->model, w->enrolled->spec.namespace, w->enrolled->spec.name);
	watches_stop(w);
	log_info("workload removed", "workload=%s", w->enrolled->key);
	enrolment_take_away(a, w->enrolled);
	list_remove(&w->link);
	stop_done(w);
	free(w);
}

void enrolment_forget(struct agent_workload *w)
{
	watches_stop(w);
	stop_forget(w);
	enrolled_free(w->enrolled);
	list_remove(&w->link);
	free(w);
}

/* `trammel run` is gone before its time: so is its workload, unless it was to be detached and runs. */
static void on_owner_gone(struct loop_io *io, uint32_t revents)
{
	struct agent_workload *w = container_of(io, struct agent_workload, owner_io);

	owner_unwatch(w);
	if (w->enrolled->spec.detach && cgroup_is_populated(w->enrolled->app_cgroup))
		enrolment_started(w, cgroup_first_pid(w->enrolled->app_cgroup)); /* it could not tell us */
	else
		stop_begin(w, NULL);
}

static void empty_check(struct agent_workload *w)
{
	bool populated = cgroup_is_populated(w->enrolled->app_cgroup);

	if (populated) {
		w->was_populated = true;
		return;
	}
	/* A command line that is there removes its workload itself, or is about to start the command. */
	if (w->phase != STOP_NOT)
		stop_step(w);
	else if (w->was_populated && !w->owner_io.loop)
		stop_begin(w, NULL);
}

static void on_cgroup_event(struct loop_io *io, uint32_t revents)
{
	struct agent_workload *w = container_of(io, struct agent_workload, empty_io);
	char drop[512];

	if (pread(io->fd, drop, sizeof(drop), 0) < 0) /* reading is what makes the next change an event again */
		log_limited(LOG_WARN, "cgroup events unreadable", "workload=%s", w->enrolled->key);
	empty_check(w);
}

/* Its command line: in the foreground to its end, detached until the command runs. */
static int owner_watch(struct agent_workload *w)
{
	const struct workload_spec *spec = &w->enrolled->spec;
	int r;

	if (!spec->owner_pid || (spec->detach && w->enrolled->pid))
		return 0;
	r = spawn_pidfd_open(spec->owner_pid, &w->owner_fd);
	if (r == 0 && spawn_start_time(spec->owner_pid) != spec->owner_start)
		r = -ESRCH; /* the number was given to another process */
	return r ? r : loop_io_add(w->agent->loop, &w->owner_io, w->owner_fd, EPOLLIN, on_owner_gone);
}

static int empty_watch(struct agent_workload *w)
{
	_cleanup_(freep) char *events = str_printf("%s/cgroup.events", w->enrolled->app_cgroup);

	w->empty_fd = events ? open(events, O_RDONLY | O_CLOEXEC) : -1;
	if (w->empty_fd < 0)
		return events ? -errno : -ENOMEM;
	return loop_io_add(w->agent->loop, &w->empty_io, w->empty_fd, EPOLLPRI, on_cgroup_event);
}

int enrolment_attach(struct agent *a, struct enrolled *e, struct agent_workload **ret, struct fault *fault)
{
	struct agent_workload *w = calloc(1, sizeof(*w));
	const struct datapath_workload d = {
		.id = e->id, .key = e->key, .netns_fd = e->netns_fd, .app_cgroup_fd = e->app_cgroup_fd, .proxy_cgroup_fd = e->proxy_cgroup_fd,
		.netns_cookie = e->netns_cookie, .addr4 = e->addr4, .addr6 = e->addr6, .proxy_cgroup_id = e->proxy_cgroup_id,
		.ifname = WORKLOAD_IFNAME,
	};
	_cleanup_(freep) char *error = NULL;
	int r;

	if (!w) {
		enrolment_take_away(a, e);
		return -ENOMEM;
	}
	w->agent = a;
	w->enrolled = e;
	w->owner_fd = w->empty_fd = -1;
	list_init(&w->stop_requests);
	list_push_back(&a->workloads, &w->link);
	r = datapath_workload_attach(a->datapath, &d, &error);
	r = r ? r : datapath_workload_set_listener(a->datapath, e->id, TRM_SLOT_INBOUND, e->listeners[LISTENER_INBOUND]);
	r = r ? r : datapath_workload_set_listener(a->datapath, e->id, TRM_SLOT_METRICS, e->listeners[LISTENER_METRICS]);
	r = r ? r : datapath_workload_set_listener(a->datapath, e->id, TRM_SLOT_READY, e->listeners[LISTENER_READY]);
	r = r ? r : proxy_process_new(&a->proxy_config, e, &w->process);
	r = r ? r : empty_watch(w);
	if (r == 0) {
		int owner = owner_watch(w);

		if (owner == -ESRCH)
			stop_begin(w, NULL); /* its command line ended while no agent ran */
		else
			r = owner;
	}
	if (r < 0) {
		char *reason = error ? TAKE_PTR(error) : str_printf("%s", strerror(-r));

		fault_take(fault, "enrolment", NULL, reason);
		enrolment_remove(w);
		return r;
	}
	*ret = w;
	return 0;
}

int enrolment_add(struct agent *a, struct workload_spec *spec, struct agent_workload **ret, struct fault *fault)
{
	uint32_t id = id_take(a);
	struct enrolled *e;
	int r;

	if (!id) {
		fault_set(fault, "workload", "stop some", "there are %d already", WORKLOAD_IDS_MAX);
		return -ENOSPC;
	}
	r = enrolled_make(&a->paths, id, spec, &e, fault);
	if (r < 0)
		return r;
	spec->n_labels = 0; /* taken over */
	r = enrolment_attach(a, e, ret, fault);
	if (r < 0)
		return r;
	enrolment_tell(*ret);
	log_info("workload enrolled", "workload=%s id=%u", e->key, id);
	return 0;
}

void enrolment_started(struct agent_workload *w, pid_t pid)
{
	int r;

	w->enrolled->pid = pid;
	w->was_populated = true;
	if (w->enrolled->spec.detach)
		owner_unwatch(w);
	r = enrolled_save(w->enrolled);
	if (r < 0)
		log_warn("state not written", "workload=%s err=%s", w->enrolled->key, strerror(-r));
	enrolment_listen_changed(w);
	empty_check(w); /* it may have ended before we were told */
}
