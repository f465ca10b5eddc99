/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CA's files: DIR/ca.key and DIR/ca.crt
 *
 * Written whole to a new name, flushed, then renamed, so that a crash leaves the old file or the new one. Errors name the
 * file, the reason and the next step (@ret_error: heap, owned by the caller).
 */
#ifndef TRAMMEL_CONTROL_STORE_H
#define TRAMMEL_CONTROL_STORE_H

#include <openssl/x509.h>
#include "base/cleanup.h"

/** store_lock() - make @dir (0700, with its parents) and lock it; the fd is the lock and owned by the caller */
MUST_CHECK int store_lock(const char *dir, int *ret_fd, char **ret_error);

/* Both are 0 with *ret NULL when there is no such file. A key that group or others can touch is refused with -EPERM. */
MUST_CHECK int store_load_key(const char *dir, EVP_PKEY **ret, char **ret_error);
MUST_CHECK int store_load_cert(const char *dir, X509 **ret, char **ret_error);

MUST_CHECK int store_save_key(const char *dir, EVP_PKEY *key, char **ret_error);	/* 0600 */
MUST_CHECK int store_save_cert(const char *dir, const char *pem, char **ret_error); /* 0644 */

#endif
