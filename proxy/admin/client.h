/* SPDX-License-Identifier: Apache-2.0 */
/* One client of the admin socket, /ready or /metrics: bytes in until a request is whole, bytes out, end. Private to the
 * room. */
#ifndef TRAMMEL_PROXY_ADMIN_CLIENT_H
#define TRAMMEL_PROXY_ADMIN_CLIENT_H

#include "base/buf.h"
#include "base/list.h"
#include "proxy/admin/admin_server.h"

#define CLIENT_IN_BYTES  16384
#define CLIENT_OUT_BYTES (16 * 1024 * 1024)

enum client_kind {
	CLIENT_ADMIN,
	CLIENT_READY,
	CLIENT_METRICS,
	CLIENT_KINDS,
};

struct admin_server {
	struct loop *loop;
	const struct admin_ops *ops;
	void *user;
	struct observe *observe;
	struct loop_io io[CLIENT_KINDS];
	struct list clients;
	unsigned int n_clients[CLIENT_KINDS];
	struct loop_timer accept_timer; /* runs while accepting is put off */
};

struct admin_client {
	struct list link;
	struct admin_server *server;
	enum client_kind kind;
	struct loop_io io;
	struct loop_timer timer;
	int fd;
	bool answered, keep; /* keep: HTTP keep-alive, another request may follow */
	struct buf in, out;
};

/* Answers of the two protocols below. */
enum {
	CLIENT_E_MORE = 1, /* the request is not whole */
};

/** admin_json_answer() - if a line is whole, put the answer into @c->out; 0, CLIENT_E_MORE or negative errno (drop) */
MUST_CHECK int admin_json_answer(struct admin_client *c);
/** admin_http_answer() - the same for an HTTP request; consumes it and sets @c->keep */
MUST_CHECK int admin_http_answer(struct admin_client *c);

#endif
