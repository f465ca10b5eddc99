/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: see listener.h. */
#include <errno.h>
#include "base/log.h"
#include "proxy/listener/listener.h"
#include "proxy/listener/orig_dst.h"

#define ACCEPTS_PER_TURN 64
#define RESUME_MS	 100

static void accepted(struct listener *l, int fd, const struct sockaddr *from)
{
	struct addr client = { 0 }, dst;
	bool known;

	if (addr_from_sockaddr(from, &client) < 0) {
		close(fd);
		return;
	}
	if (l->direction == OBSERVE_OUTBOUND) {
		known = orig_dst_outbound(fd, &dst) == 0;
		outbound_accepted(l->w, fd, &client, known ? &dst : NULL);
	} else {
		known = orig_dst_inbound(fd, &dst) == 0;
		inbound_accepted(l->w, fd, &client, known ? &dst : NULL);
	}
}

static void on_resume(struct loop_timer *t)
{
	struct listener *l = container_of(t, struct listener, resume);

	loop_io_set_events(&l->io, EPOLLIN);
}

static void on_ready(struct loop_io *io, uint32_t revents)
{
	struct listener *l = container_of(io, struct listener, io);

	for (int i = 0; i < ACCEPTS_PER_TURN && l->io.loop; i++) {
		struct sockaddr_storage from;
		socklen_t n = sizeof(from);
		int fd = accept4(l->fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accepted(l, fd, (struct sockaddr *)&from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* They stay in the backlog; asking again at once would only burn CPU. */
			observe_count(l->w->observe, TRM_REASON_FD_LIMIT);
			log_limited(LOG_ERROR, "cannot accept", "errno=%d", errno);
			loop_io_set_events(&l->io, 0);
			loop_timer_set(l->w->loop, &l->resume, RESUME_MS, on_resume);
			return;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

int listener_start(struct listener *l, struct worker *w, int fd, enum observe_direction direction)
{
	*l = (struct listener){ .w = w, .fd = fd, .direction = direction };
	return loop_io_add(w->loop, &l->io, fd, EPOLLIN, on_ready);
}

void listener_stop(struct listener *l)
{
	loop_timer_cancel(&l->resume);
	loop_io_remove(&l->io);
}
