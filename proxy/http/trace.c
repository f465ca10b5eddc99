/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace headers: see trace.h
 *
 * W3C Trace Context level 2 (traceparent, tracestate), B3 in one field or in several. What came in is read first, then
 * struck out, then written anew: nothing malformed is ever passed on.
 */
#include "proxy/http/trace.h"

#include <errno.h>
#include <sys/random.h>
#include "proxy/http/lex.h"

#define STATE_MEMBERS_MAX    32
#define STATE_BYTES_MAX	     8192
#define REQUEST_ID_BYTES_MAX 128
#define FLAG_SAMPLED	     0x01

/* ---- random ---- */

static uint64_t splitmix(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void trace_random_seed(struct trace_random *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix(&seed);
}

int trace_random_init(struct trace_random *r)
{
	uint64_t seed[4];
	ssize_t n;

	do
		n = getrandom(seed, sizeof(seed), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	memcpy(r->s, seed, sizeof(seed));
	r->s[0] |= 1; /* all zero is the one state that never leaves itself */
	return 0;
}

static uint64_t rotl(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

uint64_t trace_random_next(struct trace_random *r)
{
	uint64_t *s = r->s, v = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return v;
}

static void hex16(char *to, uint64_t v)
{
	for (int i = 15; i >= 0; i--, v >>= 4)
		to[i] = "0123456789abcdef"[v & 15];
}

/* Ids of only zeros are invalid everywhere. */
static void random_hex16(struct trace_random *random, char *to)
{
	uint64_t v;

	do
		v = trace_random_next(random);
	while (!v);
	hex16(to, v);
}

/* ---- reading ---- */

static bool is_hex(const char *p, size_t n, bool upper_too)
{
	for (size_t i = 0; i < n; i++)
		if (lex_hex[(unsigned char)p[i]] < 0 || (!upper_too && p[i] >= 'A' && p[i] <= 'F'))
			return false;
	return true;
}

static bool is_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != '0')
			return false;
	return true;
}

int trace_parent_parse(struct str v, struct trace_parent *ret)
{
	const char *p = v.p;

	/* version "-" trace-id "-" parent-id "-" flags */
	if (v.n < 55 || p[2] != '-' || p[35] != '-' || p[52] != '-' || !is_hex(p, 2, false) || !is_hex(p + 3, 32, false) ||
	    !is_hex(p + 36, 16, false) || !is_hex(p + 53, 2, false))
		return -EINVAL;
	if (p[0] == 'f' && p[1] == 'f')
		return -EINVAL;
	/* a later version may say more, behind another dash; this one says no more */
	if (v.n > 55 && (p[55] != '-' || (p[0] == '0' && p[1] == '0')))
		return -EINVAL;
	if (is_zero(p + 3, 32) || is_zero(p + 36, 16))
		return -EINVAL;
	memcpy(ret->trace_id, p + 3, 32);
	memcpy(ret->span_id, p + 36, 16);
	ret->flags = (uint8_t)(lex_hex[(unsigned char)p[53]] * 16 + lex_hex[(unsigned char)p[54]]);
	return 0;
}

/* W3C Trace Context level 2, section 3.3.1.3.1: '@' is one of the characters, wherever a vendor puts it */
static bool key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '*' || c == '/' || c == '@';
}

/* key = ( lcalpha / DIGIT ) 0*255 ( keychar ) */
static bool state_key_is_valid(struct str key)
{
	if (!key.n || key.n > 256 || !((key.p[0] >= 'a' && key.p[0] <= 'z') || (key.p[0] >= '0' && key.p[0] <= '9')))
		return false;
	for (size_t i = 1; i < key.n; i++)
		if (!key_char(key.p[i]))
			return false;
	return true;
}

static bool state_value_is_valid(struct str v)
{
	if (!v.n || v.n > 256 || v.p[v.n - 1] == ' ')
		return false;
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] < 0x20 || v.p[i] > 0x7e || v.p[i] == ',' || v.p[i] == '=')
			return false;
	return true;
}

