/* SPDX-License-Identifier: Apache-2.0 */
/* Test bed: see bed.h. */
#include "bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <bpf/bpf.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define SO_ORIGINAL_DST 80

struct bed bed = {.home_ns = -1, .pod_ns = -1, .far_ns = -1, .app_cgroup = -1, .proxy_cgroup = -1};

static char *cgroup_mount_find(void)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	char *dir = NULL;

	while (f && !dir && (m = getmntent(f)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			dir = strdup(m->mnt_dir);
	if (f)
		endmntent(f);
	return dir;
}

static void skip_all(const char *missing)
{
	printf("SKIPPED: %s\n", missing);
	exit(77);
}

void bed_require(void)
{
	_cleanup_(freep) char *cgroups = cgroup_mount_find();

	if (geteuid() != 0)
		skip_all("not root: BPF, network namespaces and cgroups need it");
	if (!cgroups || access(cgroups, W_OK))
		skip_all("no writable cgroup v2 mount");
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		skip_all("no kernel BTF");
	if (access("/usr/sbin/ip", X_OK) && access("/usr/bin/ip", X_OK) && access("/sbin/ip", X_OK) && access("/bin/ip", X_OK))
		skip_all("no ip command (iproute2)");
	if (unshare(CLONE_NEWNS))
		skip_all("no right to unshare the mount namespace");
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void run(const char *const *argv)
{
	int status = -1;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) == 0 && waitpid(pid, &status, 0) == pid &&
	    status == 0)
		return;
	fprintf(stderr, "failed (status %d):", status);
	for (; *argv; argv++)
		fprintf(stderr, " %s", *argv);
	fprintf(stderr, "\n");
	fail();
}

static int netns_new(void)
{
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	RUN("ip", "link", "set", "lo", "up");
	return fd;
}

static void netns_go(int fd)
{
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

static void text_write(const char *dir, const char *name, const char *text)
{
	_cleanup_(freep) char *path = str_printf("%s/%s", dir, name);
	_cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int cgroup_make(const char *name)
{
	_cleanup_(freep) char *path = str_printf("%s%s", bed.cgroup, name);
	int fd;

	assert_int_equal(mkdir(path, 0755), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void link_up(const char *ip4, const char *ip6)
{
	RUN("ip", "addr", "add", ip4, "dev", "eth0");
	RUN("ip", "addr", "add", ip6, "dev", "eth0", "nodad");
	RUN("ip", "link", "set", "eth0", "up");
}

static void net_make(void)
{
	_cleanup_(freep) char *far = NULL;

	bed.home_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	bed.far_ns = netns_new();
	bed.pod_ns = netns_new();
	/* in pod */
	RUN("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "tofar");
	far = str_printf("/proc/%d/fd/%d", getpid(), bed.far_ns);
	RUN("ip", "link", "set", "tofar", "netns", far);
	link_up(POD4 "/24", POD6 "/64");
	text_write("/proc/sys/net/ipv4", "tcp_fastopen", "3");
	netns_go(bed.far_ns);
	RUN("ip", "link", "set", "tofar", "name", "eth0");
	link_up(FAR4 "/24", FAR6 "/64");
	netns_go(bed.pod_ns);
	RUN("ip", "route", "add", "default", "via", FAR4);
	RUN("ip", "-6", "route", "add", "default", "via", FAR6);
	netns_go(bed.home_ns);
}

void bed_open(void)
{
	char template[] = "/tmp/trm-bpf-XXXXXX";
	_cleanup_(freep) char *mount_dir = cgroup_mount_find();
	socklen_t len = sizeof(bed.netns_cookie);
	struct stat st;
	int fd;

	assert_non_null(mkdtemp(template));
	bed.bpffs = strdup(template);
	assert_int_equal(mount("bpf", bed.bpffs, "bpf", 0, "mode=0700"), 0);
	bed.root = str_printf("%s/trammel", bed.bpffs);
	bed.cgroup = str_printf("%s/trm-test-%d", mount_dir, getpid());
	close(cgroup_make(""));
	bed.app_cgroup = cgroup_make("/app");
	close(cgroup_make("/app/child"));
	bed.proxy_cgroup = cgroup_make("/proxy");
	assert_int_equal(fstat(bed.proxy_cgroup, &st), 0);
	bed.proxy_cgroup_id = st.st_ino;
	net_make();
	fd = bed_socket(IN_POD_OUTSIDE, AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &bed.netns_cookie, &len), 0);
	close(fd);
	assert_int_equal(loop_new(&bed.loop), 0);
}

void bed_close(void)
{
	static const char *const groups[] = {"/app/child", "/app", "/proxy", ""};
	int *fds[] = {&bed.out_fd, &bed.in_fd,  &bed.dns_tcp_fd, &bed.dns_udp_fd, &bed.metrics_fd,  &bed.ready_fd,
		      &bed.pod_ns, &bed.far_ns, &bed.home_ns,    &bed.app_cgroup, &bed.proxy_cgroup};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] > 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		_cleanup_(freep) char *path = str_printf("%s%s", bed.cgroup, groups[i]);

		rmdir(path);
	}
	umount2(bed.bpffs, MNT_DETACH);
	rmdir(bed.bpffs);
	bed.loop = loop_free(bed.loop);
	free(bed.bpffs);
	free(bed.root);
	free(bed.cgroup);
	bed.bpffs = bed.root = bed.cgroup = NULL;
}

static void on_event(const struct trm_event *ev, void *user)
{
	(void)user;
	if (bed.n_events < ARRAY_SIZE(bed.events))
		bed.events[bed.n_events++] = *ev;
}

void bed_datapath_open(void)
{
	struct datapath_config config = {.bpffs_root = bed.root, .loop = bed.loop, .on_event = on_event, .trace_flows = bed.trace_flows};
	_cleanup_(freep) char *error = NULL;
	int err = datapath_open(&config, &bed.dp, &error);

	if (err)
		fprintf(stderr, "datapath_open: %d %s\n", err, error);
	assert_int_equal(err, 0);
}

void bed_attach(uint32_t flags)
{
	struct datapath_workload w = {.id = 7,
				      .key = "default_web",
				      .netns_fd = bed.pod_ns,
				      .app_cgroup_fd = bed.app_cgroup,
				      .proxy_cgroup_fd = bed.proxy_cgroup,
				      .netns_cookie = bed.netns_cookie,
				      .addr4 = at(POD4),
				      .addr6 = at(POD6),
				      .proxy_cgroup_id = bed.proxy_cgroup_id,
				      .ifname = "eth0"};
	_cleanup_(freep) char *error = NULL;
	int err = datapath_workload_attach(bed.dp, &w, &error);

	if (err)
		fprintf(stderr, "datapath_workload_attach: %d %s\n", err, error);
	assert_int_equal(err, 0);
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, flags), 0);
}

