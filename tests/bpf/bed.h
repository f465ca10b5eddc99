/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test bed: a workload without a container
 *
 *   netns far                         netns pod
 *   eth0 10.77.0.1, fd77::1  <-veth-> eth0 10.77.0.2, fd77::2      lo
 *
 *   cgroup trm-test-PID/app, app/child, proxy; a bpffs of its own in a private mount namespace
 *
 * Everything happens in one process: a socket belongs to the network namespace and cgroup in which it was made, so the
 * bed steps into both, makes the socket, and steps back. Nothing outlives the process.
 */
#ifndef TRAMMEL_TESTS_BPF_BED_H
#define TRAMMEL_TESTS_BPF_BED_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>
#include "base/loop.h"
#include "control/datapath/datapath.h"

#define POD4 "10.77.0.2"
#define POD6 "fd77::2"
#define FAR4 "10.77.0.1"
#define FAR6 "fd77::1"

enum place {
	IN_APP,
	IN_APP_CHILD,
	IN_PROXY,
	IN_POD_OUTSIDE, /* the pod's network namespace, no cgroup of ours */
	IN_FAR,
};

struct bed {
	char *bpffs, *root; /* mount point, and the datapath's root below it */
	char *cgroup;
	int home_ns, pod_ns, far_ns;
	int app_cgroup, proxy_cgroup;
	uint64_t netns_cookie, proxy_cgroup_id;
	struct loop *loop;
	struct datapath *dp;
	struct trm_event events[256]; /* as they came */
	size_t n_events;
	bool trace_flows;                                                /* for the next bed_datapath_open() */
	int out_fd, in_fd, dns_tcp_fd, dns_udp_fd, metrics_fd, ready_fd; /* the proxy's listeners */
};

extern struct bed bed;

/** bed_require() - exits 77 with the missing thing named when this process may not run BPF */
void bed_require(void);
void bed_open(void);
void bed_close(void);
void bed_datapath_open(void);
void bed_attach(uint32_t flags);
/** bed_listen() - the proxy's listeners, into their slots */
void bed_listen(void);
/** bed_enrolled_setup/teardown() - group fixtures: all of the above, READY | DNS_CAPTURE */
int bed_enrolled_setup(void **state);
int bed_enrolled_teardown(void **state);

int bed_socket(enum place where, int family, int type, int protocol);
/** bed_bound() - a bound socket; listens when it is a stream */
int bed_bound(enum place where, int type, const char *address);
struct addr at(const char *text);
int dial(int fd, const char *address);                    /* connect(); 0 or -errno; waits for a non-blocking one */
int dial_family(int fd, int family, const char *address); /* v4 as v4-mapped where @family says so */
int take(int listener);                                   /* accept within 2 s; -1 when nobody came */
const char *peer_of(int fd);
const char *self_of(int fd);
/** orig_dst_of() - as the proxy asks: SO_ORIGINAL_DST, v6 form first; "" when there is none */
const char *orig_dst_of(int fd);
uint64_t counter(enum trm_reason reason);
size_t map_entries(const char *map);
/** event_find() - after draining the loop: the newest event of @kind with @reason, or NULL */
const struct trm_event *event_find(uint32_t kind, uint32_t reason);
void events_clear(void);
char *json_of(void (*write)(struct datapath *dp, struct json_writer *w, const char *key));
/* RUN("ip", "link", ...): a command in the current namespaces; fails the test when it fails */
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})
void run(const char *const *argv);

#endif
