/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two proxies, a caller and an app
 *
 * caller -> outbound worker -> mTLS -> inbound worker -> app. The proxies run in this thread's loop; caller and app are
 * blocking sockets driven between turns, so that every step is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include "base/log.h"
#include "pair.h"

struct scene {
	struct loop *loop;
	struct pair pair;
	int app_fd; /* listening */
	char dir[64];
};

static int listen_any(uint16_t *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &n), 0);
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

static void scene_open(struct scene *s, struct pair_options o)
{
	uint16_t app_port;

	*s = (struct scene){ .dir = "/tmp/trammel-pair-XXXXXX" };
	assert_non_null(mkdtemp(s->dir));
	s->app_fd = listen_any(&app_port);
	o.app_port = app_port;
	o.log_fd = -1;
	o.ca_dir = s->dir;
	assert_int_equal(loop_new(&s->loop), 0);
	assert_int_equal(pair_start(&s->pair, s->loop, &o), 0);
}

static void scene_close(struct scene *s)
{
	char path[96];

	pair_stop(&s->pair);
	loop_free(s->loop);
	close(s->app_fd);
	snprintf(path, sizeof(path), "%s/ca.key", s->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/ca.crt", s->dir);
	unlink(path);
	rmdir(s->dir);
}

static void turn(struct scene *s)
{
	assert_int_equal(loop_turn(s->loop, 5), 0);
}

/* Turns until @fd can be read, 5 s at most. */
static void wait_readable(struct scene *s, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 1000; i++) {
		turn(s);
		if (poll(&p, 1, 0) == 1)
			return;
	}
	fail_msg("nothing came within 5 s");
}

static int caller_open(struct scene *s)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(s->pair.out.port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	return fd;
}

