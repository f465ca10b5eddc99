/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate signing requests: see csr.h
 *
 * The order keeps the work bounded: size, then syntax, then the kind and size of the key, and the signature last.
 */
#include "control/identity/csr.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>

#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS 8192

/* Named P-256 and P-384 alone: explicit parameters can hide a weak curve behind a strong one's name. */
static bool ec_is_strong(const EVP_PKEY *key)
{
	char group[32];
	size_t n;
	int is_explicit = 0;

	(void)EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
				     &is_explicit); /* absent: named */
	if (is_explicit || EVP_PKEY_get_group_name(key, group, sizeof(group), &n) != 1)
		return false;
	return strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0 || strcmp(group, "secp384r1") == 0 ||
	       strcmp(group, "P-384") == 0;
}

static bool rsa_is_strong(const EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);
	BIGNUM *e = NULL;
	bool ok;

	if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
		return false;
	ok = BN_is_odd(e) && BN_num_bits(e) >= 17 && BN_num_bits(e) <= 256; /* 65537 and above (FIPS 186-5) */
	BN_free(e);
	return ok;
}

static bool key_is_strong(const EVP_PKEY *key)
{
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_EC:
		return ec_is_strong(key);
	case EVP_PKEY_RSA:
		return rsa_is_strong(key);
	case EVP_PKEY_ED25519:
		return true;
	default:
		return false;
	}
}

static bool digest_is_strong(const X509_REQ *req)
{
	int md, pk, nid = X509_REQ_get_signature_nid(req);

	if (nid == NID_ED25519)
		return true;
	return OBJ_find_sigid_algs(nid, &md, &pk) == 1 && (md == NID_sha256 || md == NID_sha384 || md == NID_sha512);
}

static const char *csr_check(X509_REQ *req)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(req);

	if (!key)
		return "the request's key cannot be read";
	if (!key_is_strong(key))
		return "the request's key is weak or of an unknown kind: use EC P-256 or P-384, RSA of 2048 bits or "
		       "more, or Ed25519";
	if (!digest_is_strong(req))
		return "the request is signed with a weak or unknown digest: use SHA-256 or better";
	if (X509_REQ_verify(req, key) != 1)
		return "the request's signature does not prove its key";
	return NULL;
}

int csr_key_take(const uint8_t *der, size_t n, EVP_PKEY **ret_key, const char **ret_why)
{
	const uint8_t *p = der;
	const char *why;
	X509_REQ *req;

	if (n == 0 || n > CSR_MAX_BYTES) {
		*ret_why = "the request is empty or larger than 16 KiB";
		return -EINVAL;
	}
	req = d2i_X509_REQ(NULL, &p, (long)n);
	if (!req)
		why = "the request is no PKCS#10 in DER";
	else if (p != der + n)
		why = "bytes follow the request";
	else
		why = csr_check(req);
	if (!why)
		*ret_key = X509_REQ_get_pubkey(req);
	else
		*ret_why = why;
	X509_REQ_free(req);
	ERR_clear_error();
	return why ? -EINVAL : 0;
}
