/* SPDX-License-Identifier: Apache-2.0 */
/* Telemetry: series, the limit of series, the access log's lines and its limit, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "base/json.h"
#include "proxy/observe/observe.h"

static struct observe_record record(uint16_t status, const char *service)
{
	return (struct observe_record){
		.direction = OBSERVE_OUTBOUND,
		.destination = { "web-1", "default", "spiffe://cluster.local/ns/default/sa/web", "default", service },
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
	assert_int_equal(observe_set_self(o, "default", "shop", "shop", "spiffe://cluster.local/ns/default/sa/shop"), 0);
	for (int i = 0; i < 3; i++)
		observe_http_end(o, &r);
	r.status = 503;
	observe_http_end(o, &r);
	text = metrics_text(o);
	assert_int_equal(count(text, "\nistio_requests_total{"), 2);
	assert_non_null(strstr(text, "reporter=\"source\",source_workload=\"shop\""));
	assert_non_null(strstr(text, "destination_service=\"web.default.svc.cluster.local\""));
	assert_non_null(strstr(text, "response_code=\"503\",grpc_response_status=\"unknown\"} 1\n"));
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
	assert_int_equal(count(text, "\nistio_requests_total{"), 201);
	assert_non_null(strstr(text, "destination_service_name=\"overflow\""));
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
	assert_non_null(strstr(text, "\ntrammel_access_log_dropped_total 1\n"));
	free(text);
	observe_free(o);
}

static void refusals(void **state)
{
	struct observe_record r = { .direction = OBSERVE_INBOUND, .reason = TRM_REASON_PLAINTEXT_REFUSED };
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
		cmocka_unit_test(series),    cmocka_unit_test(series_limit),	       cmocka_unit_test(log_lines),
		cmocka_unit_test(log_limit), cmocka_unit_test(log_that_takes_nothing), cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
