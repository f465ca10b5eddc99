/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One enrolled workload: what was made for it, and what is known of it
 *
 * Its namespace, cgroups, addresses, listeners and files; not its BPF links (datapath) and not its policy (model). Written to
 * RUN_DIR/workload/NS_NAME.json so that an agent that starts again takes it over.
 */
#ifndef TRAMMEL_CONTROL_ENROL_WORKLOAD_H
#define TRAMMEL_CONTROL_ENROL_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/addr.h"
#include "base/fault.h"
#include "base/list.h"
#include "control/enrol/listener.h"
#include "control/enrol/listening.h"
#include "control/enrol/paths.h"

#define WORKLOAD_NAME_MAX   63
#define WORKLOAD_LABELS_MAX 64
#define WORKLOAD_IDS_MAX    4095 /* as many as the maps of the datapath hold; an id is also the last bytes of the addresses */
#define WORKLOAD_IFNAME	    "eth0"
#define MESH_BRIDGE	    "trm0"

struct workload_spec {
	char namespace[WORKLOAD_NAME_MAX + 1], name[WORKLOAD_NAME_MAX + 1], service_account[WORKLOAD_NAME_MAX + 1];
	char *labels[WORKLOAD_LABELS_MAX]; /* "key=value", heap */
	size_t n_labels;
	bool detach;
	pid_t owner_pid; /* of `trammel run` in the foreground; 0 = none */
	unsigned long long owner_start;
};

struct enrolled {
	struct list link;
	struct workload_spec spec;
	uint32_t id;
	char key[2 * WORKLOAD_NAME_MAX + 2]; /* NS_NAME: file names, and the datapath's key ('_' is in no DNS label) */
	struct addr addr4, addr6;
	char *netns_path, *app_cgroup, *proxy_cgroup, *cgroup, *etc_dir, *state_file, *admin_path, *access_log, *proxy_log;
	char veth[16]; /* on the mesh's side */
	int netns_fd, app_cgroup_fd, proxy_cgroup_fd, admin_fd;
	uint64_t netns_cookie, proxy_cgroup_id;
	int listeners[LISTENERS];
	struct listening *listening;
	uint16_t ports[LISTENING_MAX]; /* the app listens there */
	size_t n_ports;
	pid_t pid; /* of the command; 0 = not told yet */
	pid_t proxy_pid;
	unsigned long long proxy_start;
	uint64_t created_wall_ns;
	bool stopping;
	/* of the newest certificate; zero before the first */
	char cert_serial[48];
	uint64_t cert_not_before_s, cert_not_after_s;
};

/** mesh_network_make() - the mesh's own namespace with its bridge and the gateway addresses, as far as they are not there */
MUST_CHECK int mesh_network_make(const struct paths *p, struct fault *fault);

/**
 * enrolled_make() - everything but links and policy
 * @spec:  its labels are taken over on success
 *
 * On failure nothing is left behind and @fault names what failed.
 */
MUST_CHECK int enrolled_make(const struct paths *p, uint32_t id, struct workload_spec *spec, struct enrolled **ret, struct fault *fault);

/** enrolled_new() - names and paths filled in, nothing made or opened; NULL when memory is out; @id 0: not known, to remove it alone */
struct enrolled *enrolled_new(const struct paths *p, uint32_t id, const char *namespace, const char *name);
/** enrolled_read() - after a restart of the agent: what the state file @path says; -ENODATA when that is nonsense */
MUST_CHECK int enrolled_read(const struct paths *p, const char *path, struct enrolled **ret);
/** enrolled_open() - open what enrolled_read() named, listeners aside; fails when some of it is gone */
MUST_CHECK int enrolled_open(struct enrolled *w);

/** enrolled_listeners_make() - new listeners, admin socket included; those open are closed */
MUST_CHECK int enrolled_listeners_make(struct enrolled *w);

/** enrolled_save() - write the state file */
MUST_CHECK int enrolled_save(const struct enrolled *w);

/** enrolled_end() - end what runs in it and take its interface away: nothing speaks in it any more, hooked or not */
void enrolled_end(const struct paths *p, const struct enrolled *w);
/** enrolled_remove() - after enrolled_end(): remove all else that was made; frees @w */
void enrolled_remove(const struct paths *p, struct enrolled *w);
/** enrolled_free() - forget it; what was made stays (the agent ends, the workload goes on) */
struct enrolled *enrolled_free(struct enrolled *w);

void workload_spec_done(struct workload_spec *spec);

#endif
