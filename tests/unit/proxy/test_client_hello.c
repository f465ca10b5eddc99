/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHello: what OpenSSL itself writes is read alike whole, cut at each byte, and cut into small records; what is off is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include "proxy/tls/client_hello.h"

struct hello_case {
	const char *name, *sni, *alpn; /* alpn as on the wire */
	int max_version;
	bool mesh;
};

static const struct hello_case cases[] = {
	{ "plain", "web.example", "", TLS1_3_VERSION, false },
	{ "h2", "web.example", "\x02h2\x08http/1.1", TLS1_3_VERSION, false },
	{ "istio alone", "outbound_.80_._.web.default.svc.cluster.local", "\x05istio", TLS1_3_VERSION, true },
	{ "istio-http/1.1", "a", "\x0eistio-http/1.1", TLS1_3_VERSION, true },
	{ "istio second", "a", "\x02h2\x08istio-h2", TLS1_3_VERSION, true },
	{ "nearly istio", "a", "\x04isti\x06xistio", TLS1_3_VERSION, false },
	{ "no name", NULL, "\x05istio", TLS1_3_VERSION, true },
	{ "TLS 1.2", "old.example", "\x05istio", TLS1_2_VERSION, true },
};

/* Returns the bytes of a ClientHello as OpenSSL writes them; the caller frees. */
static unsigned char *hello_make(const struct hello_case *c, size_t *ret_n)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	unsigned char *copy;
	SSL *ssl = SSL_new(ctx);
	char *p;
	long n;

	SSL_set_bio(ssl, in, out);
	assert_int_equal(SSL_set_max_proto_version(ssl, c->max_version), 1);
	if (c->sni)
		SSL_set_tlsext_host_name(ssl, c->sni);
	if (*c->alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)c->alpn, (unsigned int)strlen(c->alpn));
	SSL_connect(ssl);
	n = BIO_get_mem_data(out, &p);
	assert_true(n > 50);
	copy = malloc((size_t)n);
	memcpy(copy, p, (size_t)n);
	*ret_n = (size_t)n;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return copy;
}

static void expect_hello(const struct hello_case *c, struct str bytes)
{
	struct client_hello h;

	if (client_hello_parse(bytes, &h) != 0)
		fail_msg("%s: not read", c->name);
	assert_int_equal(h.has_mesh_alpn, c->mesh);
	assert_int_equal(h.has_alpn, *c->alpn != '\0');
	assert_string_equal(h.sni, c->sni ? c->sni : "");
	assert_int_equal(h.version_max, c->max_version);
}

static void test_read(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n;
		unsigned char *p = hello_make(&cases[i], &n);
		struct client_hello h;

		expect_hello(&cases[i], (struct str){ (char *)p, n });
		for (size_t cut = 0; cut < n; cut++)
			assert_int_equal(client_hello_parse((struct str){ (char *)p, cut }, &h), CLIENT_HELLO_E_MORE);
		free(p);
	}
}

/* The same message in records of @size bytes each. */
static void test_records(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 64, 100 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n;
		unsigned char *p = hello_make(&cases[i], &n);

		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
			unsigned char *cut = malloc(n * 6);
			size_t at = 0;

			for (size_t from = 5; from < n; from += sizes[s]) {
				size_t len = MIN(sizes[s], n - from);

				memcpy(cut + at, p, 3);
				cut[at + 3] = 0;
				cut[at + 4] = (unsigned char)len;
				memcpy(cut + at + 5, p + from, len);
				at += 5 + len;
			}
			expect_hello(&cases[i], (struct str){ (char *)cut, at });
			free(cut);
		}
		free(p);
	}
}

static const struct {
	const char *name;
	struct str bytes;
	int answer;
} refused[] = {
	{ "nothing", { "", 0 }, CLIENT_HELLO_E_MORE },
	{ "HTTP", { "GET / HTTP/1.1\r\n", 16 }, CLIENT_HELLO_E_NOT_TLS },
	{ "one letter", { "G", 1 }, CLIENT_HELLO_E_NOT_TLS },
	{ "SSLv2 hello", { "\x80\x2e\x01\x00\x02", 5 }, CLIENT_HELLO_E_NOT_TLS },
	{ "alert", { "\x15\x03\x01\x00\x02\x02\x28", 7 }, CLIENT_HELLO_E_NOT_TLS },
	{ "major version 2", { "\x16\x02\x01\x00\x05", 5 }, CLIENT_HELLO_E_NOT_TLS },
	{ "ServerHello", { "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 10 }, CLIENT_HELLO_E_NOT_TLS },
	{ "empty record", { "\x16\x03\x01\x00\x00\x01\x00\x00\x01\x00", 10 }, CLIENT_HELLO_E_BAD },
	{ "record over 16 KiB", { "\x16\x03\x01\x40\x01\x01\x00\x00\x01\x00", 10 }, CLIENT_HELLO_E_BAD },
	{ "message of 16 MiB", { "\x16\x03\x01\x00\x05\x01\xff\xff\xff\x03", 10 }, CLIENT_HELLO_E_BAD },
	{ "message ends in the version", { "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", 10 }, CLIENT_HELLO_E_BAD },
	{ "alert between records", { "\x16\x03\x01\x00\x01\x01\x15\x03\x01", 9 }, CLIENT_HELLO_E_BAD },
};

static void test_refused(void **state)
{
	struct client_hello h;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		int r = client_hello_parse(refused[i].bytes, &h);

		if (r != refused[i].answer)
			fail_msg("%s: %d, expected %d", refused[i].name, r, refused[i].answer);
	}
}

/* A length field that is off by one anywhere is never read past the end, and never taken for something else. */
static void test_lengths(void **state)
{
	size_t n;
	unsigned char *p = hello_make(&cases[2], &n);
	struct client_hello h;

	for (size_t at = 5; at < n; at++) {
		for (int by = -1; by <= 1; by += 2) {
			unsigned char *copy = malloc(n);
			int r;

			memcpy(copy, p, n);
			copy[at] = (unsigned char)(copy[at] + by);
			r = client_hello_parse((struct str){ (char *)copy, n }, &h);
			assert_true(r >= 0 && r <= CLIENT_HELLO_E_BAD);
			free(copy);
		}
	}
	p[8]--; /* the message's own length: one byte too many behind it */
	assert_int_equal(client_hello_parse((struct str){ (char *)p, n }, &h), CLIENT_HELLO_E_BAD);
	free(p);
}

/* What never ends is not kept for ever. */
static void test_bound(void **state)
{
	size_t n = CLIENT_HELLO_MAX_BYTES, at = 0;
	unsigned char *p = calloc(1, n + 6);
	struct client_hello h;

	while (at < n) { /* one handshake byte per record: the message never gets whole */
		memcpy(p + at, "\x16\x03\x01\x00\x01", 5);
		at += 6;
	}
	p[5] = 1;
	p[5 + 6 * 2] = 0xf0;	 /* of 61,440 bytes */
	p[5 + 6 * 39] = 0xe0; /* of which 57,344 are cipher suites */
	assert_int_equal(client_hello_parse((struct str){ (char *)p, n - 100 }, &h), CLIENT_HELLO_E_MORE);
	assert_int_equal(client_hello_parse((struct str){ (char *)p, n }, &h), CLIENT_HELLO_E_BAD);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),	cmocka_unit_test(test_records), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lengths), cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
