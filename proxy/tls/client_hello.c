/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes: see client_hello.h
 *
 * The handshake message is read through a cursor that steps over record headers (RFC 8446 section 5.1), so that no
 * byte is copied. Running out of input in the middle of it is "more"; any inconsistent length is "bad".
 */
#include "proxy/tls/client_hello.h"

#define RECORD_HANDSHAKE     22
#define RECORD_HEADER_BYTES  5
#define RECORD_MAX_BYTES     16384
#define HANDSHAKE_HELLO	     1
#define EXT_SERVER_NAME	     0
#define EXT_ALPN	     16
#define EXT_VERSIONS	     43
#define SNI_HOST_NAME	     0

/* Reads handshake bytes; err sticks. */
struct cursor {
	const uint8_t *p;
	size_t n, at;
	size_t in_record; /* handshake bytes left in the current record */
	uint32_t left;	  /* of the message or vector being read; UINT32_MAX before it is known */
	int err;
};

static void record_enter(struct cursor *c)
{
	size_t len;

	if (c->n - c->at < RECORD_HEADER_BYTES) {
		c->err = CLIENT_HELLO_E_MORE;
		/* what is there of the header must fit already */
		if (c->at < c->n && c->p[c->at] != RECORD_HANDSHAKE)
			c->err = CLIENT_HELLO_E_BAD;
		return;
	}
	len = (size_t)c->p[c->at + 3] << 8 | c->p[c->at + 4];
	if (c->p[c->at] != RECORD_HANDSHAKE || c->p[c->at + 1] != 3 || len == 0 || len > RECORD_MAX_BYTES) {
		c->err = CLIENT_HELLO_E_BAD;
		return;
	}
	c->at += RECORD_HEADER_BYTES;
	c->in_record = len;
}

static uint8_t u8(struct cursor *c)
{
	if (!c->err && c->left == 0)
		c->err = CLIENT_HELLO_E_BAD;
	if (!c->err && c->in_record == 0)
		record_enter(c);
	if (!c->err && c->at == c->n)
		c->err = CLIENT_HELLO_E_MORE;
	if (c->err)
		return 0;
	c->in_record--;
	if (c->left != UINT32_MAX)
		c->left--;
	return c->p[c->at++];
}

static uint16_t u16(struct cursor *c)
{
	uint16_t hi = u8(c);

	return (uint16_t)(hi << 8 | u8(c));
}

static uint32_t u24(struct cursor *c)
{
	uint32_t hi = u16(c);

	return hi << 8 | u8(c);
}

static void skip(struct cursor *c, uint32_t n)
{
	if (!c->err && n > c->left)
		c->err = CLIENT_HELLO_E_BAD;
	while (n > 0 && !c->err) {
		uint32_t step;

		if (c->in_record == 0)
			record_enter(c);
		if (c->err)
			return;
		step = (uint32_t)MIN(c->in_record, c->n - c->at);
		step = MIN(step, n);
		if (step == 0) {
			c->err = CLIENT_HELLO_E_MORE;
			return;
		}
		c->at += step;
		c->in_record -= step;
		c->left -= step;
		n -= step;
	}
}

/* Enters a vector of @n bytes: returns what is left outside of it, for vector_leave(). */
static uint32_t vector_enter(struct cursor *c, uint32_t n)
{
	uint32_t outer;

	if (!c->err && n > c->left)
		c->err = CLIENT_HELLO_E_BAD;
	if (c->err)
		return 0;
	outer = c->left - n;
	c->left = n;
	return outer;
}

static void vector_leave(struct cursor *c, uint32_t outer)
{
	skip(c, c->left);
	if (!c->err)
		c->left = outer;
}

static void server_name_read(struct cursor *c, struct client_hello *h)
{
	uint32_t outer = vector_enter(c, u16(c));
	bool is_first = true;

	while (c->left > 0 && !c->err) {
		uint8_t type = u8(c);
		uint32_t list = vector_enter(c, u16(c));

		if (!c->err && type == SNI_HOST_NAME && is_first && c->left > 0 && c->left < sizeof(h->sni)) {
			uint8_t n = 0;

			is_first = false;
			while (c->left > 0 && !c->err) {
				uint8_t b = u8(c);

				if (b <= 0x20 || b >= 0x7f)
					break;
				h->sni[n++] = (char)b;
			}
			if (c->left > 0)
				n = 0;
			h->sni[n] = '\0';
			h->sni_bytes = n;
		}
		vector_leave(c, list);
	}
	vector_leave(c, outer);
}

