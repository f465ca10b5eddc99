/* SPDX-License-Identifier: Apache-2.0 */
/* What people ask of the agent: the ops of include/trammel/admin.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/spawn.h"
#include "base/str.h"
#include "config.h"
#include "control/admin/show.h"
#include "control/agent.h"
#include "trammel/reason.h"

typedef void (*op_fn)(struct agent *a, struct admin_request *req, const json_t *args);

void agent_status_json(const struct agent *a, struct json_writer *w)
{
	const struct agent_workload *wl;
	size_t n = 0;

	list_for_each_entry(wl, &a->workloads, link)
		n++;
	json_cstr(w, "version", TRAMMEL_VERSION);
	json_i64(w, "pid", getpid());
	json_f64(w, "uptime_s", (double)(clock_wall_ns() - a->started_wall_ns) / 1e9);
	json_u64(w, "generation", a->snapshot ? mesh_snapshot_generation(a->snapshot) : 0);
	json_cstr(w, "run_dir", a->paths.run_dir);
	json_cstr(w, "bpffs", a->paths.bpffs);
	json_cstr(w, "policy_dir", a->policy_dir);
	json_u64(w, "workloads", n);
	json_u64(w, "complaints", model_n_complaints(a->model));
}

static void op_status(struct agent *a, struct admin_request *req, const json_t *args)
{
	agent_status_json(a, admin_answer_begin(req));
	admin_answer_end(req);
}

static void workload_put(struct json_writer *w, const struct agent_workload *wl)
{
	const struct enrolled *e = wl->enrolled;
	char text[ADDR_TEXT_BYTES];

	json_u64(w, "id", e->id);
	json_cstr(w, "namespace", e->spec.namespace);
	json_cstr(w, "name", e->spec.name);
	json_cstr(w, "service_account", e->spec.service_account);
	json_cstr(w, "state", e->stopping ? "stopping" : e->pid ? "running" : "starting");
	json_open_array(w, "addresses");
	json_cstr(w, NULL, addr_format_ip(&e->addr4, text));
	json_cstr(w, NULL, addr_format_ip(&e->addr6, text));
	json_close_array(w);
	json_open_array(w, "labels");
	for (size_t i = 0; i < e->spec.n_labels; i++)
		json_cstr(w, NULL, e->spec.labels[i]);
	json_close_array(w);
	json_open_array(w, "listening");
	for (size_t i = 0; i < e->n_ports; i++)
		json_u64(w, NULL, e->ports[i]);
	json_close_array(w);
	json_i64(w, "pid", e->pid);
	json_i64(w, "proxy_pid", e->proxy_pid);
	json_u64(w, "proxy_restarts", wl->process ? proxy_process_restarts(wl->process) : 0);
	json_cstr(w, "netns", e->netns_path);
	json_cstr(w, "cgroup", e->app_cgroup);
	json_cstr(w, "etc_dir", e->etc_dir);
	json_f64(w, "age_s", (double)(clock_wall_ns() - e->created_wall_ns) / 1e9);
}

static void workload_answer(struct admin_request *req, const struct agent_workload *wl)
{
	workload_put(admin_answer_begin(req), wl);
	admin_answer_end(req);
}

/* These names become file names and parts of identities. */
static bool is_name(const char *s)
{
	return s && str_is_label(str_from(s));
}

static bool name_get(struct admin_request *req, const json_t *args, const char **namespace, const char **name)
{
	struct fault fault = { 0 };

	*namespace = json_string_value(json_object_get(args, "namespace"));
	*name = json_string_value(json_object_get(args, "name"));
	if (is_name(*namespace) && is_name(*name))
		return true;
	fault_set(&fault, "workload name", "use lower-case letters, digits and '-' inside, at most 63", "%s/%s is no NAMESPACE/NAME",
		  *namespace ? *namespace : "", *name ? *name : "");
	admin_refuse(req, &fault);
	return false;
}

static struct agent_workload *workload_get(struct agent *a, struct admin_request *req, const json_t *args)
{
	const char *namespace, *name;
	struct fault fault = { 0 };
	struct agent_workload *w;
	char thing[160];

