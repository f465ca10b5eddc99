/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the agent and proxies over their admin sockets (include/trammel/admin.h). Blocking; one request per connection. */
#ifndef TRAMMEL_TOOLS_ADMIN_CLIENT_H
#define TRAMMEL_TOOLS_ADMIN_CLIENT_H

#include <jansson.h>
#include "base/cleanup.h"
#include "base/fault.h"

/** run_dir() - TRAMMEL_RUN_DIR, else /run/trammel; borrowed */
const char *run_dir(void);

/**
 * admin_call() - one request, one answer
 * @path:     socket
 * @request:  object with "op"; its reference is taken
 * @ret:      the answer, an object with "ok": true; owned by the caller
 *
 * Return: 0, or negative errno with @fault set (nobody listens, refused by the other side, nonsense answered, 30 s over).
 */
MUST_CHECK int admin_call(const char *path, json_t *request, json_t **ret, struct fault *fault);

/** agent_call() - admin_call() to this instance's agent; says what to do when none runs */
MUST_CHECK int agent_call(json_t *request, json_t **ret, struct fault *fault);

/** agent_ask() - agent_call() for an op without arguments */
MUST_CHECK int agent_ask(const char *op, json_t **ret, struct fault *fault);

/** proxy_ask() - an op without arguments to the proxy of a workload; -ENOENT when it has no proxy running */
MUST_CHECK int proxy_ask(const char *namespace, const char *name, const char *op, json_t **ret, struct fault *fault);

#endif
