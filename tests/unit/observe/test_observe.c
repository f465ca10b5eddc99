/* SPDX-License-Identifier: Apache-2.0 */
/* Telemetry: series, the limit of series, the access log's lines and its limit, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "base/json.h"
#include "proxy/observe/observe.h"

static struct observe_record record(uint16_t status, const char *service)
{
	return (struct observe_record){
		.direction = OBSERVE_OUTBOUND,
		.destination = {"web-1", "default", "spiffe://cluster.local/ns/default/sa/web", "default", service},
		.mtls = true,
		.duration_ns = 3000000,
		.bytes_in = 10,
		.bytes_out = 1000,
		.method = STR("GET"),
		.path = STR("/a\"b"),
		.authority = STR("web"),
		.status = status,
		.protocol = "HTTP/1.1",
	};
}

static char *metrics_text(struct observe *o)
{
	struct buf b;
	char *text;

	buf_init(&b, 15 * 1024 * 1024);
	assert_int_equal(observe_metrics_format(o, &b), 0);
	text = str_dup(buf_str(&b));
	buf_done(&b);
	return text;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void series(void **state)
{
	struct observe_record r = record(200, "web");
	struct observe *o;
	char *text;

	assert_int_equal(observe_new(-1, "default", "shop", &o), 0);
	assert_int_equal(observe_set_self(o, "default", "shop", "shop", "spiffe://cluster.local/ns/default/sa/shop"),
			 0);
	for (int i = 0; i < 3; i++)
		observe_http_end(o, &r);
	r.status = 503;
	observe_http_end(o, &r);
	text = metrics_text(o);
	assert_int_equal(count(text, "\nistio_requests_total{"), 2);
	assert_non_null(strstr(text, "reporter=\"source\",source_workload=\"shop\""));
	assert_non_null(strstr(text, "destination_service=\"web.default.svc.cluster.local\""));
	assert_non_null(strstr(text, "response_code=\"503\",grpc_response_status=\"\"} 1\n"));
	assert_non_null(strstr(text, "le=\"5\"} 3\n")); /* 3 ms falls below 5 */
	free(text);
	observe_free(o);
}

static void series_limit(void **state)
{
	struct observe *o;
	char *text, name[32];

	assert_int_equal(observe_new(-1, "default", "shop", &o), 0);
	for (int i = 0; i < 3000; i++) {
		struct observe_record r = record(200, name);

		snprintf(name, sizeof(name), "svc-%d", i);
		observe_http_end(o, &r);
	}
	text = metrics_text(o);
	assert_int_equal(count(text, "\nistio_requests_total{"), 2000);
	assert_non_null(strstr(text, "destination_service_name=\"overflow\""));
	assert_int_equal(count(text, "\nistio_request_duration_milliseconds_count{"), 101);
	assert_true(strlen(text) < 12 * 1024 * 1024);
	free(text);
	observe_free(o);
}

/* Sum of the values of all lines that begin with @name. */
static double sum(const char *text, const char *name)
{
	double total = 0;

	for (const char *p = text; (p = strstr(p, name)); p++)
		if (p == text || p[-1] == '\n')
			total += strtod(strstr(p, "} ") + 2, NULL);
	return total;
}

/* Nothing is lost beyond the limits: the sums are those of all records. */
static void overflow_counts_all(void **state)
{
	char name[32], *text;
	struct observe *o;

	assert_int_equal(observe_new(-1, "default", "shop", &o), 0);
	for (int i = 0; i < 6000; i++) {
		struct observe_record r = record(200, name);

		snprintf(name, sizeof(name), "svc-%d", i % 3000);
		observe_http_end(o, &r);
		observe_tcp_open(o, &r);
		observe_tcp_end(o, &r);
	}
	text = metrics_text(o);
	assert_true(sum(text, "istio_requests_total{") == 6000);
	assert_true(sum(text, "istio_request_duration_milliseconds_count{") == 6000);
	assert_true(sum(text, "istio_response_bytes_sum{") == 6000 * 1000);
	assert_true(sum(text, "istio_tcp_connections_opened_total{") == 6000);
	assert_true(sum(text, "istio_tcp_connections_closed_total{") == 6000);
	assert_true(sum(text, "istio_tcp_received_bytes_total{") == 6000 * 10);
	assert_true(sum(text, "istio_tcp_sent_bytes_total{") == 6000 * 1000);
	free(text);
	observe_free(o);
}

