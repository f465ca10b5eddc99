/* SPDX-License-Identifier: Apache-2.0 */
/* Outbound capture with real sockets: who is captured, what the proxy learns, what the app sees, who is refused. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include "bed.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* One captured connection: the proxy learns @want, the app sees what it asked for. */
static void captured(enum place where, int family, int protocol, int flags, const char *want, const char *own_ip)
{
	uint64_t before = counter(TRM_REASON_CAPTURED);
	int fd = bed_socket(where, family, SOCK_STREAM | flags, protocol), got;
	char byte;

	assert_int_equal(dial(fd, want), 0);
	got = take(bed.out_fd);
	assert_true(got >= 0);
	assert_string_equal(orig_dst_of(got), want);
	assert_string_equal(peer_of(fd), want);
	assert_non_null(strstr(self_of(fd), own_ip));
	assert_int_equal(counter(TRM_REASON_CAPTURED), before + 1);
	assert_int_equal(map_entries("trm_handover"), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(recv(got, &byte, 1, 0), 1);
	close(fd);
	close(got);
}

static void test_v4(void **state)
{
	(void)state;
	captured(IN_APP, AF_INET, 0, 0, "192.0.2.10:8080", POD4);
}

static void test_v6(void **state)
{
	(void)state;
	captured(IN_APP, AF_INET6, 0, 0, "[2001:db8::10]:8080", POD6);
}

static void test_v4_mapped(void **state)
{
	(void)state;
	captured(IN_APP, AF_INET6, 0, 0, "192.0.2.10:8080", POD4);
}

static void test_nonblocking(void **state)
{
	(void)state;
	captured(IN_APP, AF_INET, 0, SOCK_NONBLOCK, "192.0.2.11:80", POD4);
	captured(IN_APP, AF_INET6, 0, SOCK_NONBLOCK, "[2001:db8::11]:80", POD6);
}

static void test_child_cgroup(void **state)
{
	(void)state;
	captured(IN_APP_CHILD, AF_INET, 0, 0, "192.0.2.12:80", POD4);
}

static void test_mptcp(void **state)
{
	int fd;

	(void)state;
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (fd < 0) {
		print_message("no MPTCP in this kernel\n");
		skip();
	}
	close(fd);
	captured(IN_APP, AF_INET, IPPROTO_MPTCP, 0, "192.0.2.13:80", POD4);
	captured(IN_APP, AF_INET6, IPPROTO_MPTCP, 0, "[2001:db8::13]:80", POD6);
}

static void test_v6_only(void **state)
{
	int fd = bed_socket(IN_APP, AF_INET6, SOCK_STREAM, 0), got, one = 1;

	(void)state;
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	assert_int_equal(dial(fd, "[2001:db8::14]:80"), 0);
	got = take(bed.out_fd);
	assert_true(got >= 0);
	assert_string_equal(orig_dst_of(got), "[2001:db8::14]:80");
	assert_non_null(strstr(self_of(got), "[::1]:15001"));
	close(fd);
	close(got);
}

/* Bound to an address or a device of its own, an app reaches the proxy all the same. */
static void test_bound(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(POD4)};
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	int fd, got;

	(void)state;
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(dial(fd, "192.0.2.15:80"), 0);
	got = take(bed.out_fd);
	assert_string_equal(orig_dst_of(got), "192.0.2.15:80");
	assert_non_null(strstr(peer_of(got), POD4));
	close(fd);
	close(got);

	fd = bed_socket(IN_APP, AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(inet_pton(AF_INET6, POD6, &sin6.sin6_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)), 0);
	assert_int_equal(dial(fd, "[2001:db8::15]:80"), 0);
	got = take(bed.out_fd);
	assert_string_equal(orig_dst_of(got), "[2001:db8::15]:80");
	close(fd);
	close(got);

	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
	assert_int_equal(dial(fd, "192.0.2.16:80"), 0);
	got = take(bed.out_fd);
	assert_string_equal(orig_dst_of(got), "192.0.2.16:80");
	close(fd);
	close(got);
}

