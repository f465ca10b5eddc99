/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tunnel's peer writes: the first byte chooses the field, the rest is its value
 *
 * What is taken holds no byte that could break a line, and means the same once it is written again.
 */
#include "tests/fuzz/fuzz.h"

#include "proxy/tunnel/baggage.h"
#include "proxy/tunnel/forwarded.h"
#include "proxy/tunnel/request.h"

static bool is_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static void authority_try(struct str text)
{
	struct tunnel_request r = { .method = STR("CONNECT"), .authority = text };
	char formatted[ADDR_TEXT_BYTES];
	struct addr a, again, to, dialled;

	if (tunnel_authority_parse(text, &a) < 0)
		return;
	FUZZ_CHECK(a.port && tunnel_authority_parse(str_from(addr_format(&a, formatted)), &again) == 0 && addr_eq(&a, &again));
	dialled = a;
	dialled.port = 15008;
	if (tunnel_request_decide(&r, &dialled, &to) == TRM_REASON_NONE)
		FUZZ_CHECK(addr_eq(&to, &a) && to.port != 15008);
	dialled.ip[15] ^= 1;
	FUZZ_CHECK(tunnel_request_decide(&r, &dialled, &to) != TRM_REASON_NONE);
}

static void forwarded_try(struct str text, struct pool *pool)
{
	struct forwarded f, again;
	struct str out;

	if (forwarded_parse(text, &f) < 0)
		return;
	FUZZ_CHECK(f.client.port && is_clean(f.host));
	FUZZ_CHECK(forwarded_format(&f, pool, &out) == 0 && forwarded_parse(out, &again) == 0);
	FUZZ_CHECK(addr_eq(&f.client, &again.client) && str_eq(f.host, again.host));
}

static void baggage_try(struct str text, struct pool *pool)
{
	struct baggage b, again;
	struct str out;

	if (baggage_parse(text, pool, &b) < 0)
		return;
	FUZZ_CHECK(is_clean(b.cluster) && is_clean(b.namespace) && is_clean(b.workload) && is_clean(b.service));
	if (baggage_format(&b, pool, &out) < 0) /* longer than it came, where the peer encoded less than we do */
		return;
	FUZZ_CHECK(is_clean(out));
	if (out.n == 0) /* nothing that is known was in it */
		return;
	FUZZ_CHECK(baggage_parse(out, pool, &again) == 0);
	FUZZ_CHECK(str_eq(b.cluster, again.cluster) && str_eq(b.namespace, again.namespace) && str_eq(b.service, again.service));
	FUZZ_CHECK(str_eq(b.workload, again.workload) && (!b.workload.n || b.kind == again.kind));
	FUZZ_CHECK(str_eq(b.version, again.version) && str_eq(b.region, again.region) && str_eq(b.zone, again.zone));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str text = { (const char *)bytes + 1, n - 1 };
	struct pool pool;

	if (n == 0)
		return 0;
	pool_init(&pool, 1 << 20);
	switch (bytes[0]) {
	case 'a':
		authority_try(text);
		break;
	case 'f':
		forwarded_try(text, &pool);
		break;
	default:
		baggage_try(text, &pool);
	}
	pool_done(&pool);
	return 0;
}
