/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the agent and proxies: see admin_client.h. */
#include "tools/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/unix_socket.h"
#include "trammel/admin.h"

#define ANSWER_MS 30000

const char *run_dir(void)
{
	const char *dir = getenv("TRAMMEL_RUN_DIR");

	return dir && *dir ? dir : TRM_RUN_DIR;
}

static int request_send(int fd, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t n, at = 0;
	int r = 0;

	if (!text)
		return -ENOMEM;
	n = strlen(text);
	text[n++] = '\n'; /* the NUL's place: the line is sent by length */
	while (at < n && r == 0) {
		ssize_t k = send(fd, text + at, n - at, MSG_NOSIGNAL);

		if (k < 0 && errno != EINTR)
			r = -errno;
		else if (k > 0)
			at += (size_t)k;
	}
	free(text);
	return r;
}

static int answer_read(int fd, struct buf *in)
{
	uint64_t end = clock_mono_ns() + ANSWER_MS * NS_PER_MS;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_mono_ns();
		size_t room;
		char *tail;
		ssize_t k;
		int r;

		if (now >= end)
			return -ETIMEDOUT;
		r = poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		r = buf_reserve(in, 4096);
		if (r < 0)
			return r;
		tail = buf_tail(in, &room);
		k = recv(fd, tail, room, 0);
		if (k < 0 && errno != EINTR)
			return -errno;
		if (k == 0)
			return in->len ? 0 : -ECONNRESET;
		if (k > 0) {
			buf_commit(in, (size_t)k);
			if (tail[k - 1] == '\n')
				return 0;
		}
	}
}

static int answer_judge(json_t *answer, struct fault *fault)
{
	json_t *error;

	if (json_is_true(json_object_get(answer, "ok")))
		return 0;
	error = json_object_get(answer, "error");
	if (!json_is_object(error)) {
		fault_set(fault, "answer", "are both sides of the same version? see `trammel --version`", "is not of the admin protocol");
		return -EPROTO;
	}
	fault_set(fault, json_string_value(json_object_get(error, "thing")), json_string_value(json_object_get(error, "next")), "%s",
		  fault_or(json_string_value(json_object_get(error, "reason"))));
	return -EREMOTEIO;
}

int admin_call(const char *path, json_t *request, json_t **ret, struct fault *fault)
{
	_cleanup_(fd_closep) int fd = -1;
	json_t *answer = NULL;
	struct buf in;
	int r;

	buf_init(&in, TRM_ADMIN_MAX_BYTES);
	r = unix_socket_connect(path, &fd);
	if (r == 0)
		r = request_send(fd, request);
	if (r == 0)
		r = answer_read(fd, &in);
	json_decref(request);
	if (r < 0) {
		fault_set(fault, path, NULL, "%s", r == -ETIMEDOUT ? "no answer within 30 s" : strerror(-r));
	} else {
		answer = json_loadb(in.mem + in.off, in.len, 0, NULL);
		r = answer_judge(answer, fault);
	}
	buf_done(&in);
	if (r < 0) {
		json_decref(answer);
		return r;
	}
	*ret = answer;
	return 0;
}

int agent_call(json_t *request, json_t **ret, struct fault *fault)
{
	_cleanup_(freep) char *path = str_printf("%s/agent.sock", run_dir());
	int r;

	if (!path || !request) {
		json_decref(request);
		fault_set(fault, "agent", NULL, "out of memory");
		return -ENOMEM;
	}
	r = admin_call(path, request, ret, fault);
	if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE)
		fault_set(fault, "agent", "start it with `trammel up`", "does not run here (nobody serves %s)", path);
	else if (r == -EACCES || r == -EPERM)
		fault_set(fault, "agent", "run this as root", "%s may be used by root alone", path);
	return r;
}

int agent_ask(const char *op, json_t **ret, struct fault *fault)
{
	return agent_call(json_pack("{s:s}", "op", op), ret, fault);
}

int proxy_ask(const char *namespace, const char *name, const char *op, json_t **ret, struct fault *fault)
{
	_cleanup_(freep) char *path = str_printf("%s/proxy/%s_%s.sock", run_dir(), namespace, name);
	json_t *request = json_pack("{s:s}", "op", op);

	if (!path || !request) {
		json_decref(request);
		fault_set(fault, "proxy", NULL, "out of memory");
		return -ENOMEM;
	}
	return admin_call(path, request, ret, fault);
}
