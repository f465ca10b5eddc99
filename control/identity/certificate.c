/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates as the CA makes them: see certificate.h. Extensions are built as values, never from text. */
#include "control/identity/certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SERIAL_BYTES 16 /* RFC 5280 section 4.1.2.2: at most 20, positive */

static bool set_serial(X509 *cert)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *bn;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and always of the same length */
	bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	BN_free(bn);
	return ok;
}

static bool add_uri_san(X509 *cert, const char *uri, bool critical)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	bool ok = names && name && text && ASN1_STRING_set(text, uri, (int)strlen(uri)) == 1;

	if (ok) {
		GENERAL_NAME_set0_value(name, GEN_URI, text);
		text = NULL;
		ok = sk_GENERAL_NAME_push(names, name) > 0;
		if (ok)
			name = NULL;
	}
	ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, critical, X509V3_ADD_DEFAULT) == 1;
	ASN1_IA5STRING_free(text);
	GENERAL_NAME_free(name);
	GENERAL_NAMES_free(names);
	return ok;
}

static bool add_basic_constraints(X509 *cert, bool is_ca)
{
	BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
	bool ok = bc != NULL;

	if (ok && is_ca) {
		bc->ca = 0xff;
		bc->pathlen = ASN1_INTEGER_new();
		ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, 0) == 1;
	}
	ok = ok && X509_add1_ext_i2d(cert, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1;
	BASIC_CONSTRAINTS_free(bc);
	return ok;
}

/* @bits as in RFC 5280 section 4.2.1.3: bit 0 is digitalSignature */
static bool add_key_usage(X509 *cert, const int *bits, size_t n)
{
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	bool ok = usage != NULL;

	for (size_t i = 0; ok && i < n; i++)
		ok = ASN1_BIT_STRING_set_bit(usage, bits[i], 1) == 1;
	ok = ok && X509_add1_ext_i2d(cert, NID_key_usage, usage, 1, X509V3_ADD_DEFAULT) == 1;
	ASN1_BIT_STRING_free(usage);
	return ok;
}

static bool add_extended_key_usage(X509 *cert)
{
	EXTENDED_KEY_USAGE *eku = EXTENDED_KEY_USAGE_new();
	bool ok = eku && sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(NID_server_auth)) > 0 &&
		  sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(NID_client_auth)) > 0 &&
		  X509_add1_ext_i2d(cert, NID_ext_key_usage, eku, 0, X509V3_ADD_DEFAULT) == 1;

	EXTENDED_KEY_USAGE_free(eku);
	return ok;
}

/* RFC 5280 section 4.2.1.2 method 1: SHA-1 over the key's bits, as a name and not as a proof. */
static ASN1_OCTET_STRING *key_id_new(const X509 *cert)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n;
	ASN1_OCTET_STRING *id;

	if (X509_pubkey_digest(cert, EVP_sha1(), md, &n) != 1)
		return NULL;
	id = ASN1_OCTET_STRING_new();
	if (id && ASN1_OCTET_STRING_set(id, md, (int)n) != 1) {
		ASN1_OCTET_STRING_free(id);
		id = NULL;
	}
	return id;
}

static bool add_key_ids(X509 *cert, const X509 *issuer)
{
	AUTHORITY_KEYID *akid = AUTHORITY_KEYID_new();
	ASN1_OCTET_STRING *skid = key_id_new(cert);
	bool ok = akid && skid && X509_add1_ext_i2d(cert, NID_subject_key_identifier, skid, 0, X509V3_ADD_DEFAULT) == 1;

	if (ok) {
		akid->keyid = key_id_new(issuer);
		ok = akid->keyid &&
		     X509_add1_ext_i2d(cert, NID_authority_key_identifier, akid, 0, X509V3_ADD_DEFAULT) == 1;
	}
	ASN1_OCTET_STRING_free(skid);
	AUTHORITY_KEYID_free(akid);
	return ok;
}

static bool set_root_name(X509 *cert)
{
	X509_NAME *name = X509_get_subject_name(cert);

	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Trammel", -1, -1, 0) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"Trammel mesh root", -1, -1,
					  0) == 1 &&
	       X509_set_issuer_name(cert, name) == 1;
}

static X509 *certificate_begin(EVP_PKEY *key, uint64_t not_before_s, uint64_t not_after_s)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    X509_set_pubkey(cert, key) == 1 && ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)not_before_s) &&
	    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)not_after_s))
		return cert;
	X509_free(cert);
	return NULL;
}

static int certificate_end(X509 *cert, bool ok, EVP_PKEY *signer, X509 **ret)
{
	if (!ok || X509_sign(cert, signer, EVP_sha256()) <= 0) {
		X509_free(cert);
		ERR_clear_error();
		return -ENOMEM;
	}
	*ret = cert;
	return 0;
}

int certificate_make_root(EVP_PKEY *key, const char *trust_domain, uint64_t not_before_s, uint64_t not_after_s,
			  X509 **ret)
{
	static const int usage[] = { 5, 6 }; /* keyCertSign, cRLSign */
	char uri[16 + 256];
	X509 *cert = certificate_begin(key, not_before_s, not_after_s);
	bool ok;

	snprintf(uri, sizeof(uri), "spiffe://%s", trust_domain);
	ok = cert && set_root_name(cert) && add_basic_constraints(cert, true) && add_key_usage(cert, usage, 2) &&
	     add_key_ids(cert, cert) && add_uri_san(cert, uri, false);
	return certificate_end(cert, ok, key, ret);
}

int certificate_make_leaf(X509 *root, EVP_PKEY *root_key, EVP_PKEY *subject_key, const char *spiffe_id,
			  uint64_t not_before_s, uint64_t not_after_s, X509 **ret)
{
	static const int usage[] = { 0, 2 }; /* digitalSignature; keyEncipherment, for RSA keys alone */
	size_t n_usage = EVP_PKEY_get_base_id(subject_key) == EVP_PKEY_RSA ? 2 : 1;
	X509 *cert = certificate_begin(subject_key, not_before_s, not_after_s);
	bool ok =
		cert && X509_set_issuer_name(cert, X509_get_subject_name(root)) == 1 &&
		add_basic_constraints(cert, false) && add_key_usage(cert, usage, n_usage) &&
		add_extended_key_usage(cert) && add_key_ids(cert, root) &&
		add_uri_san(cert, spiffe_id, true); /* critical, for the subject is empty (RFC 5280 section 4.1.2.6) */

	return certificate_end(cert, ok, root_key, ret);
}

char *certificate_to_pem(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem = NULL, *bytes;
	long n;

	if (bio && PEM_write_bio_X509(bio, cert) == 1) {
		n = BIO_get_mem_data(bio, &bytes);
		pem = n > 0 ? strndup(bytes, (size_t)n) : NULL;
	}
	BIO_free(bio);
	return pem;
}

void certificate_serial_hex(const X509 *cert, char out[CERTIFICATE_SERIAL_HEX_BYTES])
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	const unsigned char *p = ASN1_STRING_get0_data(serial);
	int n = MIN(ASN1_STRING_length(serial), (CERTIFICATE_SERIAL_HEX_BYTES - 1) / 2);

	out[0] = '\0';
	for (int i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

uint64_t certificate_time_s(const ASN1_TIME *t)
{
	struct tm tm;
	time_t s;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	s = timegm(&tm);
	return s > 0 ? (uint64_t)s : 0;
}
