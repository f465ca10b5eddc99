/* SPDX-License-Identifier: Apache-2.0 */
/* One enrolled workload: making and removing. See workload.h; the state file is in state.c. */
#include "control/enrol/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "base/unix_socket.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/netlink.h"
#include "control/enrol/netns.h"
#include "control/enrol/room.h"

#define PREFIX4	       16
#define PREFIX6	       64
#define CGROUP_WAIT_MS 2000

/* 10.77.0.0/16 and fd77::/64: all in namespaces of our own, so every instance may use the same. The id is the host part. */
static const struct addr pool4 = { .ip = { [10] = 0xff, [11] = 0xff, 10, 77, 0, 0 } };
static const struct addr pool6 = { .ip = { 0xfd, 0x77 } };

static struct addr pool_addr(const struct addr *pool, uint32_t host)
{
	struct addr a = *pool;

	a.ip[14] = (uint8_t)(host >> 8);
	a.ip[15] = (uint8_t)host;
	return a;
}

/* Host 1 is the bridge; workload id 1 is host 2. */
void workload_addresses(uint32_t id, struct addr *ret_v4, struct addr *ret_v6)
{
	*ret_v4 = pool_addr(&pool4, id + 1);
	*ret_v6 = pool_addr(&pool6, id + 1);
}

/* What is there stays: an agent may have been killed behind any step. */
static int bridge_make(struct netlink *n)
{
	const struct addr gw4 = pool_addr(&pool4, 1), gw6 = pool_addr(&pool6, 1);
	int r = netlink_bridge_add(n, MESH_BRIDGE);

	r = r == -EEXIST ? 0 : r;
	r = r ? r : netlink_addr_add(n, MESH_BRIDGE, &gw4, PREFIX4);
	r = r == -EEXIST ? 0 : r;
	r = r ? r : netlink_addr_add(n, MESH_BRIDGE, &gw6, PREFIX6);
	r = r == -EEXIST ? 0 : r;
	return r ? r : netlink_link_set_up(n, MESH_BRIDGE);
}

int mesh_network_make(const struct paths *p, struct fault *fault)
{
	_cleanup_(fd_closep) int fd = -1;
	_cleanup_(netlink_closep) struct netlink *n = NULL;
	int back, r = netns_dir_prepare(p->netns_dir);

	r = r ? r : netns_ensure(p->mesh_netns, &fd);
	r = r ? r : netns_enter(fd, &back);
	if (r < 0) {
		fault_set(fault, p->mesh_netns, r == -EPERM ? "run `trammel up` as root with all capabilities" : NULL,
			  "cannot make the mesh's network namespace: %s", strerror(-r));
		return r;
	}
	r = netlink_open(&n);
	r = r ? r : bridge_make(n);
	netns_leave(back);
	if (r < 0)
		fault_set(fault, MESH_BRIDGE, NULL, "cannot make the mesh's bridge: %s", strerror(-r));
	return r;
}

/* The workload's interface: a veth pair between the bridge and eth0, locally administered MAC from the id. */
static int link_make(const struct paths *p, struct enrolled *w)
{
	const uint8_t mac[6] = { 0x02, 0x54, 0x52, (uint8_t)(w->id >> 16), (uint8_t)(w->id >> 8), (uint8_t)w->id };
	const struct addr gw4 = pool_addr(&pool4, 1), gw6 = pool_addr(&pool6, 1);
	_cleanup_(netlink_closep) struct netlink *mesh = NULL, *pod = NULL;
	_cleanup_(fd_closep) int mesh_fd = -1;
	int back, r = netns_open(p->mesh_netns, &mesh_fd);

	r = r ? r : netns_enter(mesh_fd, &back);
	if (r < 0)
		return r;
	r = netlink_open(&mesh);
	r = r ? r : netlink_veth_add(mesh, w->veth, WORKLOAD_IFNAME, w->netns_fd, mac);
	r = r ? r : netlink_link_set_bridge(mesh, w->veth, MESH_BRIDGE);
	r = r ? r : netlink_link_set_up(mesh, w->veth);
	netns_leave(back);
	r = r ? r : netns_enter(w->netns_fd, &back);
	if (r < 0)
		return r;
	r = netlink_open(&pod);
	r = r ? r : netlink_addr_add(pod, WORKLOAD_IFNAME, &w->addr4, PREFIX4);
	r = r ? r : netlink_addr_add(pod, WORKLOAD_IFNAME, &w->addr6, PREFIX6);
	r = r ? r : netlink_link_set_up(pod, WORKLOAD_IFNAME);
	r = r ? r : netlink_default_route_add(pod, &gw4);
	r = r ? r : netlink_default_route_add(pod, &gw6);
	netns_leave(back);
	return r;
}

