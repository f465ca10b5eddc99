/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Embedded certificate authority: see ca.h
 *
 * What is on disk is used if it is whole and fits, and never overwritten: a key without its certificate (a crash
 * between both) gets a new certificate; a certificate without its key is an error for a person to look at.
 */
#include "control/identity/ca.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include "base/clock.h"
#include "base/str.h"
#include "base/x509/spiffe_id.h"
#include "control/identity/certificate.h"
#include "control/identity/csr.h"
#include "control/identity/store.h"

#define DAY_S       86400ull
#define ROOT_LIFE_S (3650 * DAY_S)
#define BACKDATE_S  60 /* clocks of two hosts differ */
#define LEAF_LIFE_S DAY_S
#define LEAF_MIN_S  60

struct ca {
	EVP_PKEY *key;
	X509 *root;
	char *bundle_pem, *trust_domain;
	uint64_t root_not_after_s;
};

struct ca *ca_free(struct ca *ca)
{
	if (!ca)
		return NULL;
	EVP_PKEY_free(ca->key);
	X509_free(ca->root);
	free(ca->bundle_pem);
	free(ca->trust_domain);
	free(ca);
	return NULL;
}

const char *ca_bundle_pem(const struct ca *ca)
{
	return ca->bundle_pem;
}

static bool root_names_domain(X509 *root, const char *trust_domain)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(root, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct spiffe_id id;

		if (name->type != GEN_URI)
			continue;
		found |= spiffe_id_parse(
				 (struct str){ (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
					       (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier) },
				 &id) == 0 &&
			 str_eq_c(id.trust_domain, trust_domain) && id.path.n == 0;
	}
	GENERAL_NAMES_free(names);
	return found;
}

/* NULL: fit to sign with. */
static const char *root_check(const struct ca *ca, uint64_t now_s)
{
	if (X509_check_private_key(ca->root, ca->key) != 1)
		return "ca.crt and ca.key do not belong together";
	if (X509_check_ca(ca->root) != 1)
		return "ca.crt is not the certificate of an authority";
	if (certificate_time_s(X509_get0_notAfter(ca->root)) <= now_s)
		return "ca.crt has expired";
	if (!root_names_domain(ca->root, ca->trust_domain))
		return "ca.crt is of another trust domain";
	return NULL;
}

/* Loads what is there; leaves NULL what is not. */
static int files_load(struct ca *ca, const char *dir, char **ret_error)
{
	const char *why;
	int r = store_load_key(dir, &ca->key, ret_error);

	if (r == 0)
		r = store_load_cert(dir, &ca->root, ret_error);
	if (r < 0 || !ca->root)
		return r;
	why = ca->key ? root_check(ca, clock_wall_ns() / NS_PER_S) : "ca.key is missing";
	ERR_clear_error();
	if (!why)
		return 0;
	*ret_error =
		str_printf("%s: %s: restore the pair, or remove both files so that a new authority is made", dir, why);
	return -EINVAL;
}

static int files_make(struct ca *ca, const char *dir, char **ret_error)
{
	uint64_t now_s = clock_wall_ns() / NS_PER_S;
	_cleanup_(freep) char *pem = NULL;
	int r;

	if (!ca->key) {
		ca->key = EVP_EC_gen("P-256");
		if (!ca->key)
			return -ENOMEM;
		r = store_save_key(dir, ca->key, ret_error);
		if (r < 0)
			return r;
	}
	r = certificate_make_root(ca->key, ca->trust_domain, now_s - BACKDATE_S, now_s + ROOT_LIFE_S, &ca->root);
	if (r < 0)
		return r;
	pem = certificate_to_pem(ca->root);
	return pem ? store_save_cert(dir, pem, ret_error) : -ENOMEM;
}

int ca_open(const char *dir, const char *trust_domain, struct ca **ret, char **ret_error)
{
	_cleanup_(ca_freep) struct ca *ca = calloc(1, sizeof(*ca));
	_cleanup_(fd_closep) int lock = -1;
	int r;

	*ret_error = NULL;
	if (!spiffe_trust_domain_is_valid(str_from(trust_domain))) {
		*ret_error = str_printf("trust domain \"%s\": not a SPIFFE trust domain: use lower-case letters, "
					"digits, '.', '-' and '_'",
					trust_domain);
		return -EINVAL;
	}
	if (!ca || !(ca->trust_domain = strdup(trust_domain)))
		return -ENOMEM;
	r = store_lock(dir, &lock, ret_error);
	if (r == 0)
		r = files_load(ca, dir, ret_error);
	if (r == 0 && !ca->root)
		r = files_make(ca, dir, ret_error);
	if (r < 0) {
		if (!*ret_error)
			*ret_error = str_printf("%s: %s: try again", dir, strerror(-r));
		return r;
	}
	ca->root_not_after_s = certificate_time_s(X509_get0_notAfter(ca->root));
	ca->bundle_pem = certificate_to_pem(ca->root);
	if (!ca->bundle_pem)
		return -ENOMEM;
	*ret = TAKE_PTR(ca);
	return 0;
}

void ca_root_get(const struct ca *ca, struct ca_root *ret)
{
	*ret = (struct ca_root){ .trust_domain = ca->trust_domain,
				 .not_before_s = certificate_time_s(X509_get0_notBefore(ca->root)),
				 .not_after_s = ca->root_not_after_s };
	certificate_serial_hex(ca->root, ret->serial_hex);
}

/* Signing */

static bool id_is_ours(const struct ca *ca, const char *spiffe_id)
{
	struct spiffe_id id;

	return spiffe_id_parse(str_from(spiffe_id), &id) == 0 && id.path.n &&
	       str_eq_c(id.trust_domain, ca->trust_domain);
}

static int leaf_fill(X509 *cert, struct ca_leaf *ret)
{
	char *pem = certificate_to_pem(cert);

	if (!pem)
		return -ENOMEM;
	*ret = (struct ca_leaf){ .chain_pem = pem,
				 .not_before_s = certificate_time_s(X509_get0_notBefore(cert)),
				 .not_after_s = certificate_time_s(X509_get0_notAfter(cert)) };
	certificate_serial_hex(cert, ret->serial_hex);
	return 0;
}

int ca_sign(struct ca *ca, const uint8_t *csr_der, size_t n, const char *spiffe_id, uint64_t ttl_s, uint64_t now_s,
	    struct ca_leaf *ret, char **ret_error)
{
	const char *why = NULL;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	uint64_t end_s;
	int r = -EINVAL;

	*ret_error = NULL;
	ttl_s = ttl_s ? MIN(ttl_s, LEAF_LIFE_S) : LEAF_LIFE_S;
	end_s = MIN(now_s + ttl_s, ca->root_not_after_s); /* a leaf never outlives its issuer */
	if (!id_is_ours(ca, spiffe_id))
		why = "the workload's SPIFFE ID is not of this trust domain";
	else if (end_s < now_s + MIN(ttl_s, (uint64_t)LEAF_MIN_S))
		why = "the authority's own certificate has expired";
	else
		r = csr_key_take(csr_der, n, &key, &why);
	if (r == 0)
		r = certificate_make_leaf(ca->root, ca->key, key, spiffe_id, now_s - BACKDATE_S, end_s, &cert);
	if (r == 0)
		r = leaf_fill(cert, ret);
	X509_free(cert);
	EVP_PKEY_free(key);
	if (r < 0)
		*ret_error = str_printf("certificate for %s: %s", spiffe_id, why ? why : strerror(-r));
	return r;
}

void ca_leaf_done(struct ca_leaf *leaf)
{
	free(leaf->chain_pem);
	*leaf = (struct ca_leaf){ 0 };
}