/* The destination's hash chooses the loopback address; no .0 and no .255. */
static void test_spread(void **state)
{
	char seen[32][ADDR_TEXT_BYTES];
	unsigned int last, distinct = 0;

	(void)state;
	for (unsigned int i = 0; i < 32; i++) {
		char want[32];
		int fd = bed_socket(IN_APP, i % 2 ? AF_INET6 : AF_INET, SOCK_STREAM, 0), got;
		bool again = false;

		snprintf(want, sizeof(want), "198.51.100.%u:80", i);
		assert_int_equal(dial(fd, want), 0);
		got = take(bed.out_fd);
		assert_true(got >= 0);
		snprintf(seen[i], sizeof(seen[i]), "%s", self_of(got));
		assert_int_equal(sscanf(seen[i], "127.%*u.%*u.%u:15001", &last), 1);
		assert_in_range(last, 1, 254);
		for (unsigned int j = 0; j < i; j++)
			again |= !strcmp(seen[j], seen[i]);
		distinct += !again;
		close(fd);
		close(got);
	}
	assert_true(distinct >= 30);
}

static void fastopen(bool with_option)
{
	struct addr a = at("192.0.2.17:80");
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&a, &ss);
	int qlen = 8, one = 1;
	char text[8] = "";

	assert_int_equal(setsockopt(bed.out_fd, IPPROTO_TCP, TCP_FASTOPEN, &qlen, sizeof(qlen)), 0);
	/* Twice: the first fetches the cookie, the second carries bytes in its SYN. */
	for (int i = 0; i < 2; i++) {
		int fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0), got;

		if (with_option) {
			assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), 0);
			assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
			assert_int_equal(send(fd, "hello", 5, 0), 5);
		} else {
			assert_int_equal(sendto(fd, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&ss, len), 5);
		}
		got = take(bed.out_fd);
		assert_true(got >= 0);
		assert_string_equal(orig_dst_of(got), "192.0.2.17:80");
		assert_int_equal(recv(got, text, sizeof(text), 0), 5);
		if (i == 1) {
			struct tcp_info about = {};
			socklen_t about_len = sizeof(about);

			assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &about, &about_len), 0);
			assert_true(about.tcpi_options & TCPI_OPT_SYN_DATA);
		}
		assert_string_equal(peer_of(fd), "192.0.2.17:80");
		close(fd);
		close(got);
	}
	assert_int_equal(map_entries("trm_handover"), 0);
}

static void test_fastopen_connect(void **state)
{
	(void)state;
	fastopen(true);
}

static void test_fastopen_message(void **state)
{
	(void)state;
	fastopen(false);
}

static void test_loopback(void **state)
{
	int app4 = bed_bound(IN_APP, SOCK_STREAM, "0.0.0.0:7000"), app6 = bed_bound(IN_APP, SOCK_STREAM, "[::1]:7001");
	static const char *const ways[] = {"127.0.0.1:7000", "127.9.9.9:7000", "0.0.0.0:7000", POD4 ":7000"};
	int fd, got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
		assert_int_equal(dial(fd, ways[i]), 0);
		got = take(app4);
		assert_true(got >= 0);
		close(fd);
		close(got);
	}
	fd = bed_socket(IN_APP, AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "[::1]:7001"), 0);
	close(fd);
	fd = bed_socket(IN_APP, AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "127.0.0.1:7000"), 0); /* v4-mapped loopback */
	close(fd);
	close(app6);
	app6 = bed_bound(IN_APP, SOCK_STREAM, "[" POD6 "]:7001");
	fd = bed_socket(IN_APP, AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "[" POD6 "]:7001"), 0);
	got = take(app6);
	assert_true(got >= 0);
	close(got);
	close(fd);
	close(app4);
	close(app6);
}

static void test_proxy_port(void **state)
{
	static const char *const ports[] = {"127.0.0.1:15001", "127.0.0.1:15006", "[::1]:15008", POD4 ":15006"};
	uint64_t before = counter(TRM_REASON_PROXY_PORT);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		int fd = bed_socket(IN_APP, ports[i][0] == '[' ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

		assert_int_equal(dial(fd, ports[i]), -ECONNREFUSED);
		close(fd);
	}
	assert_int_equal(counter(TRM_REASON_PROXY_PORT), before + 4);
}

