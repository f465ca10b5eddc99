/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of control/publish: one connection of one proxy
 *
 *   publish.c  the socket, who may connect, when snapshots are pushed
 *   proxy.c    the two methods, for a caller that is known
 *   slice.c    what it wants and has          cut.c    resources as bytes          caller.c    who it is
 */
#ifndef TRAMMEL_CONTROL_PUBLISH_PROXY_H
#define TRAMMEL_CONTROL_PUBLISH_PROXY_H

#include "base/list.h"
#include "base/rpc/rpc.h"
#include "control/publish/publish.h"
#include "control/publish/slice.h"

#define PUBLISH_ERROR_MAX 512

struct publish {
	struct loop *loop;
	char *socket_path;
	int fd;
	struct loop_io io;
	struct loop_timer accept_again; /* after descriptors ran out */
	struct loop_task push;
	struct ca *ca;
	uint64_t leaf_life_s; /* TRAMMEL_LEAF_TTL_S, else 24 h */
	const struct publish_ops *ops;
	void *user;
	struct cut_store cuts;
	struct list proxies;
	uint32_t n_proxies, n_strangers;
};

struct proxy {
	struct list link; /* publish.proxies */
	struct publish *publish;
	struct rpc_conn *conn;
	struct rpc_call *stream;   /* NULL: none yet */
	struct loop_timer stranger; /* a caller of no workload is cut off */
	const char *refusal;	   /* why every call is refused; NULL for a known caller */
	bool has_hello, owes_answer; /* a Hello is answered even where nothing changed */
	bool has_more;		   /* the last message was full */
	uint64_t nonce;		   /* of the message under way; 0: none */
	uint64_t last_nonce;
	struct slice slice;
	struct publish_proxy stats;
	char last_error[PUBLISH_ERROR_MAX];
};

extern const struct rpc_method proxy_methods[];
extern const size_t proxy_n_methods;
extern const struct rpc_conn_ops proxy_conn_ops;

/** proxy_push() - say what is new, unless a message is under way */
void proxy_push(struct proxy *p);

struct proxy *proxy_free(struct proxy *p);

#endif
