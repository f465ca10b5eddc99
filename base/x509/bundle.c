/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles: see bundle.h. */
#include "base/x509/bundle.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>

int x509_no_password(char *buf, int n, int writing, void *user)
{
	return -1;
}

/* Behind the last one there is nothing that begins like one: else it was broken. */
static bool is_end(void)
{
	unsigned long err = ERR_peek_last_error();

	return ERR_GET_LIB(err) == ERR_LIB_PEM && ERR_GET_REASON(err) == PEM_R_NO_START_LINE;
}

int x509_bundle_each(struct str pem, int (*on_cert)(X509 *cert, void *user), void *user)
{
	BIO *bio = pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	int n = 0, r = 0;
	X509 *cert;

	if (!bio)
		return pem.n <= INT_MAX ? -ENOMEM : -EINVAL;
	ERR_clear_error();
	while (r == 0 && (cert = PEM_read_bio_X509(bio, NULL, x509_no_password, NULL))) {
		r = ++n > X509_BUNDLE_MAX ? -EINVAL : on_cert ? on_cert(cert, user) : 0;
		X509_free(cert);
	}
	if (r == 0 && !is_end())
		r = -EINVAL;
	ERR_clear_error();
	BIO_free(bio);
	return r < 0 ? r : n;
}