	if (!name_get(req, args, &namespace, &name))
		return NULL;
	w = enrolment_find(a, namespace, name);
	if (w)
		return w;
	snprintf(thing, sizeof(thing), "workload %s/%s", namespace, name);
	fault_set(&fault, thing, "see `trammel workload list`", "does not run here");
	admin_refuse(req, &fault);
	return NULL;
}

static int spec_parse(const json_t *args, const char *namespace, const char *name, struct workload_spec *spec, struct fault *fault)
{
	const char *account = json_string_value(json_object_get(args, "service_account"));
	const json_t *labels = json_object_get(args, "labels"), *v;
	size_t i;

	snprintf(spec->namespace, sizeof(spec->namespace), "%s", namespace);
	snprintf(spec->name, sizeof(spec->name), "%s", name);
	snprintf(spec->service_account, sizeof(spec->service_account), "%s", account && *account ? account : "default");
	if (!is_name(spec->service_account)) {
		fault_set(fault, "service account", "use lower-case letters, digits and '-' inside", "%s is no name", spec->service_account);
		return -EINVAL;
	}
	spec->detach = json_is_true(json_object_get(args, "detach"));
	spec->owner_pid = (pid_t)json_integer_value(json_object_get(args, "owner_pid"));
	spec->owner_start = spec->owner_pid > 0 ? spawn_start_time(spec->owner_pid) : 0;
	json_array_foreach(labels, i, v) {
		const char *text = json_string_value(v);

		if (!text || !strchr(text, '=') || text[0] == '=' || spec->n_labels == WORKLOAD_LABELS_MAX) {
			fault_set(fault, "label", "give at most 64 labels as KEY=VALUE", "%s is refused", text ? text : "what is no text");
			return -EINVAL;
		}
		spec->labels[spec->n_labels] = str_dup(str_from(text));
		if (!spec->labels[spec->n_labels])
			return -ENOMEM;
		spec->n_labels++;
	}
	return 0;
}

static void op_create(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct workload_spec spec = { 0 };
	struct fault fault = { 0 };
	const char *namespace, *name;
	struct agent_workload *w;
	char thing[160];
	int r;

	if (!name_get(req, args, &namespace, &name))
		return;
	snprintf(thing, sizeof(thing), "workload %s/%s", namespace, name);
	if (a->going_down) {
		fault_set(&fault, thing, "wait, then `trammel up`", "the agent is going down");
		admin_refuse(req, &fault);
		return;
	}
	if (enrolment_find(a, namespace, name)) {
		fault_set(&fault, thing, "choose another --name, or stop it with `trammel stop`", "exists already");
		admin_refuse(req, &fault);
		return;
	}
	r = spec_parse(args, namespace, name, &spec, &fault);
	r = r ? r : enrolment_add(a, &spec, &w, &fault);
	workload_spec_done(&spec);
	if (r < 0) {
		if (!fault.reason)
			fault_set(&fault, thing, NULL, "%s", strerror(-r));
		admin_refuse(req, &fault);
		return;
	}
	policy_apply(a); /* READY before the command starts: its first connect is not refused */
	workload_answer(req, w);
}

static void op_started(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct agent_workload *w = workload_get(a, req, args);
	json_int_t pid = json_integer_value(json_object_get(args, "pid"));

	if (!w)
		return;
	admin_answer_empty(req);
	enrolment_started(w, (pid_t)pid); /* last: it may be over already, and the workload gone */
}

static void op_get(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct agent_workload *w = workload_get(a, req, args);

	if (w)
		workload_answer(req, w);
}

static void op_stop(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct agent_workload *w = workload_get(a, req, args);

	if (w)
		stop_begin(w, req);
}

static void op_workloads(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct json_writer *w = admin_answer_begin(req);
	struct agent_workload *wl;

	json_open_array(w, "workloads");
	list_for_each_entry(wl, &a->workloads, link) {
		json_open_object(w, NULL);
		workload_put(w, wl);
		json_close_object(w);
	}
	json_close_array(w);
	admin_answer_end(req);
}

static void op_services(struct agent *a, struct admin_request *req, const json_t *args)
{
	show_services(admin_answer_begin(req), "services", a->snapshot);
	admin_answer_end(req);
}

static void op_endpoints(struct agent *a, struct admin_request *req, const json_t *args)
{
	show_endpoints(admin_answer_begin(req), "endpoints", a->snapshot);
	admin_answer_end(req);
}

