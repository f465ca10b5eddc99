/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: start and end. See agent.h. */
#include "control/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "base/unix_socket.h"
#include "config.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/netns.h"
#include "trammel/reason.h"

#define PROXY_UID    65534
#define LOCK_WAITS   500
#define LOCK_WAIT_US 10000
#define LOCK_TRIES   100

/* Of the addresses of workloads (10.77.0.0/16 and fd77::/64, see enrol) and of services (below). */
static const char *const reverse_zones[] = {
	"77.10.in-addr.arpa",
	"78.10.in-addr.arpa",
	"0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa",
	"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.7.d.f.ip6.arpa",
};

static const struct model_settings settings = {
	.trust_domain = "cluster.local",
	.cluster_domain = "cluster.local",
	.reverse_zones = reverse_zones,
	.n_reverse_zones = ARRAY_SIZE(reverse_zones),
	.service_cidr4 = { { [10] = 0xff, [11] = 0xff, 10, 78, 0, 0 }, 112 },
	.service_cidr6 = { { 0xfd, 0x78 }, 112 },
};

static void on_model_change(void *user)
{
	policy_apply(user);
}

/* From the kernel: listeners opened and closed, and what was refused. */
static void on_event(const struct trm_event *ev, void *user)
{
	struct agent *a = user;
	struct agent_workload *w;

	if (ev->kind == TRM_EVENT_LISTEN || ev->kind == TRM_EVENT_CLOSE) {
		w = enrolment_find_id(a, ev->workload_id);
		if (w)
			enrolment_listen_changed(w);
	} else if (ev->kind == TRM_EVENT_DROP) {
		a->drops[a->drop_next] = *ev;
		a->drop_next = (a->drop_next + 1) % AGENT_DROPS;
		a->n_drops = MIN(a->n_drops + 1, (size_t)AGENT_DROPS);
		w = enrolment_find_id(a, ev->workload_id);
		log_limited(LOG_WARN, "kernel refused a connection", "workload=%s reason=%s", w ? w->enrolled->key : "?",
			    trm_reason_label(ev->reason));
	}
}

static uint32_t workload_of_cgroup(const char *cgroup_path, void *user)
{
	struct agent *a = user;
	struct agent_workload *w;
	size_t mount = strlen(a->paths.cgroup_mount);

	list_for_each_entry(w, &a->workloads, link)
		if (strcmp(w->enrolled->proxy_cgroup + mount, cgroup_path) == 0)
			return w->enrolled->id;
	return 0;
}

static void on_ack(uint32_t workload_id, uint64_t generation, const char *error, void *user)
{
	struct agent_workload *w = enrolment_find_id(user, workload_id);

	if (w && w->process && !error)
		proxy_process_ready(w->process);
	if (error && *error)
		log_warn("proxy refused policy", "workload_id=%u generation=%llu err=%s", workload_id, (unsigned long long)generation, error);
}

static void state_write(const struct enrolled *w)
{
	int r = enrolled_save(w);

	if (r < 0)
		log_warn("state not written", "workload=%s err=%s", w->key, strerror(-r));
}

static void on_sign(uint32_t workload_id, const struct ca_leaf *leaf, void *user)
{
	struct agent_workload *w = enrolment_find_id(user, workload_id);

	if (!w)
		return;
	snprintf(w->enrolled->cert_serial, sizeof(w->enrolled->cert_serial), "%s", leaf->serial_hex);
	w->enrolled->cert_not_before_s = leaf->not_before_s;
	w->enrolled->cert_not_after_s = leaf->not_after_s;
	state_write(w->enrolled);
}

static const struct publish_ops publish_ops = { workload_of_cgroup, on_ack, on_sign };

static void on_proxy_change(struct enrolled *e, void *user)
{
	struct agent_workload *w = enrolment_find_id(user, e->id);

	state_write(e);
	if (w)
		stop_step(w);
}

/* A process that is being killed still takes connections; an answer it does not give. */
static bool agent_answers(const char *socket_path)
{
	static const char request[] = "{\"op\": \"status\"}\n";
	const struct timeval limit = { .tv_sec = 2 };
	_cleanup_(fd_closep) int fd = -1;
	char c;

	return unix_socket_connect(socket_path, &fd) == 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
	       send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 && recv(fd, &c, 1, 0) > 0;
}

/* The folder and its lock. 0, -EBUSY while another holds it, -ENOTEMPTY as of paths_claim(). */
static int lock_try(struct agent *a)
{
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		int r = paths_claim(&a->paths);

		if (r < 0)
			return r;
		a->lock_fd = open(a->paths.lock_file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (a->lock_fd < 0 && errno != ENOENT)
			return -errno;
		if (a->lock_fd >= 0 && flock(a->lock_fd, LOCK_EX | LOCK_NB) < 0)
			return -EBUSY;
		if (a->lock_fd >= 0 && paths_lock_is_in_place(&a->paths, a->lock_fd))
			return 0;
		a->lock_fd = fd_close(a->lock_fd); /* `trammel down` took it away with the folder */
	}
	return -ENOENT;
}

