/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded authority: its files, what it refuses to sign, and what a leaf looks like
 *
 * Leaves are verified with X509_V_FLAG_X509_STRICT against the bundle, for both purposes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/x509/svid.h"
#include "control/identity/ca.h"

#define ID "spiffe://cluster.local/ns/default/sa/web"

static char dir[64];

static int on_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int dir_setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/trammel-ca-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int dir_teardown(void **state)
{
	return nftw(dir, on_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static char *path_of(const char *file)
{
	static char path[2][128];
	static int at;

	at = !at;
	snprintf(path[at], sizeof(path[at]), "%s/ca/%s", dir, file);
	return path[at];
}

static struct ca *open_ok(void)
{
	char ca_dir[128], *error = NULL;
	struct ca *ca = NULL;

	snprintf(ca_dir, sizeof(ca_dir), "%s/ca", dir);
	assert_int_equal(ca_open(ca_dir, "cluster.local", &ca, &error), 0);
	assert_null(error);
	return ca;
}

static void open_fails(const char *trust_domain, int err, const char *why)
{
	char ca_dir[128], *error = NULL;
	struct ca *ca = NULL;

	snprintf(ca_dir, sizeof(ca_dir), "%s/ca", dir);
	assert_int_equal(ca_open(ca_dir, trust_domain, &ca, &error), err);
	assert_null(ca);
	assert_non_null(error);
	if (!strstr(error, why))
		fail_msg("\"%s\" does not say \"%s\"", error, why);
	free(error);
}

static void write_file(const char *file, const char *text)
{
	FILE *f = fopen(path_of(file), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Requests */

static size_t csr_make(EVP_PKEY *key, const EVP_MD *md, uint8_t *out, size_t room)
{
	X509_REQ *req = X509_REQ_new();
	uint8_t *p = out;
	int n;

	assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
	/* a name that must not reach the certificate */
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC, (const unsigned char *)"root", -1, -1, 0);
	assert_true(X509_REQ_sign(req, key, md) > 0);
	n = i2d_X509_REQ(req, NULL);
	assert_true(n > 0 && (size_t)n <= room);
	i2d_X509_REQ(req, &p);
	X509_REQ_free(req);
	return (size_t)n;
}

static int sign(struct ca *ca, const uint8_t *csr, size_t n, const char *id, struct ca_leaf *ret, char **error)
{
	return ca_sign(ca, csr, n, id, 0, clock_wall_ns() / NS_PER_S, ret, error);
}

static X509 *pem_parse(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

static int verify(X509 *leaf, const char *bundle, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *root = pem_parse(bundle);
	int r;

	X509_STORE_add_cert(store, root);
	X509_STORE_CTX_init(ctx, store, leaf, NULL);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), 2);
	r = X509_verify_cert(ctx) == 1 ? 0 : X509_STORE_CTX_get_error(ctx);
	if (r)
		print_message("%s\n", X509_verify_cert_error_string(r));
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(root);
	return r;
}

/* Files */

static void test_files(void **state)
{
	struct ca *ca = open_ok();
	struct ca_root root, again;
	struct stat st;
	char *bundle = strdup(ca_bundle_pem(ca));

	ca_root_get(ca, &root);
	assert_string_equal(root.trust_domain, "cluster.local");
	assert_true(root.not_after_s - root.not_before_s > 3649ull * 86400);
	assert_int_equal(stat(path_of("ca.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(path_of("ca.crt"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(stat(path_of(""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	ca_free(ca);
	ca = open_ok(); /* the same again */
	assert_string_equal(ca_bundle_pem(ca), bundle);
	ca_root_get(ca, &again);
	assert_string_equal(root.serial_hex, again.serial_hex);
	ca_free(ca);
	free(bundle);
}

static void test_files_refused(void **state)
{
	ca_free(open_ok());
	assert_int_equal(chmod(path_of("ca.key"), 0640), 0);
	open_fails("cluster.local", -EPERM, "others");
	assert_int_equal(chmod(path_of("ca.key"), 0600), 0);
	open_fails("other.domain", -EINVAL, "another trust domain");
	open_fails("Upper.Case", -EINVAL, "trust domain");
	open_fails("", -EINVAL, "trust domain");
	assert_int_equal(rename(path_of("ca.key"), path_of("kept")), 0);
	open_fails("cluster.local", -EINVAL, "ca.key is missing");
	assert_int_equal(symlink("kept", path_of("ca.key")), 0);
	open_fails("cluster.local", -ELOOP, "ca.key");
	assert_int_equal(unlink(path_of("ca.key")), 0);
	write_file("ca.key", "nothing of worth");
	assert_int_equal(chmod(path_of("ca.key"), 0600), 0);
	open_fails("cluster.local", -EINVAL, "no private key");
	assert_int_equal(rename(path_of("kept"), path_of("ca.key")), 0);
	write_file("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	open_fails("cluster.local", -EINVAL, "no certificate");
	assert_int_equal(unlink(path_of("ca.crt")), 0);
	ca_free(open_ok()); /* a crash between both files: the key is kept, its certificate made again */
}

static void test_files_of_two_authorities(void **state)
{
	ca_free(open_ok());
	assert_int_equal(rename(path_of("ca.crt"), path_of("first.crt")), 0);
	assert_int_equal(unlink(path_of("ca.key")), 0);
	ca_free(open_ok());
	assert_int_equal(rename(path_of("first.crt"), path_of("ca.crt")), 0);
	open_fails("cluster.local", -EINVAL, "do not belong together");
}

/* Leaves */

static int n_names(const GENERAL_NAMES *names, int type)
{
	int n = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		n += sk_GENERAL_NAME_value(names, i)->type == type;
	return n;
}

static void check_leaf(struct ca *ca, const struct ca_leaf *leaf)
{
	X509 *cert = pem_parse(leaf->chain_pem);
	char text[SPIFFE_ID_MAX_BYTES + 1];
	struct spiffe_id id;
	int critical;
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);

	assert_int_equal(verify(cert, ca_bundle_pem(ca), X509_PURPOSE_SSL_CLIENT), 0);
	assert_int_equal(verify(cert, ca_bundle_pem(ca), X509_PURPOSE_SSL_SERVER), 0);
	assert_non_null(names);
	assert_int_equal(critical, 1);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	assert_int_equal(n_names(names, GEN_URI), 1);
	GENERAL_NAMES_free(names);
	assert_int_equal(x509_spiffe_id(cert, text, &id), 0);
	assert_string_equal(text, ID);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
	assert_int_equal(X509_check_ca(cert), 0);
	assert_int_equal(X509_get_version(cert), X509_VERSION_3);
	assert_true(X509_get_extension_flags(cert) & EXFLAG_KUSAGE);
	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(strlen(leaf->serial_hex), 32);
	X509_free(cert);
}

static EVP_PKEY *key_make(const char *kind)
{
	if (strcmp(kind, "Ed25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (strcmp(kind, "Ed448") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
	if (strncmp(kind, "RSA", 3) == 0)
		return EVP_RSA_gen((unsigned int)atoi(kind + 3));
	return EVP_EC_gen(kind);
}

static void test_keys(void **state)
{
	static const struct {
		const char *kind, *why; /* NULL: signed */
		bool sha1, no_md;
	} cases[] = {
		{ "P-256", NULL }, { "P-384", NULL }, { "RSA2048", NULL }, { "RSA3072", NULL },
		{ .kind = "Ed25519", .no_md = true }, { .kind = "Ed448", .why = "weak", .no_md = true },
		{ "RSA1024", "weak" }, { "P-224", "weak" }, { "P-521", "weak" }, { "secp256k1", "weak" },
		{ .kind = "P-256", .why = "digest", .sha1 = true }, { .kind = "RSA2048", .why = "digest", .sha1 = true },
	};
	struct ca *ca = open_ok();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EVP_PKEY *key = key_make(cases[i].kind);
		const EVP_MD *md = cases[i].no_md ? NULL : cases[i].sha1 ? EVP_sha1() : EVP_sha256();
		struct ca_leaf leaf = { 0 };
		uint8_t csr[4096];
		char *error = NULL;
		size_t n;
		int r;

		assert_non_null(key);
		n = csr_make(key, md, csr, sizeof(csr));
		r = sign(ca, csr, n, ID, &leaf, &error);
		if (!cases[i].why) {
			assert_int_equal(r, 0);
			check_leaf(ca, &leaf);
		} else {
			assert_int_equal(r, -EINVAL);
			assert_non_null(strstr(error, cases[i].why));
			assert_null(leaf.chain_pem);
		}
		free(error);
		ca_leaf_done(&leaf);
		EVP_PKEY_free(key);
	}
	ca_free(ca);
}

/* P-256 written out as parameters instead of named. */
static void test_explicit_curve(void **state)
{
	struct ca *ca = open_ok();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct ca_leaf leaf = { 0 };
	uint8_t csr[4096];
	char *error = NULL;
	size_t n;

	assert_int_equal(EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT), 1);
	n = csr_make(key, EVP_sha256(), csr, sizeof(csr));
	assert_int_equal(sign(ca, csr, n, ID, &leaf, &error), -EINVAL);
	assert_non_null(strstr(error, "weak"));
	free(error);
	EVP_PKEY_free(key);
	ca_free(ca);
}

static void test_malformed(void **state)
{
	struct ca *ca = open_ok();
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	uint8_t csr[4096], bad[4096], foreign[4096];
	size_t n = csr_make(key, EVP_sha256(), csr, sizeof(csr)), m = csr_make(other, EVP_sha256(), foreign, sizeof(foreign));
	struct ca_leaf leaf = { 0 };
	char *error;
	static uint8_t large[16385];

#define REFUSED(p, len)                                                                                                \
	do {                                                                                                           \
		error = NULL;                                                                                          \
		assert_int_equal(sign(ca, p, len, ID, &leaf, &error), -EINVAL);                                        \
		assert_non_null(error);                                                                                \
		free(error);                                                                                           \
	} while (0)

	REFUSED(csr, 0);
	REFUSED((const uint8_t *)"hello", 5);
	REFUSED(large, sizeof(large));
	for (size_t i = 1; i < n; i += 7) /* cut short */
		REFUSED(csr, i);
	memcpy(bad, csr, n);
	bad[n] = 0;
	REFUSED(bad, n + 1); /* bytes behind it */
	for (size_t i = 0; i < n; i++) { /* one bit anywhere breaks syntax, key or proof */
		memcpy(bad, csr, n);
		bad[i] ^= 1;
		REFUSED(bad, n);
	}
	if (n == m) { /* another key's proof */
		memcpy(bad, csr, n);
		memcpy(bad + n - 60, foreign + n - 60, 60);
		REFUSED(bad, n);
	}
#undef REFUSED
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	ca_free(ca);
}

static void test_ids_and_times(void **state)
{
	static const char *const bad[] = { "", "spiffe://cluster.local", "spiffe://other/ns/a/sa/b", "https://cluster.local/a",
					   "spiffe://cluster.local/a/../b", "spiffe://cluster.local/a?b" };
	uint64_t now_s = clock_wall_ns() / NS_PER_S;
	struct ca *ca = open_ok();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct ca_leaf leaf = { 0 };
	struct ca_root root;
	uint8_t csr[4096];
	size_t n = csr_make(key, EVP_sha256(), csr, sizeof(csr));
	char *error = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(sign(ca, csr, n, bad[i], &leaf, &error), -EINVAL);
		free(error);
	}
	assert_int_equal(ca_sign(ca, csr, n, ID, 3600, now_s, &leaf, &error), 0);
	assert_int_equal(leaf.not_before_s, now_s - 60);
	assert_int_equal(leaf.not_after_s, now_s + 3600);
	ca_leaf_done(&leaf);
	assert_int_equal(ca_sign(ca, csr, n, ID, 1u << 30, now_s, &leaf, &error), 0);
	assert_int_equal(leaf.not_after_s, now_s + 86400);
	ca_leaf_done(&leaf);
	ca_root_get(ca, &root); /* near the root's end a leaf ends with it, and behind it there is none */
	assert_int_equal(ca_sign(ca, csr, n, ID, 86400, root.not_after_s - 1000, &leaf, &error), 0);
	assert_int_equal(leaf.not_after_s, root.not_after_s);
	ca_leaf_done(&leaf);
	assert_int_equal(ca_sign(ca, csr, n, ID, 86400, root.not_after_s, &leaf, &error), -EINVAL);
	assert_non_null(strstr(error, "expired"));
	free(error);
	EVP_PKEY_free(key);
	ca_free(ca);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files, dir_setup, dir_teardown),
		cmocka_unit_test_setup_teardown(test_files_refused, dir_setup, dir_teardown),
		cmocka_unit_test_setup_teardown(test_files_of_two_authorities, dir_setup, dir_teardown),
		cmocka_unit_test_setup_teardown(test_keys, dir_setup, dir_teardown),
		cmocka_unit_test_setup_teardown(test_explicit_curve, dir_setup, dir_teardown),
		cmocka_unit_test_setup_teardown(test_malformed, dir_setup, dir_teardown),
		cmocka_unit_test_setup_teardown(test_ids_and_times, dir_setup, dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
