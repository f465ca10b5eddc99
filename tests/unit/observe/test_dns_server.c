/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS server over real sockets on loopback
 *
 *     client (UDP, TCP) --> server --> upstream[0], upstream[1] (the test's own sockets)
 *                             |
 *                          subscriber: played here, so that the test says what is known, what is asked for and when it
 * is answered
 */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "proxy/dns/dns_message.h"
#include "proxy/dns/dns_server.h"

/* ---- the subscriber and what it knows ---- */

static struct addr upstream_addrs[2];
static const char *reverse_zones[] = {"77.10.in-addr.arpa", "7.7.d.f.ip6.arpa"};
static struct self self = {.namespace = "default",
			   .cluster_domain = "cluster.local",
			   .reverse_zones = reverse_zones,
			   .n_reverse_zones = ARRAY_SIZE(reverse_zones),
			   .dns_upstream = upstream_addrs};
static bool no_snapshot;
static struct subscriber_wait *waits[600];
static unsigned int n_waits, n_cancelled;
static bool late_is_known; /* the agent has answered for late.default */
static unsigned int events[TRM_REASON_MAX];

struct snapshot *subscriber_snapshot(const struct subscriber *s)
{
	return no_snapshot ? NULL : (struct snapshot *)&self;
}

const struct self *snapshot_self(const struct snapshot *s)
{
	return (const struct self *)s;
}

bool snapshot_dns_find(const struct snapshot *s, struct str name, struct dns_name *ret)
{
	static const struct addr web[] = {
		{.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}},
		{.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 2}},
		{.ip = {0xfd, [15] = 1}},
		{.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 3}},
		{.ip = {0xfd, [15] = 2}},
	};
	static struct addr many[200];

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct addr){.ip = {[10] = 0xff, [11] = 0xff, 10, 1, 0, (uint8_t)i}};
	if (str_eq(name, STR("web.default")))
		*ret = (struct dns_name){
			.known = true, .canonical = "web.default", .addresses = web, .n_addresses = ARRAY_SIZE(web)};
	else if (str_eq(name, STR("many.default")))
		*ret = (struct dns_name){
			.known = true, .canonical = "", .addresses = many, .n_addresses = ARRAY_SIZE(many)};
	else if (str_eq(name, STR("empty.default")))
		*ret = (struct dns_name){.known = true, .canonical = ""};
	else if (str_eq(name, STR("late.default")) && late_is_known)
		*ret = (struct dns_name){.known = true, .canonical = "", .addresses = web, .n_addresses = 1};
	else if (str_eq(name, STR("web.default.svc.cluster.local")))
		*ret = (struct dns_name){.known = true, .canonical = "", .addresses = web, .n_addresses = 2};
	else if (str_eq(name, STR("outside.example")) || str_eq(name, STR("notcluster.local")) ||
		 str_eq(name, STR("local")) || str_eq(name, STR("arpa")) ||
		 (str_ends(name, STR("cluster.local")) && !str_eq(name, STR("new.default.svc.cluster.local"))))
		*ret = (struct dns_name){.known = false};
	else
		return false;
	return true;
}

void subscriber_want_dns(struct subscriber *s, struct str name, uint32_t timeout_ms, struct subscriber_wait *wait)
{
	assert_in_range(n_waits, 0, ARRAY_SIZE(waits) - 1);
	waits[n_waits++] = wait;
}

void subscriber_wait_cancel(struct subscriber_wait *wait)
{
	for (unsigned int i = 0; i < n_waits; i++)
		if (waits[i] == wait)
			waits[i] = NULL, n_cancelled++;
}

void observe_count(struct observe *o, enum trm_reason reason)
{
	events[reason]++;
}

static void wait_answer(unsigned int i, bool answered)
{
	struct subscriber_wait *w = waits[i];

	waits[i] = NULL;
	w->on_answer(w, answered);
}

/* ---- the bed ---- */

static struct loop *loop;
static struct dns_server *server;
static int udp_fd, tcp_fd, client, upstream[2];
static uint8_t got[70000];

static int socket_bound(int type)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static int socket_to(int fd, int type)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	int to = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(connect(to, (struct sockaddr *)&sin, len), 0);
	return to;
}

