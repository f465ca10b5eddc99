/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's own listeners over real sockets: admin (unix), /ready and /metrics (TCP on loopback). */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "base/clock.h"
#include "proxy/admin/admin_server.h"

enum { ADMIN, READY, METRICS, PORTS };

static struct loop *loop;
static struct admin_server *server;
static struct observe *observe;
static int fds[PORTS];
static bool is_ready_now;
static unsigned int drains;
static char got[4 * 1024 * 1024];

/* ---- what is true of the proxy ---- */

static bool is_ready(const char **ret_reason, void *user)
{
	*ret_reason = "no policy yet";
	return is_ready_now;
}

static void status_json(struct json_writer *w, void *user)
{
	json_cstr(w, "workload", "default/web");
}

static void cert_json(struct json_writer *w, void *user)
{
	json_cstr(w, "spiffe_id", "spiffe://cluster.local/ns/default/sa/web");
}

static void conns_json(struct json_writer *w, void *user)
{
	const struct conn c = {
		.id = 7,
		.direction = OBSERVE_INBOUND,
		.state = CONN_OPEN,
		.opened_ns = 5 * NS_PER_S,
		.client = {.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 9}, .port = 4711},
		.peer_spiffe_id = "spiffe://cluster.local/ns/default/sa/shop",
		.protocol = "http/1.1",
		.mtls = true,
		.bytes_in = 12,
	};

	admin_conn_json(w, &c, 8 * NS_PER_S);
	admin_conn_json(w, &c, 4 * NS_PER_S); /* the clock was read before: no time of 500 years */
}

static void drain(void *user)
{
	drains++;
}

static const struct admin_ops ops = {is_ready, status_json, cert_json, conns_json, drain};

/* ---- the bed ---- */

static int bed_new(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(observe_new(-1, "default", "web", &observe), 0);
	fds[ADMIN] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fds[ADMIN], (struct sockaddr *)&sun, sizeof(sa_family_t)),
			 0); /* a name of the kernel's choice */
	for (int i = READY; i < PORTS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&sin, sizeof(sin)), 0);
	}
	for (int i = 0; i < PORTS; i++)
		assert_int_equal(listen(fds[i], 64), 0);
	is_ready_now = true;
	drains = 0;
	return admin_server_new(loop, fds[ADMIN], fds[READY], fds[METRICS], &ops, NULL, observe, &server);
}

static int bed_free(void **state)
{
	admin_server_free(server);
	observe_free(observe);
	loop_free(loop);
	for (int i = 0; i < PORTS; i++)
		close(fds[i]);
	return 0;
}