static void link_remove(const struct paths *p, const struct enrolled *w)
{
	_cleanup_(netlink_closep) struct netlink *mesh = NULL;
	_cleanup_(fd_closep) int mesh_fd = -1;
	int back, r;

	if (!w->id) /* its name is not known: it goes with the namespace at its other end */
		return;
	if (netns_open(p->mesh_netns, &mesh_fd) < 0 || netns_enter(mesh_fd, &back) < 0)
		return;
	r = netlink_open(&mesh);
	r = r ? r : netlink_link_remove(mesh, w->veth);
	netns_leave(back);
	if (r < 0 && r != -ENODEV)
		log_warn("interface stays", "name=%s err=%s", w->veth, strerror(-r));
}

static int etc_write(const struct enrolled *w)
{
	_cleanup_(freep) char *hosts_path = str_printf("%s/hosts", w->etc_dir), *resolv_path = str_printf("%s/resolv.conf", w->etc_dir);
	_cleanup_(freep) char *resolv = NULL;
	const struct addr gw4 = pool_addr(&pool4, 1);
	int r = dir_make(w->etc_dir, 0755);

	resolv = etc_resolv_format(&w->spec, &gw4);
	if (!hosts_path || !resolv_path || !resolv)
		return -ENOMEM;
	r = r ? r : file_write(hosts_path, 0644, str_from(etc_hosts));
	return r ? r : file_write(resolv_path, 0644, str_from(resolv));
}

