/* SPDX-License-Identifier: Apache-2.0 */
/* Inbound steering, the true client shown to the app, and what happens when nobody stands in a slot. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <bpf/bpf.h>
#include "bed.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static void steered(int family, const char *address, int listener)
{
	uint64_t before = counter(TRM_REASON_STEERED);
	int fd = bed_socket(IN_FAR, family, SOCK_STREAM, 0), got;
	char byte;

	assert_int_equal(dial(fd, address), 0);
	got = take(listener);
	assert_true(got >= 0);
	assert_string_equal(self_of(got), address); /* the address that was dialled */
	assert_string_equal(peer_of(got), self_of(fd));
	assert_int_equal(counter(TRM_REASON_STEERED), before + 1);
	assert_int_equal(write(got, "x", 1), 1); /* the proxy's socket passes the guard */
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	close(fd);
	close(got);
}

static void test_steer(void **state)
{
	int app = bed_bound(IN_APP, SOCK_STREAM, "[::]:8080");

	(void)state;
	steered(AF_INET, POD4 ":8080", bed.in_fd); /* never the app's own listener */
	steered(AF_INET6, "[" POD6 "]:8080", bed.in_fd);
	steered(AF_INET, POD4 ":9", bed.in_fd);
	steered(AF_INET, POD4 ":15006", bed.in_fd);
	steered(AF_INET, POD4 ":15001", bed.in_fd); /* not the outbound listener */
	steered(AF_INET, POD4 ":15008", bed.in_fd);
	steered(AF_INET6, "[" POD6 "]:15090", bed.metrics_fd);
	steered(AF_INET, POD4 ":15021", bed.ready_fd);
	close(app);
}

static void test_excluded(void **state)
{
	int app = bed_bound(IN_APP, SOCK_STREAM, "[::]:8081"), fd, got;
	char byte;

	(void)state;
	assert_int_equal(datapath_workload_exclude_port(bed.dp, 7, 8081, true), 0);
	for (int i = 0; i < 2; i++) {
		fd = bed_socket(IN_FAR, i ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_int_equal(dial(fd, i ? "[" POD6 "]:8081" : POD4 ":8081"), 0);
		got = take(app);
		assert_true(got >= 0);
		assert_int_equal(write(got, "x", 1), 1); /* the app's answer passes the guard */
		assert_int_equal(recv(fd, &byte, 1, 0), 1);
		close(fd);
		close(got);
	}
	close(app);
}

static void test_empty_slot(void **state)
{
	int app = bed_bound(IN_APP, SOCK_STREAM, "[::]:8082"), fd;
	uint64_t before = counter(TRM_REASON_PROXY_MISSING);
	const struct trm_event *ev;

	(void)state;
	events_clear();
	close(bed.in_fd);
	for (int i = 0; i < 2; i++) {
		fd = bed_socket(IN_FAR, i ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_int_equal(dial(fd, i ? "[" POD6 "]:8082" : POD4 ":8082"), -ECONNREFUSED);
		close(fd);
	}
	assert_true(counter(TRM_REASON_PROXY_MISSING) >= before + 2);
	ev = event_find(TRM_EVENT_DROP, TRM_REASON_PROXY_MISSING);
	assert_non_null(ev);
	assert_int_equal(ev->inbound, 1);
	assert_int_equal(ev->workload_id, 7);
	assert_int_equal(ntohs(ev->dst.port), 8082);
	/* By loopback the app still answers itself. */
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "127.0.0.1:8082"), 0);
	close(fd);
	bed.in_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15006");
	assert_int_equal(datapath_workload_set_listener(bed.dp, 7, TRM_SLOT_INBOUND, bed.in_fd), 0);
	steered(AF_INET, POD4 ":8082", bed.in_fd);
	close(app);
}

/* A new proxy takes the slot from the old one; connections in the old backlog stay there. */
static void test_slot_replaced(void **state)
{
	int old = bed.in_fd, fd = bed_socket(IN_FAR, AF_INET, SOCK_STREAM, 0), got;

	(void)state;
	assert_int_equal(dial(fd, POD4 ":8083"), 0);
	bed.in_fd = bed_bound(IN_PROXY, SOCK_STREAM, "127.0.0.1:15016");
	close(bed.in_fd);
	bed.in_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15017");
	assert_int_equal(datapath_workload_set_listener(bed.dp, 7, TRM_SLOT_INBOUND, bed.in_fd), 0);
	steered(AF_INET, POD4 ":8083", bed.in_fd);
	got = take(old);
	assert_true(got >= 0);
	close(got);
	close(fd);
	close(old);
}

static void test_udp(void **state)
{
	int app = bed_bound(IN_APP, SOCK_DGRAM, "[::]:8084"), fd = bed_socket(IN_FAR, AF_INET, SOCK_DGRAM, 0);
	char text[8];

	(void)state;
	assert_int_equal(dial(fd, POD4 ":8084"), 0);
	assert_int_equal(send(fd, "udp", 3, 0), 3);
	assert_int_equal(recv(app, text, sizeof(text), 0), 3);
	close(app);
	close(fd);
}

static int client_set(int fd, const char *address)
{
	struct addr a = at(address);
	struct trm_addr t = {.port = htons(a.port)};

	memcpy(t.ip, a.ip, 16);
	return setsockopt(fd, TRM_SOL, TRM_SO_CLIENT_ADDR, &t, sizeof(t)) ? -errno : 0;
}