static void op_snapshot(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct json_writer *w = admin_answer_begin(req);

	json_u64(w, "generation", a->snapshot ? mesh_snapshot_generation(a->snapshot) : 0);
	json_u64(w, "built_at_s", a->snapshot_wall_ns / NS_PER_S);
	json_cstr(w, "policy_dir", a->policy_dir);
	json_i64(w, "agent_pid", getpid());
	json_u64(w, "services", a->snapshot ? mesh_snapshot_n_services(a->snapshot) : 0);
	json_u64(w, "workloads", a->snapshot ? mesh_snapshot_n_workloads(a->snapshot) : 0);
	show_complaints(w, "complaints", a->model);
	show_proxies(w, "proxies", a->publish, a->snapshot);
	admin_answer_end(req);
}

static void op_progs(struct agent *a, struct admin_request *req, const json_t *args)
{
	datapath_progs_json(a->datapath, admin_answer_begin(req), "progs");
	admin_answer_end(req);
}

static void op_maps(struct agent *a, struct admin_request *req, const json_t *args)
{
	datapath_maps_json(a->datapath, admin_answer_begin(req), "maps");
	admin_answer_end(req);
}

static void op_map_dump(struct agent *a, struct admin_request *req, const json_t *args)
{
	const char *map = json_string_value(json_object_get(args, "map"));
	struct json_writer trial;
	struct fault fault = { 0 };
	struct buf out;
	int r;

	/* into a buffer of its own first: a map that is not there is an error, not half an answer */
	buf_init(&out, 15 * 1024 * 1024);
	json_writer_init(&trial, &out);
	json_open_object(&trial, NULL);
	r = map ? datapath_map_dump_json(a->datapath, map, &trial, "entries") : -EINVAL;
	buf_done(&out);
	if (r < 0) {
		fault_set(&fault, map ? map : "map", "see `trammel map list`", "%s",
			  r == -ENOENT	       ? "is no map of this mesh" :
			  r == -EOPNOTSUPP ? "keeps what it has with sockets or in a ring: there are no entries to list" :
					     strerror(-r));
		admin_refuse(req, &fault);
		return;
	}
	if (datapath_map_dump_json(a->datapath, map, admin_answer_begin(req), "entries") < 0)
		log_warn("map changed while it was shown", "map=%s", map);
	admin_answer_end(req);
}

static void op_features(struct agent *a, struct admin_request *req, const json_t *args)
{
	datapath_features_json(admin_answer_begin(req), "features");
	admin_answer_end(req);
}

static void op_stats(struct agent *a, struct admin_request *req, const json_t *args)
{
	uint64_t counts[TRM_REASON_MAX] = { 0 };
	struct fault fault = { 0 };
	int r = datapath_counters(a->datapath, counts);

	if (r < 0) {
		fault_set(&fault, "counters", NULL, "%s", strerror(-r));
		admin_refuse(req, &fault);
		return;
	}
	show_counters(admin_answer_begin(req), "counters", counts);
	admin_answer_end(req);
}

static void drop_put(struct agent *a, struct json_writer *w, const struct trm_event *ev, uint64_t now_ns)
{
	struct agent_workload *wl = enrolment_find_id(a, ev->workload_id);
	struct addr src = { .port = __builtin_bswap16(ev->src.port) }, dst = { .port = __builtin_bswap16(ev->dst.port) };
	char text[ADDR_TEXT_BYTES], name[160] = "?";

	memcpy(src.ip, ev->src.ip, 16);
	memcpy(dst.ip, ev->dst.ip, 16);
	if (wl)
		snprintf(name, sizeof(name), "%s/%s", wl->enrolled->spec.namespace, wl->enrolled->spec.name);
	json_open_object(w, NULL);
	json_cstr(w, "workload", name);
	json_cstr(w, "direction", ev->inbound ? "inbound" : "outbound");
	json_cstr(w, "client", addr_format(&src, text));
	json_cstr(w, "orig_dst", addr_format(&dst, text));
	json_cstr(w, "reason", trm_reason_label(ev->reason));
	json_cstr(w, "reason_text", trm_reason_text(ev->reason));
	json_f64(w, "age_s", now_ns > ev->time_ns ? (double)(now_ns - ev->time_ns) / 1e9 : 0);
	json_close_object(w);
}

