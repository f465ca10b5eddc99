/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SPIFFE ID of a certificate (X509-SVID)
 *
 * Names only: whether the certificate is valid and trusted is decided elsewhere, before.
 */
#ifndef TRAMMEL_BASE_X509_SVID_H
#define TRAMMEL_BASE_X509_SVID_H

#include <openssl/x509.h>
#include "base/cleanup.h"
#include "base/x509/spiffe_id.h"

enum {
	X509_E_NO_URI = 1,    /* no subject alternative name of type URI, or the extension is malformed or there twice */
	X509_E_MANY_URIS = 2, /* more than one */
	X509_E_BAD_ID = 3,    /* one, but no SPIFFE ID of a workload */
};

/**
 * x509_spiffe_id() - the SPIFFE ID in the one URI SAN of a leaf
 * @cert:  borrowed for the call
 * @text:  filled with the ID and a NUL; at least SPIFFE_ID_MAX_BYTES + 1 bytes
 * @ret:   parts, borrowed from @text
 *
 * Exactly one SAN of type uniformResourceIdentifier is accepted (X509-SVID section 2); names of other types are passed over,
 * never read as an ID. Length is that of the ASN.1 string, so a NUL inside is seen and refused. An ID without a path names a
 * trust domain, not a workload: refused.
 *
 * Return: 0, X509_E_NO_URI, X509_E_MANY_URIS, X509_E_BAD_ID.
 */
MUST_CHECK int x509_spiffe_id(const X509 *cert, char text[SPIFFE_ID_MAX_BYTES + 1], struct spiffe_id *ret);

#endif
