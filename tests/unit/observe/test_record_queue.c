/* SPDX-License-Identifier: Apache-2.0 */
/* Queue of records: what comes out is what went in, whatever became of the strings meanwhile. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include "proxy/observe/record_queue.h"

static void what_goes_in_comes_out(void **state)
{
	char workload[] = "web-1", path[] = "/a\0b", agent[] = "curl";
	struct observe_record rec = {
		.direction = OBSERVE_INBOUND,
		.source = { .workload = workload, .spiffe_id = "" },
		.destination = { .namespace = "shop", .service_name = "web" },
		.path = { path, 4 },
		.user_agent = { agent, 4 },
		.trace_id = STR("0123456789abcdef0123456789abcdef"),
		.protocol = "HTTP/1.1",
		.status = 418,
		.duration_ns = 7,
	};
	struct record_queue q;
	struct queued_record got;

	record_queue_init(&q, 65536);
	assert_false(record_queue_take(&q, &got));
	assert_int_equal(record_queue_add(&q, "http", 3, &rec), 0);
	memset(workload, 'x', sizeof(workload) - 1);
	memset(path, 'x', 4);
	memset(agent, 'x', 4);
	assert_true(record_queue_take(&q, &got));
	assert_string_equal(got.kind, "http");
	assert_int_equal(got.left_out, 3);
	assert_string_equal(got.rec.source.workload, "web-1");
	assert_string_equal(got.rec.source.spiffe_id, "");
	assert_null(got.rec.source.namespace);
	assert_null(got.rec.source.service_name);
	assert_string_equal(got.rec.destination.namespace, "shop");
	assert_string_equal(got.rec.destination.service_name, "web");
	assert_null(got.rec.destination.workload);
	assert_int_equal(got.rec.path.n, 4);
	assert_memory_equal(got.rec.path.p, "/a\0b", 4);
	assert_true(str_eq(got.rec.user_agent, STR("curl")));
	assert_true(str_eq(got.rec.trace_id, STR("0123456789abcdef0123456789abcdef")));
	assert_int_equal(got.rec.method.n, 0);
	assert_string_equal(got.rec.protocol, "HTTP/1.1");
	assert_int_equal(got.rec.status, 418);
	assert_int_equal(got.rec.duration_ns, 7);
	assert_false(record_queue_take(&q, &got));
	record_queue_done(&q);
}

static void first_in_first_out(void **state)
{
	struct record_queue q;
	struct queued_record got;
	unsigned int in = 0, out = 0, seed = 1;
	char text[40];

	record_queue_init(&q, 1 << 20);
	for (int turn = 0; turn < 2000; turn++) {
		struct observe_record rec = { .conn_id = in };

		seed = seed * 1103515245u + 12345u;
		rec.method = (struct str){ text, (size_t)snprintf(text, sizeof(text), "%.*s%u", (int)(seed >> 16) % 20,
								  "mmmmmmmmmmmmmmmmmmmm", in) };
		if ((seed >> 24) % 3) {
			assert_int_equal(record_queue_add(&q, "tcp", 0, &rec), 0);
			in++;
		} else if (record_queue_take(&q, &got)) {
			assert_int_equal(got.rec.conn_id, out);
			snprintf(text, sizeof(text), "%u", out);
			assert_true(str_ends(got.rec.method, str_from(text)));
			out++;
		}
	}
	while (record_queue_take(&q, &got))
		assert_int_equal(got.rec.conn_id, out++);
	assert_true(out > 1000);
	assert_int_equal(out, in);
	record_queue_done(&q);
}

static void a_full_queue_says_so(void **state)
{
	struct observe_record rec = { .path = STR("/path") };
	struct record_queue q;
	struct queued_record got;
	int n = 0, r;

	record_queue_init(&q, 4096);
	while ((r = record_queue_add(&q, "http", 0, &rec)) == 0)
		n++;
	assert_int_equal(r, -ENOBUFS);
	assert_true(n > 2);
	while (record_queue_take(&q, &got)) {
		assert_true(str_eq(got.rec.path, STR("/path")));
		n--;
	}
	assert_int_equal(n, 0);
	assert_int_equal(record_queue_add(&q, "http", 0, &rec), 0);
	record_queue_done(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out),
		cmocka_unit_test(first_in_first_out),
		cmocka_unit_test(a_full_queue_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
