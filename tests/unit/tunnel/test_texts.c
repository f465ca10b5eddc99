/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tunnel says in words: the request and its answer, Forwarded, baggage
 *
 * The forms are ztunnel's; a refusal for every acceptance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "proxy/tunnel/baggage.h"
#include "proxy/tunnel/forwarded.h"
#include "proxy/tunnel/request.h"

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(str_from(text), &a), 0);
	return a;
}

static void assert_str(struct str s, const char *want)
{
	if (!str_eq_c(s, want))
		fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), want);
}

static void test_authority(void **state)
{
	static const char *const good[] = { "10.78.0.2:80", "10.78.0.2:65535", "[fd78::2]:80", "[FD78::2]:80", "127.0.0.1:1" };
	static const char *const bad[] = { "", ":", "10.78.0.2", "10.78.0.2:", "10.78.0.2:0", "10.78.0.2:65536", "10.78.0.2:+80",
					   "10.78.0.2:80 ", " 10.78.0.2:80", "010.78.0.2:80", "10.78.2:80", "fd78::2:80", "[fd78::2]",
					   "[fd78::2]80", "[fd78::2%eth0]:80", "[10.78.0.2]:80", "[::ffff:10.78.0.2]:80", "web:80",
					   "web.default.svc.cluster.local:80", "x@10.78.0.2:80", "10.78.0.2:80/", "10.78.0.2:80:80" };
	struct addr a = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (tunnel_authority_parse(str_from(good[i]), &a) != 0)
			fail_msg("%s was refused", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (tunnel_authority_parse(str_from(bad[i]), &a) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
	assert_int_equal(tunnel_authority_parse((struct str){ "10.0.0.1:8\0", 11 }, &a), -EINVAL);
	assert_int_equal(tunnel_authority_parse((struct str){ NULL, 0 }, &a), -EINVAL);
}

static void test_decide(void **state)
{
	static const struct {
		const char *name, *method, *authority, *dialled;
		bool scheme, path, protocol;
		enum trm_reason reason;
		uint16_t status;
	} cases[] = {
		{ "ok", "CONNECT", "10.78.0.2:8080", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_NONE, 200 },
		{ "ok v6", "CONNECT", "[fd78::2]:8080", "[fd78::2]:15008", 0, 0, 0, TRM_REASON_NONE, 200 },
		{ "get", "GET", "10.78.0.2:8080", "10.78.0.2:15008", 1, 1, 0, TRM_REASON_HTTP_METHOD, 400 },
		{ "lower case", "connect", "10.78.0.2:8080", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_HTTP_METHOD, 400 },
		{ "scheme", "CONNECT", "10.78.0.2:8080", "10.78.0.2:15008", 1, 0, 0, TRM_REASON_HTTP_SYNTAX, 400 },
		{ "path", "CONNECT", "10.78.0.2:8080", "10.78.0.2:15008", 0, 1, 0, TRM_REASON_HTTP_SYNTAX, 400 },
		{ "extended", "CONNECT", "10.78.0.2:8080", "10.78.0.2:15008", 0, 0, 1, TRM_REASON_HTTP_SYNTAX, 400 },
		{ "other", "CONNECT", "10.78.0.3:8080", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_TUNNEL_AUTHORITY, 400 },
		{ "loopback", "CONNECT", "127.0.0.1:8080", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_TUNNEL_AUTHORITY, 400 },
		{ "family", "CONNECT", "[fd78::2]:8080", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_TUNNEL_AUTHORITY, 400 },
		{ "name", "CONNECT", "web:80", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_TUNNEL_AUTHORITY, 400 },
		{ "none", "CONNECT", "", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_TUNNEL_AUTHORITY, 400 },
		{ "15001", "CONNECT", "10.78.0.2:15001", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_PROXY_PORT, 400 },
		{ "15006", "CONNECT", "10.78.0.2:15006", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_PROXY_PORT, 400 },
		{ "15008", "CONNECT", "10.78.0.2:15008", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_PROXY_PORT, 400 },
		{ "15021", "CONNECT", "10.78.0.2:15021", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_PROXY_PORT, 400 },
		{ "15053", "CONNECT", "10.78.0.2:15053", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_PROXY_PORT, 400 },
		{ "15090", "CONNECT", "10.78.0.2:15090", "10.78.0.2:15008", 0, 0, 0, TRM_REASON_PROXY_PORT, 400 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tunnel_request r = { str_from(cases[i].method), str_from(cases[i].authority), cases[i].scheme, cases[i].path,
					    cases[i].protocol };
		struct addr dialled = addr(cases[i].dialled), to = { .port = 7 };
		enum trm_reason reason = tunnel_request_decide(&r, &dialled, &to);

		if (reason != cases[i].reason || tunnel_status(reason) != cases[i].status)
			fail_msg("%s: %d %u", cases[i].name, reason, tunnel_status(reason));
		if (reason == TRM_REASON_NONE)
			assert_true(addr_ip_eq(&to, &dialled) && to.port == 8080);
		else
			assert_int_equal(to.port, 7);
	}
}

static void test_answers(void **state)
{
	static const struct {
		uint16_t status;
		enum trm_reason reason;
	} cases[] = {
		{ 200, TRM_REASON_NONE },	    { 201, TRM_REASON_TUNNEL_REFUSED },	 { 100, TRM_REASON_TUNNEL_REFUSED },
		{ 301, TRM_REASON_TUNNEL_REFUSED }, { 400, TRM_REASON_TUNNEL_REFUSED },	 { 401, TRM_REASON_TUNNEL_DENIED },
		{ 403, TRM_REASON_TUNNEL_DENIED },  { 503, TRM_REASON_CONNECT_FAILED },	 { 504, TRM_REASON_CONNECT_TIMEOUT },
		{ 0, TRM_REASON_TUNNEL_REFUSED },   { 999, TRM_REASON_TUNNEL_REFUSED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(tunnel_reason(cases[i].status), cases[i].reason);
	for (unsigned int r = 1; r < TRM_REASON_MAX; r++)
		assert_true(tunnel_status(r) >= 400 && tunnel_status(r) < 600);
	assert_int_equal(tunnel_status(TRM_REASON_CONNECT_REFUSED), 503);
	assert_int_equal(tunnel_status(TRM_REASON_TUNNEL_DENIED), 401);
}

static void test_forwarded(void **state)
{
	static const struct {
		const char *text, *client, *host; /* client NULL: refused */
	} cases[] = {
		{ "for=\"10.77.0.2:4711\"", "10.77.0.2:4711", "" },
		{ "for=10.77.0.2:4711", "10.77.0.2:4711", "" },
		{ "For=\"[fd77::2]:4711\";Host=web.default.svc.cluster.local", "[fd77::2]:4711", "web.default.svc.cluster.local" },
		{ "host=\"web\" ; by=_x;for=\"10.77.0.2:1\";proto=https", "10.77.0.2:1", "web" },
		{ "", NULL, NULL },
		{ "host=web", NULL, NULL },
		{ "for=10.77.0.2", NULL, NULL },
		{ "for=unknown", NULL, NULL },
		{ "for=\"10.77.0.2:1\";", NULL, NULL },
		{ "for=\"10.77.0.2:1\", for=\"10.77.0.3:1\"", NULL, NULL },
		{ "for=\"10.77.0.2:1\";for=\"10.77.0.3:1\"", NULL, NULL },
		{ "for=\"10.77.0.2:1\";host=a;host=b", NULL, NULL },
		{ "for=\"10.77.0.2:1\";host=\"a b\"", NULL, NULL },
		{ "for=\"10.77.0.2:1\";host=a:80", NULL, NULL },
		{ "for=\"10.77.0.2:1\";host=\"\"", NULL, NULL },
		{ "for=\"10.77.0.2:1\";host", NULL, NULL },
		{ "for=\"10.77.0.2\\:1\"", NULL, NULL },
		{ "for=\"10.77.0.2:1", NULL, NULL },
		{ "=x", NULL, NULL },
		{ "for=\"10.77.0.2:1\";x=a\r\nb", NULL, NULL },
	};
	char text[ADDR_TEXT_BYTES], longer[FORWARDED_MAX_BYTES + 64];
	struct forwarded f;
	struct pool pool;
	struct str out;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = forwarded_parse(str_from(cases[i].text), &f);

		if (r != (cases[i].client ? 0 : -EINVAL))
			fail_msg("%s: %d", cases[i].text, r);
		if (r == 0) {
			assert_string_equal(addr_format(&f.client, text), cases[i].client);
			assert_str(f.host, cases[i].host);
		}
	}
	memset(longer, 'a', sizeof(longer));
	memcpy(longer, "for=\"10.77.0.2:1\";x=", 20);
	assert_int_equal(forwarded_parse((struct str){ longer, FORWARDED_MAX_BYTES }, &f), 0);
	assert_int_equal(forwarded_parse((struct str){ longer, FORWARDED_MAX_BYTES + 1 }, &f), -EINVAL);

	pool_init(&pool, 65536);
	f = (struct forwarded){ addr("10.77.0.2:4711"), STR("") };
	assert_int_equal(forwarded_format(&f, &pool, &out), 0);
	assert_str(out, "for=\"10.77.0.2:4711\"");
	f = (struct forwarded){ addr("[fd77::2]:1"), STR("web.default.svc.cluster.local") };
	assert_int_equal(forwarded_format(&f, &pool, &out), 0);
	assert_str(out, "for=\"[fd77::2]:1\";host=web.default.svc.cluster.local");
	f.host = STR("a\r\nb");
	assert_int_equal(forwarded_format(&f, &pool, &out), -EINVAL);
	f.host = (struct str){ longer, 254 };
	assert_int_equal(forwarded_format(&f, &pool, &out), -EINVAL);
	pool_done(&pool);
	pool_init(&pool, 16);
	f.host = STR("web");
	assert_int_equal(forwarded_format(&f, &pool, &out), -ENOMEM);
	pool_done(&pool);
}

static void test_baggage_format(void **state)
{
	struct baggage b = { .cluster = STR("Kubernetes"), .namespace = STR("default"), .workload = STR("web-1"), .service = STR("web"),
			     .version = STR("v1"), .region = STR("eu, \"west\";\\100%"), .zone = STR("\xc3\xa4"), .kind = BAGGAGE_POD }, back;
	char longer[BAGGAGE_VALUE_BYTES + 1];
	struct pool pool;
	struct str out;

	pool_init(&pool, 65536);
	assert_int_equal(baggage_format(&b, &pool, &out), 0);
	assert_str(out, "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.pod.name=web-1,service.name=web,service.version=v1,"
			"cloud.region=eu%2C%20%22west%22%3B%5C100%25,cloud.availability_zone=%C3%A4");
	assert_int_equal(baggage_parse(out, &pool, &back), 0);
	assert_str(back.region, "eu, \"west\";\\100%");
	assert_str(back.workload, "web-1");
	assert_int_equal(back.kind, BAGGAGE_POD);
	assert_int_equal(baggage_format(&(struct baggage){ .workload = STR("j"), .kind = BAGGAGE_CRONJOB }, &pool, &out), 0);
	assert_str(out, "k8s.cronjob.name=j");
	assert_int_equal(baggage_format(&(struct baggage){ .cluster = STR("") }, &pool, &out), 0);
	assert_str(out, "");
	assert_int_equal(baggage_format(&(struct baggage){ .service = STR("a\nb") }, &pool, &out), -EINVAL);
	assert_int_equal(baggage_format(&(struct baggage){ .service = { "a\0b", 3 } }, &pool, &out), -EINVAL);
	assert_int_equal(baggage_format(&(struct baggage){ .service = STR("a\x7f") }, &pool, &out), -EINVAL);
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(baggage_format(&(struct baggage){ .zone = { longer, BAGGAGE_VALUE_BYTES } }, &pool, &out), 0);
	assert_int_equal(baggage_format(&(struct baggage){ .zone = { longer, BAGGAGE_VALUE_BYTES + 1 } }, &pool, &out), -EINVAL);
	pool_done(&pool);
	pool_init(&pool, 16);
	assert_int_equal(baggage_format(&b, &pool, &out), -ENOMEM);
	pool_done(&pool);
}

static void test_baggage_parse(void **state)
{
	static const struct {
		const char *text, *namespace, *workload, *service; /* namespace NULL: refused */
		enum baggage_kind kind;
	} cases[] = {
		{ "k8s.namespace.name=a,k8s.deployment.name=b,service.name=c", "a", "b", "c", BAGGAGE_DEPLOYMENT },
		{ " k8s.namespace.name = a ; ttl=7 , k8s.job.name=b;x", "a", "b", "", BAGGAGE_JOB },
		{ "userId=alice,k8s.namespace.name=a", "a", "", "", BAGGAGE_DEPLOYMENT },
		{ "k8s.namespace.name=a,k8s.namespace.name=b", "a", "", "", BAGGAGE_DEPLOYMENT },
		{ "k8s.pod.name=a,k8s.job.name=b", "", "a", "", BAGGAGE_POD },
		{ "k8s.namespace.name=", "", "", "", BAGGAGE_DEPLOYMENT },
		{ "service.name=a%20b=c", "", "", "a b=c", BAGGAGE_DEPLOYMENT },
		{ "k8s.namespace.name", NULL, NULL, NULL, 0 },
		{ "=a", NULL, NULL, NULL, 0 },
		{ "a=b,,c=d", NULL, NULL, NULL, 0 },
		{ "a;b=c", NULL, NULL, NULL, 0 },
		{ "service.name=%", NULL, NULL, NULL, 0 },
		{ "service.name=%4", NULL, NULL, NULL, 0 },
		{ "service.name=%4g", NULL, NULL, NULL, 0 },
		{ "service.name=%00", NULL, NULL, NULL, 0 },
		{ "service.name=a%0d%0ab", NULL, NULL, NULL, 0 },
		{ "service.name=a b", NULL, NULL, NULL, 0 },
		{ "other=%7f", NULL, NULL, NULL, 0 },
		{ "service.name=\"a\"", NULL, NULL, NULL, 0 },
		{ "service.name=\xc3\xa4", NULL, NULL, NULL, 0 },
	};
	char many[2 * BAGGAGE_MAX_BYTES];
	struct baggage b;
	struct pool pool;

	pool_init(&pool, 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = baggage_parse(str_from(cases[i].text), &pool, &b);

		if (r != (cases[i].namespace ? 0 : -EINVAL))
			fail_msg("%s: %d", cases[i].text, r);
		if (r == 0) {
			assert_str(b.namespace, cases[i].namespace);
			assert_str(b.workload, cases[i].workload);
			assert_str(b.service, cases[i].service);
			assert_int_equal(b.kind, cases[i].kind);
		}
	}
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = "a=b,"[i % 4];
	assert_int_equal(baggage_parse((struct str){ many, BAGGAGE_MEMBERS_MAX * 4 - 1 }, &pool, &b), 0);
	assert_int_equal(baggage_parse((struct str){ many, BAGGAGE_MEMBERS_MAX * 4 + 3 }, &pool, &b), -EINVAL);
	memset(many, 'x', sizeof(many));
	memcpy(many, "service.name=", 13);
	assert_int_equal(baggage_parse((struct str){ many, 13 + BAGGAGE_VALUE_BYTES }, &pool, &b), 0);
	assert_int_equal(baggage_parse((struct str){ many, 14 + BAGGAGE_VALUE_BYTES }, &pool, &b), -EINVAL);
	assert_int_equal(baggage_parse((struct str){ many, BAGGAGE_MAX_BYTES + 1 }, &pool, &b), -EINVAL);
	pool_done(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_authority),	cmocka_unit_test(test_decide),	       cmocka_unit_test(test_answers),
		cmocka_unit_test(test_forwarded),	cmocka_unit_test(test_baggage_format), cmocka_unit_test(test_baggage_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
