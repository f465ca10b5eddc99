/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: see publish.h
 *
 * The socket is open to every local user, for proxies run unprivileged; the caller's cgroup decides. A caller of no
 * workload is told so by a status and cut off; strangers are few at a time and cannot crowd out proxies.
 */
#include "control/publish/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/log.h"
#include "base/unix_socket.h"
#include "control/publish/caller.h"
#include "control/publish/proxy.h"

#define LEAF_LIFE_S 86400

#define ACCEPTS_PER_TURN 64
#define ACCEPT_AGAIN_MS  100
#define PROXIES_MAX      8192
#define PER_WORKLOAD_MAX 8 /* a proxy, its successor while it drains, and some to spare */
#define STRANGERS_MAX    64
#define STRANGER_MS      5000
#define FROM_PROXY_MAX   (4u * 1024 * 1024) /* 4096 subscriptions with long names, and what they imply */

static const struct rpc_settings conn_settings = {
	.message_max_bytes = FROM_PROXY_MAX,
	.calls_max = 8,
	.keepalive_ms = 30000,
	.keepalive_timeout_ms = 20000,
};

/* Connections */

static const char *const refused_stranger = "caller's cgroup belongs to no enrolled workload";
static const char *const refused_unseen = "caller's process cannot be seen from here";
static const char *const refused_crowd = "too many connections of this workload";

static uint32_t count_of_workload(const struct publish *pub, uint32_t workload_id)
{
	const struct proxy *p;
	uint32_t n = 0;

	list_for_each_entry (p, &pub->proxies, link)
		n += !p->refusal && p->stats.workload_id == workload_id;
	return n;
}

/* Sets workload_id and pid, or why the caller is refused. */
static void caller_identify(struct publish *pub, int fd, struct proxy *p)
{
	char cgroup[CALLER_CGROUP_MAX];
	pid_t pid = 0;
	int r = caller_cgroup(fd, &pid, cgroup);

	if (r < 0) {
		p->refusal = refused_unseen;
		log_limited(LOG_WARN, "caller refused", "reason=\"%s\" err=%s", p->refusal, strerror(-r));
		return;
	}
	p->stats.pid = (uint32_t)pid;
	p->stats.workload_id = pub->ops->workload_of_cgroup(cgroup, pub->user);
	if (!p->stats.workload_id)
		p->refusal = refused_stranger;
	else if (count_of_workload(pub, p->stats.workload_id) >= PER_WORKLOAD_MAX)
		p->refusal = refused_crowd;
	if (p->refusal)
		log_limited(LOG_WARN, "caller refused", "pid=%d cgroup=\"%s\" reason=\"%s\"", (int)pid, cgroup,
			    p->refusal);
}

static void on_stranger(struct loop_timer *timer)
{
	proxy_free(container_of(timer, struct proxy, stranger));
}

/* Takes @fd. */
static void proxy_admit(struct publish *pub, int fd)
{
	struct proxy *p = calloc(1, sizeof(*p));

	if (!p) {
		close(fd);
		return;
	}
	p->publish = pub;
	p->stats.last_error = p->last_error;
	p->stats.connected_since_ns = loop_now_ns(pub->loop);
	slice_init(&p->slice);
	list_init(&p->link);
	caller_identify(pub, fd, p);
	if (p->refusal)
		pub->n_strangers++;
	else
		pub->n_proxies++;
	if (pub->n_strangers > STRANGERS_MAX || pub->n_proxies > PROXIES_MAX) {
		close(fd);
		proxy_free(p);
		return;
	}
	if (rpc_server_new(pub->loop, fd, proxy_methods, proxy_n_methods, &conn_settings, &proxy_conn_ops, p,
			   &p->conn) < 0) {
		proxy_free(p);
		return;
	}
	list_push_back(&pub->proxies, &p->link);
	if (p->refusal)
		loop_timer_set(pub->loop, &p->stranger, STRANGER_MS, on_stranger);
}

static void on_accept_again(struct loop_timer *timer)
{
	loop_io_set_events(&container_of(timer, struct publish, accept_again)->io, EPOLLIN);
}

static void on_accept(struct loop_io *io, uint32_t revents)
{
	struct publish *pub = container_of(io, struct publish, io);

	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(pub->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			proxy_admit(pub, fd);
			continue;
		}
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		log_limited(LOG_ERROR, "proxies cannot be accepted", "err=%s", strerror(errno));
		loop_io_set_events(io, 0); /* the listener stays ready: look again a little later */
		loop_timer_set(pub->loop, &pub->accept_again, ACCEPT_AGAIN_MS, on_accept_again);
		return;
	}
}

/* Start and end */

static int leaf_life_get(uint64_t *ret)
{
	const char *text = getenv("TRAMMEL_LEAF_TTL_S");

	*ret = LEAF_LIFE_S;
	if (!text || !*text)
		return 0;
	return str_parse_u64(str_from(text), LEAF_LIFE_S, ret) < 0 || *ret == 0 ? -EINVAL : 0;
}

int publish_new(struct loop *loop, const char *socket_path, struct ca *ca, const struct publish_ops *ops, void *user,
		struct publish **ret)
{
	struct publish *pub = calloc(1, sizeof(*pub));
	int r;

	if (!pub)
		return -ENOMEM;
	*pub = (struct publish){ .loop = loop, .fd = -1, .ca = ca, .ops = ops, .user = user };
	list_init(&pub->proxies);
	cut_store_init(&pub->cuts, ca_bundle_pem(ca));
	r = leaf_life_get(&pub->leaf_life_s);
	if (r == 0)
		r = unix_socket_listen(socket_path, 0666, &pub->fd);
	if (r == 0) {
		pub->socket_path = strdup(socket_path);
		r = pub->socket_path ? loop_io_add(loop, &pub->io, pub->fd, EPOLLIN, on_accept) : -ENOMEM;
	}
	if (r < 0) {
		publish_free(pub);
		return r;
	}
	*ret = pub;
	return 0;
}

struct publish *publish_free(struct publish *pub)
{
	struct proxy *p, *tmp;

	if (!pub)
		return NULL;
	list_for_each_entry_safe (p, tmp, &pub->proxies, link)
		proxy_free(p);
	loop_task_cancel(&pub->push);
	loop_timer_cancel(&pub->accept_again);
	loop_io_remove(&pub->io);
	if (pub->fd >= 0 && pub->socket_path)
		unlink(pub->socket_path);
	fd_close(pub->fd);
	cut_store_set(&pub->cuts, NULL);
	free(pub->socket_path);
	free(pub);
	return NULL;
}

/* Pushing: once per turn, however many snapshots came in it. */

static void on_push(struct loop_task *task)
{
	struct publish *pub = container_of(task, struct publish, push);
	struct proxy *p;

	list_for_each_entry (p, &pub->proxies, link)
		proxy_push(p);
}

void publish_set_snapshot(struct publish *pub, struct mesh_snapshot *s)
{
	cut_store_set(&pub->cuts, s);
	loop_task_defer(pub->loop, &pub->push, on_push);
}

void publish_each_proxy(const struct publish *pub, void (*fn)(const struct publish_proxy *proxy, void *user),
			void *user)
{
	const struct proxy *p;

	list_for_each_entry (p, &pub->proxies, link)
		if (!p->refusal && p->has_hello)
			fn(&p->stats, user);
}