static int app_accept(struct scene *s)
{
	wait_readable(s, s->app_fd);
	return accept(s->app_fd, NULL, NULL);
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until @text has come; the rest is a failure. */
static void hear(struct scene *s, int fd, const char *text, char *all, size_t cap)
{
	size_t n = 0;

	all[0] = '\0';
	while (!strstr(all, text)) {
		ssize_t r;

		wait_readable(s, fd);
		r = recv(fd, all + n, cap - n - 1, 0);
		if (r <= 0)
			fail_msg("ended before \"%s\": %s", text, all);
		n += (size_t)r;
		all[n] = '\0';
	}
}

static ssize_t hear_end(struct scene *s, int fd)
{
	char byte;

	wait_readable(s, fd);
	return recv(fd, &byte, 1, 0);
}

static const char request[] = "GET /a HTTP/1.1\r\nHost: app\r\nX-Forwarded-Client-Cert: forged\r\n\r\n";
static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void exchange(struct scene *s, int caller, int app)
{
	char all[4096];

	say(caller, request);
	hear(s, app, "\r\n\r\n", all, sizeof(all));
	assert_non_null(strstr(all, "GET /a HTTP/1.1\r\n"));
	assert_non_null(strstr(all, "traceparent: 00-"));
	assert_null(strstr(all, "forged"));
	assert_non_null(strstr(all, "By=spiffe://cluster.local/ns/default/sa/app;Hash="));
	assert_non_null(strstr(all, ";URI=spiffe://cluster.local/ns/default/sa/caller"));
	say(app, response);
	hear(s, caller, "ok", all, sizeof(all));
	assert_non_null(strstr(all, "HTTP/1.1 200"));
}

static void test_http(void **state)
{
	struct scene s;
	int caller, app;

	scene_open(&s, (struct pair_options){ .protocol = APP_HTTP1, .mtls = MTLS_STRICT });
	caller = caller_open(&s);
	say(caller, "");
	turn(&s);
	/* the app's connection is accepted while the first request is under way */
	say(caller, request);
	app = app_accept(&s);
	{
		char all[4096];

		hear(&s, app, "\r\n\r\n", all, sizeof(all));
		say(app, response);
		hear(&s, caller, "ok", all, sizeof(all));
	}
	for (int i = 0; i < 5; i++)
		exchange(&s, caller, app);
	assert_int_equal(s.pair.out.worker.pool.n_opened, 1);
	assert_int_equal(s.pair.out.worker.pool.n_reused, 5);
	close(caller);
	close(app);
	for (int i = 0; i < 10; i++)
		turn(&s);
	assert_int_equal(s.pair.out.worker.conns.n_conns, 0);
	scene_close(&s);
}

/* The wrong identity answers: not one byte of the request reaches it. */
static void test_wrong_peer(void **state)
{
	struct scene s;
	char all[4096];
	int caller;

	scene_open(&s, (struct pair_options){ .protocol = APP_HTTP1, .mtls = MTLS_STRICT, .endpoint_sa = "other" });
	caller = caller_open(&s);
	say(caller, request);
	hear(&s, caller, "\r\n\r\n", all, sizeof(all));
	assert_non_null(strstr(all, "HTTP/1.1 503"));
	assert_non_null(strstr(all, "x-trammel-reason: peer_identity"));
	close(caller);
	scene_close(&s);
}

/* Plaintext to a STRICT port is reset, and the app sees nothing of it. */
static void test_strict(void **state)
{
	struct pollfd app = { .events = POLLIN };
	struct scene s;
	int caller;

	scene_open(&s, (struct pair_options){ .protocol = APP_HTTP1, .mtls = MTLS_STRICT, .plaintext = true });
	caller = caller_open(&s);
	say(caller, request);
	{
		char all[4096];

		hear(&s, caller, "\r\n\r\n", all, sizeof(all));
		assert_non_null(strstr(all, "HTTP/1.1 502"));
	}
	app.fd = s.app_fd;
	assert_int_equal(poll(&app, 1, 0), 0);
	close(caller);
	scene_close(&s);
}

static void test_dead_endpoint(void **state)
{
	struct scene s;
	char all[4096];
	int caller, app = -1;

	scene_open(&s, (struct pair_options){ .protocol = APP_HTTP1, .mtls = MTLS_STRICT, .dead_endpoint = "127.0.0.1:1" });
	caller = caller_open(&s);
	for (int i = 0; i < 4; i++) {
		say(caller, "POST /p HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\nbody");
		if (app < 0)
			app = app_accept(&s);
		hear(&s, app, "body", all, sizeof(all));
		say(app, response);
		hear(&s, caller, "ok", all, sizeof(all));
	}
	close(caller);
	close(app);
	scene_close(&s);
}

/* The app ends its pooled connection: the next request is sent on a fresh one, not lost. */
static void test_stale(void **state)
{
	struct scene s;
	char all[4096];
	int caller, app;

	scene_open(&s, (struct pair_options){ .protocol = APP_HTTP1, .mtls = MTLS_STRICT });
	caller = caller_open(&s);
	for (int i = 0; i < 5; i++) {
		say(caller, request);
		app = app_accept(&s);
		hear(&s, app, "\r\n\r\n", all, sizeof(all));
		say(app, response);
		hear(&s, caller, "ok", all, sizeof(all));
		close(app);
	}
	close(caller);
	scene_close(&s);
}

static void test_tcp_half_close(void **state)
{
	struct scene s;
	char all[64];
	int caller, app;

	scene_open(&s, (struct pair_options){ .protocol = APP_TCP, .mtls = MTLS_STRICT });
	caller = caller_open(&s);
	say(caller, "question");
	app = app_accept(&s);
	hear(&s, app, "question", all, sizeof(all));
	shutdown(caller, SHUT_WR);
	assert_int_equal(hear_end(&s, app), 0);
	say(app, "answer");
	hear(&s, caller, "answer", all, sizeof(all));
	close(app);
	assert_int_equal(hear_end(&s, caller), 0);
	close(caller);
	for (int i = 0; i < 10; i++)
		turn(&s);
	assert_int_equal(s.pair.in.worker.conns.n_conns, 0);
	scene_close(&s);
}

static void test_tcp_reset(void **state)
{
	struct linger now = { .l_onoff = 1 };
	struct scene s;
	char all[64];
	int caller, app;

	scene_open(&s, (struct pair_options){ .protocol = APP_TCP, .mtls = MTLS_STRICT });
	caller = caller_open(&s);
	say(caller, "x");
	app = app_accept(&s);
	hear(&s, app, "x", all, sizeof(all));
	setsockopt(app, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(app);
	assert_int_equal(hear_end(&s, caller), -1);
	assert_int_equal(errno, ECONNRESET);
	close(caller);
	scene_close(&s);
}

/* A port becomes STRICT: plaintext connections that were let in before are ended, those of the mesh go on. */
static void test_strict_in_motion(void **state)
{
	struct scene s;
	char all[64];
	int caller, app;

	for (int plaintext = 0; plaintext <= 1; plaintext++) {
		scene_open(&s, (struct pair_options){ .protocol = APP_TCP, .mtls = MTLS_PERMISSIVE, .plaintext = plaintext });
		caller = caller_open(&s);
		say(caller, "x");
		app = app_accept(&s);
		hear(&s, app, "x", all, sizeof(all));
		assert_int_equal(pair_set_mtls(&s.pair, MTLS_STRICT), 0);
		if (plaintext) {
			assert_int_equal(hear_end(&s, caller), -1);
			assert_int_equal(errno, ECONNRESET);
		} else {
			say(app, "still");
			hear(&s, caller, "still", all, sizeof(all));
		}
		close(caller);
		close(app);
		scene_close(&s);
	}
}

static void on_idle(struct worker *w)
{
}

/* Drain: an idle caller is let go at once, a busy one is answered first and told to go. */
static void test_drain(void **state)
{
	struct scene s;
	char all[4096];
	int idle, busy, app;

	scene_open(&s, (struct pair_options){ .protocol = APP_HTTP1, .mtls = MTLS_STRICT });
	idle = caller_open(&s);
	say(idle, request);
	app = app_accept(&s);
	hear(&s, app, "\r\n\r\n", all, sizeof(all));
	say(app, response);
	hear(&s, idle, "ok", all, sizeof(all));
	busy = caller_open(&s);
	say(busy, request);
	hear(&s, app, "\r\n\r\n", all, sizeof(all));
	worker_drain(&s.pair.out.worker, on_idle);
	worker_drain(&s.pair.in.worker, on_idle);
	assert_int_equal(hear_end(&s, idle), 0);
	say(app, response);
	hear(&s, busy, "ok", all, sizeof(all));
	assert_non_null(strstr(all, "onnection: close"));
	assert_int_equal(hear_end(&s, busy), 0);
	close(idle);
	close(busy);
	for (int i = 0; i < 20 && s.pair.out.worker.conns.n_conns + s.pair.in.worker.conns.n_conns > 0; i++)
		turn(&s);
	assert_int_equal(s.pair.out.worker.conns.n_conns, 0);
	assert_int_equal(s.pair.in.worker.conns.n_conns, 0);
	close(app);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http),	      cmocka_unit_test(test_wrong_peer), cmocka_unit_test(test_strict),
		cmocka_unit_test(test_dead_endpoint), cmocka_unit_test(test_stale),	 cmocka_unit_test(test_tcp_half_close),
		cmocka_unit_test(test_tcp_reset),     cmocka_unit_test(test_drain),
		cmocka_unit_test(test_strict_in_motion),
	};

	log_init("test", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
