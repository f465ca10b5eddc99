/* SPDX-License-Identifier: Apache-2.0 */
/* SPIFFE IDs by table, and the one of certificates with odd names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "base/x509/spiffe_id.h"
#include "base/x509/svid.h"

#define CASE(t) { #t, STR(t) }

static void test_accepted(void **state)
{
	static const struct {
		const char *text, *trust_domain, *path;
	} cases[] = {
		{ "spiffe://cluster.local/ns/default/sa/web", "cluster.local", "/ns/default/sa/web" },
		{ "spiffe://cluster.local", "cluster.local", "" },
		{ "spiffe://a/b", "a", "/b" },
		{ "spiffe://a_b-c.9/...", "a_b-c.9", "/..." },
		{ "spiffe://a/.a/a./..a/A-_.9", "a", "/.a/a./..a/A-_.9" },
		{ "spiffe://1.2.3.4/x", "1.2.3.4", "/x" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spiffe_id id;

		assert_int_equal(spiffe_id_parse(str_from(cases[i].text), &id), 0);
		assert_true(str_eq_c(id.text, cases[i].text));
		assert_true(str_eq_c(id.trust_domain, cases[i].trust_domain));
		assert_true(str_eq_c(id.path, cases[i].path));
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *name;
		struct str text;
	} cases[] = {
		CASE(""), CASE("spiffe"), CASE("spiffe:"), CASE("spiffe://"), CASE("spiffe:///"), CASE("spiffe:///a"),
		CASE("Spiffe://a/b"), CASE("SPIFFE://a/b"), CASE("spiffe:/a/b"), CASE("https://a/b"), CASE(" spiffe://a/b"),
		CASE("spiffe://a/b "), CASE("spiffe://A/b"), CASE("spiffe://a.Local/b"), CASE("spiffe://u@a/b"),
		CASE("spiffe://u:p@a/b"), CASE("spiffe://a:80/b"), CASE("spiffe://a:/b"), CASE("spiffe://a/b?q"),
		CASE("spiffe://a?q"), CASE("spiffe://a/b#f"), CASE("spiffe://a#f"), CASE("spiffe://a//b"), CASE("spiffe://a/"),
		CASE("spiffe://a/b/"), CASE("spiffe://a/./b"), CASE("spiffe://a/b/."), CASE("spiffe://a/../b"),
		CASE("spiffe://a/.."), CASE("spiffe://a/%62"), CASE("spiffe://%61/b"), CASE("spiffe://a/b\0c"),
		CASE("spiffe://a\0b/c"), CASE("spiffe://a/b\0"), CASE("spiffe://[::1]/b"), CASE("spiffe://a/b c"),
		CASE("spiffe://a/b\n"), CASE("spiffe://a/\xc3\xa4"), CASE("spiffe://\xc3\xa4/b"), CASE("spiffe://a/b;c"),
		CASE("spiffe://a/b:c"), CASE("spiffe://a/b\\c"), CASE("spiffe://a\\b"), CASE("spiffe://a/b~"),
		CASE("spiffe://a,b/c"), CASE("spiffe://*/c"),
		CASE("spiffe://./c"), CASE("spiffe://../c"), CASE("spiffe://.."),
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spiffe_id id;

		if (spiffe_id_parse(cases[i].text, &id) != -EINVAL)
			fail_msg("accepted: %s", cases[i].name);
	}
}

static void test_lengths(void **state)
{
	char text[2100];
	struct spiffe_id id;
	const size_t head = strlen("spiffe://");

	memset(text, 'a', sizeof(text));
	memcpy(text, "spiffe://", head);
	assert_int_equal(spiffe_id_parse((struct str){ text, head + 255 }, &id), 0);
	assert_int_equal(spiffe_id_parse((struct str){ text, head + 256 }, &id), -EINVAL);
	text[head + 1] = '/';
	assert_int_equal(spiffe_id_parse((struct str){ text, 2048 }, &id), 0);
	assert_int_equal(spiffe_id_parse((struct str){ text, 2049 }, &id), -EINVAL);
}

static void test_equal(void **state)
{
	struct spiffe_id a, b, c;

	assert_int_equal(spiffe_id_parse(STR("spiffe://a/b"), &a), 0);
	assert_int_equal(spiffe_id_parse(STR("spiffe://a/b"), &b), 0);
	assert_int_equal(spiffe_id_parse(STR("spiffe://a/B"), &c), 0);
	assert_true(spiffe_id_eq(&a, &b));
	assert_false(spiffe_id_eq(&a, &c));
}

