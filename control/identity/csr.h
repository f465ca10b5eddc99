/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate signing requests: the key in them, once it is proven and strong enough. Nothing else of them is used. */
#ifndef TRAMMEL_CONTROL_CSR_H
#define TRAMMEL_CONTROL_CSR_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

#define CSR_MAX_BYTES 16384

/**
 * csr_key_take() - the public key of a PKCS#10 request
 * @ret_key:  owned by the caller
 * @ret_why:  set on failure to a constant sentence
 *
 * Return: 0, -EINVAL.
 */
MUST_CHECK int csr_key_take(const uint8_t *der, size_t n, EVP_PKEY **ret_key, const char **ret_why);

#endif
