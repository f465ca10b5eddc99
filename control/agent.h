/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: brings the rooms together
 *
 * agent.c starts and ends, policy.c carries a change of the model to kernel and proxies, enrolment.c adds and removes workloads,
 * stop.c ends them, take_over.c finds those of an agent before, ops.c answers people. One thread, one loop.
 */
#ifndef TRAMMEL_CONTROL_AGENT_H
#define TRAMMEL_CONTROL_AGENT_H

#include "base/list.h"
#include "base/loop.h"
#include "control/admin/server.h"
#include "control/datapath/datapath.h"
#include "control/enrol/proxy_process.h"
#include "control/enrol/workload.h"
#include "control/identity/ca.h"
#include "control/model/model.h"
#include "control/publish/publish.h"
#include "control/snapshot/snapshot.h"
#include "control/source/file.h"

#define AGENT_DROPS 256

/* How far the end of a workload has come. */
enum stop_phase {
	STOP_NOT,
	STOP_TERM,  /* its processes were asked to end */
	STOP_KILL,  /* its processes were killed */
	STOP_DRAIN, /* its proxy sends on what they left behind */
};

/* A workload as the agent runs it. */
struct agent_workload {
	struct list link; /* in agent.workloads, by age */
	struct agent *agent;
	struct enrolled *enrolled;
	struct proxy_process *process;
	struct loop_io owner_io; /* pidfd of `trammel run`: in the foreground, or before its command runs */
	struct loop_io empty_io; /* cgroup.events of the app cgroup */
	enum stop_phase phase;
	struct loop_timer stop_timer;
	struct loop_task stop_task;   /* something that an end waits for has happened */
	struct loop_task listen_task; /* look at the listening ports again */
	struct loop_timer listen_timer;
	int owner_fd, empty_fd;
	bool was_populated;
	struct list stop_requests; /* answered when it is gone */
};

struct agent {
	struct loop *loop;
	struct paths paths;
	const char *policy_dir; /* NULL: none */
	char *proxy_program;
	int lock_fd, run_dir_fd;
	bool is_first; /* no earlier agent left anything: a failed start undoes everything */
	struct proxy_process_config proxy_config;
	struct datapath *datapath;
	struct ca *ca;
	struct model *model;
	struct file_source *file_source;
	struct publish *publish;
	struct admin_server *admin;
	struct mesh_snapshot *snapshot;
	uint64_t snapshot_wall_ns;
	uint64_t started_wall_ns;
	struct list workloads;
	uint32_t next_id; /* numbers, and with them addresses, come back as late as can be */
	struct trm_event drops[AGENT_DROPS]; /* ring of what the kernel refused */
	size_t drop_next, n_drops;
	struct admin_request *down_request;
	bool going_down;
};

/** agent_start() - bring everything up, or take over; on failure @fault says why, and agent_undo() has to follow */
MUST_CHECK int agent_start(struct agent *a, const char *policy_dir, struct fault *fault);
/** agent_end() - stop serving and forget; what is pinned and running goes on, or is removed when @a->going_down */
void agent_end(struct agent *a);
/** agent_undo() - after a failed start: leave what an earlier agent left, or nothing at all */
void agent_undo(struct agent *a);

/* policy.c */
/** policy_apply() - cut a new snapshot of the model and bring it to kernel and proxies when something changed */
void policy_apply(struct agent *a);

/* enrolment.c */
MUST_CHECK int enrolment_add(struct agent *a, struct workload_spec *spec, struct agent_workload **ret, struct fault *fault);
/** enrolment_attach() - links, slots and watches around what was made or opened; takes @e, which is removed on failure */
MUST_CHECK int enrolment_attach(struct agent *a, struct enrolled *e, struct agent_workload **ret, struct fault *fault);
struct agent_workload *enrolment_find(struct agent *a, const char *namespace, const char *name);
struct agent_workload *enrolment_find_id(struct agent *a, uint32_t id);
/** enrolment_started() - its command runs as @pid */
void enrolment_started(struct agent_workload *w, pid_t pid);
/** enrolment_take_away() - all that was made for @e, its processes first; frees it */
void enrolment_take_away(struct agent *a, struct enrolled *e);
/** enrolment_remove() - at once */
void enrolment_remove(struct agent_workload *w);
/** enrolment_forget() - the agent ends, the workload goes on */
void enrolment_forget(struct agent_workload *w);
/** enrolment_listen_changed() - the kernel told of a listener opened or closed */
void enrolment_listen_changed(struct agent_workload *w);
/** enrolment_listen_look() - ask the kernel now; the model is told */
void enrolment_listen_look(struct agent_workload *w);
/** enrolment_tell() - the model what we know of it */
void enrolment_tell(struct agent_workload *w);

/* stop.c */
/** stop_begin() - TERM now, KILL after 5 s, then the proxy drains for at most 3 s, then removal; @req (or NULL) is answered in the end */
void stop_begin(struct agent_workload *w, struct admin_request *req);
/** stop_step() - its last process or its proxy ended: the next phase, from the loop; no-op for a workload that is not ending */
void stop_step(struct agent_workload *w);
/** stop_all() - end every workload, then answer @req and leave the loop */
void stop_all(struct agent *a, struct admin_request *req);
/** stop_done() - @w is gone: answer those who wait for it (called by enrolment_remove()) */
void stop_done(struct agent_workload *w);
/** stop_forget() - the agent ends before @w: tell those who wait for it (called by enrolment_forget()) */
void stop_forget(struct agent_workload *w);

/* take_over.c */
/** take_over_all() - every workload an earlier agent left */
void take_over_all(struct agent *a);

/* ops.c */
void agent_op(struct admin_request *req, const char *op, const json_t *args, void *user);
/** agent_status_json() - members of the answer to "status" */
void agent_status_json(const struct agent *a, struct json_writer *w);

/** clean_all() - remove whatever this instance left behind, without an agent; 0, or negative errno with @fault */
MUST_CHECK int clean_all(const struct paths *p, struct fault *fault);

#endif
