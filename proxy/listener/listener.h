/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners: accepted connections and what becomes of them
 *
 * accept.c takes them from the listening sockets the agent handed over, orig_dst.c says what they were meant for, outbound.c
 * and inbound.c decide. A listener belongs to one worker.
 */
#ifndef TRAMMEL_PROXY_LISTENER_H
#define TRAMMEL_PROXY_LISTENER_H

#include "proxy/listener/downstream.h"

struct listener {
	struct loop_io io;
	struct loop_timer resume; /* after the file descriptors ran out */
	struct worker *w;
	int fd; /* borrowed */
	enum observe_direction direction;
};

/** listener_start() - accept from @fd (listening, non-blocking, borrowed) */
MUST_CHECK int listener_start(struct listener *l, struct worker *w, int fd, enum observe_direction direction);
/** listener_stop() - connections wait in the backlog for whoever accepts next */
void listener_stop(struct listener *l);

/* A connection of its direction: takes @fd. @orig_dst NULL: the kernel knows none. */
void outbound_accepted(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst);
void inbound_accepted(struct worker *w, int fd, const struct addr *client, const struct addr *orig_dst);

#endif