bool trace_state_is_valid(struct str value)
{
	struct str rest = value, member;
	size_t n = 0;

	if (value.n > STATE_BYTES_MAX)
		return false;
	while (str_split(&rest, ',', &member)) {
		struct str key;
		ptrdiff_t eq;

		member = str_trim_ows(member);
		if (!member.n)
			continue;
		eq = str_find_char(member, '=');
		if (eq < 0 || n == STATE_MEMBERS_MAX)
			return false;
		key = (struct str){ member.p, (size_t)eq };
		if (!state_key_is_valid(key) ||
		    !state_value_is_valid((struct str){ member.p + eq + 1, member.n - (size_t)eq - 1 }))
			return false;
		n++;
	}
	return n > 0;
}

/* The only field of @id; NULL when absent or repeated. */
static const struct http_field *find_single(const struct http_head *head, enum http_field_id id)
{
	const struct http_field *found = http_head_find(head, id);

	for (uint16_t i = 0; found && i < head->n_fields; i++)
		if (head->fields[i].id == id && !head->fields[i].removed && &head->fields[i] != found)
			return NULL;
	return found;
}

static struct str value_of(const struct http_head *head, enum http_field_id id)
{
	const struct http_field *f = find_single(head, id);

	return f ? f->value : (struct str){ NULL, 0 };
}

/* What came in, in whichever form. */
struct incoming {
	struct trace_parent parent;
	bool valid, from_w3c;
	bool b3_single, b3_multi; /* forms to answer in */
	bool decided, sampled, debug; /* B3's word on sampling */
};

/* 16 digits are the low half of a trace id (B3 section "TraceId"). */
static bool b3_ids(struct str trace_id, struct str span_id, struct trace_parent *ret)
{
	size_t pad = 32 - trace_id.n;

	if ((trace_id.n != 32 && trace_id.n != 16) || span_id.n != 16 || !is_hex(trace_id.p, trace_id.n, true) ||
	    !is_hex(span_id.p, 16, true) || is_zero(trace_id.p, trace_id.n) || is_zero(span_id.p, 16))
		return false;
	memset(ret->trace_id, '0', pad);
	for (size_t i = 0; i < trace_id.n; i++)
		ret->trace_id[pad + i] = ascii_lower(trace_id.p[i]);
	for (size_t i = 0; i < 16; i++)
		ret->span_id[i] = ascii_lower(span_id.p[i]);
	return true;
}

static void b3_sampling(struct incoming *in, struct str s)
{
	in->decided = s.n == 1 && (s.p[0] == '0' || s.p[0] == '1' || s.p[0] == 'd');
	in->debug = in->decided && s.p[0] == 'd';
	in->sampled = in->decided && s.p[0] != '0';
}

/* b3: trace-id "-" span-id [ "-" sampling [ "-" parent ] ], or sampling alone */
static bool b3_single_read(struct str v, struct incoming *in, struct trace_parent *ret)
{
	struct str part[4] = { 0 };
	size_t n = 0;

	while (n < 4 && str_split(&v, '-', &part[n]))
		n++;
	if (v.p)
		return false;
	if (n == 1) {
		b3_sampling(in, part[0]);
		return false;
	}
	if (!b3_ids(part[0], part[1], ret))
		return false;
	if (n > 2)
		b3_sampling(in, part[2]);
	return true;
}

static bool b3_multi_read(const struct http_head *head, struct incoming *in, struct trace_parent *ret)
{
	struct str sampled = value_of(head, HTTP_FIELD_X_B3_SAMPLED);

	if (str_eq_nocase(sampled, STR("true")))
		sampled = STR("1");
	else if (str_eq_nocase(sampled, STR("false")))
		sampled = STR("0");
	else if (str_eq(sampled, STR("d")))
		sampled = STR("");
	if (str_eq(value_of(head, HTTP_FIELD_X_B3_FLAGS), STR("1")))
		sampled = STR("d");
	if (sampled.n)
		b3_sampling(in, sampled);
	return b3_ids(value_of(head, HTTP_FIELD_X_B3_TRACEID), value_of(head, HTTP_FIELD_X_B3_SPANID), ret);
}

