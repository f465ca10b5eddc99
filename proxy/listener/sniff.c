/* SPDX-License-Identifier: Apache-2.0 */
/* First bytes of a plaintext connection: see sniff.h. */
#include "proxy/listener/sniff.h"

#define METHOD_MAX 16
#define PREFACE	   STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

enum sniff sniff_bytes(struct str input)
{
	size_t n = 0;

	while (n < input.n && ((input.p[n] >= 'A' && input.p[n] <= 'Z') || input.p[n] == '-'))
		n++;
	if (n > METHOD_MAX)
		return SNIFF_OTHER;
	if (n == input.n)
		return SNIFF_MORE;
	if (n < 3 || input.p[n] != ' ')
		return SNIFF_OTHER;
	if (n == 3 && memcmp(input.p, "PRI", 3) == 0) {
		if (memcmp(input.p, PREFACE.p, MIN(input.n, PREFACE.n)) != 0)
			return SNIFF_OTHER;
		return input.n < PREFACE.n ? SNIFF_MORE : SNIFF_HTTP2;
	}
	if (n + 1 == input.n)
		return SNIFF_MORE;
	/* origin-form, asterisk-form, absolute-form or (CONNECT) a host */
	return input.p[n + 1] > ' ' && input.p[n + 1] < 0x7f ? SNIFF_HTTP1 : SNIFF_OTHER;
}

/* RFC 8446 sections 5.1 and 4: a record of handshake, version 3.x, its length, and a client_hello in it */
bool sniff_may_be_tls(struct str input)
{
	static const char hello[] = { 0x16, 0x03 };

	return memcmp(input.p, hello, MIN(input.n, sizeof(hello))) == 0 && (input.n < SNIFF_TLS_BYTES || input.p[5] == 0x01);
}

bool sniff_has_target(struct str input)
{
	ptrdiff_t sp = str_find_char(input, ' ');
	char c = sp >= 0 && (size_t)sp + 1 < input.n ? input.p[sp + 1] : '\0';

	return c == '/' || c == '*' || c == 'h' || c == 'H' || str_starts(input, STR("CONNECT "));
}