/* An excluded destination goes out directly, in all three spellings, and passes the guard. */
static void test_excluded(void **state)
{
	int far4 = bed_bound(IN_FAR, SOCK_STREAM, FAR4 ":9000"),
	    far6 = bed_bound(IN_FAR, SOCK_STREAM, "[" FAR6 "]:9000");
	int port = bed_bound(IN_FAR, SOCK_STREAM, FAR4 ":9001"), fd, got;
	struct cidr c;

	(void)state;
	assert_int_equal(cidr_parse(STR(FAR4), &c), 0);
	assert_int_equal(datapath_workload_exclude_cidr(bed.dp, 8, &c), 0); /* another workload's */
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, FAR4 ":9001"), 0);
	got = take(bed.out_fd);
	assert_string_equal(orig_dst_of(got), FAR4 ":9001");
	close(fd);
	close(got);

	assert_int_equal(datapath_workload_exclude_port(bed.dp, 7, 9001, false), 0);
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, FAR4 ":9001"), 0);
	got = take(port);
	assert_true(got >= 0);
	assert_non_null(strstr(peer_of(got), POD4));
	close(fd);
	close(got);

	assert_int_equal(datapath_workload_exclude_cidr(bed.dp, 7, &c), 0);
	assert_int_equal(cidr_parse(STR("fd77::/64"), &c), 0);
	assert_int_equal(datapath_workload_exclude_cidr(bed.dp, 7, &c), 0);
	for (int i = 0; i < 3; i++) {
		fd = bed_socket(IN_APP, i == 0 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
		assert_int_equal(dial(fd, i == 2 ? "[" FAR6 "]:9000" : FAR4 ":9000"), 0);
		got = take(i == 2 ? far6 : far4);
		assert_true(got >= 0);
		assert_int_equal(send(fd, "plain", 5, 0), 5);
		close(fd);
		close(got);
	}
	datapath_workload_detach(bed.dp, 7, "default_web");
	assert_int_equal(map_entries("trm_xcidr"), 1);
	datapath_workload_detach(bed.dp, 8, "default_other");
	assert_int_equal(map_entries("trm_xcidr"), 0);
	assert_int_equal(map_entries("trm_xport"), 0);
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	close(far4);
	close(far6);
	close(port);
}

/* A failed dial, then an excluded one on the same socket: no stale answer. */
static void test_forgets(void **state)
{
	int fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0), app = bed_bound(IN_APP, SOCK_STREAM, "127.0.0.1:7002");
	int listener = bed.out_fd;

	(void)state;
	close(listener); /* the proxy is gone */
	assert_int_equal(dial(fd, "192.0.2.20:80"), -ECONNREFUSED);
	assert_int_equal(map_entries("trm_handover"), 0);
	bed.out_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15001");
	assert_int_equal(dial(fd, "127.0.0.1:7002"), 0);
	assert_string_equal(peer_of(fd), "127.0.0.1:7002");
	assert_non_null(strstr(self_of(fd), "127.0.0.1:"));
	close(fd);
	close(app);
}

static void test_policy_missing(void **state)
{
	uint64_t before = counter(TRM_REASON_POLICY_MISSING);
	const struct trm_event *ev;

	(void)state;
	events_clear();
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, 0), 0);
	for (int i = 0; i < 3; i++) {
		int fd = bed_socket(IN_APP, i == 0 ? AF_INET : AF_INET6, SOCK_STREAM, 0);

		assert_int_equal(dial(fd, i == 2 ? "[2001:db8::21]:80" : "192.0.2.21:80"), -ECONNREFUSED);
		close(fd);
	}
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, TRM_WL_READY | TRM_WL_DNS_CAPTURE), 0);
	assert_int_equal(counter(TRM_REASON_POLICY_MISSING), before + 3);
	ev = event_find(TRM_EVENT_DROP, TRM_REASON_POLICY_MISSING);
	assert_non_null(ev);
	assert_int_equal(ev->workload_id, 7);
	assert_int_equal(ev->netns_cookie, bed.netns_cookie);
	assert_int_equal(ntohs(ev->dst.port), 80);
	assert_int_equal(ev->protocol, IPPROTO_TCP);
}

