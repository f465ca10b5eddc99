/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages: bytes to question, answers to bytes
 *
 * RFC 1035 section 4, EDNS(0) of RFC 6891. Pure; all input is hostile. Exactly one question is taken, as every resolver
 * sends.
 */
#ifndef TRAMMEL_PROXY_DNS_MESSAGE_H
#define TRAMMEL_PROXY_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"

#define DNS_NAME_MAX   255 /* octets on the wire; as text at most 253 */
#define DNS_HEADER     12
#define DNS_UDP_BYTES  512  /* without EDNS(0) */
#define DNS_EDNS_BYTES 1232 /* what we offer and send at most by UDP */

enum dns_type {
	DNS_A = 1,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_AAAA = 28,
	DNS_OPT = 41,
	DNS_ANY = 255,
};

enum dns_rcode {
	DNS_OK = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16, /* RFC 6891: said in OPT */
};

struct dns_query {
	uint16_t id;
	bool recursion_desired;
	char name[DNS_NAME_MAX + 1]; /* lower case, no final dot; "" is the root */
	uint16_t type, klass;
	size_t question_bytes; /* header and question, as received: copied into the answer so that the case is kept */
	bool edns;
	uint8_t edns_version; /* other than 0: answer with BADVERS */
	uint16_t udp_bytes;   /* what the asker can take: 512, or as EDNS(0) says, at most DNS_EDNS_BYTES */
};

/* Answers of dns_query_parse() beside 0. */
enum {
	DNS_E_IGNORE = 1, /* shorter than a header, or not a query: nothing can be answered */
	DNS_E_FORMERR,    /* answer with FORMERR: id and flags are set */
	DNS_E_NOTIMP,     /* answer with NOTIMP: an opcode other than QUERY */
};

/** dns_query_parse() - @ret is filled as far as said above */
MUST_CHECK int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *ret);

/**
 * dns_answer_format() - answer to @q with the addresses of the asked type
 * @question:   the query as received; its header and question are copied
 * @addresses:  as many as fit are written, beginning with the @first of the asked family and going round
 * @out, @max:  where; what does not fit sets TC
 *
 * Return: bytes written.
 */
size_t dns_answer_format(const struct dns_query *q, const uint8_t *question, enum dns_rcode rcode,
			 const struct addr *addresses, size_t n, size_t first, uint32_t ttl_s, uint8_t *out,
			 size_t max);

/**
 * dns_negative_format() - answer to @q that there is no such name (DNS_NXDOMAIN) or no such record of it (DNS_OK)
 * @zone_bytes:  of the end of q->name, as text, that is the zone we speak for; 0: none is known
 * @ttl_s:       how long that may be remembered: without the zone's SOA record not at all (RFC 2308 section 3)
 *
 * Return: bytes written.
 */
size_t dns_negative_format(const struct dns_query *q, const uint8_t *question, enum dns_rcode rcode, size_t zone_bytes,
			   uint32_t ttl_s, uint8_t *out, size_t max);

/** dns_answer_count() - how many of @addresses are of the asked type */
size_t dns_answer_count(const struct dns_query *q, const struct addr *addresses, size_t n);

/** dns_name_is_host() - letters, digits, '-', '_' and dots: nothing else can be a name of the mesh */
bool dns_name_is_host(const char *name);

/** dns_error_format() - header alone, for what could not be parsed */
size_t dns_error_format(const struct dns_query *q, enum dns_rcode rcode, uint8_t *out, size_t max);

/** dns_reply_matches() - is @p a reply to the query @sent (same question, QR set)? Ids are compared by the caller. */
bool dns_reply_matches(const uint8_t *p, size_t n, const uint8_t *sent, const struct dns_query *q);

#endif