static int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Records that differ in what no label shows make one series: a scrape with a line twice is refused by Prometheus. */
static void no_line_twice(void **state)
{
	static const char *const protocols[] = {"HTTP/1.0", "HTTP/1.1", "HTTP/2"};
	char *text, *lines[5000], *save = NULL;
	size_t n = 0;
	struct observe *o;

	assert_int_equal(observe_new(-1, "default", "shop", &o), 0);
	for (int i = 0; i < 96; i++) {
		struct observe_record r = record(i & 1 ? 200 : 0, i & 2 ? "web" : NULL);

		r.protocol = protocols[i % 3];
		r.mtls = i & 4;
		r.direction = i & 8 ? OBSERVE_INBOUND : OBSERVE_OUTBOUND;
		r.destination.workload = i & 16 ? "unknown" : "";
		r.destination.spiffe_id = NULL;
		r.reason = i & 32 ? TRM_REASON_CONNECT_REFUSED : TRM_REASON_CONNECT_TIMEOUT; /* both UF */
		observe_http_end(o, &r);
		observe_tcp_end(o, &r);
	}
	text = metrics_text(o);
	for (char *l = strtok_r(text, "\n", &save); l && n < 5000; l = strtok_r(NULL, "\n", &save)) {
		if (strrchr(l, ' ') && l[0] != '#')
			*strrchr(l, ' ') = '\0';
		lines[n++] = l;
	}
	assert_in_range(n, 100, 4999);
	qsort(lines, n, sizeof(lines[0]), line_cmp);
	for (size_t i = 1; i < n; i++)
		if (strcmp(lines[i - 1], lines[i]) == 0)
			fail_msg("twice: %s", lines[i]);
	free(text);
	observe_free(o);
}

/* What stands in labels cannot break out of them. */
static void labels_are_escaped(void **state)
{
	struct observe_record r = record(200, "a\"b\\c\nd");
	struct observe *o;
	char *text;

	assert_int_equal(observe_new(-1, "default", "shop", &o), 0);
	observe_http_end(o, &r);
	text = metrics_text(o);
	assert_non_null(strstr(text, "destination_service_name=\"a\\\"b\\\\c\\nd\""));
	free(text);
	observe_free(o);
}

static void log_lines(void **state)
{
	int fd = memfd_create("log", 0);
	struct observe_record r = record(200, "web");
	char text[8192];
	struct observe *o;
	json_t *line;
	ssize_t k;

	assert_int_equal(observe_new(fd, "default", "shop", &o), 0);
	r.reason = TRM_REASON_NO_READY_ENDPOINT;
	r.local_reply = true;
	observe_http_end(o, &r);
	observe_flush(o);
	k = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(k > 0);
	line = json_loadb(text, (size_t)k, JSON_DISABLE_EOF_CHECK, NULL);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "path")), "/a\"b");
	assert_string_equal(json_string_value(json_object_get(line, "reason")), "no_ready_endpoint");
	assert_string_equal(json_string_value(json_object_get(line, "response_flags")), "UH");
	json_decref(line);
	observe_free(o);
	close(fd);
}

/* 5,000 lines at once: 1,000 whole ones, then one in a hundred. */
static void log_limit(void **state)
{
	int fd = memfd_create("log", 0);
	struct observe_record r = record(200, "web");
	struct observe *o;
	char *text;
	size_t n;

	assert_int_equal(observe_new(fd, "default", "shop", &o), 0);
	for (int i = 0; i < 5000; i++)
		observe_http_end(o, &r);
	observe_flush(o);
	text = calloc(1, 8 * 1024 * 1024);
	assert_true(pread(fd, text, 8 * 1024 * 1024 - 1, 0) > 0);
	n = count(text, "\n");
	assert_in_range(n, 1000, 3000); /* a second may turn meanwhile */
	assert_non_null(strstr(text, "lines_left_out"));
	free(text);
	observe_free(o);
	close(fd);
}

