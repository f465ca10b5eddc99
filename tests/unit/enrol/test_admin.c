/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's admin socket: answers now and later, refusals, clients that leave, stall or send nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/unix_socket.h"
#include "control/admin/server.h"

struct fixture {
	char dir[64], path[96];
	struct loop *loop;
	struct admin_server *server;
	struct admin_request *later[200];
	size_t n_later;
};

static void on_op(struct admin_request *req, const char *op, const json_t *args, void *user)
{
	struct fixture *f = user;
	struct fault fault = { 0 };

	if (strcmp(op, "echo") == 0) {
		json_cstr(admin_answer_begin(req), "text", json_string_value(json_object_get(args, "text")));
		admin_answer_end(req);
	} else if (strcmp(op, "later") == 0) {
		f->later[f->n_later++] = req;
	} else if (strcmp(op, "big") == 0) {
		struct json_writer *w = admin_answer_begin(req);

		json_open_array(w, "rows");
		for (int i = 0; i < (int)json_integer_value(json_object_get(args, "rows")); i++)
			json_cstr(w, NULL, "0123456789012345678901234567890123456789");
		json_close_array(w);
		admin_answer_end(req);
	} else {
		fault_set(&fault, op, "try echo", "no such op");
		admin_refuse(req, &fault);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/trammel-admin-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(admin_server_new(f->loop, f->path, on_op, f, &f->server), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	admin_server_free(f->server);
	loop_free(f->loop);
	assert_int_equal(access(f->path, F_OK), -1);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void turns(struct fixture *f, int n)
{
	while (n--)
		assert_int_equal(loop_turn(f->loop, 5), 0);
}

static int client(struct fixture *f, const char *text)
{
	int fd;

	assert_int_equal(unix_socket_connect(f->path, &fd), 0);
	if (text)
		assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return fd;
}

/* All that comes until the server closes, in turns of the loop; closes @fd. */
static json_t *answer(struct fixture *f, int fd)
{
	static char text[2 * 1024 * 1024];
	json_t *o;
	size_t n = 0;

	for (int i = 0; i < 20000; i++) {
		ssize_t k = recv(fd, text + n, sizeof(text) - n, MSG_DONTWAIT);

		if (k == 0)
			break;
		if (k > 0)
			n += (size_t)k;
		else
			assert_int_equal(loop_turn(f->loop, 1), 0);
	}
	close(fd);
	if (!n)
		return NULL;
	assert_int_equal(text[n - 1], '\n');
	o = json_loadb(text, n, 0, NULL);
	assert_non_null(o);
	return o;
}

static void assert_refused(json_t *o, const char *thing)
{
	assert_non_null(o);
	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "error"), "thing")), thing);
	assert_non_null(json_string_value(json_object_get(json_object_get(o, "error"), "reason")));
	json_decref(o);
}

static void answers(void **state)
{
	struct fixture *f = *state;
	json_t *o = answer(f, client(f, "{\"op\":\"echo\",\"text\":\"a\\\"b\"}\n"));
	struct stat st;

	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_string_equal(json_string_value(json_object_get(o, "text")), "a\"b");
	json_decref(o);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(admin_server_is_idle(f->server));
}

static void answers_a_request_that_comes_byte_by_byte(void **state)
{
	static const char text[] = "{\"op\":\"echo\",\"text\":\"x\"}\n";
	struct fixture *f = *state;
	int fd = client(f, NULL);
	json_t *o;

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
		turns(f, 1);
	}
	o = answer(f, fd);
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
}

