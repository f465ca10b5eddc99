/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses and routes by rtnetlink: see netlink.h. */
#include "control/enrol/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES 1024

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
};

int netlink_open(struct netlink **ret)
{
	struct netlink *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!n->socket || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;

		netlink_close(n);
		return r;
	}
	*ret = n;
	return 0;
}

struct netlink *netlink_close(struct netlink *n)
{
	if (!n)
		return NULL;
	if (n->socket)
		mnl_socket_close(n->socket);
	free(n);
	return NULL;
}

static struct nlmsghdr *request_begin(struct netlink *n, void *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	h->nlmsg_seq = ++n->seq;
	return h;
}

/* Sends and waits for the acknowledgement: 0 or the kernel's negative errno. */
static int request_end(struct netlink *n, struct nlmsghdr *h)
{
	char in[8192];
	ssize_t k;

	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return -errno;
	k = mnl_socket_recvfrom(n->socket, in, sizeof(in));
	if (k < 0)
		return -errno;
	/* mnl_cb_run() turns NLMSG_ERROR into errno; an acknowledgement is an error of 0 */
	return mnl_cb_run(in, (size_t)k, n->seq, mnl_socket_get_portid(n->socket), NULL, NULL) < 0 ? -errno : 0;
}

static int index_get(const char *name, int *ret)
{
	unsigned int i = if_nametoindex(name); /* in the current namespace: callers are in that of the socket */

	if (!i)
		return -ENODEV;
	*ret = (int)i;
	return 0;
}

static struct nlmsghdr *link_begin(struct netlink *n, void *buf, uint16_t type, uint16_t flags, const char *name)
{
	struct nlmsghdr *h = request_begin(n, buf, type, flags);

	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	return h;
}

int netlink_bridge_add(struct netlink *n, const char *name)
{
	char buf[REQUEST_BYTES];
	struct nlmsghdr *h = link_begin(n, buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name);
	struct nlattr *kind = mnl_attr_nest_start(h, IFLA_LINKINFO);

	mnl_attr_put_str(h, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(h, kind);
	return request_end(n, h);
}

int netlink_veth_add(struct netlink *n, const char *name, const char *peer_name, int peer_netns_fd, const uint8_t mac[6])
{
	char buf[REQUEST_BYTES];
	struct nlmsghdr *h = link_begin(n, buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name);
	struct nlattr *kind = mnl_attr_nest_start(h, IFLA_LINKINFO), *veth, *peer;

	mnl_attr_put_str(h, IFLA_INFO_KIND, "veth");
	veth = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, peer_name);
	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns_fd);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, veth);
	mnl_attr_nest_end(h, kind);
	return request_end(n, h);
}

int netlink_link_set_up(struct netlink *n, const char *name)
{
	char buf[REQUEST_BYTES];
	struct nlmsghdr *h = request_begin(n, buf, RTM_NEWLINK, 0);
	struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	m->ifi_flags = m->ifi_change = IFF_UP;
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	return request_end(n, h);
}

int netlink_link_set_bridge(struct netlink *n, const char *name, const char *bridge)
{
	char buf[REQUEST_BYTES];
	struct nlmsghdr *h;
	int index, r = index_get(bridge, &index);

	if (r < 0)
		return r;
	h = link_begin(n, buf, RTM_NEWLINK, 0, name);
	mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t)index);
	return request_end(n, h);
}

int netlink_link_remove(struct netlink *n, const char *name)
{
	char buf[REQUEST_BYTES];

	return request_end(n, link_begin(n, buf, RTM_DELLINK, 0, name));
}

int netlink_addr_add(struct netlink *n, const char *name, const struct addr *ip, unsigned int prefix_bits)
{
	bool v4 = addr_is_v4(ip);
	const uint8_t *bytes = v4 ? ip->ip + 12 : ip->ip;
	char buf[REQUEST_BYTES];
	struct nlmsghdr *h;
	struct ifaddrmsg *m;
	int index, r = index_get(name, &index);

	if (r < 0)
		return r;
	h = request_begin(n, buf, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifa_family = v4 ? AF_INET : AF_INET6;
	m->ifa_prefixlen = (uint8_t)prefix_bits;
	m->ifa_index = (uint32_t)index;
	m->ifa_flags = v4 ? 0 : IFA_F_NODAD;
	mnl_attr_put(h, IFA_LOCAL, v4 ? 4 : 16, bytes);
	mnl_attr_put(h, IFA_ADDRESS, v4 ? 4 : 16, bytes);
	return request_end(n, h);
}

int netlink_default_route_add(struct netlink *n, const struct addr *gateway)
{
	bool v4 = addr_is_v4(gateway);
	char buf[REQUEST_BYTES];
	struct nlmsghdr *h = request_begin(n, buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	m->rtm_family = v4 ? AF_INET : AF_INET6;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	mnl_attr_put(h, RTA_GATEWAY, v4 ? 4 : 16, v4 ? gateway->ip + 12 : gateway->ip);
	return request_end(n, h);
}
