/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: brings the rooms together
 *
 * agent.c starts and ends, policy.c carries a change of the model to kernel and proxies, enrolment.c adds and removes workloads,
 * ops.c answers people. One thread, one loop.
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

/* A workload as the agent runs it. */
struct agent_workload {
	struct list link; /* in agent.workloads, by age */
	struct agent *agent;
	struct enrolled *enrolled;
	struct proxy_process *process;
	struct loop_io owner_io; /* pidfd of `trammel run` */
	struct loop_io empty_io; /* inotify of the app cgroup's events */
	struct loop_timer kill_timer;
	struct loop_task listen_task; /* look at the listening ports again */
	int owner_fd, empty_fd;
	bool was_populated;
	struct list stop_requests; /* answered when it is gone */
	/* of the newest certificate */
	char cert_serial[48];
	uint64_t cert_not_before_s, cert_not_after_s;
};

struct agent {
	struct loop *loop;
	struct paths paths;
	const char *policy_dir; /* NULL: none */
	char *proxy_program;
	int lock_fd;
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
	struct trm_event drops[AGENT_DROPS]; /* ring of what the kernel refused */
	size_t drop_next, n_drops;
	struct admin_request *down_request;
	bool going_down;
};

/** agent_start() - bring everything up, or take over; on failure everything done is undone and @fault says why */
MUST_CHECK int agent_start(struct agent *a, const char *policy_dir, struct fault *fault);
/** agent_end() - stop serving and forget; what is pinned and running goes on, or is removed when @a->going_down */
void agent_end(struct agent *a);

/* policy.c */
/** policy_apply() - cut a new snapshot of the model and bring it to kernel and proxies when something changed */
void policy_apply(struct agent *a);

/* enrolment.c */
MUST_CHECK int enrolment_add(struct agent *a, struct workload_spec *spec, struct agent_workload **ret, struct fault *fault);
/** enrolment_take_over() - every workload an earlier agent left */
void enrolment_take_over(struct agent *a);
struct agent_workload *enrolment_find(struct agent *a, const char *namespace, const char *name);
struct agent_workload *enrolment_find_id(struct agent *a, uint32_t id);
/** enrolment_started() - its command runs as @pid */
void enrolment_started(struct agent_workload *w, pid_t pid);
/** enrolment_stop() - TERM now, KILL after 5 s, then removal; @req (or NULL) is answered in the end */
void enrolment_stop(struct agent_workload *w, struct admin_request *req);
/** enrolment_remove() - at once */
void enrolment_remove(struct agent_workload *w);
/** enrolment_forget() - the agent ends, the workload goes on */
void enrolment_forget(struct agent_workload *w);
/** enrolment_listen_changed() - the kernel told of a listener opened or closed */
void enrolment_listen_changed(struct agent_workload *w);

/* ops.c */
void agent_op(struct admin_request *req, const char *op, const json_t *args, void *user);
/** agent_status_json() - members of the answer to "status" */
void agent_status_json(const struct agent *a, struct json_writer *w);

/** clean_all() - remove whatever this instance left behind, without an agent; 0, or negative errno with @fault */
MUST_CHECK int clean_all(const struct paths *p, struct fault *fault);

#endif