static void incoming_read(const struct http_head *head, struct incoming *in)
{
	struct trace_parent single, multi;
	bool single_valid = false, multi_valid = false;
	const struct http_field *f;

	*in = (struct incoming){ 0 };
	in->b3_single = http_head_has(head, HTTP_FIELD_B3);
	in->b3_multi = http_head_has(head, HTTP_FIELD_X_B3_TRACEID) || http_head_has(head, HTTP_FIELD_X_B3_SAMPLED) ||
		       http_head_has(head, HTTP_FIELD_X_B3_FLAGS);
	if (in->b3_multi)
		multi_valid = b3_multi_read(head, in, &multi);
	/* the single field is preferred where both came (B3 section "Single Header") */
	if (in->b3_single && (f = find_single(head, HTTP_FIELD_B3)))
		single_valid = b3_single_read(f->value, in, &single);
	f = find_single(head, HTTP_FIELD_TRACEPARENT);
	if (f && trace_parent_parse(f->value, &in->parent) == 0) {
		in->valid = in->from_w3c = true;
		return;
	}
	in->valid = single_valid || multi_valid;
	if (in->valid)
		in->parent = single_valid ? single : multi;
}

/* ---- writing ---- */

/* tracestate in one field: several were one list (W3C section 3.3.1.1). Empty when it must not be passed. */
static int state_join(const struct http_head *head, struct pool *pool, struct str *ret)
{
	size_t n = 0;
	char *mem, *p;

	*ret = (struct str){ NULL, 0 };
	if (!http_head_has(head, HTTP_FIELD_TRACESTATE))
		return 0;
	for (uint16_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == HTTP_FIELD_TRACESTATE && !head->fields[i].removed)
			n += head->fields[i].value.n + 1;
	if (n > STATE_BYTES_MAX)
		return 0;
	p = mem = pool_alloc(pool, n + 1);
	if (!mem)
		return -ENOMEM;
	for (uint16_t i = 0; i < head->n_fields; i++) {
		const struct http_field *f = &head->fields[i];

		if (f->id != HTTP_FIELD_TRACESTATE || f->removed || !f->value.n)
			continue;
		if (p != mem)
			*p++ = ',';
		p = mempcpy(p, f->value.p, f->value.n);
	}
	if (trace_state_is_valid((struct str){ mem, (size_t)(p - mem) }))
		*ret = (struct str){ mem, (size_t)(p - mem) };
	return 0;
}

static int add_b3_single(struct http_head *head, struct pool *pool, const struct incoming *in, const struct trace *t)
{
	/* trace-id - span-id - sampling - parent */
	char *mem = pool_alloc(pool, 32 + 1 + 16 + 2 + 1 + 16), *p;

	if (!mem)
		return -ENOMEM;
	p = mempcpy(mem, t->trace_id.p, 32);
	*p++ = '-';
	p = mempcpy(p, t->span_id.p, 16);
	*p++ = '-';
	*p++ = in->debug ? 'd' : t->sampled ? '1' : '0';
	if (t->parent_id.n) {
		*p++ = '-';
		p = mempcpy(p, t->parent_id.p, 16);
	}
	return http_head_add(head, HTTP_FIELD_B3, STR("b3"), (struct str){ mem, (size_t)(p - mem) });
}

static int add_b3_multi(struct http_head *head, const struct incoming *in, const struct trace *t)
{
	int r;

	r = http_head_add(head, HTTP_FIELD_X_B3_TRACEID, STR("x-b3-traceid"), t->trace_id);
	if (!r)
		r = http_head_add(head, HTTP_FIELD_X_B3_SPANID, STR("x-b3-spanid"), t->span_id);
	if (!r && t->parent_id.n)
		r = http_head_add(head, HTTP_FIELD_X_B3_PARENTSPANID, STR("x-b3-parentspanid"), t->parent_id);
	if (r)
		return r;
	/* debug implies an accept decision: the one is not sent with the other */
	if (in->debug)
		return http_head_add(head, HTTP_FIELD_X_B3_FLAGS, STR("x-b3-flags"), STR("1"));
	return http_head_add(head, HTTP_FIELD_X_B3_SAMPLED, STR("x-b3-sampled"), t->sampled ? STR("1") : STR("0"));
}

static bool request_id_is_valid(struct str v)
{
	if (!v.n || v.n > REQUEST_ID_BYTES_MAX)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= 0x20 || v.p[i] > 0x7e)
			return false;
	return true;
}