static void refuses(void **state)
{
	static const struct {
		const char *text, *thing;
	} cases[] = {
		{ "{\"op\":\"fly\"}\n", "fly" }, { "{}\n", "request" },		 { "nonsense\n", "request" },
		{ "\n", "request" },		 { "[\"op\"]\n", "request" },	 { "{\"op\":1}\n", "request" },
		{ "{\"op\":\"a\",\"op\":\"b\"}\n", "request" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused(answer(f, client(f, cases[i].text)), cases[i].thing);
}

static void refuses_a_request_without_end(void **state)
{
	struct fixture *f = *state;
	int fd = client(f, NULL), sent = 0;
	char chunk[65536];

	memset(chunk, 'x', sizeof(chunk));
	for (int i = 0; i < 100 && sent < 1200000; i++) {
		ssize_t k = send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += k > 0 ? (int)k : 0;
		turns(f, 70);
	}
	assert_true(sent >= 1024 * 1024 - 65536);
	close(fd);
	turns(f, 5);
	assert_true(admin_server_is_idle(f->server));
}

static void answers_later(void **state)
{
	struct fixture *f = *state;
	int fd = client(f, "{\"op\":\"later\"}\n");
	json_t *o;

	turns(f, 3);
	assert_int_equal(f->n_later, 1);
	admin_answer_empty(f->later[0]);
	o = answer(f, fd);
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
}

static void a_client_that_left_costs_nothing(void **state)
{
	struct fixture *f = *state;

	close(client(f, "{\"op\":\"later\"}\n"));
	close(client(f, "{\"op\":\"ech"));
	turns(f, 5);
	assert_int_equal(f->n_later, 1);
	assert_false(admin_server_is_idle(f->server));
	admin_answer_empty(f->later[0]);
	turns(f, 2);
	assert_true(admin_server_is_idle(f->server));
}

static void a_big_answer_to_a_slow_reader(void **state)
{
	struct fixture *f = *state;
	int fd = client(f, "{\"op\":\"big\",\"rows\":20000}\n");
	json_t *o;

	turns(f, 20); /* the socket is full now */
	o = answer(f, fd);
	assert_int_equal(json_array_size(json_object_get(o, "rows")), 20000);
	json_decref(o);
}

static void an_answer_over_the_limit_is_a_refusal(void **state)
{
	struct fixture *f = *state;

	assert_refused(answer(f, client(f, "{\"op\":\"big\",\"rows\":450000}\n")), "answer");
}

static void more_clients_than_places_wait(void **state)
{
	struct fixture *f = *state;
	int fds[100];

	for (size_t i = 0; i < 100; i++)
		fds[i] = client(f, "{\"op\":\"later\"}\n");
	turns(f, 300);
	assert_int_equal(f->n_later, 64);
	for (size_t i = 0; i < 100; i++) {
		turns(f, 3);
		assert_true(f->n_later > i);
		admin_answer_empty(f->later[i]);
	}
	for (size_t i = 0; i < 100; i++) {
		json_t *o = answer(f, fds[i]);

		assert_true(json_is_true(json_object_get(o, "ok")));
		json_decref(o);
	}
	assert_int_equal(f->n_later, 100);
}

static void one_server_per_path(void **state)
{
	struct fixture *f = *state;
	struct admin_server *second = NULL;

	assert_int_equal(admin_server_new(f->loop, f->path, on_op, f, &second), -EADDRINUSE);
	assert_null(second);
	answers(state);
}

static void paths_longer_than_an_address(void **state)
{
	struct fixture *f = *state;
	char dir[256], path[300];
	struct admin_server *s;
	int fd;

	snprintf(dir, sizeof(dir), "%s/%0150d", f->dir, 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/agent.sock", dir);
	assert_int_equal(admin_server_new(f->loop, path, on_op, f, &s), 0);
	assert_int_equal(unix_socket_connect(path, &fd), 0);
	close(fd);
	turns(f, 3);
	admin_server_free(s);
	assert_int_equal(access(path, F_OK), -1);
	rmdir(dir);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(answers),
		CASE(answers_a_request_that_comes_byte_by_byte),
		CASE(refuses),
		CASE(refuses_a_request_without_end),
		CASE(answers_later),
		CASE(a_client_that_left_costs_nothing),
		CASE(a_big_answer_to_a_slow_reader),
		CASE(an_answer_over_the_limit_is_a_refusal),
		CASE(more_clients_than_places_wait),
		CASE(one_server_per_path),
		CASE(paths_longer_than_an_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
