/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix stream sockets by path
 *
 * A path longer than sun_path holds (107 bytes) goes through /proc/self/fd/N/NAME of its folder. Descriptors are CLOEXEC.
 */
#ifndef TRAMMEL_BASE_UNIX_SOCKET_H
#define TRAMMEL_BASE_UNIX_SOCKET_H

#include <sys/types.h>
#include "base/cleanup.h"

/** unix_socket_listen() - non-blocking listener of @mode at @path; a socket file that nobody serves is replaced (-EADDRINUSE else) */
MUST_CHECK int unix_socket_listen(const char *path, mode_t mode, int *ret);
/** unix_socket_connect() - blocking connection to @path */
MUST_CHECK int unix_socket_connect(const char *path, int *ret);
/** unix_socket_connect_at_once() - non-blocking: a unix socket connects at once or not at all; -EAGAIN when the backlog is full */
MUST_CHECK int unix_socket_connect_at_once(const char *path, int *ret);

#endif
