/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages: see dns_message.h. */
#include "proxy/dns/dns_message.h"

#include <string.h>
#include "base/str.h"

#define FLAG_QR      0x8000
#define FLAG_AA      0x0400
#define FLAG_TC      0x0200
#define FLAG_RD      0x0100
#define FLAG_RA      0x0080
#define OPCODE(f)    (((f) >> 11) & 0xf)
#define LABEL_MAX    63
#define OPT_BYTES    11
#define RECORD_BYTES 10 /* type, class, ttl, rdlength */
#define SOA_BYTES    (2 + RECORD_BYTES + 3 + 2 + 11 + 2 + 5 * 4)

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* The name of the question: labels alone, as a question is the first name of its message and has nothing to point at.
 */
static bool question_name_parse(const uint8_t *p, size_t n, size_t *at, char *name)
{
	size_t i = *at, k = 0;

	for (;;) {
		size_t len;

		if (i >= n)
			return false;
		len = p[i++];
		if (len == 0)
			break;
		/* RFC 1035 section 3.1: 255 octets with all lengths and the root's, which is 253 characters. */
		if (len > LABEL_MAX || len > n - i || i - *at + len + 1 > DNS_NAME_MAX)
			return false;
		if (k)
			name[k++] = '.';
		for (size_t j = 0; j < len; j++) {
			/* A dot or NUL inside a label would make another name of the text. */
			if (p[i + j] == '.' || p[i + j] == '\0')
				return false;
			name[k++] = ascii_lower((char)p[i + j]);
		}
		i += len;
	}
	name[k] = '\0';
	*at = i;
	return true;
}

/* Passes over a name that may be compressed; pointers end it and are not followed. */
static bool name_skip(const uint8_t *p, size_t n, size_t *at)
{
	size_t i = *at;

	for (;;) {
		if (i >= n)
			return false;
		if (p[i] == 0) {
			*at = i + 1;
			return true;
		}
		if ((p[i] & 0xc0) == 0xc0) {
			*at = i + 2;
			return *at <= n;
		}
		if (p[i] > LABEL_MAX)
			return false;
		i += 1 + (size_t)p[i];
	}
}

/* Looks for OPT among the records behind the question; anything else there is passed over. */
static bool records_parse(const uint8_t *p, size_t n, size_t at, unsigned int records, struct dns_query *q)
{
	for (; records; records--) {
		uint16_t type;
		size_t rdlength;

		if (!name_skip(p, n, &at) || n - at < RECORD_BYTES)
			return false;
		type = get16(p + at);
		rdlength = get16(p + at + 8);
		if (rdlength > n - at - RECORD_BYTES)
			return false;
		if (type == DNS_OPT) {
			if (q->edns) /* RFC 6891 section 6.1.1: more than one is FORMERR */
				return false;
			q->edns = true;
			q->edns_version = p[at + 5];
			q->udp_bytes = MIN(MAX(get16(p + at + 2), (uint16_t)DNS_UDP_BYTES), (uint16_t)DNS_EDNS_BYTES);
		}
		at += RECORD_BYTES + rdlength;
	}
	return true;
}

int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *q)
{
	size_t at = DNS_HEADER;
	uint16_t flags;

	*q = (struct dns_query){.udp_bytes = DNS_UDP_BYTES};
	if (n < DNS_HEADER)
		return DNS_E_IGNORE;
	flags = get16(p + 2);
	q->id = get16(p);
	q->recursion_desired = flags & FLAG_RD;
	if (flags & FLAG_QR)
		return DNS_E_IGNORE;
	if (OPCODE(flags) != 0)
		return DNS_E_NOTIMP;
	if (get16(p + 4) != 1 || get16(p + 6) != 0)
		return DNS_E_FORMERR;
	if (!question_name_parse(p, n, &at, q->name) || n - at < 4)
		return DNS_E_FORMERR;
	q->type = get16(p + at);
	q->klass = get16(p + at + 2);
	q->question_bytes = at + 4;
	if (!records_parse(p, n, q->question_bytes, (unsigned int)get16(p + 8) + get16(p + 10), q))
		return DNS_E_FORMERR;
	return 0;
}

static void header_put(uint8_t *out, const struct dns_query *q, unsigned int flags, enum dns_rcode rcode,
		       unsigned int questions)
{
	memset(out, 0, DNS_HEADER);
	put16(out, q->id);
	put16(out + 2, FLAG_QR | FLAG_RA | flags | (q->recursion_desired ? FLAG_RD : 0) | (unsigned int)rcode);
	put16(out + 4, questions);
}

size_t dns_error_format(const struct dns_query *q, enum dns_rcode rcode, uint8_t *out, size_t max)
{
	if (max < DNS_HEADER)
		return 0;
	header_put(out, q, 0, rcode, 0);
	return DNS_HEADER;
}

/* One address record whose name points at the question (offset 12); 0 when it does not fit. */
static size_t record_put(uint8_t *out, size_t room, const struct addr *a, uint32_t ttl_s)
{
	bool v4 = addr_is_v4(a);
	size_t rdlength = v4 ? 4 : 16;

	if (room < 2 + RECORD_BYTES + rdlength)
		return 0;
	put16(out, 0xc000 | DNS_HEADER);
	put16(out + 2, v4 ? DNS_A : DNS_AAAA);
	put16(out + 4, 1);
	put32(out + 6, ttl_s);
	put16(out + 10, (unsigned int)rdlength);
	memcpy(out + 12, v4 ? a->ip + 12 : a->ip, rdlength);
	return 12 + rdlength;
}

