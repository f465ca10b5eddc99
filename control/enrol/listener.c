/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's listening sockets: see listener.h. */
#include "control/enrol/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "base/addr.h"
#include "base/spawn.h"
#include "trammel/abi.h"

#define BACKLOG 4096

const struct listener_spec listener_specs[LISTENERS] = {
	[LISTENER_OUTBOUND] = { "outbound", TRM_PORT_OUTBOUND, "::", SOCK_STREAM },
	[LISTENER_INBOUND] = { "inbound", TRM_PORT_INBOUND, "::", SOCK_STREAM },
	[LISTENER_READY] = { "ready", TRM_PORT_READY, "::", SOCK_STREAM },
	[LISTENER_METRICS] = { "metrics", TRM_PORT_METRICS, "::", SOCK_STREAM },
	[LISTENER_DNS_UDP4] = { "dns_udp4", TRM_PORT_DNS, "127.0.0.1", SOCK_DGRAM },
	[LISTENER_DNS_UDP6] = { "dns_udp6", TRM_PORT_DNS, "::1", SOCK_DGRAM },
	[LISTENER_DNS_TCP4] = { "dns_tcp4", TRM_PORT_DNS, "127.0.0.1", SOCK_STREAM },
	[LISTENER_DNS_TCP6] = { "dns_tcp6", TRM_PORT_DNS, "::1", SOCK_STREAM },
};

/* One socket at @address: 0, or negative errno. "::" takes IPv4 too. */
static int socket_make(const struct listener_spec *spec, const char *address, int *ret)
{
	_cleanup_(fd_closep) int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len;
	struct addr a;
	int off = 0, on = 1, r;

	r = addr_parse_ip(str_from(address), &a);
	if (r < 0)
		return r;
	a.port = spec->port;
	len = addr_to_sockaddr(&a, &sa);
	fd = socket(sa.ss_family, spec->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sa.ss_family == AF_INET6 && addr_is_any(&a) && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return -errno;
	/* UDP without SO_REUSEADDR: there it would let another socket share the port */
	if (spec->type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || (spec->type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

/* A kernel without IPv6 gets 0.0.0.0 for "::", and no socket for "::1". */
static int spec_make(const struct listener_spec *spec, int *ret)
{
	int r = socket_make(spec, spec->address, ret);

	if (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL)
		return r;
	if (strcmp(spec->address, "::") == 0)
		return socket_make(spec, "0.0.0.0", ret);
	if (strcmp(spec->address, "::1") == 0) {
		*ret = -1;
		return 0;
	}
	return r;
}

/* What the child sends: the error, and which slots have an fd in SCM_RIGHTS. */
struct listener_message {
	int err;
	uint32_t present;
};

static void __attribute__((noreturn)) child_run(int netns_fd, int socket_fd)
{
	struct listener_message msg = { 0 };
	char control[CMSG_SPACE(sizeof(int) * LISTENERS)] = { 0 };
	struct iovec iov = { &msg, sizeof(msg) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[LISTENERS], n = 0, fd = -1;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		msg.err = errno;
	for (int i = 0; i < LISTENERS && !msg.err; i++) {
		msg.err = -spec_make(&listener_specs[i], &fd);
		if (!msg.err && fd >= 0) {
			fds[n++] = fd;
			msg.present |= 1u << i;
		}
	}
	if (!msg.err && n) {
		struct cmsghdr *c;

		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	_exit(sendmsg(socket_fd, &h, MSG_NOSIGNAL) < 0);
}

static int answer_read(int fd, int ret_fds[LISTENERS])
{
	struct listener_message msg = { 0 };
	char control[CMSG_SPACE(sizeof(int) * LISTENERS)];
	struct iovec iov = { &msg, sizeof(msg) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	const int *in;
	ssize_t k;

	do
		k = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	while (k < 0 && errno == EINTR);
	if (k != (ssize_t)sizeof(msg))
		return k < 0 ? -errno : -EIO;
	if (msg.err)
		return -msg.err;
	c = CMSG_FIRSTHDR(&h);
	if (!c || c->cmsg_len != CMSG_LEN(sizeof(int) * (size_t)__builtin_popcount(msg.present)))
		return -EIO;
	in = (const int *)(const void *)CMSG_DATA(c);
	for (int i = 0; i < LISTENERS; i++)
		ret_fds[i] = msg.present & (1u << i) ? *in++ : -1;
	return 0;
}

int listener_make_all(int netns_fd, int proxy_cgroup_fd, int ret_fds[LISTENERS])
{
	int pair[2], status, r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	r = spawn_fork(proxy_cgroup_fd, &pid, NULL);
	if (r == 0 && pid == 0)
		child_run(netns_fd, pair[1]);
	close(pair[1]);
	if (r == 0) {
		r = answer_read(pair[0], ret_fds);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(pair[0]);
	return r;
}
