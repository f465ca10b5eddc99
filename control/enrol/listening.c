/* SPDX-License-Identifier: Apache-2.0 */
/* Which TCP ports a workload listens on: see listening.h. */
#include "control/enrol/listening.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include "base/addr.h"
#include "control/enrol/netns.h"
#include "trammel/abi.h"

struct listening {
	struct mnl_socket *socket;
	uint32_t seq;
};

struct ports {
	uint16_t *ports;
	size_t n;
};

int listening_open(int netns_fd, struct listening **ret)
{
	struct listening *l = calloc(1, sizeof(*l));
	int back, r;

	if (!l)
		return -ENOMEM;
	r = netns_enter(netns_fd, &back);
	if (r == 0) {
		l->socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
		if (!l->socket || mnl_socket_bind(l->socket, 0, MNL_SOCKET_AUTOPID) < 0)
			r = -errno;
		netns_leave(back);
	}
	if (r < 0) {
		listening_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

struct listening *listening_close(struct listening *l)
{
	if (!l)
		return NULL;
	if (l->socket)
		mnl_socket_close(l->socket);
	free(l);
	return NULL;
}

static int on_socket(const struct nlmsghdr *h, void *user)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
	struct ports *p = user;
	uint16_t port = ntohs(m->id.idiag_sport);
	struct addr a = { .ip = { [10] = 0xff, [11] = 0xff } };

	if (m->idiag_family == AF_INET)
		memcpy(a.ip + 12, m->id.idiag_src, 4);
	else
		memcpy(a.ip, m->id.idiag_src, 16);
	if (addr_is_loopback(&a) || trm_port_is_proxys(port))
		return MNL_CB_OK;
	for (size_t i = 0; i < p->n; i++)
		if (p->ports[i] == port)
			return MNL_CB_OK;
	if (p->n < LISTENING_MAX)
		p->ports[p->n++] = port;
	return MNL_CB_OK;
}

static int family_dump(struct listening *l, int family, struct ports *ports)
{
	char buf[16384];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *req;
	int r = MNL_CB_OK;

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++l->seq;
	req = mnl_nlmsg_put_extra_header(h, sizeof(*req));
	req->sdiag_family = (uint8_t)family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = 1u << TCP_LISTEN;
	if (mnl_socket_sendto(l->socket, h, h->nlmsg_len) < 0)
		return -errno;
	while (r == MNL_CB_OK) {
		ssize_t k = mnl_socket_recvfrom(l->socket, buf, sizeof(buf));

		if (k < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)k, l->seq, mnl_socket_get_portid(l->socket), on_socket, ports);
	}
	return r < 0 ? -errno : 0;
}

static int port_compare(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

int listening_ports(struct listening *l, uint16_t ret_ports[LISTENING_MAX], size_t *ret_n)
{
	struct ports ports = { .ports = ret_ports };
	int r = family_dump(l, AF_INET, &ports);

	if (r == 0)
		r = family_dump(l, AF_INET6, &ports);
	if (r < 0)
		return r;
	qsort(ret_ports, ports.n, sizeof(ret_ports[0]), port_compare);
	*ret_n = ports.n;
	return 0;
}
