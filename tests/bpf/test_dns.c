/* SPDX-License-Identifier: Apache-2.0 */
/* DNS: queries of connected and unconnected sockets, both families and v4-mapped, by UDP and by TCP. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "bed.h"

static socklen_t sockaddr_of(int family, const char *address, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret;
	struct addr a = at(address);

	if (family == AF_INET)
		return addr_to_sockaddr(&a, ret);
	memset(ret, 0, sizeof(*ret));
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(a.port);
	memcpy(&sin6->sin6_addr, a.ip, 16);
	return sizeof(*sin6);
}

/* The proxy's side: one query in, one answer out. */
static void answer(void)
{
	struct pollfd p = {.fd = bed.dns_udp_fd, .events = POLLIN};
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char text[16];

	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(recvfrom(bed.dns_udp_fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 5);
	assert_int_equal(sendto(bed.dns_udp_fd, "reply", 5, 0, (struct sockaddr *)&from, len), 5);
}

static void from_is(int fd, const char *want)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char text[16], shown[ADDR_TEXT_BYTES];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct addr a;

	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 5);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&from, &a), 0);
	assert_string_equal(addr_format(&a, shown), want);
}

static const struct {
	int family;
	const char *server;
} servers[] = {
	{AF_INET, "192.0.2.53:53"},      {AF_INET, "127.0.0.53:53"}, {AF_INET6, "192.0.2.53:53"},
	{AF_INET6, "[2001:db8::53]:53"}, {AF_INET6, "[::1]:53"},
};

static void test_unconnected(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		int fd = bed_socket(IN_APP, servers[i].family, SOCK_DGRAM, 0);
		struct sockaddr_storage ss;
		socklen_t len = sockaddr_of(servers[i].family, servers[i].server, &ss);
		uint64_t before = counter(TRM_REASON_DNS);

		assert_int_equal(sendto(fd, "query", 5, 0, (struct sockaddr *)&ss, len), 5);
		answer();
		from_is(fd, servers[i].server);
		assert_int_equal(counter(TRM_REASON_DNS), before + 1);
		close(fd);
	}
}

static void test_connected(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		int fd = bed_socket(IN_APP, servers[i].family, SOCK_DGRAM, 0);

		assert_int_equal(dial(fd, servers[i].server), 0);
		assert_string_equal(peer_of(fd), servers[i].server);
		assert_int_equal(send(fd, "query", 5, 0), 5);
		answer();
		from_is(fd, servers[i].server);
		close(fd);
	}
}

static void test_tcp(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		int fd = bed_socket(IN_APP, servers[i].family, SOCK_STREAM, 0), got;

		assert_int_equal(dial(fd, servers[i].server), 0);
		got = take(bed.dns_tcp_fd);
		assert_true(got >= 0);
		assert_string_equal(orig_dst_of(got), servers[i].server);
		assert_string_equal(peer_of(fd), servers[i].server);
		close(fd);
		close(got);
	}
}

/* Other ports are left alone, and so are queries where capture is off or the port is excluded. */
static void test_left_alone(void **state)
{
	int far = bed_bound(IN_FAR, SOCK_DGRAM, FAR4 ":53"), other = bed_bound(IN_FAR, SOCK_DGRAM, FAR4 ":5353");
	struct sockaddr_storage ss;
	char text[8];
	int fd;

	(void)state;
	fd = bed_socket(IN_APP, AF_INET, SOCK_DGRAM, 0);
	assert_true(sendto(fd, "query", 5, 0, (struct sockaddr *)&ss, sockaddr_of(AF_INET, FAR4 ":5353", &ss)) == 5);
	assert_int_equal(recv(other, text, sizeof(text), 0), 5);
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, TRM_WL_READY), 0);
	assert_true(sendto(fd, "query", 5, 0, (struct sockaddr *)&ss, sockaddr_of(AF_INET, FAR4 ":53", &ss)) == 5);
	assert_int_equal(recv(far, text, sizeof(text), 0), 5);
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, TRM_WL_READY | TRM_WL_DNS_CAPTURE), 0);
	assert_int_equal(datapath_workload_exclude_port(bed.dp, 7, 53, false), 0);
	assert_true(sendto(fd, "query", 5, 0, (struct sockaddr *)&ss, sockaddr_of(AF_INET, FAR4 ":53", &ss)) == 5);
	assert_int_equal(recv(far, text, sizeof(text), 0), 5);
	close(fd);
	close(far);
	close(other);
	datapath_workload_detach(bed.dp, 7, "default_web");
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
}

static void test_policy_missing(void **state)
{
	int fd = bed_socket(IN_APP, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(AF_INET, "192.0.2.53:53", &ss);

	(void)state;
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, 0), 0);
	assert_int_equal(sendto(fd, "query", 5, 0, (struct sockaddr *)&ss, len), -1);
	assert_int_equal(dial(fd, "192.0.2.53:53"), -ECONNREFUSED);
	assert_int_equal(datapath_workload_set_flags(bed.dp, 7, TRM_WL_READY | TRM_WL_DNS_CAPTURE), 0);
	assert_int_equal(sendto(fd, "query", 5, 0, (struct sockaddr *)&ss, len), 5);
	answer();
	from_is(fd, "192.0.2.53:53");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unconnected), cmocka_unit_test(test_connected),      cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_left_alone),  cmocka_unit_test(test_policy_missing),
	};

	bed_require();
	return cmocka_run_group_tests(tests, bed_enrolled_setup, bed_enrolled_teardown);
}
