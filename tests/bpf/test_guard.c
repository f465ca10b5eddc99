/* SPDX-License-Identifier: Apache-2.0 */
/* The escape guard: sockets that passed no hook, raw packets, odd packets; by link and by filter. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <sched.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <bpf/bpf.h>
#include "control/datapath/room.h"
#include "bed.h"

/* A frame that an app with a raw socket might send. */
struct frame {
	uint8_t bytes[256];
	size_t n;
};

static void put(struct frame *f, const void *p, size_t n)
{
	memcpy(f->bytes + f->n, p, n);
	f->n += n;
}

static void put_ether(struct frame *f, uint16_t type)
{
	struct ether_header eth = {.ether_dhost = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, .ether_type = htons(type)};

	f->n = 0;
	put(f, &eth, sizeof(eth));
}

static void put_ip4(struct frame *f, uint8_t protocol, uint16_t frag, size_t payload)
{
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = protocol,
			   .frag_off = htons(frag),
			   .tot_len = htons((uint16_t)(20 + payload)),
			   .saddr = inet_addr(POD4),
			   .daddr = inet_addr(FAR4)};

	put(f, &ip, sizeof(ip));
}

static void put_ip6(struct frame *f, uint8_t next, size_t payload)
{
	struct ip6_hdr ip = {.ip6_nxt = next, .ip6_hlim = 64, .ip6_plen = htons((uint16_t)payload)};

	ip.ip6_vfc = 0x60;
	inet_pton(AF_INET6, POD6, &ip.ip6_src);
	inet_pton(AF_INET6, FAR6, &ip.ip6_dst);
	put(f, &ip, sizeof(ip));
}

static void put_tcp(struct frame *f, bool syn, uint16_t sport, uint16_t dport, size_t payload)
{
	struct tcphdr tcp = {.doff = 5, .syn = syn, .ack = !syn, .source = htons(sport), .dest = htons(dport)};
	char zero[64] = "";

	put(f, &tcp, sizeof(tcp));
	put(f, zero, payload);
}

/* True when the frame came out on the far side. */
static bool passes(const struct frame *f)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6, .sll_protocol = htons(ETHERTYPE_ARP)};
	int far = bed_socket(IN_FAR, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)),
	    app = bed_socket(IN_APP, AF_PACKET, SOCK_RAW, 0);
	struct pollfd p = {.fd = far, .events = POLLIN};
	struct ifreq req = {.ifr_name = "eth0"};
	uint8_t got[512];
	bool seen = false;

	assert_int_equal(ioctl(app, SIOCGIFINDEX, &req), 0);
	to.sll_ifindex = req.ifr_ifindex;
	/* Refused by the guard shows as ENOBUFS or as success, by kernel. */
	(void)sendto(app, f->bytes, f->n, 0, (struct sockaddr *)&to, sizeof(to));
	while (!seen && poll(&p, 1, 100) == 1) {
		ssize_t n = recv(far, got, sizeof(got), 0);

		seen = n >= (ssize_t)f->n && memcmp(got, f->bytes, f->n) == 0;
	}
	close(far);
	close(app);
	return seen;
}

static void test_frames(void **state)
{
	uint64_t escape = counter(TRM_REASON_ESCAPE), bad = counter(TRM_REASON_BAD_PACKET);
	uint8_t hop[8] = {IPPROTO_TCP, 0}, frag_tcp[8] = {IPPROTO_TCP, 0, 0, 1}, frag_udp[8] = {IPPROTO_UDP, 0, 0, 9};
	struct frame f;

	(void)state;
	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 20);
	put_tcp(&f, true, 1234, 80, 0);
	assert_false(passes(&f)); /* SYN */

	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 25);
	put_tcp(&f, false, 1234, 80, 5);
	assert_false(passes(&f)); /* bytes */

	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 20);
	put_tcp(&f, false, 1234, 80, 0);
	assert_true(passes(&f)); /* a bare ACK */

	put_ether(&f, ETHERTYPE_IPV6);
	put_ip6(&f, IPPROTO_TCP, 20);
	put_tcp(&f, true, 1234, 80, 0);
	assert_false(passes(&f));

	put_ether(&f, ETHERTYPE_IPV6);
	put_ip6(&f, 0, 28);
	put(&f, hop, sizeof(hop));
	put_tcp(&f, true, 1234, 80, 0);
	assert_false(passes(&f)); /* behind a hop-by-hop header */
	assert_int_equal(counter(TRM_REASON_ESCAPE), escape + 4);

	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0x2000, 8);
	put(&f, "12345678", 8);
	assert_false(passes(&f)); /* first fragment */

	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 1, 8);
	put(&f, "12345678", 8);
	assert_false(passes(&f)); /* later fragment */

	put_ether(&f, ETHERTYPE_IPV6);
	put_ip6(&f, 44, 28);
	put(&f, frag_tcp, sizeof(frag_tcp));
	put_tcp(&f, true, 1234, 80, 0);
	assert_false(passes(&f));

	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 8);
	put(&f, "12345678", 8);
	assert_false(passes(&f)); /* truncated */

	put_ether(&f, ETHERTYPE_VLAN);
	put(&f, "\0\1\x08\0", 4);
	put_ip4(&f, IPPROTO_TCP, 0, 20);
	put_tcp(&f, true, 1234, 80, 0);
	assert_false(passes(&f));
	assert_int_equal(counter(TRM_REASON_BAD_PACKET), bad + 5);

	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_UDP, 0x2000, 8);
	put(&f, "12345678", 8);
	assert_true(passes(&f)); /* UDP, fragmented or not, is not ours */

	put_ether(&f, ETHERTYPE_IPV6);
	put_ip6(&f, 44, 16);
	put(&f, frag_udp, sizeof(frag_udp));
	put(&f, "12345678", 8);
	assert_true(passes(&f));
}