/* One agent per run folder; the file's text is its pid. */
static int lock_take(struct agent *a, struct fault *fault)
{
	int r = lock_try(a), waited = 0;
	char text[16];
	ssize_t k;

	/* Held by an agent that no longer answers: it was killed and is on its way out. Or by what cleans up behind one. */
	while (r == -EBUSY && waited++ < LOCK_WAITS && !agent_answers(a->paths.agent_socket)) {
		a->lock_fd = fd_close(a->lock_fd);
		usleep(LOCK_WAIT_US);
		r = lock_try(a);
	}
	if (r == -ENOTEMPTY) {
		fault_set(fault, a->paths.run_dir, "name an empty or a new folder with TRAMMEL_RUN_DIR", "holds other things than an instance's");
		return r;
	}
	if (r < 0 && r != -EBUSY) {
		fault_set(fault, a->paths.run_dir, NULL, "cannot be made or locked: %s", strerror(-r));
		return r;
	}
	if (r == -EBUSY) {
		k = pread(a->lock_fd, text, sizeof(text) - 1, 0);
		text[k > 0 ? k : 0] = '\0';
		fault_set(fault, "agent", "use it, end it with `trammel down`, or set TRAMMEL_RUN_DIR for another instance",
			  "runs already for %s, as pid %s", a->paths.run_dir, text);
		return -EBUSY;
	}
	snprintf(text, sizeof(text), "%d", (int)getpid());
	if (ftruncate(a->lock_fd, 0) < 0 || pwrite(a->lock_fd, text, strlen(text), 0) < 0)
		log_warn("pid not written", "path=%s", a->paths.lock_file);
	return 0;
}

static int proxy_find(struct agent *a, struct fault *fault)
{
	const char *own = getenv("TRAMMEL_PROXY_BIN"), *uid = getenv("TRAMMEL_PROXY_UID");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	uint64_t v = PROXY_UID;

	self[n > 0 ? n : 0] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	if (uid && str_parse_u64(str_from(uid), UINT32_MAX - 1, &v) < 0) {
		fault_set(fault, "TRAMMEL_PROXY_UID", "give a number", "%s is no user id", uid);
		return -EINVAL;
	}
	a->proxy_program = own && *own ? str_dup(str_from(own)) : str_printf("%s/../proxy/trammel-proxy", self);
	if (a->proxy_program && access(a->proxy_program, X_OK) < 0 && !own) {
		free(a->proxy_program);
		a->proxy_program = str_printf("%s/trammel-proxy", TRAMMEL_LIBEXECDIR);
	}
	if (!a->proxy_program || access(a->proxy_program, X_OK) < 0) {
		fault_set(fault, "trammel-proxy", "build it, or install with `meson install`", "is not beside the agent nor in %s", TRAMMEL_LIBEXECDIR);
		return -ENOENT;
	}
	a->proxy_config = (struct proxy_process_config){ a->loop, &a->paths, a->proxy_program, (uid_t)v, a->run_dir_fd, on_proxy_change, a };
	return 0;
}

static int datapath_start(struct agent *a, struct fault *fault)
{
	const struct datapath_config config = { .bpffs_root = a->paths.bpffs, .loop = a->loop, .on_event = on_event, .user = a };
	_cleanup_(freep) char *recorded = paths_bpffs_recorded(&a->paths);
	char *error = NULL;
	bool mounted;
	int r;

	if (recorded && strcmp(recorded, a->paths.bpffs) != 0) {
		fault_set(fault, a->paths.bpffs, "set TRAMMEL_BPFFS as it was, or `trammel down` first", "this instance has its programs in %s", recorded);
		return -EBUSY;
	}
	r = datapath_bpffs_ensure(a->paths.bpffs, &mounted, &error);
	if (r == 0)
		r = file_write(a->paths.bpffs_file, 0644, str_from(a->paths.bpffs));
	if (r == 0 && mounted)
		r = file_write(a->paths.mounted_file, 0644, STR("1\n"));
	if (r == 0)
		r = datapath_open(&config, &a->datapath, &error);
	if (r < 0)
		fault_take(fault, "capture", r == -EPERM ? "run this as root" : "see `trammel feature list`", error ? error : str_printf("%s", strerror(-r)));
	return r;
}

