/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages: questions that are right, questions that are hostile, answers that fit and that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include "proxy/dns/dns_message.h"

#define HEAD(flags, qd, ar) 0x12, 0x34, (flags) >> 8, (flags)&0xff, 0, qd, 0, 0, 0, 0, 0, ar

struct packet {
	const char *name;
	int verdict;
	const char *qname;
	size_t n;
	uint8_t bytes[80];
};

static const struct packet packets[] = {
	{"A of web.default",
	 0,
	 "web.default",
	 29,
	 {HEAD(0x0100, 1, 0), 3, 'w', 'E', 'b', 7, 'd', 'e', 'f', 'a', 'u', 'l', 't', 0, 0, 1, 0, 1}},
	{"root", 0, "", 17, {HEAD(0x0100, 1, 0), 0, 0, 1, 0, 1}},
	{"EDNS", 0, "a", 30, {HEAD(0x0100, 1, 1), 1, 'a', 0, 0, 28, 0, 1, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0}},
	{"empty", DNS_E_IGNORE, NULL, 0, {0}},
	{"short header", DNS_E_IGNORE, NULL, 11, {HEAD(0, 1, 0)}},
	{"a reply", DNS_E_IGNORE, NULL, 17, {HEAD(0x8100, 1, 0), 0, 0, 1, 0, 1}},
	{"opcode STATUS", DNS_E_NOTIMP, NULL, 17, {HEAD(0x1000, 1, 0), 0, 0, 1, 0, 1}},
	{"no question", DNS_E_FORMERR, NULL, 12, {HEAD(0, 0, 0)}},
	{"two questions", DNS_E_FORMERR, NULL, 22, {HEAD(0, 2, 0), 0, 0, 1, 0, 1, 0, 0, 1, 0, 1}},
	{"label beyond the end", DNS_E_FORMERR, NULL, 14, {HEAD(0, 1, 0), 9, 'a'}},
	{"pointer in the question", DNS_E_FORMERR, NULL, 18, {HEAD(0, 1, 0), 0xc0, 12, 0, 1, 0, 1}},
	{"label of 64", DNS_E_FORMERR, NULL, 80, {HEAD(0, 1, 0), 64}},
	{"dot inside a label", DNS_E_FORMERR, NULL, 21, {HEAD(0, 1, 0), 3, 'a', '.', 'b', 0, 0, 1, 0, 1}},
	{"NUL inside a label", DNS_E_FORMERR, NULL, 21, {HEAD(0, 1, 0), 3, 'a', 0, 'b', 0, 0, 1, 0, 1}},
	{"no type", DNS_E_FORMERR, NULL, 14, {HEAD(0, 1, 0), 0, 0}},
	{"additional missing", DNS_E_FORMERR, NULL, 17, {HEAD(0, 1, 1), 0, 0, 1, 0, 1}},
	{"two OPT",
	 DNS_E_FORMERR,
	 NULL,
	 39,
	 {HEAD(0, 1, 2), 0, 0, 1, 0, 1, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0}},
	{"OPT too long", DNS_E_FORMERR, NULL, 28, {HEAD(0, 1, 1), 0, 0, 1, 0, 1, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 9}},
};

static void questions(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		struct dns_query q;
		int r = dns_query_parse(packets[i].bytes, packets[i].n, &q);

		if (r != packets[i].verdict)
			fail_msg("%s: %d, not %d", packets[i].name, r, packets[i].verdict);
		if (r == 0)
			assert_string_equal(q.name, packets[i].qname);
	}
}

/* Every legal packet cut at every length is refused or ignored, never read beyond. */
static void questions_cut(void **state)
{
	for (size_t i = 0; i < 3; i++)
		for (size_t n = 0; n < packets[i].n; n++) {
			struct dns_query q;
			uint8_t *exact = malloc(n ? n : 1);

			memcpy(exact, packets[i].bytes, n);
			assert_int_not_equal(dns_query_parse(exact, n, &q), 0);
			free(exact);
		}
}

static void long_name(void **state)
{
	uint8_t p[512] = {HEAD(0, 1, 0)};
	size_t at = 12;
	struct dns_query q;

	for (int i = 0; i < 4; i++) { /* 4 labels of 63 make 255 characters with their dots: over 253 */
		p[at++] = 63;
		memset(p + at, 'a', 63);
		at += 63;
	}
	p[at++] = 0;
	at += 4;
	assert_int_equal(dns_query_parse(p, at, &q), DNS_E_FORMERR);
}

