/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The escape guard's attachment: tc egress inside the workload's network namespace
 *
 * Where the kernel has links at tc (6.6) the guard is a pinned link like the others. Before that it is a clsact filter,
 * which lives with the interface: it survives the agent, and is removed by entering the namespace again. Interfaces are
 * resolved in the caller's namespace, so the calling thread enters the workload's for the length of one call.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "base/log.h"
#include "control/datapath/room.h"

#define CLSACT_HANDLE   1
#define CLSACT_PRIORITY 1
#define ETHERNET_BYTES  14

static int netns_enter(int netns_fd, int *ret_home_fd)
{
	_cleanup_(fd_closep) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET))
		return -errno;
	*ret_home_fd = TAKE_FD(home);
	return 0;
}

static void netns_leave(int home_fd)
{
	/* Going on in a workload's namespace would serve the wrong network: a broken invariant. */
	if (setns(home_fd, CLONE_NEWNET)) {
		log_error("cannot return to the agent's network namespace", "err=%s", strerror(errno));
		abort();
	}
	close(home_fd);
}

/* Bytes before the IP header on @ifname of this namespace. */
static int l2_bytes_find(const char *ifname, uint32_t *ret)
{
	_cleanup_(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {};

	if (fd < 0)
		return -errno;
	if (strlen(ifname) >= sizeof(req.ifr_name))
		return -ENODEV;
	memcpy(req.ifr_name, ifname, strlen(ifname));
	if (ioctl(fd, SIOCGIFHWADDR, &req))
		return -errno;
	*ret = req.ifr_hwaddr.sa_family == ARPHRD_ETHER ? ETHERNET_BYTES : 0;
	return 0;
}

bool guard_has_tcx(void)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts);
	struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	_cleanup_(fd_closep) int prog = -1;
	_cleanup_(fd_closep) int link = -1;

	bpf_log_begin();
	prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "trm_probe", "GPL", pass, ARRAY_SIZE(pass), &opts);
	if (prog < 0)
		return false;
	/* No interface has this index: a kernel that knows the attach type gets as far as to say so. */
	link = bpf_link_create(prog, INT32_MAX, (enum bpf_attach_type)TRM_BPF_TCX_EGRESS, NULL);
	return link >= 0 || errno == ENODEV;
}

static int clsact_set(int ifindex, int prog_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY, .prog_fd = prog_fd,
		    .flags = BPF_TC_F_REPLACE);
	int err;

	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts);
}

int guard_attach_clsact(int netns_fd, const char *ifname, int prog_fd, char **ret_error)
{
	unsigned int ifindex = 0;
	int home, err;

	err = netns_enter(netns_fd, &home);
	if (err)
		return fail(ret_error, err, "network namespace: cannot enter: %s", strerror(-err));
	ifindex = if_nametoindex(ifname);
	bpf_log_begin();
	err = ifindex ? clsact_set((int)ifindex, prog_fd) : -ENODEV;
	netns_leave(home);
	if (err)
		return fail(ret_error, err, "interface %s: cannot attach the escape guard: %s (%s)", ifname,
			    strerror(-err), bpf_log_text());
	return 0;
}

static int interface_find(const struct datapath_workload *w, struct instance *in, unsigned int *ret_ifindex,
			  char **ret_error)
{
	int home, err;

	err = netns_enter(w->netns_fd, &home);
	if (err)
		return fail(ret_error, err, "network namespace of %s: cannot enter: %s", w->key, strerror(-err));
	*ret_ifindex = if_nametoindex(w->ifname);
	err = *ret_ifindex ? l2_bytes_find(w->ifname, &in->l2_bytes) : -ENODEV;
	netns_leave(home);
	if (err)
		return fail(ret_error, err, "interface %s of %s: %s", w->ifname, w->key, strerror(-err));
	return 0;
}

int guard_attach(struct datapath *dp, const struct datapath_workload *w, const char *link_path, char **ret_error)
{
	struct instance in = {.workload_id = w->id, .netns_cookie = w->netns_cookie};
	_cleanup_(fd_closep) int prog = -1;
	unsigned int ifindex = 0;
	int home, err;

	err = interface_find(w, &in, &ifindex, ret_error);
	if (!err)
		err = guard_load(dp, &in, &prog, ret_error);
	if (err)
		return err;
	if (!guard_has_tcx())
		return guard_attach_clsact(w->netns_fd, w->ifname, prog, ret_error);
	err = netns_enter(w->netns_fd, &home);
	if (err)
		return fail(ret_error, err, "network namespace of %s: cannot enter: %s", w->key, strerror(-err));
	err = link_ensure(link_path, prog, (int)ifindex, (enum bpf_attach_type)TRM_BPF_TCX_EGRESS, ifindex, ret_error);
	netns_leave(home);
	return err;
}

struct netns_search {
	uint64_t inode;
	int fd;
};

static int on_proc_name(const char *name, void *user)
{
	struct netns_search *s = user;
	_cleanup_(fd_closep) int fd = -1;
	_cleanup_(freep) char *path = NULL;
	struct stat st;

	if (name[0] < '1' || name[0] > '9')
		return 0;
	path = str_printf("/proc/%s/ns/net", name);
	fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st) || st.st_ino != s->inode)
		return 0;
	s->fd = TAKE_FD(fd);
	return 1;
}

/* The clsact filters of this namespace that are ours: found by the name of their program. */
static void clsact_clear(void)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i && i->if_index; i++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)i->if_index, .attach_point = BPF_TC_EGRESS);
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);
		struct bpf_prog_info about = {};
		uint32_t len = sizeof(about);
		_cleanup_(fd_closep) int fd = -1;

		if (bpf_tc_query(&hook, &opts))
			continue;
		fd = bpf_prog_get_fd_by_id(opts.prog_id);
		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &about, &len) || strcmp(about.name, HOOK_GUARD))
			continue;
		opts.prog_fd = 0;
		opts.prog_id = 0;
		opts.flags = 0;
		(void)bpf_tc_detach(&hook, &opts);
		/* The qdisc goes too unless others use it: ingress filters keep it alive. */
		hook.attach_point = BPF_TC_INGRESS;
		memset((char *)&opts + sizeof(opts.sz), 0, sizeof(opts) - sizeof(opts.sz));
		opts.handle = CLSACT_HANDLE;
		opts.priority = CLSACT_PRIORITY;
		if (bpf_tc_query(&hook, &opts) == -ENOENT) {
			hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
			(void)bpf_tc_hook_destroy(&hook);
		}
	}
	if_freenameindex(all);
}

void guard_release(const char *links_dir)
{
	_cleanup_(freep) char *guard = str_printf("%s/" HOOK_GUARD, links_dir),
			      *lookup = str_printf("%s/" HOOK_SK_LOOKUP, links_dir);
	struct netns_search search = {.fd = -1};
	int home;

	if (!guard || !lookup)
		return;
	if (pin_exists(guard)) {
		(void)unlink(guard);
		return;
	}
	/* A clsact filter: its namespace is the one the sk_lookup link names, while that lives. */
	search.inode = link_netns_inode(lookup);
	if (!search.inode || !pin_dir_each("/proc", on_proc_name, &search))
		return;
	bpf_log_begin();
	if (netns_enter(search.fd, &home) == 0) {
		clsact_clear();
		netns_leave(home);
	}
	close(search.fd);
}