/* A socket made before its process joined the cgroup passes no hook. */
static void test_outsider(void **state)
{
	uint64_t before = counter(TRM_REASON_ESCAPE);
	int far4 = bed_bound(IN_FAR, SOCK_STREAM, FAR4 ":9200"),
	    far6 = bed_bound(IN_FAR, SOCK_STREAM, "[" FAR6 "]:9200"), fd;

	(void)state;
	events_clear();
	fd = bed_socket(IN_POD_OUTSIDE, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(dial(fd, FAR4 ":9200"), -ETIMEDOUT);
	close(fd);
	fd = bed_socket(IN_POD_OUTSIDE, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(dial(fd, "[" FAR6 "]:9200"), -ETIMEDOUT);
	close(fd);
	assert_true(counter(TRM_REASON_ESCAPE) >= before + 2);
	assert_non_null(event_find(TRM_EVENT_DROP, TRM_REASON_ESCAPE));
	assert_int_equal(ntohs(event_find(TRM_EVENT_DROP, TRM_REASON_ESCAPE)->dst.port), 9200);
	close(far4);
	close(far6);
}

static void test_proxy_passes(void **state)
{
	int far = bed_bound(IN_FAR, SOCK_STREAM, FAR4 ":9201"), fd = bed_socket(IN_PROXY, AF_INET, SOCK_STREAM, 0), got;
	char text[8];

	(void)state;
	assert_int_equal(dial(fd, FAR4 ":9201"), 0);
	got = take(far);
	assert_true(got >= 0);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	assert_int_equal(recv(got, text, sizeof(text), 0), 5);
	close(fd);
	close(got);
	close(far);
}

/* Neither settings nor guard are left open by a missing entry. */
static void test_settings_gone(void **state)
{
	_cleanup_(freep) char *path = str_printf("%s/%d/maps/trm_workload", bed.root, TRM_ABI);
	_cleanup_(fd_closep) int map = bpf_obj_get(path);
	struct trm_workload kept;
	struct frame f;

	(void)state;
	assert_int_equal(bpf_map_lookup_elem(map, &bed.netns_cookie, &kept), 0);
	assert_int_equal(bpf_map_delete_elem(map, &bed.netns_cookie), 0);
	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 20);
	put_tcp(&f, true, 1234, 80, 0);
	assert_false(passes(&f));
	assert_int_equal(bpf_map_update_elem(map, &bed.netns_cookie, &kept, BPF_ANY), 0);
}

static void test_released(void **state)
{
	struct frame f;

	(void)state;
	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 20);
	put_tcp(&f, true, 1234, 80, 0);
	datapath_workload_detach(bed.dp, 7, "default_web");
	assert_true(passes(&f));
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	assert_false(passes(&f));
}

/* The way of kernels before 6.6: a filter, replaced in place, released by way of the sk_lookup link. */
static void test_clsact(void **state)
{
	struct instance in = {.workload_id = 7, .netns_cookie = bed.netns_cookie, .l2_bytes = 14};
	_cleanup_(freep) char *dir = str_printf("%s/%d/links/default_web", bed.root, TRM_ABI);
	_cleanup_(freep) char *pin = str_printf("%s/trm_guard", dir), *error = NULL;
	struct frame f;
	pid_t child;

	(void)state;
	put_ether(&f, ETHERTYPE_IP);
	put_ip4(&f, IPPROTO_TCP, 0, 20);
	put_tcp(&f, true, 1234, 80, 0);
	(void)unlink(pin);
	assert_true(passes(&f));
	for (int i = 0; i < 2; i++) {
		_cleanup_(fd_closep) int prog = -1;

		assert_int_equal(guard_load(bed.dp, &in, &prog, &error), 0);
		assert_int_equal(guard_attach_clsact(bed.pod_ns, "eth0", prog, &error), 0);
		assert_false(passes(&f));
	}
	/* A process lives in the namespace, as a workload's does. */
	child = fork();
	if (child == 0) {
		(void)setns(bed.pod_ns, 0x40000000);
		(void)pause();
		_exit(0);
	}
	for (int i = 0; i < 50; i++) {
		usleep(20000);
		guard_release(dir);
		if (passes(&f))
			break;
	}
	assert_true(passes(&f));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	assert_false(passes(&f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),       cmocka_unit_test(test_outsider),
		cmocka_unit_test(test_proxy_passes), cmocka_unit_test(test_settings_gone),
		cmocka_unit_test(test_released),     cmocka_unit_test(test_clsact),
	};

	bed_require();
	return cmocka_run_group_tests(tests, bed_enrolled_setup, bed_enrolled_teardown);
}
