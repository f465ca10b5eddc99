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

bool sniff_has_target(struct str input)
{
	ptrdiff_t sp = str_find_char(input, ' ');
	char c = sp >= 0 && (size_t)sp + 1 < input.n ? input.p[sp + 1] : '\0';

	return c == '/' || c == '*' || c == 'h' || c == 'H' || str_starts(input, STR("CONNECT "));
}
