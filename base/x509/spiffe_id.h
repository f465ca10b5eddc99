/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPIFFE IDs
 *
 * "spiffe://trust-domain/path": parsed strictly and compared by byte. Nothing is normalised: what is not written in the one
 * canonical way is refused, so that two spellings of one name cannot exist. See SPIFFE-ID, sections 2.1 to 2.4.
 */
#ifndef TRAMMEL_BASE_X509_SPIFFE_ID_H
#define TRAMMEL_BASE_X509_SPIFFE_ID_H

#include <stdbool.h>
#include "base/cleanup.h"
#include "base/str.h"

#define SPIFFE_ID_MAX_BYTES	      2048
#define SPIFFE_TRUST_DOMAIN_MAX_BYTES 255

/* All parts are borrowed from the text that was parsed. */
struct spiffe_id {
	struct str text;	 /* the whole */
	struct str trust_domain; /* "cluster.local" */
	struct str path;	 /* "/ns/default/sa/web"; empty for a trust domain's own ID */
};

/**
 * spiffe_id_parse() - check and split one SPIFFE ID
 * @text:  bytes; may hold anything, also NUL
 * @ret:   parts, borrowed from @text
 *
 * Refused: another scheme or case of it, userinfo, port, query, fragment, percent signs, empty, "." and ".." segments,
 * a slash at the end, a trust domain outside [a-z0-9._-], path bytes outside [A-Za-z0-9._-], more than 2048 bytes in all
 * or 255 in the trust domain. Any thread.
 *
 * Return: 0 or -EINVAL.
 */
MUST_CHECK int spiffe_id_parse(struct str text, struct spiffe_id *ret);

/** spiffe_trust_domain_is_valid() - may @name stand as a trust domain? */
bool spiffe_trust_domain_is_valid(struct str name);

/** spiffe_id_eq() - byte by byte */
static inline bool spiffe_id_eq(const struct spiffe_id *a, const struct spiffe_id *b)
{
	return str_eq(a->text, b->text);
}

#endif
