/* SPDX-License-Identifier: Apache-2.0 */
/* What decides without I/O: first bytes, round robin, the pool's keys, the launch environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "proxy/cluster/balance.h"
#include "proxy/launch.h"
#include "proxy/listener/sniff.h"
#include "proxy/upstream/pool.h"

static const struct {
	const char *bytes;
	enum sniff verdict;
} first_bytes[] = {
	{ "", SNIFF_MORE },
	{ "G", SNIFF_MORE },
	{ "GET", SNIFF_MORE },
	{ "GET ", SNIFF_MORE },
	{ "GET /", SNIFF_HTTP1 },
	{ "OPTIONS *", SNIFF_HTTP1 },
	{ "M-SEARCH *", SNIFF_HTTP1 },
	{ "CONNECT a:1", SNIFF_HTTP1 },
	{ "GET  /", SNIFF_OTHER },
	{ "GET \r\n", SNIFF_OTHER },
	{ "get /", SNIFF_OTHER },
	{ "HI there", SNIFF_OTHER },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SNIFF_HTTP2 },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", SNIFF_HTTP2 },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", SNIFF_MORE },
	{ "PRI * HTTP/1.1\r\n", SNIFF_OTHER },
	{ "PING\r\n", SNIFF_OTHER },
	{ "\x16\x03\x01", SNIFF_OTHER },
	{ "*1\r\n$4\r\nPING\r\n", SNIFF_OTHER },
	{ "AVERYLONGWORDINDEED", SNIFF_OTHER },
};

static void test_sniff(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(first_bytes); i++)
		if (sniff_bytes(str_from(first_bytes[i].bytes)) != first_bytes[i].verdict)
			fail_msg("\"%s\"", first_bytes[i].bytes);
}

static void test_sniff_tls(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool may_be;
	} cases[] = {
		{ "\x16", 1, true },		    { "\x16\x03", 2, true },	       { "\x16\x03\x01\x02\0", 5, true },
		{ "\x16\x03\x01\x02\0\x01", 6, true }, { "\x16\x03\x01\x02\0\x02", 6, false }, { "\x16\x02", 2, false },
		{ "\x17\x03\x03", 3, false },	    { "GET / H", 7, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(sniff_may_be_tls((struct str){ cases[i].bytes, cases[i].n }), cases[i].may_be);
}

static const struct addr dialled = { .port = 80 };

static void endpoints_fill(struct endpoint *eps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		eps[i] = (struct endpoint){ .ready = true };
		eps[i].addr.ip[15] = (uint8_t)(i + 1);
		eps[i].addr.port = 80;
	}
}

static void test_round_robin(void **state)
{
	struct endpoint eps[5];
	struct service_port port = { .port = 80, .endpoints = eps, .n_endpoints = 5, .n_ready = 5 };
	struct service svc = { .namespace = "default", .name = "web" }, other = { .namespace = "default", .name = "db" };
	struct balance b;
	size_t hits[5] = { 0 };

	endpoints_fill(eps, 5);
	balance_init(&b);
	for (int i = 0; i < 100; i++) {
		hits[balance_pick(&b, &svc, &port, &dialled, NULL) - eps]++;
		assert_non_null(balance_pick(&b, &other, &port, &dialled, NULL)); /* must not move the first one's cursor */
	}
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(hits[i], 20);
	/* one is not ready: never chosen, the others share evenly enough */
	eps[2].ready = false;
	port.n_ready = 4;
	for (int i = 0; i < 100; i++)
		assert_true(balance_pick(&b, &svc, &port, &dialled, NULL) != &eps[2]);
	balance_done(&b);
}

static void test_none_left(void **state)
{
	struct endpoint eps[3];
	struct service_port port = { .port = 80, .endpoints = eps, .n_endpoints = 3, .n_ready = 3 };
	struct service svc = { .namespace = "default", .name = "web" };
	struct balance_avoid avoid = { 0 };
	struct balance b;

	endpoints_fill(eps, 3);
	balance_init(&b);
	for (int i = 0; i < 3; i++) {
		const struct endpoint *ep = balance_pick(&b, &svc, &port, &dialled, &avoid);

		assert_non_null(ep);
		for (int k = 0; k < avoid.n; k++)
			assert_false(addr_eq(&avoid.addrs[k], &ep->addr));
		avoid.addrs[avoid.n++] = ep->addr;
	}
	assert_null(balance_pick(&b, &svc, &port, &dialled, &avoid));
	for (int i = 0; i < 3; i++)
		eps[i].ready = false;
	port.n_ready = 0;
	assert_null(balance_pick(&b, &svc, &port, &dialled, NULL));
	port.n_endpoints = 0;
	assert_null(balance_pick(&b, &svc, &port, &dialled, NULL));
	balance_done(&b);
}

/* Behind a v6 address come v6 endpoints, in turn, and the others only when there is none. */
static void test_family(void **state)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct endpoint eps[4];
	struct service_port port = { .port = 80, .endpoints = eps, .n_endpoints = 4, .n_ready = 4 };
	struct service svc = { .namespace = "default", .name = "web" };
	struct addr v6 = dialled, v4 = dialled;
	size_t hits[4] = { 0 };
	struct balance b;

	endpoints_fill(eps, 4);
	memcpy(v4.ip, mapped, 12);
	memcpy(eps[1].addr.ip, mapped, 12);
	memcpy(eps[3].addr.ip, mapped, 12);
	balance_init(&b);
	for (int i = 0; i < 40; i++) {
		hits[balance_pick(&b, &svc, &port, i < 20 ? &v6 : &v4, NULL) - eps]++;
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(hits[i], 10);
	eps[0].ready = eps[2].ready = false;
	port.n_ready = 2;
	assert_non_null(balance_pick(&b, &svc, &port, &v6, NULL));
	balance_done(&b);
}