static void test_workload_unknown(void **state)
{
	_cleanup_(freep) char *path = str_printf("%s/%d/maps/trm_workload", bed.root, TRM_ABI);
	_cleanup_(fd_closep) int map = bpf_obj_get(path);
	uint64_t before = counter(TRM_REASON_WORKLOAD_UNKNOWN);
	struct trm_workload kept;
	int fd;

	(void)state;
	assert_int_equal(bpf_map_lookup_elem(map, &bed.netns_cookie, &kept), 0);
	assert_int_equal(bpf_map_delete_elem(map, &bed.netns_cookie), 0);
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "192.0.2.22:80"), -ECONNREFUSED);
	close(fd);
	assert_int_equal(bpf_map_update_elem(map, &bed.netns_cookie, &kept, BPF_ANY), 0);
	assert_int_equal(counter(TRM_REASON_WORKLOAD_UNKNOWN), before + 1);
}

static void test_refuse_unknown(void **state)
{
	struct datapath_dest dests[] = {{at("192.0.2.30:80"), TRM_DEST_SERVICE}, {at("192.0.2.31"), TRM_DEST_ENDPOINT}};
	static const struct {
		const char *address;
		int err;
	} cases[] = {{"192.0.2.30:80", 0},
		     {"192.0.2.30:81", -ECONNREFUSED},
		     {"192.0.2.31:9999", 0},
		     {"192.0.2.32:80", -ECONNREFUSED}};

	(void)state;
	assert_int_equal(datapath_dest_sync(bed.dp, 1, dests, ARRAY_SIZE(dests), NULL), 0);
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, TRM_WL_READY | TRM_WL_REFUSE_UNKNOWN), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int family = 0; family < 2; family++) { /* v4, v4-mapped */
			int fd = bed_socket(IN_APP, family ? AF_INET6 : AF_INET, SOCK_STREAM, 0), got = -1;

			assert_int_equal(dial(fd, cases[i].address), cases[i].err);
			if (!cases[i].err)
				got = take(bed.out_fd);
			close(fd);
			if (got >= 0)
				close(got);
		}
	}
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, TRM_WL_READY | TRM_WL_DNS_CAPTURE), 0);
	assert_int_equal(counter(TRM_REASON_DST_UNKNOWN), 4);
}

/* UDP is not ours: its peer stays what it was. */
static void test_udp(void **state)
{
	int fd = bed_socket(IN_APP, AF_INET, SOCK_DGRAM, 0), far = bed_bound(IN_FAR, SOCK_DGRAM, FAR4 ":9100");
	char text[8];

	(void)state;
	assert_int_equal(dial(fd, FAR4 ":9100"), 0);
	assert_string_equal(peer_of(fd), FAR4 ":9100");
	assert_int_equal(send(fd, "udp", 3, 0), 3);
	assert_int_equal(recv(far, text, sizeof(text), 0), 3);
	close(fd);
	close(far);
}

static void test_flow_id(void **state)
{
	int fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0), got;
	struct trm_flow_id id = {};
	socklen_t len = sizeof(id), clen = sizeof(uint64_t);
	uint64_t cookie = 0;

	(void)state;
	assert_int_equal(dial(fd, "192.0.2.40:80"), 0);
	got = take(bed.out_fd);
	assert_int_equal(getsockopt(got, TRM_SOL, TRM_SO_FLOW, &id, &len), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &clen), 0);
	assert_int_equal(id.cookie, cookie);
	assert_true(id.opened_ns != 0);
	close(fd);
	close(got);
	/* Asked by the app, or of a socket nothing is known of: the kernel's own error. */
	fd = bed_socket(IN_PROXY, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(getsockopt(fd, TRM_SOL, TRM_SO_FLOW, &id, &len), -1);
	assert_string_equal(orig_dst_of(fd), "");
	close(fd);
}