static int bed_new(void **state)
{
	n_waits = n_cancelled = 0;
	no_snapshot = late_is_known = false;
	memset(events, 0, sizeof(events));
	self.n_dns_upstream = 0;
	assert_int_equal(loop_new(&loop), 0);
	udp_fd = socket_bound(SOCK_DGRAM);
	tcp_fd = socket_bound(SOCK_STREAM);
	client = socket_to(udp_fd, SOCK_DGRAM);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_in sin;
		socklen_t len = sizeof(sin);

		upstream[i] = socket_bound(SOCK_DGRAM);
		assert_int_equal(getsockname(upstream[i], (struct sockaddr *)&sin, &len), 0);
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sin, &upstream_addrs[i]), 0);
	}
	return dns_server_new(loop, &(struct dns_server_fds){udp_fd, -1, tcp_fd, -1}, NULL, NULL, &server);
}

static int bed_free(void **state)
{
	dns_server_free(server);
	loop_free(loop);
	close(udp_fd), close(tcp_fd), close(client), close(upstream[0]), close(upstream[1]);
	return 0;
}

/* Turns until @fd can be read; bytes read, 0 at the end of a stream, -1 when nothing came within @ms. */
static ssize_t turn_until(int fd, int ms)
{
	uint64_t until = clock_mono_ns() + (uint64_t)ms * NS_PER_MS;

	while (clock_mono_ns() < until) {
		ssize_t k = recv(fd, got, sizeof(got), MSG_DONTWAIT);

		if (k >= 0 || (errno != EAGAIN && errno != ECONNREFUSED))
			return k < 0 ? 0 : k;
		assert_int_equal(loop_turn(loop, 5), 0);
	}
	return -1;
}