static void on_close(struct pool_link *l)
{
	upstream_pool_leave(l->host->pool, l);
}

static void test_pool(void **state)
{
	struct target a = { .addr = { .port = 80 }, .mtls = true, .spiffe_id = "spiffe://x/a" }, t = a;
	struct pool_link l[3] = { { .close = on_close }, { .close = on_close }, { .close = on_close } };
	struct pool_key key, other;
	struct upstream_pool p;

	upstream_pool_init(&p);
	pool_key_fill(&key, &a, 1);
	assert_null(upstream_pool_take(&p, &key));
	for (int i = 0; i < 3; i++)
		assert_int_equal(upstream_pool_join(&p, &key, &l[i]), 0);
	assert_null(upstream_pool_take(&p, &key));
	for (int i = 0; i < 3; i++)
		assert_true(upstream_pool_put(&p, &l[i]));
	/* whatever makes a connection another one to the peer: not taken */
	t.spiffe_id = "spiffe://x/b";
	pool_key_fill(&other, &t, 1);
	assert_null(upstream_pool_take(&p, &other));
	t = a;
	t.mtls = false;
	pool_key_fill(&other, &t, 1);
	assert_null(upstream_pool_take(&p, &other));
	t = a;
	t.client.ip[15] = 9;
	pool_key_fill(&other, &t, 1);
	assert_null(upstream_pool_take(&p, &other));
	t = a;
	t.addr.port = 81;
	pool_key_fill(&other, &t, 1);
	assert_null(upstream_pool_take(&p, &other));
	pool_key_fill(&other, &a, 2);
	assert_null(upstream_pool_take(&p, &other));
	t = a;
	t.tls = &(const struct backend_tls){ .key = 8 };
	pool_key_fill(&other, &t, 1);
	assert_null(upstream_pool_take(&p, &other));
	/* the caller's port does not matter, and the most recent comes first */
	t = a;
	t.client.port = 1234;
	pool_key_fill(&other, &t, 1);
	assert_ptr_equal(upstream_pool_take(&p, &other), &l[2]);
	upstream_pool_leave(&p, &l[2]);
	upstream_pool_leave(&p, &l[0]);
	assert_int_equal(p.n_conns, 1);
	assert_int_equal(p.n_idle, 1);
	upstream_pool_done(&p);
	assert_int_equal(p.n_conns, 0);
}

static void test_pool_is_bounded(void **state)
{
	enum { PER_KEY = POOL_IDLE_PER_KEY + 1, KEYS = POOL_IDLE_MAX / POOL_IDLE_PER_KEY + 1 };
	static struct pool_link l[KEYS][PER_KEY];
	struct target t = { .mtls = true, .spiffe_id = "spiffe://x/a" };
	struct upstream_pool p;
	struct pool_key key;

	upstream_pool_init(&p);
	for (int k = 0; k < KEYS; k++) {
		t.addr.port = (uint16_t)(k + 1);
		pool_key_fill(&key, &t, 1);
		for (int i = 0; i < PER_KEY; i++) {
			bool room = i < POOL_IDLE_PER_KEY && k < KEYS - 1;

			l[k][i].close = on_close;
			assert_int_equal(upstream_pool_join(&p, &key, &l[k][i]), 0);
			assert_int_equal(upstream_pool_put(&p, &l[k][i]), room);
			if (!room)
				upstream_pool_leave(&p, &l[k][i]);
		}
	}
	assert_int_equal(p.n_idle, POOL_IDLE_MAX);
	upstream_pool_done(&p);
	assert_int_equal(p.n_conns, 0);
}

static void test_launch(void **state)
{
	int fds[LAUNCH_FDS];

	assert_int_equal(launch_parse_fds("outbound=3,inbound=4,access_log=12", fds), 0);
	assert_int_equal(fds[LAUNCH_OUTBOUND], 3);
	assert_int_equal(fds[LAUNCH_INBOUND], 4);
	assert_int_equal(fds[LAUNCH_ACCESS_LOG], 12);
	assert_int_equal(fds[LAUNCH_ADMIN], -1);
	assert_int_equal(launch_parse_fds("outbound=3,later=7", fds), 0);
	assert_int_equal(launch_parse_fds("outbound", fds), -EINVAL);
	assert_int_equal(launch_parse_fds("outbound=", fds), -EINVAL);
	assert_int_equal(launch_parse_fds("outbound=x", fds), -EINVAL);
	assert_int_equal(launch_parse_fds("outbound=-1", fds), -EINVAL);
	assert_int_equal(launch_parse_fds("outbound=3,inbound=3", fds), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sniff), cmocka_unit_test(test_sniff_tls), cmocka_unit_test(test_round_robin), cmocka_unit_test(test_none_left),
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_pool_is_bounded),  cmocka_unit_test(test_launch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