static bool type_matches(const struct dns_query *q, const struct addr *a)
{
	return q->type == (addr_is_v4(a) ? DNS_A : DNS_AAAA);
}

size_t dns_answer_count(const struct dns_query *q, const struct addr *addresses, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += type_matches(q, &addresses[i]);
	return count;
}

bool dns_name_is_host(const char *name)
{
	for (; *name; name++)
		if (!(*name >= 'a' && *name <= 'z') && !(*name >= '0' && *name <= '9') && *name != '-' &&
		    *name != '_' && *name != '.')
			return false;
	return true;
}

/* Where the @first address of the asked type stands. */
static size_t start_find(const struct dns_query *q, const struct addr *addresses, size_t n, size_t first)
{
	size_t count = dns_answer_count(q, addresses, n), i = 0;

	first = count ? first % count : 0;
	for (; count && i < n; i++)
		if (type_matches(q, &addresses[i]) && first-- == 0)
			break;
	return i;
}

/* OPT, the last record, at @at: root name, our size, the upper bits of the code, version 0, no options. The message's new length. */
static size_t opt_put(uint8_t *out, size_t at, enum dns_rcode rcode)
{
	memset(out + at, 0, OPT_BYTES);
	put16(out + at + 1, DNS_OPT);
	put16(out + at + 3, DNS_EDNS_BYTES);
	out[at + 5] = (uint8_t)(rcode >> 4);
	put16(out + 10, 1);
	return at + OPT_BYTES;
}

size_t dns_answer_format(const struct dns_query *q, const uint8_t *question, enum dns_rcode rcode,
			 const struct addr *addresses, size_t n, size_t first, uint32_t ttl_s, uint8_t *out, size_t max)
{
	size_t at = q->question_bytes, opt = q->edns ? OPT_BYTES : 0, start = start_find(q, addresses, n, first);
	unsigned int answers = 0, flags = rcode == DNS_OK || rcode == DNS_NXDOMAIN ? FLAG_AA : 0;

	if (max < at + opt)
		return dns_error_format(q, DNS_SERVFAIL, out, max);
	memcpy(out, question, at);
	for (size_t i = 0; i < n; i++) {
		const struct addr *a = &addresses[(start + i) % n];
		size_t k;

		if (!type_matches(q, a))
			continue;
		k = record_put(out + at, max - at - opt, a, ttl_s);
		if (!k) {
			flags |= FLAG_TC;
			break;
		}
		at += k;
		answers++;
	}
	header_put(out, q, flags, rcode & 0xf, 1);
	put16(out + 6, answers);
	return opt ? opt_put(out, at, rcode) : at;
}

static size_t pointer_put(uint8_t *out, size_t to)
{
	put16(out, 0xc000 | (unsigned int)to);
	return 2;
}

static size_t label_put(uint8_t *out, struct str label)
{
	out[0] = (uint8_t)label.n;
	memcpy(out + 1, label.p, label.n);
	return 1 + label.n;
}

/*
 * SOA of the zone that begins at offset @zone (RFC 1035 section 3.3.13). Nobody transfers it, so its number does not move; it is
 * there for its last field, which limits how long "no" is remembered (RFC 2308 section 5).
 */
static void soa_put(uint8_t *out, size_t zone, uint32_t ttl_s)
{
	const uint32_t times_s[] = {1, 7200, 1800, 86400, ttl_s}; /* serial, refresh, retry, expire, minimum */
	size_t at = pointer_put(out, zone);

	put16(out + at, DNS_SOA);
	put16(out + at + 2, 1);
	put32(out + at + 4, ttl_s);
	put16(out + at + 8, SOA_BYTES - 2 - RECORD_BYTES);
	at += RECORD_BYTES;
	at += label_put(out + at, STR("ns"));
	at += pointer_put(out + at, zone);
	at += label_put(out + at, STR("hostmaster"));
	at += pointer_put(out + at, zone);
	for (size_t i = 0; i < ARRAY_SIZE(times_s); i++, at += 4)
		put32(out + at, times_s[i]);
}

size_t dns_negative_format(const struct dns_query *q, const uint8_t *question, enum dns_rcode rcode, size_t zone_bytes,
			   uint32_t ttl_s, uint8_t *out, size_t max)
{
	size_t at = q->question_bytes, soa = zone_bytes ? SOA_BYTES : 0;

	if (max < at + soa + (q->edns ? OPT_BYTES : 0))
		return dns_error_format(q, DNS_SERVFAIL, out, max);
	memcpy(out, question, at);
	header_put(out, q, FLAG_AA, rcode, 1);
	if (soa) {
		/* A label of n characters takes n + 1 octets, as it does with its dot in the text. */
		soa_put(out + at, DNS_HEADER + strlen(q->name) - zone_bytes, ttl_s);
		put16(out + 8, 1);
		at += soa;
	}
	return q->edns ? opt_put(out, at, rcode) : at;
}

bool dns_reply_matches(const uint8_t *p, size_t n, const uint8_t *sent, const struct dns_query *q)
{
	if (n < q->question_bytes || !(get16(p + 2) & FLAG_QR) || get16(p + 4) != 1)
		return false;
	/* Forwarded as it came, so the question must return as it went, also in case (draft-vixie-dnsext-dns0x20). */
	return memcmp(p + DNS_HEADER, sent + DNS_HEADER, q->question_bytes - DNS_HEADER) == 0;
}