static void answers(void **state)
{
	const struct addr mixed[3] = {
		{.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}},
		{.ip = {0xfd, [15] = 1}},
		{.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 2}},
	};
	uint8_t out[512];
	struct dns_query q;
	size_t n;

	assert_int_equal(dns_query_parse(packets[0].bytes, packets[0].n, &q), 0);
	n = dns_answer_format(&q, packets[0].bytes, DNS_OK, mixed, 3, 1, 5, out, sizeof(out));
	assert_int_equal(n, packets[0].n + 2 * 16); /* two A records, the AAAA passed over */
	assert_int_equal(out[7], 2);
	assert_int_equal(out[n - 1], 1); /* began with the second of its family: 10.0.0.2, then 10.0.0.1 */
	assert_memory_equal(out + 12, packets[0].bytes + 12, packets[0].n - 12); /* the question's case is kept */
	n = dns_answer_format(&q, packets[0].bytes, DNS_OK, mixed, 3, 0, 5, out, packets[0].n + 20);
	assert_int_equal(out[7], 1);
	assert_true(out[2] & 0x02); /* TC: not all fit */
	n = dns_answer_format(&q, packets[0].bytes, DNS_NXDOMAIN, NULL, 0, 0, 0, out, sizeof(out));
	assert_int_equal(n, packets[0].n);
	assert_int_equal(out[3] & 0xf, DNS_NXDOMAIN);
	assert_true(out[2] & 0x80);
}

/* "No", with the zone's SOA; its owner is the end of the question's own name. */
static void negatives(void **state)
{
	static const uint8_t soa[] = {
		0xc0, 16,                                                     /* owner: 16 = 12 + "wEb." */
		0,    6,  0, 1, 0, 0, 0, 5, 0, 38,                            /* SOA, IN, 5 s, 38 bytes */
		2,    'n', 's', 0xc0, 16,                                     /* ns.default */
		10,   'h', 'o', 's', 't', 'm', 'a', 's', 't', 'e', 'r', 0xc0, 16, /* hostmaster.default */
		0,    0,  0, 1, 0, 0, 0x1c, 0x20, 0, 0, 7, 8, 0, 1, 0x51, 0x80, 0, 0, 0, 5, /* last: remember it for 5 s */
	};
	uint8_t out[512];
	struct dns_query q;
	size_t n;

	assert_int_equal(dns_query_parse(packets[0].bytes, packets[0].n, &q), 0);
	n = dns_negative_format(&q, packets[0].bytes, DNS_NXDOMAIN, strlen("default"), 5, out, sizeof(out));
	assert_int_equal(n, packets[0].n + sizeof(soa));
	assert_memory_equal(out + 2, ((uint8_t[]){0x85, 0x83, 0, 1, 0, 0, 0, 1, 0, 0}), 10); /* AA RD RA; one authority */
	assert_memory_equal(out + 12, packets[0].bytes + 12, packets[0].n - 12);
	assert_memory_equal(out + packets[0].n, soa, sizeof(soa));
	n = dns_negative_format(&q, packets[0].bytes, DNS_OK, strlen("web.default"), 5, out, sizeof(out));
	assert_int_equal(out[3] & 0xf, DNS_OK);
	assert_int_equal(out[packets[0].n + 1], 12); /* the zone itself was asked for */
	n = dns_negative_format(&q, packets[0].bytes, DNS_NXDOMAIN, 0, 5, out, sizeof(out));
	assert_int_equal(n, packets[0].n);
	assert_int_equal(out[9], 0);
	n = dns_negative_format(&q, packets[0].bytes, DNS_NXDOMAIN, 7, 5, out, packets[0].n + sizeof(soa) - 1);
	assert_int_equal(n, 12);
	assert_int_equal(out[3] & 0xf, DNS_SERVFAIL);
	assert_int_equal(dns_query_parse(packets[2].bytes, packets[2].n, &q), 0); /* with EDNS: OPT stands last */
	n = dns_negative_format(&q, packets[2].bytes, DNS_NXDOMAIN, 1, 5, out, sizeof(out));
	assert_int_equal(n, q.question_bytes + sizeof(soa) + 11);
	assert_int_equal(out[9], 1);
	assert_int_equal(out[11], 1);
	assert_int_equal(out[n - 9], DNS_OPT);
}

static void edns_answer(void **state)
{
	uint8_t out[512];
	struct dns_query q;
	size_t n;

	assert_int_equal(dns_query_parse(packets[2].bytes, packets[2].n, &q), 0);
	assert_true(q.edns);
	assert_int_equal(q.udp_bytes, DNS_EDNS_BYTES);
	n = dns_answer_format(&q, packets[2].bytes, DNS_OK, NULL, 0, 0, 0, out, sizeof(out));
	assert_int_equal(n, q.question_bytes + 11);
	assert_int_equal(out[11], 1);
}

static void replies(void **state)
{
	uint8_t reply[64];
	struct dns_query q;

	assert_int_equal(dns_query_parse(packets[0].bytes, packets[0].n, &q), 0);
	memcpy(reply, packets[0].bytes, packets[0].n);
	assert_false(dns_reply_matches(reply, packets[0].n, packets[0].bytes, &q)); /* QR is not set */
	reply[2] |= 0x80;
	assert_true(dns_reply_matches(reply, packets[0].n, packets[0].bytes, &q));
	reply[14] ^= 0x20; /* another case is another question */
	assert_false(dns_reply_matches(reply, packets[0].n, packets[0].bytes, &q));
	assert_false(dns_reply_matches(reply, packets[0].n - 1, packets[0].bytes, &q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions), cmocka_unit_test(questions_cut), cmocka_unit_test(long_name),
		cmocka_unit_test(answers),   cmocka_unit_test(negatives),     cmocka_unit_test(edns_answer),
		cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
