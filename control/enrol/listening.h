/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which TCP ports a workload listens on: the readiness of its endpoints
 *
 * Asked of the kernel by sock_diag (NETLINK_SOCK_DIAG, inet_diag) through a socket kept in the workload's namespace.
 */
#ifndef TRAMMEL_CONTROL_ENROL_LISTENING_H
#define TRAMMEL_CONTROL_ENROL_LISTENING_H

#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

#define LISTENING_MAX 256

struct listening;

/** listening_open() - a diag socket in @netns_fd */
MUST_CHECK int listening_open(int netns_fd, struct listening **ret);
struct listening *listening_close(struct listening *l);
DEFINE_CLEANUP(struct listening, listening_close)

/**
 * listening_ports() - TCP ports open on other addresses than loopback, without the proxy's own, sorted, each once
 * @ret_ports:  at most LISTENING_MAX; more are left out
 */
MUST_CHECK int listening_ports(struct listening *l, uint16_t ret_ports[LISTENING_MAX], size_t *ret_n);

#endif