/* The table is full: counted, told, and the proxy finds no original destination. */
static void test_handover_full(void **state)
{
	_cleanup_(freep) char *path = str_printf("%s/%d/maps/trm_handover", bed.root, TRM_ABI);
	_cleanup_(fd_closep) int map = bpf_obj_get(path);
	uint64_t before = counter(TRM_REASON_HANDOVER_FULL);
	struct trm_tuple t = {.netns_cookie = 1};
	struct trm_sock s = {};
	int fd, got;

	(void)state;
	events_clear();
	for (uint32_t i = 0; i < TRM_MAX_HANDOVERS; i++) {
		memcpy(t.src.ip, &i, sizeof(i));
		assert_int_equal(bpf_map_update_elem(map, &t, &s, BPF_NOEXIST), 0);
	}
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "192.0.2.50:80"), 0);
	got = take(bed.out_fd);
	assert_true(got >= 0);
	assert_string_equal(orig_dst_of(got), "");
	close(fd);
	close(got);
	assert_int_equal(counter(TRM_REASON_HANDOVER_FULL), before + 1);
	assert_non_null(event_find(TRM_EVENT_DROP, TRM_REASON_HANDOVER_FULL));
	for (uint32_t i = 0; i < TRM_MAX_HANDOVERS; i++) {
		memcpy(t.src.ip, &i, sizeof(i));
		assert_int_equal(bpf_map_delete_elem(map, &t), 0);
	}
}

/* A connection that the proxy never accepted leaves nothing behind. */
static void test_never_accepted(void **state)
{
	int fds[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = bed_socket(IN_APP, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fds[i],
			      (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET,
								       .sin_port = htons(80),
								       .sin_addr.s_addr = inet_addr("192.0.2.60")},
			      sizeof(struct sockaddr_in));
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(bed.out_fd);
	bed.out_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15001");
	assert_int_equal(map_entries("trm_handover"), 0);
}

/* A flood of refusals costs counters, not events. */
static void test_drop_budget(void **state)
{
	uint64_t before = counter(TRM_REASON_PROXY_PORT);
	int fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);

	(void)state;
	events_clear();
	for (int i = 0; i < 2000; i++)
		assert_int_equal(dial(fd, "127.0.0.1:15001"), -ECONNREFUSED);
	close(fd);
	(void)event_find(TRM_EVENT_DROP, TRM_REASON_PROXY_PORT);
	assert_int_equal(counter(TRM_REASON_PROXY_PORT), before + 2000);
	/* One second's budget on each CPU, two when the second turns. */
	assert_in_range(bed.n_events, 1, 2 * 2 * TRM_DROP_EVENTS_PER_S);
}

static void test_listeners_told(void **state)
{
	int fd;

	(void)state;
	events_clear();
	fd = bed_bound(IN_APP, SOCK_STREAM, "0.0.0.0:7070");
	assert_non_null(event_find(TRM_EVENT_LISTEN, TRM_REASON_NONE));
	assert_int_equal(ntohs(event_find(TRM_EVENT_LISTEN, TRM_REASON_NONE)->src.port), 7070);
	assert_null(event_find(TRM_EVENT_CLOSE, TRM_REASON_NONE));
	close(fd);
	assert_non_null(event_find(TRM_EVENT_CLOSE, TRM_REASON_NONE));
	assert_int_equal(ntohs(event_find(TRM_EVENT_CLOSE, TRM_REASON_NONE)->src.port), 7070);
	/* The proxy's own listeners are nobody's news. */
	events_clear();
	close(bed_bound(IN_PROXY, SOCK_STREAM, "0.0.0.0:7071"));
	assert_null(event_find(TRM_EVENT_LISTEN, TRM_REASON_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v4),
		cmocka_unit_test(test_v6),
		cmocka_unit_test(test_v4_mapped),
		cmocka_unit_test(test_nonblocking),
		cmocka_unit_test(test_child_cgroup),
		cmocka_unit_test(test_mptcp),
		cmocka_unit_test(test_v6_only),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_fastopen_connect),
		cmocka_unit_test(test_fastopen_message),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_proxy_port),
		cmocka_unit_test(test_excluded),
		cmocka_unit_test(test_forgets),
		cmocka_unit_test(test_policy_missing),
		cmocka_unit_test(test_workload_unknown),
		cmocka_unit_test(test_refuse_unknown),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_flow_id),
		cmocka_unit_test(test_handover_full),
		cmocka_unit_test(test_never_accepted),
		cmocka_unit_test(test_drop_budget),
		cmocka_unit_test(test_listeners_told),
	};

	bed_require();
	return cmocka_run_group_tests(tests, bed_enrolled_setup, bed_enrolled_teardown);
}