static void op_refused(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct json_writer *w = admin_answer_begin(req);
	uint64_t now = clock_mono_ns(); /* bpf_ktime_get_ns() is the same clock */

	json_open_array(w, "refused");
	for (size_t i = 0; i < a->n_drops; i++)
		drop_put(a, w, &a->drops[(a->drop_next + AGENT_DROPS - 1 - i) % AGENT_DROPS], now);
	json_close_array(w);
	admin_answer_end(req);
}

static void op_certs(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct json_writer *w = admin_answer_begin(req);
	struct agent_workload *wl;
	struct ca_root root;
	char text[400];

	ca_root_get(a->ca, &root);
	json_open_array(w, "certs");
	list_for_each_entry(wl, &a->workloads, link) {
		const struct workload_spec *s = &wl->enrolled->spec;

		if (!wl->enrolled->cert_not_after_s)
			continue;
		json_open_object(w, NULL);
		snprintf(text, sizeof(text), "%s/%s", s->namespace, s->name);
		json_cstr(w, "workload", text);
		snprintf(text, sizeof(text), "spiffe://%s/ns/%s/sa/%s", root.trust_domain, s->namespace, s->service_account);
		json_cstr(w, "spiffe_id", text);
		json_cstr(w, "serial", wl->enrolled->cert_serial);
		json_u64(w, "not_before", wl->enrolled->cert_not_before_s);
		json_u64(w, "not_after", wl->enrolled->cert_not_after_s);
		json_close_object(w);
	}
	json_close_array(w);
	json_open_object(w, "ca");
	json_cstr(w, "trust_domain", root.trust_domain);
	json_cstr(w, "serial", root.serial_hex);
	json_u64(w, "not_before", root.not_before_s);
	json_u64(w, "not_after", root.not_after_s);
	json_close_object(w);
	admin_answer_end(req);
}

static void op_listeners(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct json_writer *w = admin_answer_begin(req);
	struct agent_workload *wl;
	char name[160];

	json_open_array(w, "listeners");
	list_for_each_entry(wl, &a->workloads, link)
		for (int i = 0; i < LISTENERS; i++) {
			if (wl->enrolled->listeners[i] < 0)
				continue;
			snprintf(name, sizeof(name), "%s/%s", wl->enrolled->spec.namespace, wl->enrolled->spec.name);
			json_open_object(w, NULL);
			json_cstr(w, "workload", name);
			json_cstr(w, "name", listener_specs[i].name);
			json_cstr(w, "address", listener_specs[i].address);
			json_u64(w, "port", listener_specs[i].port);
			json_cstr(w, "owner", wl->enrolled->proxy_pid ? "proxy" : "agent");
			json_close_object(w);
		}
	json_close_array(w);
	admin_answer_end(req);
}

static void op_down(struct agent *a, struct admin_request *req, const json_t *args)
{
	struct fault fault = { 0 };

	if (!a->going_down) {
		stop_all(a, req);
		return;
	}
	fault_set(&fault, "agent", NULL, "is going down already");
	admin_refuse(req, &fault);
}

void agent_op(struct admin_request *req, const char *op, const json_t *args, void *user)
{
	static const struct {
		const char *name;
		op_fn fn;
	} ops[] = {
		{ "status", op_status },	   { "workload.create", op_create }, { "workload.started", op_started },
		{ "workload.get", op_get },	   { "workload.stop", op_stop },     { "workload.list", op_workloads },
		{ "service.list", op_services },   { "endpoint.list", op_endpoints }, { "snapshot.show", op_snapshot },
		{ "prog.list", op_progs },	   { "map.list", op_maps },	     { "map.dump", op_map_dump },
		{ "feature.list", op_features },   { "stats", op_stats },	     { "conn.refused", op_refused },
		{ "cert.list", op_certs },	   { "listener.list", op_listeners }, { "down", op_down },
	};
	struct fault fault = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].name, op) == 0) {
			ops[i].fn(user, req, args);
			return;
		}
	fault_set(&fault, op, "are both sides of the same version?", "is no op of the agent");
	admin_refuse(req, &fault);
}
