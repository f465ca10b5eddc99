/* SPDX-License-Identifier: Apache-2.0 */
/* Network addresses: see addr.h. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool addr_is_v4(const struct addr *a)
{
	return memcmp(a->ip, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t lo6[16] = { [15] = 1 };

	return addr_is_v4(a) ? a->ip[12] == 127 : memcmp(a->ip, lo6, 16) == 0;
}

bool addr_is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, 16) == 0 || (addr_is_v4(a) && memcmp(a->ip + 12, zero, 4) == 0);
}

bool addr_ip_eq(const struct addr *a, const struct addr *b)
{
	return memcmp(a->ip, b->ip, 16) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_ip_eq(a, b);
}

bool cidr_has(const struct cidr *c, const uint8_t ip[16])
{
	unsigned int bytes = c->prefix_bits / 8, bits = c->prefix_bits % 8;

	if (memcmp(c->ip, ip, bytes) != 0)
		return false;
	return bits == 0 || ((c->ip[bytes] ^ ip[bytes]) & (0xff << (8 - bits)) & 0xff) == 0;
}

int addr_parse_ip(struct str s, struct addr *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct addr a = { 0 };

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
		return -EINVAL;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (strchr(text, ':')) {
		if (inet_pton(AF_INET6, text, a.ip) != 1)
			return -EINVAL;
	} else {
		memcpy(a.ip, v4_prefix, sizeof(v4_prefix));
		if (inet_pton(AF_INET, text, a.ip + 12) != 1)
			return -EINVAL;
	}
	*ret = a;
	return 0;
}

int addr_parse(struct str s, struct addr *ret)
{
	struct str ip = s, port;
	struct addr a;
	ptrdiff_t at = -1;
	uint64_t v;
	int r;

	for (size_t i = s.n; i-- > 0;)
		if (s.p[i] == ':') {
			at = (ptrdiff_t)i;
			break;
		}
	if (at < 0)
		return -EINVAL;
	ip.n = (size_t)at;
	port = (struct str){ s.p + at + 1, s.n - (size_t)at - 1 };
	if (ip.n >= 2 && ip.p[0] == '[') {
		if (ip.p[ip.n - 1] != ']' || str_find_char((struct str){ ip.p + 1, ip.n - 2 }, ':') < 0)
			return -EINVAL;
		ip = (struct str){ ip.p + 1, ip.n - 2 };
	} else if (str_find_char(ip, ':') >= 0) {
		return -EINVAL;
	}
	r = addr_parse_ip(ip, &a);
	if (r < 0)
		return r;
	if (str_parse_u64(port, 65535, &v) < 0 || v == 0)
		return -EINVAL;
	a.port = (uint16_t)v;
	*ret = a;
	return 0;
}

int cidr_parse(struct str s, struct cidr *ret)
{
	struct str ip = s;
	struct cidr c;
	struct addr a;
	uint64_t bits;
	ptrdiff_t at = str_find_char(s, '/');

	if (at >= 0)
		ip.n = (size_t)at;
	if (addr_parse_ip(ip, &a) < 0)
		return -EINVAL;
	bits = 128;
	if (at >= 0) {
		struct str tail = { s.p + at + 1, s.n - (size_t)at - 1 };
		bool v4 = str_find_char(ip, ':') < 0;

		if (str_parse_u64(tail, v4 ? 32 : 128, &bits) < 0)
			return -EINVAL;
		bits += v4 ? 96 : 0;
	}
	memcpy(c.ip, a.ip, 16);
	c.prefix_bits = (uint8_t)bits;
	for (uint64_t i = bits; i < 128; i++)
		if (c.ip[i / 8] & (0x80 >> (i % 8)))
			return -EINVAL;
	*ret = c;
	return 0;
}

/* inet_ntop() and snprintf() do the same, but a log line has several of these. */
static char *v4_put(char *p, const uint8_t ip[4])
{
	char digits[STR_U64_BYTES];

	for (int i = 0; i < 4; i++) {
		struct str byte = str_format_u64(digits, ip[i]);

		if (i > 0)
			*p++ = '.';
		p = mempcpy(p, byte.p, byte.n);
	}
	return p;
}

static char *ip_put(char *p, const struct addr *a)
{
	if (addr_is_v4(a))
		return v4_put(p, a->ip + 12);
	(void)inet_ntop(AF_INET6, a->ip, p, INET6_ADDRSTRLEN); /* has room: it cannot fail */
	return p + strlen(p);
}

const char *addr_format_ip(const struct addr *a, char text[ADDR_TEXT_BYTES])
{
	*ip_put(text, a) = '\0';
	return text;
}

const char *addr_format(const struct addr *a, char text[ADDR_TEXT_BYTES])
{
	bool bracket = a->port && !addr_is_v4(a);
	char digits[STR_U64_BYTES], *p = text;
	struct str port;

	if (bracket)
		*p++ = '[';
	p = ip_put(p, a);
	if (bracket)
		*p++ = ']';
	if (a->port) {
		port = str_format_u64(digits, a->port);
		*p++ = ':';
		p = mempcpy(p, port.p, port.n);
	}
	*p = '\0';
	return text;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		memcpy(ret->ip, v4_prefix, sizeof(v4_prefix));
		memcpy(ret->ip + 12, &in->sin_addr, 4);
		ret->port = ntohs(in->sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		memcpy(ret->ip, &in6->sin6_addr, 16);
		ret->port = ntohs(in6->sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr_is_v4(a)) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip + 12, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(a->port);
	memcpy(&in6->sin6_addr, a->ip, 16);
	return sizeof(*in6);
}
