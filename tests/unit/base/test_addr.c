/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text, as networks and as sockaddr. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <netinet/in.h>
#include "base/addr.h"

static void parse_ip_takes_and_refuses(void **state)
{
	static const struct {
		const char *text, *again; /* NULL: refused */
	} cases[] = {
		{"10.0.0.1", "10.0.0.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"::", "::"},
		{"::1", "::1"},
		{"fd00:0:0:0::1", "fd00::1"},
		{"::ffff:1.2.3.4", "1.2.3.4"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"", NULL},
		{"1.2.3", NULL},
		{"1.2.3.4.5", NULL},
		{"1.2.3.256", NULL},
		{"01.2.3.4", NULL},
		{" 1.2.3.4", NULL},
		{"1.2.3.4 ", NULL},
		{"fe80::1%lo", NULL},
		{"1::2::3", NULL},
		{"::ffff:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", NULL},
	};
	char text[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = {.port = 7};
		int r = addr_parse_ip(str_from(cases[i].text), &a);

		if (!cases[i].again) {
			if (r != -EINVAL)
				fail_msg("\"%s\" was taken", cases[i].text);
			assert_int_equal(a.port, 7);
			continue;
		}
		if (r)
			fail_msg("\"%s\" was refused", cases[i].text);
		assert_int_equal(a.port, 0);
		assert_string_equal(addr_format_ip(&a, text), cases[i].again);
	}
	assert_int_equal(addr_parse_ip((struct str){"1.2.3.4\0", 8}, &(struct addr){0}), -EINVAL);
}

static void parse_takes_and_refuses(void **state)
{
	static const char *const good[] = {"10.0.0.1:80", "[fd00::1]:65535", "[::]:1", "127.0.0.1:15001"};
	static const char *const bad[] = {"",
					  ":",
					  ":80",
					  "10.0.0.1",
					  "10.0.0.1:",
					  "10.0.0.1:0",
					  "10.0.0.1:65536",
					  "10.0.0.1:8o",
					  "10.0.0.1:-1",
					  "fd00::1:80",
					  "[fd00::1]",
					  "[fd00::1]80",
					  "[fd00::1]:",
					  "[]:80",
					  "[:80",
					  "[10.0.0.1]:80",
					  "10.0.0.1]:80",
					  "[fd00::1:80",
					  "10.0.0.1:18446744073709551696"};
	char text[ADDR_TEXT_BYTES];
	struct addr a;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(addr_parse(str_from(good[i]), &a), 0);
		assert_string_equal(addr_format(&a, text), good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (addr_parse(str_from(bad[i]), &a) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void format_fits(void **state)
{
	struct addr a = {.port = 65535};
	char text[ADDR_TEXT_BYTES];

	memset(a.ip, 0xff, 16);
	assert_string_equal(addr_format(&a, text), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	a.port = 0;
	assert_string_equal(addr_format(&a, text), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void cidr_holds(void **state)
{
	static const struct {
		const char *net, *ip;
		bool in;
	} cases[] = {
		{"10.0.0.0/8", "10.255.255.255", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"0.0.0.0/0", "9.9.9.9", true},
		{"0.0.0.0/0", "fd00::1", false},
		{"::/0", "fd00::1", true},
		{"::/0", "1.2.3.4", true},
		{"10.1.2.128/25", "10.1.2.127", false},
		{"10.1.2.128/25", "10.1.2.255", true},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.4", false},
		{"fc00::/7", "fdff::1", true},
		{"fd00::1/128", "fd00::1", true},
		{"fd00::1", "fd00::2", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cidr c;
		struct addr a;

		assert_int_equal(cidr_parse(str_from(cases[i].net), &c), 0);
		assert_int_equal(addr_parse_ip(str_from(cases[i].ip), &a), 0);
		if (cidr_has(&c, a.ip) != cases[i].in)
			fail_msg("%s in %s", cases[i].ip, cases[i].net);
	}
}

static void cidr_refuses(void **state)
{
	static const char *const bad[] = {
		"",         "/",          "/8",           "10.0.0.0/",   "10.0.0.0/33",   "10.0.0.1/8",
		"fd00::/7", "fd00::/129", "10.0.0.0/8/8", "10.0.0.0/-1", "10.0.0.0:80/8", "x/8"};
	struct cidr c;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (cidr_parse(str_from(bad[i]), &c) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void kinds(void **state)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(STR("127.255.0.1"), &a), 0);
	assert_true(addr_is_loopback(&a) && addr_is_v4(&a) && !addr_is_any(&a));
	assert_int_equal(addr_parse_ip(STR("::1"), &a), 0);
	assert_true(addr_is_loopback(&a) && !addr_is_v4(&a));
	assert_int_equal(addr_parse_ip(STR("::"), &a), 0);
	assert_true(addr_is_any(&a) && !addr_is_v4(&a) && !addr_is_loopback(&a));
	assert_int_equal(addr_parse_ip(STR("0.0.0.0"), &a), 0);
	assert_true(addr_is_any(&a) && addr_is_v4(&a));
	assert_int_equal(addr_parse_ip(STR("128.0.0.1"), &a), 0);
	assert_false(addr_is_loopback(&a));
}

static void sockaddr_round_trip(void **state)
{
	static const char *const texts[] = {"10.0.0.1:80", "[fd00::1]:443"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct sockaddr_storage sa;
		struct addr a, b;
		socklen_t len;

		assert_int_equal(addr_parse(str_from(texts[i]), &a), 0);
		len = addr_to_sockaddr(&a, &sa);
		assert_int_equal(len, i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		assert_int_equal(sa.ss_family, i ? AF_INET6 : AF_INET);
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &b), 0);
		assert_true(addr_eq(&a, &b));
		b.port++;
		assert_false(addr_eq(&a, &b));
		assert_true(addr_ip_eq(&a, &b));
	}
	assert_int_equal(addr_from_sockaddr(&(struct sockaddr){.sa_family = AF_UNIX}, &(struct addr){0}),
			 -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_ip_takes_and_refuses),
		cmocka_unit_test(parse_takes_and_refuses),
		cmocka_unit_test(format_fits),
		cmocka_unit_test(cidr_holds),
		cmocka_unit_test(cidr_refuses),
		cmocka_unit_test(kinds),
		cmocka_unit_test(sockaddr_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