void bed_listen(void)
{
	bed.out_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15001");
	bed.in_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15006");
	bed.metrics_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15090");
	bed.ready_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15021");
	bed.dns_tcp_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15053");
	bed.dns_udp_fd = bed_bound(IN_PROXY, SOCK_DGRAM, "[::]:15053");
	assert_int_equal(datapath_workload_set_listener(bed.dp, 7, TRM_SLOT_INBOUND, bed.in_fd), 0);
	assert_int_equal(datapath_workload_set_listener(bed.dp, 7, TRM_SLOT_METRICS, bed.metrics_fd), 0);
	assert_int_equal(datapath_workload_set_listener(bed.dp, 7, TRM_SLOT_READY, bed.ready_fd), 0);
}

int bed_enrolled_setup(void **state)
{
	(void)state;
	bed_open();
	bed_datapath_open();
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	bed_listen();
	return 0;
}

int bed_enrolled_teardown(void **state)
{
	(void)state;
	datapath_destroy(bed.dp);
	bed.dp = NULL;
	bed_close();
	return 0;
}

int bed_socket(enum place where, int family, int type, int protocol)
{
	static const char *const groups[] = {"/app", "/app/child", "/proxy"};
	_cleanup_(freep) char *home = NULL, *group = NULL;
	char line[512] = "", pid[16];
	int fd;

	snprintf(pid, sizeof(pid), "%d", getpid());
	netns_go(where == IN_FAR ? bed.far_ns : bed.pod_ns);
	if (where <= IN_PROXY) {
		FILE *f = fopen("/proc/self/cgroup", "re");
		char *mnt = cgroup_mount_find();

		while (f && fgets(line, sizeof(line), f) && strncmp(line, "0::", 3))
			;
		if (f)
			fclose(f);
		line[strcspn(line, "\n")] = '\0';
		home = str_printf("%s%s", mnt, line + 3);
		free(mnt);
		group = str_printf("%s%s", bed.cgroup, groups[where]);
		text_write(group, "cgroup.procs", pid);
	}
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (group)
		text_write(home, "cgroup.procs", pid);
	netns_go(bed.home_ns);
	assert_true(fd >= 0);
	return fd;
}

