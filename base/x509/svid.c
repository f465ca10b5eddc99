/* SPDX-License-Identifier: Apache-2.0 */
/* The SPIFFE ID of a certificate: see svid.h */
#include "base/x509/svid.h"

#include <openssl/x509v3.h>
#include <string.h>

static int id_from_names(const GENERAL_NAMES *names, char text[SPIFFE_ID_MAX_BYTES + 1], struct spiffe_id *ret)
{
	const ASN1_IA5STRING *uri = NULL;
	struct spiffe_id id;
	int n;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		/* the type is looked at before the union (CVE-2022-21656) */
		if (name->type != GEN_URI)
			continue;
		if (uri)
			return X509_E_MANY_URIS;
		uri = name->d.uniformResourceIdentifier;
	}
	if (!uri)
		return X509_E_NO_URI;
	n = ASN1_STRING_length(uri);
	if (n <= 0 || n > SPIFFE_ID_MAX_BYTES || ASN1_STRING_type(uri) != V_ASN1_IA5STRING)
		return X509_E_BAD_ID;
	if (spiffe_id_parse((struct str){ (const char *)ASN1_STRING_get0_data(uri), (size_t)n }, &id) < 0 ||
	    id.path.n == 0)
		return X509_E_BAD_ID;
	memcpy(text, id.text.p, (size_t)n);
	text[n] = '\0';
	return spiffe_id_parse((struct str){ text, (size_t)n }, ret) < 0 ? X509_E_BAD_ID : 0;
}

int x509_spiffe_id(const X509 *cert, char text[SPIFFE_ID_MAX_BYTES + 1], struct spiffe_id *ret)
{
	int critical, r;
	/* NULL also when the extension is there twice or does not parse */
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);

	if (!names)
		return X509_E_NO_URI;
	r = id_from_names(names, text, ret);
	GENERAL_NAMES_free(names);
	return r;
}