/* Certificates */

struct san {
	int type;
	struct str text;
};

static X509 *cert_with(const struct san *sans, size_t n)
{
	X509 *cert = X509_new();
	GENERAL_NAMES *names = GENERAL_NAMES_new();

	for (size_t i = 0; i < n; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();

		assert_int_equal(ASN1_STRING_set(text, sans[i].text.p, (int)sans[i].text.n), 1);
		GENERAL_NAME_set0_value(name, sans[i].type, text);
		assert_true(sk_GENERAL_NAME_push(names, name) > 0);
	}
	if (n)
		assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT), 1);
	GENERAL_NAMES_free(names);
	return cert;
}

static void test_certificates(void **state)
{
	static const struct {
		const char *name;
		struct san sans[3];
		size_t n;
		int want;
	} cases[] = {
		{ "one", { { GEN_URI, STR("spiffe://a/b") } }, 1, 0 },
		{ "one beside other types", { { GEN_DNS, STR("a.b") }, { GEN_URI, STR("spiffe://a/b") }, { GEN_EMAIL, STR("a@b") } },
		  3, 0 },
		{ "none", { { 0 } }, 0, X509_E_NO_URI },
		{ "in a dNSName", { { GEN_DNS, STR("spiffe://a/b") } }, 1, X509_E_NO_URI },
		{ "in an e-mail", { { GEN_EMAIL, STR("spiffe://a/b") } }, 1, X509_E_NO_URI },
		{ "two", { { GEN_URI, STR("spiffe://a/b") }, { GEN_URI, STR("spiffe://a/c") } }, 2, X509_E_MANY_URIS },
		{ "the same twice", { { GEN_URI, STR("spiffe://a/b") }, { GEN_URI, STR("spiffe://a/b") } }, 2, X509_E_MANY_URIS },
		{ "a second URI of another kind", { { GEN_URI, STR("spiffe://a/b") }, { GEN_URI, STR("http://x/") } }, 2,
		  X509_E_MANY_URIS },
		{ "NUL inside", { { GEN_URI, STR("spiffe://a/b\0.evil") } }, 1, X509_E_BAD_ID },
		{ "NUL at the end", { { GEN_URI, STR("spiffe://a/b\0") } }, 1, X509_E_BAD_ID },
		{ "empty", { { GEN_URI, STR("") } }, 1, X509_E_BAD_ID },
		{ "no path", { { GEN_URI, STR("spiffe://a") } }, 1, X509_E_BAD_ID },
		{ "other scheme", { { GEN_URI, STR("https://a/b") } }, 1, X509_E_BAD_ID },
		{ "UTF-8", { { GEN_URI, STR("spiffe://a/\xc3\xa4") } }, 1, X509_E_BAD_ID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		X509 *cert = cert_with(cases[i].sans, cases[i].n);
		char text[SPIFFE_ID_MAX_BYTES + 1];
		struct spiffe_id id;
		int r = x509_spiffe_id(cert, text, &id);

		if (r != cases[i].want)
			fail_msg("%s: %d, not %d", cases[i].name, r, cases[i].want);
		if (r == 0)
			assert_string_equal(text, "spiffe://a/b");
		X509_free(cert);
	}
}

static void test_long_and_twice(void **state)
{
	static char big[70000];
	char text[SPIFFE_ID_MAX_BYTES + 1];
	struct san san = { GEN_URI, { big, sizeof(big) } };
	struct spiffe_id id;
	X509_EXTENSION *ext;
	X509 *cert;

	memset(big, 'a', sizeof(big));
	memcpy(big, "spiffe://a/", 11);
	cert = cert_with(&san, 1);
	assert_int_equal(x509_spiffe_id(cert, text, &id), X509_E_BAD_ID);
	X509_free(cert);
	san.text = STR("spiffe://a/b");
	cert = cert_with(&san, 1); /* the extension itself twice */
	ext = X509_EXTENSION_dup(X509_get_ext(cert, 0));
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
	assert_int_equal(x509_spiffe_id(cert, text, &id), X509_E_NO_URI);
	X509_free(cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_equal), cmocka_unit_test(test_certificates), cmocka_unit_test(test_long_and_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
