/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy gives up once it runs. */
#ifndef TRAMMEL_PROXY_SANDBOX_H
#define TRAMMEL_PROXY_SANDBOX_H

#include "base/cleanup.h"

/**
 * sandbox_enter() - give up, for good: new privileges, core dumps and being traced, and the system calls a proxy has no use for
 *
 * Denied calls fail with EPERM: programs, namespaces, mounts, tracing, BPF, keys, modules, identities, other processes'
 * memory, io_uring. After start and before the first connection.
 *
 * Return: 0 or negative errno.
 */
MUST_CHECK int sandbox_enter(void);

#endif