/* The proxy names the client, dials the app, and accept() and getpeername() in the app answer with the client. */
static void client_shown(int listen_family, const char *listen_at, int dial_fam, const char *dial_at,
			 const char *client)
{
	int app = bed_bound(IN_APP, SOCK_STREAM, listen_at), fd = bed_socket(IN_PROXY, dial_fam, SOCK_STREAM, 0), got;
	struct sockaddr_storage ss = {};
	socklen_t len = sizeof(ss);
	char text[ADDR_TEXT_BYTES];
	struct addr a;

	(void)listen_family;
	assert_int_equal(client_set(fd, client), 0);
	assert_int_equal(dial(fd, dial_at), 0);
	got = accept(app, (struct sockaddr *)&ss, &len);
	assert_true(got >= 0);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &a), 0);
	assert_string_equal(addr_format(&a, text), client);
	assert_string_equal(peer_of(got), client);
	assert_string_equal(self_of(got), dial_at);
	assert_string_equal(peer_of(fd), dial_at); /* the proxy's own end is as it is */
	assert_int_equal(map_entries("trm_handover"), 0);
	close(fd);
	close(got);
	close(app);
}

static void test_client(void **state)
{
	(void)state;
	client_shown(AF_INET, "0.0.0.0:8090", AF_INET, "127.0.0.1:8090", "10.1.2.3:4567");
	client_shown(AF_INET6, "[::]:8091", AF_INET, "127.0.0.1:8091", "10.1.2.3:4568");
	client_shown(AF_INET6, "[::]:8092", AF_INET6, "[::1]:8092", "[2001:db8::99]:4569");
	client_shown(AF_INET, POD4 ":8093", AF_INET, POD4 ":8093",
		     "10.1.2.3:4570"); /* listens on its own address alone */
	client_shown(AF_INET6, "[" POD6 "]:8094", AF_INET6, "[" POD6 "]:8094", "[2001:db8::99]:4571");
}

/* Go's servers listen with MPTCP. */
static void test_client_mptcp(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(8095)};
	int app, fd, got;

	(void)state;
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (fd < 0) {
		print_message("no MPTCP in this kernel\n");
		skip();
	}
	close(fd);
	app = bed_socket(IN_APP, AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	assert_int_equal(bind(app, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(app, 8), 0);
	fd = bed_socket(IN_PROXY, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(client_set(fd, "10.1.2.3:4599"), 0);
	assert_int_equal(dial(fd, "127.0.0.1:8095"), 0);
	got = take(app);
	assert_string_equal(peer_of(got), "10.1.2.3:4599");
	close(fd);
	close(got);
	close(app);
}

/* An app may not name its client, and the proxy may not misname the option. */
static void test_client_forged(void **state)
{
	int app = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0), px = bed_socket(IN_PROXY, AF_INET, SOCK_STREAM, 0),
	    one = 1;
	char brief[8] = "";

	(void)state;
	assert_int_equal(client_set(app, "10.1.2.3:1"), -ENOPROTOOPT);
	assert_int_equal(setsockopt(px, TRM_SOL, 99, &one, sizeof(one)), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(setsockopt(px, TRM_SOL, TRM_SO_CLIENT_ADDR, brief, sizeof(brief)), -1);
	assert_int_equal(setsockopt(px, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	close(app);
	close(px);
}

/* The program alone, where no packet needs to be sent: BPF_PROG_RUN. It takes no interface; loopback is told by source.
 */
static void test_prog_run(void **state)
{
	static const struct {
		const char *name;
		uint32_t protocol, remote4, port;
		uint32_t verdict;
		uint32_t reason;
	} cases[] = {
		{"loopback", IPPROTO_TCP, 0x7f000001, 8080, 1, TRM_REASON_NONE},
		{"own address", IPPROTO_TCP, 0x0a4d0002, 8080, 1, TRM_REASON_NONE},
		{"udp", IPPROTO_UDP, 0x0a4d0001, 8080, 1, TRM_REASON_NONE},
		{"no such slot", IPPROTO_TCP, 0x0a4d0001, 15021, 0, TRM_REASON_PROXY_MISSING},
	};
	_cleanup_(freep) char *path = str_printf("%s/%d/links/default_web/trm_sk_lookup", bed.root, TRM_ABI);
	_cleanup_(fd_closep) int link = bpf_obj_get(path);
	struct bpf_link_info about = {};
	uint32_t len = sizeof(about);
	int prog;

	(void)state;
	assert_true(link >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(link, &about, &len), 0);
	prog = bpf_prog_get_fd_by_id(about.prog_id);
	close(bed.ready_fd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before = counter(TRM_REASON_PROXY_MISSING);
		struct bpf_sk_lookup ctx = {.family = AF_INET,
					    .protocol = cases[i].protocol,
					    .remote_ip4 = htonl(cases[i].remote4),
					    .remote_port = htons(40000),
					    .local_ip4 = htonl(0x0a4d0002),
					    .local_port = cases[i].port};
		LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);

		assert_int_equal(bpf_prog_test_run_opts(prog, &opts), 0);
		if (opts.retval != cases[i].verdict)
			print_message("case %s\n", cases[i].name);
		assert_int_equal(opts.retval, cases[i].verdict);
		assert_int_equal(counter(TRM_REASON_PROXY_MISSING) - before,
				 cases[i].reason == TRM_REASON_PROXY_MISSING);
	}
	close(prog);
	bed.ready_fd = bed_bound(IN_PROXY, SOCK_STREAM, "[::]:15021");
	assert_int_equal(datapath_workload_set_listener(bed.dp, 7, TRM_SLOT_READY, bed.ready_fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steer),        cmocka_unit_test(test_excluded),
		cmocka_unit_test(test_empty_slot),   cmocka_unit_test(test_slot_replaced),
		cmocka_unit_test(test_udp),          cmocka_unit_test(test_client),
		cmocka_unit_test(test_client_mptcp), cmocka_unit_test(test_client_forged),
		cmocka_unit_test(test_prog_run),
	};

	bed_require();
	return cmocka_run_group_tests(tests, bed_enrolled_setup, bed_enrolled_teardown);
}
