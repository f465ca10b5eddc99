/* SPDX-License-Identifier: Apache-2.0 */
/* Roots of somebody's certificates, as text */
#ifndef TRAMMEL_BASE_X509_BUNDLE_H
#define TRAMMEL_BASE_X509_BUNDLE_H

#include <openssl/x509.h>
#include "base/cleanup.h"
#include "base/str.h"

/** x509_no_password() - for PEM_read_bio_*(): OpenSSL would ask the terminal for a pass phrase where a text says that it is encrypted */
int x509_no_password(char *buf, int n, int writing, void *user);

#define X509_BUNDLE_MAX 512 /* certificates; public sets have 150 */

/**
 * x509_bundle_each() - read certificates in PEM one after the other
 * @on_cert:  borrows the certificate; negative errno ends it. NULL: count alone
 *
 * Return: how many, 0 where the text holds none; -EINVAL: one cannot be read, or there are more than X509_BUNDLE_MAX; -ENOMEM.
 */
MUST_CHECK int x509_bundle_each(struct str pem, int (*on_cert)(X509 *cert, void *user), void *user);

static inline int x509_bundle_count(struct str pem)
{
	return x509_bundle_each(pem, NULL, NULL);
}

#endif