int enrolled_cgroups_open(struct enrolled *w)
{
	w->app_cgroup_fd = open(w->app_cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->proxy_cgroup_fd = open(w->proxy_cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->app_cgroup_fd < 0 || w->proxy_cgroup_fd < 0)
		return -errno;
	return cgroup_id(w->proxy_cgroup, &w->proxy_cgroup_id);
}

int enrolled_listeners_make(struct enrolled *w)
{
	int r;

	for (int i = 0; i < LISTENERS; i++)
		w->listeners[i] = fd_close(w->listeners[i]);
	w->admin_fd = fd_close(w->admin_fd);
	r = listener_make_all(w->netns_fd, w->proxy_cgroup_fd, w->listeners);
	if (r == 0) {
		unlink(w->admin_path); /* of a proxy before; nobody serves it now */
		r = unix_socket_listen(w->admin_path, 0600, &w->admin_fd);
	}
	return r;
}

struct enrolled *enrolled_new(const struct paths *p, uint32_t id, const char *namespace, const char *name)
{
	struct enrolled *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->id = id;
	w->netns_fd = w->app_cgroup_fd = w->proxy_cgroup_fd = w->admin_fd = -1;
	for (int i = 0; i < LISTENERS; i++)
		w->listeners[i] = -1;
	list_init(&w->link);
	snprintf(w->spec.namespace, sizeof(w->spec.namespace), "%s", namespace);
	snprintf(w->spec.name, sizeof(w->spec.name), "%s", name);
	snprintf(w->key, sizeof(w->key), "%s_%s", namespace, name);
	snprintf(w->veth, sizeof(w->veth), "trmv%u", id);
	workload_addresses(id, &w->addr4, &w->addr6);
	w->netns_path = str_printf("%s/%s", p->netns_dir, w->key);
	w->cgroup = str_printf("%s/%s", p->cgroup_root, w->key);
	w->app_cgroup = str_printf("%s/%s/app", p->cgroup_root, w->key);
	w->proxy_cgroup = str_printf("%s/%s/proxy", p->cgroup_root, w->key);
	w->etc_dir = str_printf("%s/%s", p->etc_dir, w->key);
	w->state_file = str_printf("%s/%s.json", p->workload_dir, w->key);
	w->admin_path = str_printf("%s/%s.sock", p->proxy_dir, w->key);
	w->access_log = str_printf("%s/%s.access.log", p->log_dir, w->key);
	w->proxy_log = str_printf("%s/%s.proxy.log", p->log_dir, w->key);
	if (w->netns_path && w->cgroup && w->app_cgroup && w->proxy_cgroup && w->etc_dir && w->state_file && w->admin_path && w->access_log &&
	    w->proxy_log)
		return w;
	return enrolled_free(w);
}

int enrolled_make(const struct paths *p, uint32_t id, struct workload_spec *spec, struct enrolled **ret, struct fault *fault)
{
	struct enrolled *w = enrolled_new(p, id, spec->namespace, spec->name);
	const char *step = "memory";
	int r = -ENOMEM;

	if (!w)
		goto err;
	w->spec = *spec;
	w->created_wall_ns = clock_wall_ns();
	step = w->state_file; /* first: an agent that dies in between is known to have begun */
	r = enrolled_save(w);
	if (r < 0)
		goto err;
	step = w->netns_path;
	r = netns_create(w->netns_path, &w->netns_fd);
	r = r ? r : netns_cookie(w->netns_fd, &w->netns_cookie);
	if (r < 0)
		goto err;
	step = w->cgroup;
	r = cgroup_make(w->app_cgroup);
	r = r ? r : cgroup_make(w->proxy_cgroup);
	r = r ? r : enrolled_cgroups_open(w);
	if (r < 0)
		goto err;
	step = "network interface";
	r = link_make(p, w);
	if (r < 0)
		goto err;
	step = "listeners";
	r = enrolled_listeners_make(w);
	r = r ? r : listening_open(w->netns_fd, &w->listening);
	if (r < 0)
		goto err;
	step = w->etc_dir;
	r = etc_write(w);
	if (r < 0)
		goto err;
	*ret = w;
	return 0;
err:
	fault_set(fault, step, NULL, "cannot be made for workload %s/%s: %s", spec->namespace, spec->name, strerror(-r));
	if (w) {
		memset(&w->spec, 0, sizeof(w->spec)); /* the labels are still the caller's */
		enrolled_end(p, w);
		enrolled_remove(p, w);
	}
	return r;
}

void enrolled_end(const struct paths *p, const struct enrolled *w)
{
	int r;

	cgroup_kill(w->cgroup);
	link_remove(p, w);
	r = cgroup_remove(w->cgroup, CGROUP_WAIT_MS);
	if (r < 0)
		log_error("cgroup stays", "path=%s err=%s", w->cgroup, strerror(-r));
}

void enrolled_remove(const struct paths *p, struct enrolled *w)
{
	int r;

	netns_remove(w->netns_path);
	r = dir_remove(w->etc_dir);
	if (r < 0)
		log_warn("folder stays", "path=%s err=%s", w->etc_dir, strerror(-r));
	unlink(w->admin_path);
	unlink(w->state_file);
	enrolled_free(w);
}

struct enrolled *enrolled_free(struct enrolled *w)
{
	if (!w)
		return NULL;
	list_remove(&w->link);
	for (int i = 0; i < LISTENERS; i++)
		fd_close(w->listeners[i]);
	fd_close(w->netns_fd);
	fd_close(w->app_cgroup_fd);
	fd_close(w->proxy_cgroup_fd);
	fd_close(w->admin_fd);
	listening_close(w->listening);
	workload_spec_done(&w->spec);
	free(w->netns_path);
	free(w->cgroup);
	free(w->app_cgroup);
	free(w->proxy_cgroup);
	free(w->etc_dir);
	free(w->state_file);
	free(w->admin_path);
	free(w->access_log);
	free(w->proxy_log);
	free(w);
	return NULL;
}

void workload_spec_done(struct workload_spec *spec)
{
	for (size_t i = 0; i < spec->n_labels; i++)
		free(spec->labels[i]);
	spec->n_labels = 0;
}