static void log_that_takes_nothing(void **state)
{
	struct observe_record r = record(200, "web");
	struct observe *o;
	char *text;

	assert_int_equal(observe_new(1 << 20, "default", "shop", &o), 0); /* no such fd: every write fails */
	for (int i = 0; i < 100; i++)
		observe_http_end(o, &r);
	observe_flush(o);
	text = metrics_text(o);
	assert_non_null(strstr(text, "\ntrammel_access_log_dropped_total 100\n"));
	free(text);
	observe_free(o);
}

/* A blocking pipe that nobody reads: nothing waits, nothing is torn; what comes out in the end is whole lines. */
static void log_to_a_full_pipe(void **state)
{
	struct observe_record r = record(200, "web");
	char *text = calloc(1, 1 << 20);
	size_t n = 0, whole = 0;
	struct observe *o;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(observe_new(fds[1], "default", "shop", &o), 0);
	for (int i = 0; i < 900; i++) {
		observe_http_end(o, &r);
		observe_flush(o);
	}
	for (int i = 0; i < 20; i++) {
		ssize_t k = read(fds[0], text + n, 30000);

		if (k < 0)
			break;
		n += (size_t)k;
		observe_flush(o);
	}
	for (char *l = text, *end; (end = strchr(l, '\n')); l = end + 1) {
		json_t *line = json_loadb(l, (size_t)(end - l), 0, NULL);

		if (!line)
			fail_msg("torn: %.*s", (int)(end - l), l);
		json_decref(line);
		whole++;
	}
	assert_true(whole > 100);
	close(fds[0]);
	observe_free(o);
	close(fds[1]);
	free(text);
}

/* /dev/full: ENOSPC at every write. */
static void log_to_a_full_disk(void **state)
{
	int fd = open("/dev/full", O_WRONLY);
	struct observe_record r = record(200, "web");
	struct observe *o;
	char *text;

	assert_true(fd >= 0);
	assert_int_equal(observe_new(fd, "default", "shop", &o), 0);
	for (int i = 0; i < 10; i++) {
		observe_http_end(o, &r);
		observe_flush(o);
	}
	text = metrics_text(o);
	assert_non_null(strstr(text, "\ntrammel_access_log_dropped_total 10\n"));
	free(text);
	observe_free(o);
	close(fd);
}

static void refusals(void **state)
{
	struct observe_record r = {.direction = OBSERVE_INBOUND, .reason = TRM_REASON_PLAINTEXT_REFUSED};
	struct json_writer w;
	struct observe *o;
	struct buf b;
	json_t *list;
	char *text;

	assert_int_equal(observe_new(-1, "default", "web", &o), 0);
	for (int i = 0; i < 70; i++)
		observe_refused(o, &r);
	buf_init(&b, 1 << 20);
	json_writer_init(&w, &b);
	json_open_object(&w, NULL);
	observe_refusals_json(o, &w, "refused");
	json_close_object(&w);
	assert_int_equal(json_writer_end(&w), 0);
	list = json_loadb(buf_head(&b), b.len, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(list, "refused")), 64);
	json_decref(list);
	buf_done(&b);
	text = metrics_text(o);
	assert_non_null(strstr(text, "trammel_refused_total{reason=\"plaintext_refused\"} 70\n"));
	free(text);
	observe_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(series),
		cmocka_unit_test(series_limit),
		cmocka_unit_test(log_lines),
		cmocka_unit_test(overflow_counts_all),
		cmocka_unit_test(no_line_twice),
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test(log_to_a_full_pipe),
		cmocka_unit_test(log_to_a_full_disk),
		cmocka_unit_test(log_limit),
		cmocka_unit_test(log_that_takes_nothing),
		cmocka_unit_test(refusals),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