static size_t query_put(uint8_t *p, uint16_t id, const char *name, uint16_t type, uint16_t edns_bytes,
			uint8_t edns_version)
{
	size_t at = 12;

	memset(p, 0, 12);
	p[0] = (uint8_t)(id >> 8), p[1] = (uint8_t)id, p[2] = 1, p[5] = 1, p[11] = edns_bytes != 0;
	while (*name) {
		size_t n = strcspn(name, ".");

		p[at++] = (uint8_t)n;
		memcpy(p + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	memcpy(p + at, (uint8_t[]){0, (uint8_t)(type >> 8), (uint8_t)type, 0, 1}, 5);
	at += 5;
	if (edns_bytes) {
		memcpy(p + at,
		       (uint8_t[]){0, 0, 41, (uint8_t)(edns_bytes >> 8), (uint8_t)edns_bytes, 0, edns_version, 0, 0, 0,
				   0},
		       11);
		at += 11;
	}
	return at;
}

static uint8_t asked[512];
static size_t n_asked;

static void ask(uint16_t id, const char *name, uint16_t type)
{
	n_asked = query_put(asked, id, name, type, 0, 0);
	assert_int_equal(send(client, asked, n_asked, 0), n_asked);
}

#define RCODE()   (got[3] & 0xf)
#define ANSWERS() (got[6] << 8 | got[7])
#define TC()      (got[2] & 0x02)

/* Asks by UDP and checks what every answer has. */
static size_t answer_to(const char *name, uint16_t type)
{
	ssize_t k;

	ask(0xbeef, name, type);
	k = turn_until(client, 3000);
	assert_true(k >= 12);
	assert_memory_equal(got, "\xbe\xef", 2);
	assert_true(got[2] & 0x80);
	assert_memory_equal(got + 12, asked + 12, n_asked - 12);
	return (size_t)k;
}

static void mesh_names(void **state)
{
	answer_to("WeB.DeFault", DNS_A);
	assert_int_equal(RCODE(), DNS_OK);
	assert_int_equal(ANSWERS(), 3);
	assert_memory_equal(got + n_asked, "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\0\0", 15);
	answer_to("web.default", DNS_AAAA);
	assert_int_equal(ANSWERS(), 2);
	answer_to("web.default", 15); /* MX: the name is there, the type is not */
	assert_int_equal(RCODE(), DNS_OK);
	assert_int_equal(ANSWERS(), 0);
	answer_to("empty.default", DNS_A);
	assert_int_equal(RCODE(), DNS_OK);
	assert_int_equal(ANSWERS(), 0);
	assert_int_equal(n_waits, 0);
}

/* Resolvers ask for A and AAAA together: each has a turn of its own, or the first A would always be the same. */
static void addresses_take_turns(void **state)
{
	unsigned int first4[4] = {0}, first6[3] = {0};

	for (int i = 0; i < 12; i++) {
		answer_to("web.default", DNS_A);
		assert_in_range(got[n_asked + 15], 1, 3);
		first4[got[n_asked + 15]]++;
		answer_to("web.default", DNS_AAAA);
		assert_in_range(got[n_asked + 27], 1, 2);
		first6[got[n_asked + 27]]++;
	}
	for (int i = 1; i <= 3; i++)
		assert_int_equal(first4[i], 4);
	for (int i = 1; i <= 2; i++)
		assert_int_equal(first6[i], 6);
}

static void names_not_seen_before(void **state)
{
	ask(7, "late.default", DNS_A);
	assert_int_equal(turn_until(client, 30), -1);
	assert_int_equal(n_waits, 1);
	late_is_known = true;
	wait_answer(0, true);
	assert_true(turn_until(client, 1000) > 0);
	assert_int_equal(ANSWERS(), 1);
	assert_int_equal(got[1], 7);

	ask(8, "never.default", DNS_A);
	assert_int_equal(turn_until(client, 30), -1);
	wait_answer(1, false); /* the agent is away */
	assert_true(turn_until(client, 1000) > 0);
	assert_int_equal(RCODE(), DNS_SERVFAIL);
	assert_int_equal(events[TRM_REASON_AGENT_UNREACHABLE], 1);
}

static void names_of_no_mesh(void **state)
{
	answer_to("outside.example", DNS_A);
	assert_int_equal(RCODE(), DNS_NXDOMAIN); /* no upstream server */
	answer_to("1.0.0.10.in-addr.arpa", DNS_PTR);
	assert_int_equal(RCODE(), DNS_NXDOMAIN);
	answer_to("what is this?", DNS_A); /* cannot be a name of the mesh: the agent is not bothered */
	assert_int_equal(RCODE(), DNS_NXDOMAIN);
	assert_int_equal(n_waits, 0);
	answer_to("a.LocalHost", DNS_A);
	assert_int_equal(ANSWERS(), 1);
	assert_memory_equal(got + n_asked + 12, "\x7f\0\0\1", 4);
	answer_to("localhost", DNS_AAAA);
	assert_int_equal(ANSWERS(), 1);
	no_snapshot = true;
	answer_to("localhost", DNS_A);
	assert_int_equal(ANSWERS(), 1);
	answer_to("1.0.0.10.in-addr.arpa", DNS_PTR);
	assert_int_equal(RCODE(), DNS_SERVFAIL);
}

static ssize_t upstream_recv(int i, struct sockaddr_storage *from, socklen_t *len, int ms)
{
	for (; ms > 0; ms -= 5) {
		ssize_t k;

		*len = sizeof(*from);
		k = recvfrom(upstream[i], got, sizeof(got), MSG_DONTWAIT, (struct sockaddr *)from, len);
		if (k >= 0)
			return k;
		assert_int_equal(loop_turn(loop, 5), 0);
	}
	return -1;
}

#define AUTHORITIES() (got[8] << 8 | got[9])

/* Within the mesh's own zones the answer is the mesh's, with its SOA, and no other server hears of it. */
static void names_of_the_mesh_are_told_to_nobody(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		int rcode, answers;
	} cases[] = {
		{"web.default.svc.cluster.local", DNS_A, DNS_OK, 2},
		{"web.default.svc.cluster.local", DNS_AAAA, DNS_OK, 0},
		{"nothing.default.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		{"Nothing.Default.svc.Cluster.LOCAL", DNS_AAAA, DNS_NXDOMAIN, 0},
		{"_http._tcp.web.default.svc.cluster.local", 33, DNS_NXDOMAIN, 0},
		{"no host.default.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		/* what a search list makes */
		{"web.default.svc.cluster.local.default.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		{"www.outside.example.default.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		{"www.outside.example.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		{"www.outside.example.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		/* names above other names exist, with no record of their own (RFC 8020) */
		{"cluster.local", DNS_A, DNS_OK, 0},
		{"cluster.local", DNS_SOA, DNS_OK, 0},
		{"svc.cluster.local", DNS_A, DNS_OK, 0},
		{"default.svc.cluster.local", DNS_A, DNS_OK, 0},
		{"other.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		{"default.pod.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		{"xdefault.svc.cluster.local", DNS_A, DNS_NXDOMAIN, 0},
		/* the mesh's own addresses */
		{"5.0.77.10.in-addr.arpa", DNS_PTR, DNS_NXDOMAIN, 0},
		{"77.10.in-addr.arpa", DNS_PTR, DNS_OK, 0},
		{"1.0.0.7.7.d.f.ip6.arpa", DNS_PTR, DNS_NXDOMAIN, 0},
	};

	self.n_dns_upstream = 1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		answer_to(cases[i].name, cases[i].type);
		if (RCODE() != cases[i].rcode || ANSWERS() != cases[i].answers || AUTHORITIES() != !cases[i].answers)
			fail_msg("%s: code %d, %d answers, %d authorities", cases[i].name, RCODE(), ANSWERS(), AUTHORITIES());
		assert_true(got[2] & 0x04); /* AA */
	}
	assert_int_equal(n_waits, 0);
	ask(5, "new.default.svc.cluster.local", DNS_A); /* the agent is asked first, as ever; it is away */
	assert_int_equal(turn_until(client, 30), -1);
	wait_answer(0, false);
	assert_true(turn_until(client, 1000) > 0);
	assert_int_equal(RCODE(), DNS_SERVFAIL);
	assert_int_equal(recv(upstream[0], got, sizeof(got), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* What only looks like it goes where other names go. */
static void names_beside_the_mesh_are_forwarded(void **state)
{
	static const char *const names[] = {"notcluster.local", "5.0.79.10.in-addr.arpa", "5.0.177.10.in-addr.arpa", "arpa", "local"};
	struct sockaddr_storage from;
	socklen_t len;

	self.n_dns_upstream = 1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ask((uint16_t)i, names[i], DNS_PTR);
		assert_int_equal(upstream_recv(0, &from, &len, 1000), n_asked);
		assert_memory_equal(got + 12, asked + 12, n_asked - 12);
	}
}

static void malformed_and_unwanted(void **state)
{
	uint8_t p[2048] = {1, 2, 0x01, 0, 0, 9};

	assert_int_equal(send(client, p, 5, 0), 5); /* no header: no answer */
	assert_int_equal(turn_until(client, 30), -1);
	assert_int_equal(send(client, p, 12, 0), 12);
	assert_int_equal(turn_until(client, 1000), 12);
	assert_int_equal(RCODE(), DNS_FORMERR);
	p[5] = 1;
	p[2] = 0x28; /* UPDATE */
	assert_int_equal(send(client, p, 17, 0), 17);
	assert_int_equal(turn_until(client, 1000), 12);
	assert_int_equal(RCODE(), DNS_NOTIMP);
	p[2] = 0x81; /* a reply: two servers must not talk to each other for ever */
	assert_int_equal(send(client, p, 17, 0), 17);
	assert_int_equal(turn_until(client, 30), -1);
	n_asked = query_put(p, 3, "web.default", DNS_A, 4096, 1);
	assert_int_equal(send(client, p, n_asked, 0), n_asked);
	assert_int_equal(turn_until(client, 1000), n_asked);
	assert_int_equal(RCODE() | got[n_asked - 6] << 4, DNS_BADVERS);
	assert_int_equal(send(client, p, sizeof(p), 0), sizeof(p)); /* over 1,024 bytes */
	assert_int_equal(turn_until(client, 1000), 12);
	assert_int_equal(RCODE(), DNS_FORMERR);
}

static void answers_fit_the_asker(void **state)
{
	uint8_t p[300];
	size_t k = answer_to("many.default", DNS_A);

	assert_in_range(k, 400, 512);
	assert_true(TC());
	k = query_put(p, 3, "many.default", DNS_A, 4096, 0);
	assert_int_equal(send(client, p, k, 0), k);
	assert_in_range(turn_until(client, 1000), 1000, DNS_EDNS_BYTES);
	assert_true(TC());
}

/* What is not from the server asked, or not about the question, is not taken. */
static void forwards_and_believes_only_the_right_reply(void **state)
{
	struct sockaddr_storage from;
	uint8_t reply[512];
	socklen_t len;
	ssize_t k;

	self.n_dns_upstream = 1;
	ask(0x0102, "outside.example", DNS_A);
	k = upstream_recv(0, &from, &len, 1000);
	assert_int_equal(k, n_asked);
	assert_memory_equal(got + 2, asked + 2, n_asked - 2);
	memcpy(reply, got, (size_t)k);
	reply[2] |= 0x80;
	reply[3] |= 3;
	assert_int_equal(sendto(upstream[1], reply, (size_t)k, 0, (struct sockaddr *)&from, len),
			 k); /* another server */
	reply[0] ^= 1;
	assert_int_equal(sendto(upstream[0], reply, (size_t)k, 0, (struct sockaddr *)&from, len), k); /* another id */
	reply[0] ^= 1;
	reply[13] ^= 0x20;
	assert_int_equal(sendto(upstream[0], reply, (size_t)k, 0, (struct sockaddr *)&from, len),
			 k); /* another question */
	reply[13] ^= 0x20;
	assert_int_equal(turn_until(client, 50), -1);
	assert_int_equal(sendto(upstream[0], reply, (size_t)k, 0, (struct sockaddr *)&from, len), k);
	assert_int_equal(turn_until(client, 500), k);
	assert_memory_equal(got, "\1\2", 2);
	assert_int_equal(RCODE(), DNS_NXDOMAIN);
}

static void asks_the_next_server(void **state)
{
	struct sockaddr_storage from;
	uint64_t began = clock_mono_ns();
	socklen_t len;

	self.n_dns_upstream = 2;
	ask(9, "outside.example", DNS_A);
	assert_true(upstream_recv(0, &from, &len, 500) > 0);
	assert_true(upstream_recv(1, &from, &len, 3000) > 0); /* the first was silent for a second */
	assert_true(clock_mono_ns() - began > 900 * NS_PER_MS);
	close(upstream[1]);
	upstream[1] = -1;
	assert_true(turn_until(client, 3000) > 0); /* nobody left */
	assert_int_equal(RCODE(), DNS_SERVFAIL);
	close(upstream[0]);
	upstream[0] = -1;
	began = clock_mono_ns();
	answer_to("outside.example", DNS_A); /* refused by both, at once */
	assert_int_equal(RCODE(), DNS_SERVFAIL);
	assert_true(clock_mono_ns() - began < 500 * NS_PER_MS);
}

static void large_replies_are_cut(void **state)
{
	struct sockaddr_storage from;
	socklen_t len;

	self.n_dns_upstream = 1;
	ask(9, "outside.example", DNS_A);
	assert_true(upstream_recv(0, &from, &len, 500) > 0);
	got[2] |= 0x80;
	got[7] = 50;
	assert_int_equal(sendto(upstream[0], got, 900, 0, (struct sockaddr *)&from, len), 900);
	assert_int_equal(turn_until(client, 500), n_asked);
	assert_true(TC());
	assert_int_equal(ANSWERS(), 0);
}

static void at_most_512_wait(void **state)
{
	for (int i = 0; i < 520; i++) {
		ask((uint16_t)i, "never.default", DNS_A);
		if (i % 16 == 0)
			assert_int_equal(loop_turn(loop, 0), 0);
	}
	assert_int_equal(turn_until(client, 50), -1);
	assert_int_equal(n_waits, 512);
	assert_int_equal(events[TRM_REASON_CONN_LIMIT], 8);
	wait_answer(0, false);
	assert_true(turn_until(client, 500) > 0);
	dns_server_free(server);
	server = NULL;
	assert_int_equal(n_cancelled, 511);
}

static size_t framed_put(uint8_t *p, uint16_t id, const char *name, uint16_t type)
{
	size_t n = query_put(p + 2, id, name, type, 0, 0);

	p[0] = (uint8_t)(n >> 8), p[1] = (uint8_t)n;
	return n + 2;
}

static void tcp_in_pieces_and_in_a_row(void **state)
{
	int fd = socket_to(tcp_fd, SOCK_STREAM);
	uint8_t p[600];
	size_t n = framed_put(p, 1, "web.default", DNS_A), k = 0;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(send(fd, p + i, 1, 0), 1);
		assert_int_equal(loop_turn(loop, 5), 0);
	}
	assert_int_equal(turn_until(fd, 1000), n + 3 * 16);
	n += framed_put(p + n, 2, "many.default", DNS_A);
	assert_int_equal(send(fd, p, n, 0), n);
	while (k < n + 3 * 16 + 200 * 16) {
		ssize_t r = turn_until(fd, 1000);

		assert_true(r > 0);
		k += (size_t)r;
	}
	assert_int_equal(k, n + 3 * 16 + 200 * 16); /* all 200: nothing is cut by TCP */
	close(fd);
	assert_int_equal(loop_turn(loop, 20), 0);
}

/* The client says that it is done before the answer is known: it still gets it, then the end. */
static void tcp_half_closed(void **state)
{
	int fd = socket_to(tcp_fd, SOCK_STREAM);
	uint8_t p[100];
	size_t n = framed_put(p, 1, "late.default", DNS_A);

	assert_int_equal(send(fd, p, n, 0), n);
	shutdown(fd, SHUT_WR);
	assert_int_equal(turn_until(fd, 50), -1);
	assert_int_equal(n_waits, 1);
	late_is_known = true;
	wait_answer(0, true);
	assert_int_equal(turn_until(fd, 1000), n + 16);
	assert_int_equal(turn_until(fd, 1000), 0);
	close(fd);
}

static void tcp_abuse_ends_the_connection(void **state)
{
	static const uint8_t bad[][14] = {{0xff, 0xff}, {0, 0}, {0, 5, 1, 2, 3, 4, 5}, {0, 12, 0, 0, 0x80}};
	int fds[40], waiting = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = socket_to(tcp_fd, SOCK_STREAM);

		assert_int_equal(send(fd, bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
		assert_int_equal(turn_until(fd, 1000), 0);
		close(fd);
	}
	for (int i = 0; i < 40; i++) /* 32 connections at a time */
		fds[i] = socket_to(tcp_fd, SOCK_STREAM), assert_int_equal(loop_turn(loop, 1), 0);
	for (int i = 0; i < 60; i++)
		assert_int_equal(loop_turn(loop, 1), 0);
	for (int i = 0; i < 40; i++) {
		waiting += recv(fds[i], got, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
		close(fds[i]);
	}
	assert_int_equal(waiting, 32);
}

/* The asker is gone when the answer comes. */
static void tcp_asker_leaves(void **state)
{
	int fd = socket_to(tcp_fd, SOCK_STREAM);
	struct linger now = {1, 0};
	uint8_t p[100];
	size_t n = framed_put(p, 1, "late.default", DNS_A);

	assert_int_equal(send(fd, p, n, 0), n);
	while (!n_waits)
		assert_int_equal(loop_turn(loop, 5), 0);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, 5), 0);
	late_is_known = true;
	wait_answer(0, true);
	assert_int_equal(turn_until(client, 20), -1);
}

/* Out of descriptors: the loop does not turn on a connection it cannot take, and takes it when it can. */
static void tcp_without_descriptors(void **state)
{
	int fd = socket_to(tcp_fd, SOCK_STREAM), turns = 0, low = dup(0);
	struct rlimit was, none;
	uint8_t p[100];
	size_t n = framed_put(p, 1, "web.default", DNS_A);
	uint64_t until;

	assert_int_equal(send(fd, p, n, 0), n);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = (rlim_t)low;
	close(low);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	until = clock_mono_ns() + 250 * NS_PER_MS;
	while (clock_mono_ns() < until) {
		assert_int_equal(loop_turn(loop, 50), 0);
		turns++;
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_in_range(turns, 1, 30);
	assert_in_range(events[TRM_REASON_FD_LIMIT], 1, 5);
	assert_int_equal(turn_until(fd, 1000), n + 3 * 16);
	close(fd);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, bed_new, bed_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(mesh_names),
		CASE(addresses_take_turns),
		CASE(names_not_seen_before),
		CASE(names_of_no_mesh),
		CASE(names_of_the_mesh_are_told_to_nobody),
		CASE(names_beside_the_mesh_are_forwarded),
		CASE(malformed_and_unwanted),
		CASE(answers_fit_the_asker),
		CASE(forwards_and_believes_only_the_right_reply),
		CASE(asks_the_next_server),
		CASE(large_replies_are_cut),
		CASE(at_most_512_wait),
		CASE(tcp_in_pieces_and_in_a_row),
		CASE(tcp_half_closed),
		CASE(tcp_abuse_ends_the_connection),
		CASE(tcp_asker_leaves),
		CASE(tcp_without_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
