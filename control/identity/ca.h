/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Embedded certificate authority
 *
 * EC P-256 root kept on disk (DIR/ca.key 0600, DIR/ca.crt), made on first use, 10 years. Signs workload leaves from CSRs: only the CSR's
 * key is used; subject is empty, the one SAN is the workload's SPIFFE URI (critical), EKU server and client, 24 h, not before 1 min
 * ago. See SPIFFE X509-SVID and RFC 5280.
 */
#ifndef TRAMMEL_CONTROL_CA_H
#define TRAMMEL_CONTROL_CA_H

#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

struct ca;

struct ca_leaf {
	char *chain_pem; /* leaf first; heap, owned by the caller */
	uint64_t not_before_s, not_after_s;
	char serial_hex[48];
};

/** ca_open() - load or make the root below @dir; @ret_error as in datapath.h. Refuses a key file that others can read. */
MUST_CHECK int ca_open(const char *dir, const char *trust_domain, struct ca **ret, char **ret_error);
struct ca *ca_free(struct ca *ca);
DEFINE_CLEANUP(struct ca, ca_free)

/** ca_bundle_pem() - the roots to trust; borrowed */
const char *ca_bundle_pem(const struct ca *ca);

/* The root, for `trammel cert list`. */
struct ca_root {
	const char *trust_domain; /* borrowed */
	uint64_t not_before_s, not_after_s;
	char serial_hex[48];
};
void ca_root_get(const struct ca *ca, struct ca_root *ret);

/** ca_sign() - -EINVAL for a CSR that is malformed, does not prove its key, or whose key is weak (only EC P-256/P-384, RSA >= 2048, Ed25519); @ttl_s 0 or above 24 h means 24 h */
MUST_CHECK int ca_sign(struct ca *ca, const uint8_t *csr_der, size_t n, const char *spiffe_id, uint64_t ttl_s, uint64_t now_s,
		       struct ca_leaf *ret, char **ret_error);
void ca_leaf_done(struct ca_leaf *leaf);

#endif