static int sources_start(struct agent *a, struct fault *fault)
{
	char *error = NULL;
	int r = model_new(a->loop, &settings, &a->model);

	if (r == 0)
		model_on_change(a->model, on_model_change, a);
	if (r == 0)
		r = ca_open(a->paths.ca_dir, settings.trust_domain, &a->ca, &error);
	if (r < 0) {
		fault_take(fault, "certificate authority", NULL, error ? error : str_printf("%s", strerror(-r)));
		return r;
	}
	if (a->policy_dir)
		r = file_source_new(a->loop, a->policy_dir, a->model, &a->file_source, &error);
	if (r < 0)
		fault_take(fault, a->policy_dir, "make the folder, or name another with --policy", error ? error : str_printf("%s", strerror(-r)));
	return r;
}

static int sockets_start(struct agent *a, struct fault *fault)
{
	char short_path[64];
	int r;

	/* a socket's path holds 107 bytes; through our own descriptor it always fits */
	snprintf(short_path, sizeof(short_path), "/proc/self/fd/%d/publish.sock", a->run_dir_fd);
	r = publish_new(a->loop, strlen(a->paths.publish_socket) < 108 ? a->paths.publish_socket : short_path, a->ca, &publish_ops, a, &a->publish);
	if (r < 0) {
		fault_set(fault, a->paths.publish_socket, r == -EINVAL ? "set TRAMMEL_LEAF_TTL_S to 1 to 86400 seconds, or not at all" : NULL, "%s",
			  strerror(-r));
		return r;
	}
	take_over_all(a);
	policy_apply(a);
	r = admin_server_new(a->loop, a->paths.agent_socket, agent_op, a, &a->admin);
	if (r < 0)
		fault_set(fault, a->paths.agent_socket, NULL, "%s", strerror(-r));
	return r;
}

int agent_start(struct agent *a, const char *policy_dir, struct fault *fault)
{
	int r;

	*a = (struct agent){ .policy_dir = policy_dir, .lock_fd = -1, .run_dir_fd = -1, .started_wall_ns = clock_wall_ns() };
	list_init(&a->workloads);
	if (geteuid() != 0) {
		fault_set(fault, "agent", "run `trammel up` as root", "needs root, to load BPF programs and make namespaces");
		return -EPERM;
	}
	r = paths_init(&a->paths);
	if (r == -EINVAL) {
		fault_set(fault, "TRAMMEL_RUN_DIR, TRAMMEL_STATE_DIR, TRAMMEL_BPFFS", "give absolute paths", "one of them is relative");
		return r;
	}
	if (r < 0) {
		fault_set(fault, "cgroup2", "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified", "is not mounted: %s", strerror(-r));
		return r;
	}
	r = lock_take(a, fault);
	if (r < 0)
		return r;
	r = paths_make(&a->paths);
	if (r == 0) {
		a->run_dir_fd = open(a->paths.run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = a->run_dir_fd < 0 ? -errno : 0;
	}
	if (r < 0) {
		fault_set(fault, a->paths.run_dir, NULL, "folders cannot be made: %s", strerror(-r));
		return r;
	}
	a->is_first = access(a->paths.mesh_netns, F_OK) < 0;
	r = loop_new(&a->loop);
	r = r ? r : proxy_find(a, fault);
	r = r ? r : mesh_network_make(&a->paths, fault);
	r = r ? r : datapath_start(a, fault);
	r = r ? r : sources_start(a, fault);
	return r ? r : sockets_start(a, fault);
}

void agent_end(struct agent *a)
{
	struct agent_workload *w, *next;

	list_for_each_entry_safe(w, next, &a->workloads, link) {
		if (a->going_down)
			enrolment_remove(w);
		else
			enrolment_forget(w);
	}
	file_source_free(a->file_source);
	publish_free(a->publish);
	if (a->datapath && a->going_down)
		datapath_destroy(a->datapath);
	else
		datapath_close(a->datapath);
	admin_server_free(a->admin);
	mesh_snapshot_unref(a->snapshot);
	model_free(a->model);
	ca_free(a->ca);
	loop_free(a->loop);
	fd_close(a->lock_fd);
	fd_close(a->run_dir_fd);
	free(a->proxy_program);
	paths_done(&a->paths);
}

void agent_undo(struct agent *a)
{
	struct fault fault = { 0 };
	struct paths paths;

	if (!a->is_first) {
		agent_end(a);
		return;
	}
	a->going_down = true;
	agent_end(a);
	if (paths_init(&paths) < 0)
		return;
	if (clean_all(&paths, &fault) < 0)
		log_error("not all is undone", "thing=\"%s\" reason=\"%s\"", fault_or(fault.thing), fault_or(fault.reason));
	fault_done(&fault);
	paths_done(&paths);
}
