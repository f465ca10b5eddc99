/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin server: one request, one answer, on the agent's unix socket
 *
 * See include/trammel/admin.h for the protocol. The server knows lines and JSON, not what an op means: the agent gives it a function.
 * A request may be answered later (a workload that takes seconds to stop); a client that is slow to send or to read is given 10 s and
 * then dropped; at most 64 clients at a time, others wait.
 */
#ifndef TRAMMEL_CONTROL_ADMIN_SERVER_H
#define TRAMMEL_CONTROL_ADMIN_SERVER_H

#include <jansson.h>
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/loop.h"

struct admin_server;
struct admin_request;

/**
 * admin_op_fn - answer one request
 * @req:   owned by the server; must be answered exactly once by admin_answer_end(), admin_refuse(), now or later
 * @op:    its "op"
 * @args:  the whole request; borrowed until the answer
 */
typedef void (*admin_op_fn)(struct admin_request *req, const char *op, const json_t *args, void *user);

/** admin_server_new() - listen on @path with mode 0600; -EADDRINUSE when somebody serves it */
MUST_CHECK int admin_server_new(struct loop *loop, const char *path, admin_op_fn on_op, void *user, struct admin_server **ret);
/** admin_server_free() - drops every client and removes the socket file */
struct admin_server *admin_server_free(struct admin_server *s);
DEFINE_CLEANUP(struct admin_server, admin_server_free)

/** admin_answer_begin() - writer inside the answer's object, "ok": true written; end with admin_answer_end() */
struct json_writer *admin_answer_begin(struct admin_request *req);
void admin_answer_end(struct admin_request *req);
/** admin_refuse() - answer with a fault; takes its texts */
void admin_refuse(struct admin_request *req, struct fault *fault);
/** admin_answer_empty() - {"ok": true} */
void admin_answer_empty(struct admin_request *req);

/** admin_server_idle() - true when no answer is still on its way: the agent may exit */
bool admin_server_is_idle(const struct admin_server *s);

#endif
