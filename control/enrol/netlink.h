/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links, addresses and routes by rtnetlink
 *
 * A socket belongs to the network namespace in which it was opened and acts there; call the functions in that namespace. Every call is one request and its
 * acknowledgement (rtnetlink(7)); nothing is retried. Not thread-safe.
 */
#ifndef TRAMMEL_CONTROL_ENROL_NETLINK_H
#define TRAMMEL_CONTROL_ENROL_NETLINK_H

#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"

struct netlink;

/** netlink_open() - in the caller's current network namespace */
MUST_CHECK int netlink_open(struct netlink **ret);
struct netlink *netlink_close(struct netlink *n);
DEFINE_CLEANUP(struct netlink, netlink_close)

MUST_CHECK int netlink_bridge_add(struct netlink *n, const char *name);
/** netlink_veth_add() - @name here, @peer_name in the namespace of @peer_netns_fd; @mac (6 bytes) is the peer's */
MUST_CHECK int netlink_veth_add(struct netlink *n, const char *name, const char *peer_name, int peer_netns_fd, const uint8_t mac[6]);
MUST_CHECK int netlink_link_set_up(struct netlink *n, const char *name);
MUST_CHECK int netlink_link_set_bridge(struct netlink *n, const char *name, const char *bridge);
/** netlink_link_remove() - -ENODEV when it is not there */
MUST_CHECK int netlink_link_remove(struct netlink *n, const char *name);
/** netlink_addr_add() - IPv6 without duplicate address detection: usable at once */
MUST_CHECK int netlink_addr_add(struct netlink *n, const char *name, const struct addr *ip, unsigned int prefix_bits);
/** netlink_default_route_add() - of @gateway's family */
MUST_CHECK int netlink_default_route_add(struct netlink *n, const struct addr *gateway);

#endif