static void alpn_read(struct cursor *c, struct client_hello *h)
{
	static const char mesh[5] = { 'i', 's', 't', 'i', 'o' };
	uint32_t outer = vector_enter(c, u16(c));

	h->has_alpn = true;
	while (c->left > 0 && !c->err) {
		uint32_t list = vector_enter(c, u8(c));
		size_t same = 0;

		if (!c->err && c->left == 0)
			c->err = CLIENT_HELLO_E_BAD; /* RFC 7301: a name is not empty */
		while (c->left > 0 && same < sizeof(mesh) && !c->err && u8(c) == (uint8_t)mesh[same])
			same++;
		if (same == sizeof(mesh) && !c->err)
			h->has_mesh_alpn = true;
		vector_leave(c, list);
	}
	vector_leave(c, outer);
}

static void versions_read(struct cursor *c, struct client_hello *h)
{
	uint32_t outer = vector_enter(c, u8(c));

	while (c->left > 1 && !c->err) {
		uint16_t v = u16(c);

		/* GREASE values (RFC 8701) look like 0x?a?a */
		if (!c->err && (v >> 8) == 3 && v > h->version_max)
			h->version_max = v;
	}
	vector_leave(c, outer);
}

static void extensions_read(struct cursor *c, struct client_hello *h)
{
	uint32_t outer = vector_enter(c, u16(c));

	while (c->left > 0 && !c->err) {
		uint16_t type = u16(c);
		uint32_t list = vector_enter(c, u16(c));

		if (c->err)
			break;
		if (type == EXT_SERVER_NAME && c->left > 0)
			server_name_read(c, h);
		else if (type == EXT_ALPN)
			alpn_read(c, h);
		else if (type == EXT_VERSIONS)
			versions_read(c, h);
		vector_leave(c, list);
	}
	vector_leave(c, outer);
}

/* Can these bytes begin a TLS connection? Record type, major version, minor version, length, message type. */
static int first_bytes_check(const uint8_t *p, size_t n)
{
	if (n >= 1 && p[0] != RECORD_HANDSHAKE)
		return CLIENT_HELLO_E_NOT_TLS;
	if (n >= 2 && p[1] != 3)
		return CLIENT_HELLO_E_NOT_TLS;
	if (n >= 3 && p[2] > 4)
		return CLIENT_HELLO_E_NOT_TLS;
	if (n >= 6 && p[5] != HANDSHAKE_HELLO)
		return CLIENT_HELLO_E_NOT_TLS;
	return n < 6 ? CLIENT_HELLO_E_MORE : 0;
}

int client_hello_parse(struct str input, struct client_hello *ret)
{
	struct cursor c = { .p = (const uint8_t *)input.p, .n = input.n, .left = UINT32_MAX };
	struct client_hello h = { 0 };
	uint32_t len;
	int r = first_bytes_check(c.p, c.n);

	if (r)
		return r;
	(void)u8(&c); /* the type, seen above */
	len = u24(&c);
	if (!c.err && len > CLIENT_HELLO_MAX_BYTES - RECORD_HEADER_BYTES - 4)
		return CLIENT_HELLO_E_BAD;
	c.left = len;
	h.version_max = u16(&c);
	skip(&c, 32);	   /* random */
	skip(&c, u8(&c));  /* session id */
	skip(&c, u16(&c)); /* cipher suites */
	skip(&c, u8(&c));  /* compression methods */
	if (!c.err && c.left > 0)
		extensions_read(&c, &h);
	if (!c.err && c.left > 0)
		c.err = CLIENT_HELLO_E_BAD; /* bytes behind the extensions */
	if (c.err == CLIENT_HELLO_E_MORE && input.n >= CLIENT_HELLO_MAX_BYTES)
		return CLIENT_HELLO_E_BAD;
	if (c.err)
		return c.err;
	*ret = h;
	return 0;
}