static int dial(int port)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd;

	assert_int_equal(getsockname(fds[port], (struct sockaddr *)&sa, &len), 0);
	fd = socket(sa.ss_family, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

/* Turns until the connection ends (true) or @ms are over (false); what came is in got. */
static bool turn_until_end(int fd, int ms)
{
	uint64_t until = clock_mono_ns() + (uint64_t)ms * NS_PER_MS;
	size_t n = 0;

	got[0] = '\0';
	while (clock_mono_ns() < until) {
		ssize_t k = recv(fd, got + n, sizeof(got) - 1 - n, MSG_DONTWAIT);

		if (k == 0 || (k < 0 && errno != EAGAIN))
			return true;
		if (k > 0)
			n += (size_t)k;
		got[n] = '\0';
		assert_int_equal(loop_turn(loop, 2), 0);
	}
	return false;
}

static void ask(int port, const char *text)
{
	int fd = dial(port);

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	if (!turn_until_end(fd, 3000))
		fail_msg("no end after %s: %.200s", text, got);
	close(fd);
}

static json_t *ask_json(const char *text)
{
	json_t *answer;

	ask(ADMIN, text);
	answer = json_loads(got, 0, NULL);
	if (!answer)
		fail_msg("no JSON: %s", got);
	assert_int_equal(got[strlen(got) - 1], '\n');
	return answer;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void begins(const char *text)
{
	if (strncmp(got, text, strlen(text)) != 0)
		fail_msg("not %s: %.300s", text, got);
}

static void ready(void **state)
{
	ask(READY, GET("/ready"));
	begins("HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(got, "\r\n\r\n{\"ready\":true}"));
	ask(READY, GET("/healthz/ready?x=1"));
	begins("HTTP/1.1 200 OK\r\n");
	is_ready_now = false;
	ask(READY, GET("/ready"));
	begins("HTTP/1.1 503 ");
	assert_non_null(strstr(got, "\"reason\":\"no policy yet\""));
	ask(READY, GET("/metrics"));
	begins("HTTP/1.1 404 ");
	ask(READY, GET("/"));
	begins("HTTP/1.1 404 ");
}

static void metrics(void **state)
{
	struct observe_record r = {.status = 200, .destination = {"web-1", "default", "", "default", "web"}};

	observe_http_end(observe, &r);
	ask(METRICS, GET("/metrics"));
	begins("HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(got, "content-type: text/plain; version=0.0.4"));
	assert_non_null(strstr(got, "istio_requests_total{"));
	ask(METRICS, GET("/stats/prometheus"));
	begins("HTTP/1.1 200 OK\r\n");
	ask(METRICS, GET("/ready"));
	begins("HTTP/1.1 404 ");
	ask(METRICS, "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	begins("HTTP/1.1 200 OK\r\n");
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
}

static void only_reading(void **state)
{
	static const struct {
		const char *text, *status;
	} cases[] = {
		{"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		{"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 413 "},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n24\r\nGET /metrics "
		 "HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\n\r\n",
		 "HTTP/1.1 413 "},
		{"GET /metrics\r\n\r\n", "HTTP/1.1 400 "},
		{"\x16\x03\x01\x02\r\n\r\n", "HTTP/1.1 400 "},
		{"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", "HTTP/1.1 400 "},
		{"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *second;

		ask(METRICS, cases[i].text);
		begins(cases[i].status);
		second = strstr(got + 1, "HTTP/1.1 ");
		if (second)
			fail_msg("two answers to %s", cases[i].text);
	}
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* Requests in one packet and in single bytes; the connection is kept, and closed when the client says so. */
static void kept_alive(void **state)
{
	const char *text =
		"GET /ready HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" GET("/ready");
	int fd;

	ask(READY, text);
	assert_int_equal(count(got, "HTTP/1.1 200 OK"), 2);
	assert_int_equal(count(got, "HTTP/1.1 404 "), 1);
	fd = dial(READY);
	for (const char *p = text; *p; p++) {
		assert_int_equal(send(fd, p, 1, MSG_NOSIGNAL), 1);
		if ((p - text) % 7 == 0)
			assert_int_equal(loop_turn(loop, 1), 0);
	}
	assert_true(turn_until_end(fd, 3000));
	assert_int_equal(count(got, "HTTP/1.1 200 OK"), 2);
	close(fd);
}

/* Half a request has 10 s. */
static void slow_clients_end(void **state)
{
	uint64_t began = clock_mono_ns();
	int fd = dial(READY);

	assert_int_equal(send(fd, "GET /ready HTTP/1.1\r\n", 21, 0), 21);
	assert_true(turn_until_end(fd, 12000));
	assert_in_range(clock_mono_ns() - began, 9900 * NS_PER_MS, 11500 * NS_PER_MS);
	assert_string_equal(got, "");
	close(fd);
}

static void too_large(void **state)
{
	char *text = malloc(40000);
	int fd = dial(READY);

	memset(text, 'a', 40000);
	memcpy(text, "GET /", 5);
	(void)!send(fd, text, 40000, MSG_NOSIGNAL | MSG_DONTWAIT);
	assert_true(turn_until_end(fd, 3000));
	close(fd);
	fd = dial(ADMIN);
	(void)!send(fd, text, 40000, MSG_NOSIGNAL | MSG_DONTWAIT);
	assert_true(turn_until_end(fd, 3000));
	close(fd);
	free(text);
}

static void admin_ops_answer(void **state)
{
	json_t *a = ask_json("{\"op\":\"status\"}\n"), *conn;

	assert_true(json_is_true(json_object_get(a, "ok")));
	assert_string_equal(json_string_value(json_object_get(a, "workload")), "default/web");
	json_decref(a);
	a = ask_json("{\"op\":\"conn.list\"}\n");
	assert_int_equal(json_array_size(json_object_get(a, "conns")), 2);
	assert_true(json_is_array(json_object_get(a, "refused")));
	conn = json_array_get(json_object_get(a, "conns"), 0);
	assert_string_equal(json_string_value(json_object_get(conn, "client")), "10.0.0.9:4711");
	assert_string_equal(json_string_value(json_object_get(conn, "state")), "open");
	assert_true(json_number_value(json_object_get(conn, "age_s")) == 3);
	assert_true(json_number_value(json_object_get(json_array_get(json_object_get(a, "conns"), 1), "age_s")) == 0);
	json_decref(a);
	a = ask_json("{\"op\":\"cert.show\"}\n");
	assert_non_null(json_object_get(a, "spiffe_id"));
	json_decref(a);
	a = ask_json("{\"op\":\"stats\"}\n");
	assert_non_null(
		strstr(json_string_value(json_object_get(a, "metrics")), "# TYPE istio_requests_total counter"));
	json_decref(a);
	assert_int_equal(drains, 0);
	json_decref(ask_json("{\"op\":\"drain\"}\n"));
	assert_int_equal(drains, 1);
}

static void admin_refuses(void **state)
{
	static const char *const bad[] = {"\n",
					  "{}\n",
					  "[]\n",
					  "{\"op\":1}\n",
					  "{\"op\":\"down\"}\n",
					  "{\"op\":\"drain\",\"op\":\"status\"}\n",
					  "{\"op\":\"status\"\n",
					  "\xff\xff\n"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *a = ask_json(bad[i]);

		assert_true(json_is_false(json_object_get(a, "ok")));
		assert_non_null(json_object_get(json_object_get(a, "error"), "reason"));
		json_decref(a);
	}
	assert_int_equal(drains, 0);
}

/* Idle connections to one port do not keep clients of another out. */
static void limits_are_per_listener(void **state)
{
	int held[60], waiting = 0;

	for (int i = 0; i < 60; i++) {
		held[i] = dial(METRICS);
		assert_int_equal(loop_turn(loop, 1), 0);
	}
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, 1), 0);
	for (int i = 0; i < 60; i++)
		waiting += recv(held[i], got, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
	assert_int_equal(waiting, 24);
	ask(READY, GET("/ready"));
	begins("HTTP/1.1 200 OK");
	json_decref(ask_json("{\"op\":\"status\"}\n"));
	for (int i = 0; i < 60; i++)
		close(held[i]);
	for (int i = 0; i < 70; i++)
		assert_int_equal(loop_turn(loop, 0), 0);
	ask(METRICS, GET("/metrics"));
	begins("HTTP/1.1 200 OK");
}

static void out_of_descriptors(void **state)
{
	int fd = dial(READY), low = dup(0), turns = 0;
	const char *text = GET("/ready");
	struct rlimit was, none;
	uint64_t until;

	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = (rlim_t)low;
	close(low);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (until = clock_mono_ns() + 250 * NS_PER_MS; clock_mono_ns() < until; turns++)
		assert_int_equal(loop_turn(loop, 50), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_in_range(turns, 1, 30);
	assert_true(turn_until_end(fd, 3000));
	begins("HTTP/1.1 200 OK");
	close(fd);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, bed_new, bed_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(ready),
		CASE(metrics),
		CASE(only_reading),
		CASE(kept_alive),
		CASE(too_large),
		CASE(admin_ops_answer),
		CASE(admin_refuses),
		CASE(limits_are_per_listener),
		CASE(out_of_descriptors),
		CASE(slow_clients_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
