/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates as the CA makes them: X509-SVID and RFC 5280 profiles, nothing configurable. */
#ifndef TRAMMEL_CONTROL_CERTIFICATE_H
#define TRAMMEL_CONTROL_CERTIFICATE_H

#include <openssl/x509.h>
#include <stdint.h>
#include "base/cleanup.h"

#define CERTIFICATE_SERIAL_HEX_BYTES 48

/** certificate_make_root() - self-signed, path length 0, names the trust domain; -ENOMEM (also any failure of the library) */
MUST_CHECK int certificate_make_root(EVP_PKEY *key, const char *trust_domain, uint64_t not_before_s, uint64_t not_after_s,
				     X509 **ret);

/** certificate_make_leaf() - for @subject_key, empty subject, critical SAN @spiffe_id; signed by @root's @root_key */
MUST_CHECK int certificate_make_leaf(X509 *root, EVP_PKEY *root_key, EVP_PKEY *subject_key, const char *spiffe_id,
				     uint64_t not_before_s, uint64_t not_after_s, X509 **ret);

/** certificate_to_pem() - heap, owned by the caller; NULL when memory is out */
char *certificate_to_pem(X509 *cert);

/** certificate_serial_hex() - lower-case hex of the serial number */
void certificate_serial_hex(const X509 *cert, char out[CERTIFICATE_SERIAL_HEX_BYTES]);

/** certificate_time_s() - seconds since 1970; 0 when it cannot be told */
uint64_t certificate_time_s(const ASN1_TIME *t);

#endif
