/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DNS query of the workload: the input is one message
 *
 * What is taken has one question with a name that fits; its answer fits the room given, repeats the question, and is
 * taken for a reply to it and never for a query.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "proxy/dns/dns_message.h"

static void check_answer(const struct dns_query *q, const uint8_t *bytes, const struct addr *addresses,
			 size_t n_addresses, size_t max)
{
	uint8_t *out = malloc(max ? max : 1); /* of this size exactly: a byte too many is seen */
	struct dns_query again;
	size_t n;

	if (!out)
		abort();
	n = dns_answer_format(q, bytes, DNS_OK, addresses, n_addresses, max, 5, out, max);
	FUZZ_CHECK(n <= max);
	if (n > DNS_HEADER) {
		FUZZ_CHECK(dns_reply_matches(out, n, bytes, q));
		FUZZ_CHECK(dns_query_parse(out, n, &again) == DNS_E_IGNORE);
		FUZZ_CHECK((size_t)(out[6] << 8 | out[7]) <= dns_answer_count(q, addresses, n_addresses));
		FUZZ_CHECK((out[2] & 2) ||
			   (size_t)(out[6] << 8 | out[7]) == dns_answer_count(q, addresses, n_addresses));
		/* Turned back into a query without answers, it asks the same. */
		out[2] &= 0x7f;
		memset(out + 6, 0, 6);
		FUZZ_CHECK(dns_query_parse(out, q->question_bytes, &again) == 0);
		FUZZ_CHECK(strcmp(again.name, q->name) == 0 && again.type == q->type && again.klass == q->klass);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct addr addresses[100];
	struct dns_query q;
	uint8_t small[DNS_HEADER];
	int r = dns_query_parse(bytes, n, &q);

	FUZZ_CHECK(r >= 0 && r <= DNS_E_NOTIMP);
	if (r && r != DNS_E_IGNORE)
		FUZZ_CHECK(dns_error_format(&q, DNS_FORMERR, small, sizeof(small)) == DNS_HEADER);
	if (r)
		return 0;
	FUZZ_CHECK(q.question_bytes <= n && q.question_bytes >= DNS_HEADER + 5 &&
		   q.question_bytes <= DNS_HEADER + DNS_NAME_MAX + 4);
	FUZZ_CHECK(strlen(q.name) <= 253 && q.udp_bytes >= DNS_UDP_BYTES && q.udp_bytes <= DNS_EDNS_BYTES);
	for (const char *c = q.name; *c; c++)
		FUZZ_CHECK(*c < 'A' || *c > 'Z');
	for (size_t i = 0; i < 100; i++)
		addresses[i] = (struct addr){
			.ip = {[0] = i % 3 == 0 ? 0xfd : 0, [10] = 0xff, [11] = 0xff, 10, 0, 0, (uint8_t)i}};
	check_answer(&q, bytes, addresses, 100, q.udp_bytes);
	check_answer(&q, bytes, addresses, 100, 4096);
	check_answer(&q, bytes, addresses, 3, q.question_bytes + 20);
	check_answer(&q, bytes, NULL, 0, q.question_bytes);
	check_answer(&q, bytes, NULL, 0, 11);
	return 0;
}