struct addr at(const char *text)
{
	struct addr a = {};

	if (addr_parse(str_from(text), &a) && addr_parse_ip(str_from(text), &a))
		fail_msg("bad address %s", text);
	return a;
}

/* As an IPv6 socket must write it. */
static socklen_t sockaddr_for(int family, const struct addr *a, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret;

	if (family != AF_INET6)
		return addr_to_sockaddr(a, ret);
	memset(ret, 0, sizeof(*ret));
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(a->port);
	memcpy(&sin6->sin6_addr, a->ip, 16);
	return sizeof(*sin6);
}

int bed_bound(enum place where, int type, const char *address)
{
	struct addr a = at(address);
	int family = addr_is_v4(&a) ? AF_INET : AF_INET6, one = 1;
	int fd = bed_socket(where, family, type, 0);
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_for(family, &a, &ss);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len))
		fail_msg("bind %s: %s", address, strerror(errno));
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 64), 0);
	return fd;
}

int dial_family(int fd, int family, const char *address)
{
	struct addr a = at(address);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_for(family, &a, &ss), elen = sizeof(int);
	int err = 0;

	if (connect(fd, (struct sockaddr *)&ss, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, 2000) != 1)
		return -ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &elen);
	return -err;
}

int dial(int fd, const char *address)
{
	int family;
	socklen_t len = sizeof(family);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len), 0);
	return dial_family(fd, family, address);
}

int take(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	return poll(&p, 1, 2000) == 1 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static const char *name_text(const struct sockaddr_storage *ss)
{
	static char text[8][ADDR_TEXT_BYTES];
	static unsigned int turn;
	struct addr a;

	if (addr_from_sockaddr((const struct sockaddr *)ss, &a))
		return "?";
	return addr_format(&a, text[turn++ % 8]);
}

const char *peer_of(int fd)
{
	struct sockaddr_storage ss = {};
	socklen_t len = sizeof(ss);

	return getpeername(fd, (struct sockaddr *)&ss, &len) ? strerror(errno) : name_text(&ss);
}

const char *self_of(int fd)
{
	struct sockaddr_storage ss = {};
	socklen_t len = sizeof(ss);

	return getsockname(fd, (struct sockaddr *)&ss, &len) ? strerror(errno) : name_text(&ss);
}

const char *orig_dst_of(int fd)
{
	struct sockaddr_storage ss = {}, ss4 = {};
	socklen_t len = sizeof(struct sockaddr_in6), len4 = sizeof(struct sockaddr_in);

	if (getsockopt(fd, SOL_IPV6, SO_ORIGINAL_DST, &ss, &len))
		return "";
	/* The older option says the same where it can. */
	if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &ss4, &len4) == 0)
		assert_string_equal(name_text(&ss4), name_text(&ss));
	return name_text(&ss);
}

uint64_t counter(enum trm_reason reason)
{
	uint64_t counts[TRM_REASON_MAX];

	assert_int_equal(datapath_counters(bed.dp, counts), 0);
	return counts[reason];
}

size_t map_entries(const char *map)
{
	_cleanup_(freep) char *path = str_printf("%s/%d/maps/%s", bed.root, TRM_ABI, map);
	_cleanup_(fd_closep) int fd = bpf_obj_get(path);
	char key[64];
	size_t n = 0;

	assert_true(fd >= 0);
	for (int err = bpf_map_get_next_key(fd, NULL, key); !err; err = bpf_map_get_next_key(fd, key, key))
		n++;
	return n;
}

const struct trm_event *event_find(uint32_t kind, uint32_t reason)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_turn(bed.loop, 20), 0);
	for (size_t i = bed.n_events; i > 0; i--)
		if (bed.events[i - 1].kind == kind && bed.events[i - 1].reason == reason)
			return &bed.events[i - 1];
	return NULL;
}

void events_clear(void)
{
	(void)event_find(0, 0);
	bed.n_events = 0;
}

char *json_of(void (*write_it)(struct datapath *dp, struct json_writer *w, const char *key))
{
	struct json_writer w;
	struct buf out;
	char *text;

	buf_init(&out, 1024 * 1024);
	json_writer_init(&w, &out);
	write_it(bed.dp, &w, NULL);
	assert_int_equal(json_writer_end(&w), 0);
	text = str_dup(buf_str(&out));
	buf_done(&out);
	return text;
}
