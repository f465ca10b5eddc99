/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts for servers outside of the mesh: made once, a few kept, and what is remembered of servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include "proxy/tls/origin.h"

#define ROOT \
	"-----BEGIN CERTIFICATE-----\n" \
	"MIIBgTCCASegAwIBAgIUQUnZYRGWSsafKhtK0LnuySP4ti8wCgYIKoZIzj0EAwIw\n" \
	"FTETMBEGA1UECgwKdGVzdCByb290czAgFw0yNjExMjkwODA0MzFaGA8yMTI2MTEw\n" \
	"NTA4MDQzMVowFTETMBEGA1UECgwKdGVzdCByb290czBZMBMGByqGSM49AgEGCCqG\n" \
	"SM49AwEHA0IABFN0Be7vsk88OrXUGDvM6tK329ZRzPEV4yVgPqY7nLMbFBwD1UYQ\n" \
	"6oJgaha8Ud0atpcPa+YCIKZW1+YD/PZeROOjUzBRMB0GA1UdDgQWBBSgxhpGf+cr\n" \
	"3MDYyEOe/UL7wBJuEjAfBgNVHSMEGDAWgBSgxhpGf+cr3MDYyEOe/UL7wBJuEjAP\n" \
	"BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCID4zHkIoe18D8lHAq5rh\n" \
	"gFWb6JP/dI4p9EherVEgVP3SAiEAut+djeXil7Yut8vDg+dQ1jngWdYYU28FxQ0U\n" \
	"uRhyKVU=\n" \
	"-----END CERTIFICATE-----\n"

static void test_contexts_are_kept(void **state)
{
	struct tls_origins o = { 0 };
	SSL_CTX *first, *again, *system, *other;
	char text[sizeof(ROOT) + 32];

	assert_int_equal(tls_origins_get(&o, ROOT, &first), 0);
	assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(first))), 1);
	assert_int_equal(tls_origins_get(&o, "", &system), 0);
	assert_ptr_not_equal(first, system);
	assert_int_equal(SSL_CTX_get_verify_mode(system), SSL_VERIFY_PEER);
	for (int i = 0; i < TLS_ORIGINS_MAX - 1; i++) { /* the first is in use, and stays; the second goes */
		snprintf(text, sizeof(text), "# %d\n%s", i, ROOT);
		assert_int_equal(tls_origins_get(&o, text, &other), 0);
		assert_int_equal(tls_origins_get(&o, ROOT, &again), 0);
		assert_ptr_equal(first, again);
	}
	for (size_t i = 0; i < TLS_ORIGINS_MAX; i++)
		assert_string_not_equal(o.ctx[i].ca_pem, "");
	tls_origins_done(&o);
}

static void test_bundles_that_are_none(void **state)
{
	static const char *const texts[] = { "none", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
					     ROOT "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" };
	struct tls_origins o = { 0 };
	SSL_CTX *ctx;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(tls_origins_get(&o, texts[i], &ctx), -EINVAL);
	assert_int_equal(tls_origins_get(&o, ROOT, &ctx), 0);
	tls_origins_done(&o);
}

static void test_http1_is_remembered(void **state)
{
	struct tls_origins o = { 0 };

	assert_false(tls_origins_is_h1(&o, 7, 1));
	for (uint64_t i = 1; i <= TLS_ORIGINS_H1_MAX; i++)
		tls_origins_note_h1(&o, i, i);
	assert_true(tls_origins_is_h1(&o, 1, TLS_ORIGINS_H1_NS));
	assert_false(tls_origins_is_h1(&o, 1, 1 + TLS_ORIGINS_H1_NS));
	tls_origins_note_h1(&o, 1, 100); /* anew, in its own place */
	tls_origins_note_h1(&o, 1000, 101); /* for the oldest */
	assert_true(tls_origins_is_h1(&o, 1, 102));
	assert_false(tls_origins_is_h1(&o, 2, 102));
	assert_true(tls_origins_is_h1(&o, 3, 102));
	assert_true(tls_origins_is_h1(&o, 1000, 102));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contexts_are_kept),
		cmocka_unit_test(test_bundles_that_are_none),
		cmocka_unit_test(test_http1_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