static int request_id_set(struct http_head *head, struct pool *pool, struct trace_random *random, struct trace *t)
{
	char hex[32], *mem;

	t->request_id = value_of(head, HTTP_FIELD_X_REQUEST_ID);
	if (request_id_is_valid(t->request_id))
		return 0;
	http_head_remove(head, HTTP_FIELD_X_REQUEST_ID);
	mem = pool_alloc(pool, 36);
	if (!mem)
		return -ENOMEM;
	/* RFC 9562 section 5.4: version 4, variant 10 */
	hex16(hex, (trace_random_next(random) & ~0xf000ull) | 0x4000ull);
	hex16(hex + 16, (trace_random_next(random) & ~(3ull << 62)) | 2ull << 62);
	for (int i = 0, from = 0; i < 36; i++)
		mem[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : hex[from++];
	t->request_id = (struct str){ mem, 36 };
	return http_head_add(head, HTTP_FIELD_X_REQUEST_ID, STR("x-request-id"), t->request_id);
}

/* "00-" trace-id "-" our span "-" flags; the ids of @t point into it. */
static int add_traceparent(struct http_head *head, struct pool *pool, struct trace_random *random,
			   const struct incoming *in, struct trace *t)
{
	char *mem = pool_alloc(pool, 55 + 16);
	uint8_t flags;

	if (!mem)
		return -ENOMEM;
	memcpy(mem, "00-", 3);
	if (in->valid) {
		memcpy(mem + 3, in->parent.trace_id, 32);
		memcpy(mem + 55, in->parent.span_id, 16);
		t->parent_id = (struct str){ mem + 55, 16 };
	} else {
		random_hex16(random, mem + 3);
		random_hex16(random, mem + 19);
	}
	mem[35] = '-';
	random_hex16(random, mem + 36);
	mem[52] = '-';
	/* A new trace is sampled unless the caller said no; only the two flags that are defined are passed on. */
	if (in->from_w3c)
		flags = in->parent.flags & 0x03;
	else
		flags = (!in->decided || in->sampled ? FLAG_SAMPLED : 0) | (in->valid ? 0 : 0x02);
	mem[53] = '0';
	mem[54] = (char)('0' + flags);
	t->sampled = flags & FLAG_SAMPLED;
	t->trace_id = (struct str){ mem + 3, 32 };
	t->span_id = (struct str){ mem + 36, 16 };
	return http_head_add(head, HTTP_FIELD_TRACEPARENT, STR("traceparent"), (struct str){ mem, 55 });
}

struct str trace_parent_new(struct trace_random *random, struct pool *pool)
{
	char *mem = pool_alloc(pool, 55);

	if (!mem)
		return (struct str){ NULL, 0 };
	memcpy(mem, "00-", 3);
	random_hex16(random, mem + 3);
	random_hex16(random, mem + 19);
	mem[35] = '-';
	random_hex16(random, mem + 36);
	memcpy(mem + 52, "-03", 3);
	return (struct str){ mem, 55 };
}

int trace_apply(struct http_head *head, struct pool *pool, struct trace_random *random, struct trace *ret)
{
	struct trace t = { 0 };
	struct str state = { NULL, 0 };
	struct incoming in;
	int r;

	incoming_read(head, &in);
	if (in.from_w3c) {
		r = state_join(head, pool, &state);
		if (r < 0)
			return r;
	}
	for (int id = HTTP_FIELD_TRACEPARENT; id <= HTTP_FIELD_X_B3_FLAGS; id++)
		http_head_remove(head, (enum http_field_id)id);
	t.continued = in.valid;
	r = add_traceparent(head, pool, random, &in, &t);
	if (!r && state.n)
		r = http_head_add(head, HTTP_FIELD_TRACESTATE, STR("tracestate"), state);
	if (!r && in.b3_single)
		r = add_b3_single(head, pool, &in, &t);
	if (!r && in.b3_multi)
		r = add_b3_multi(head, &in, &t);
	if (!r)
		r = request_id_set(head, pool, random, &t);
	if (!r)
		*ret = t;
	return r;
}
