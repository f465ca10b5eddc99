/* SPDX-License-Identifier: Apache-2.0 */
/* A fuzz input as a script: see script.h. */
#include "tests/fuzz/h2/script.h"

#include <string.h>
#include "base/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/h2/owner.h"

#define STEPS_MAX 600
#define IDS	  64

enum step {
	SCRIPT_RAW,
	SCRIPT_HEAD,
	SCRIPT_FIELDS,
	SCRIPT_DATA,
	SCRIPT_WINDOW,
	SCRIPT_SETTINGS,
	SCRIPT_RESET,
	SCRIPT_PING,
	SCRIPT_GOAWAY,
	SCRIPT_PRIORITY,
	SCRIPT_CONTINUATION,
	SCRIPT_ACT,
	SCRIPT_HABIT,
	SCRIPT_ARRIVE,
	SCRIPT_TIME,
	SCRIPT_CONN,
};

/* Heads that a server reads, and those that a client reads: good ones first. */
static const char *const requests[] = {
	":method=GET\n:scheme=http\n:path=/\n:authority=a",
	":method=POST\n:scheme=http\n:path=/p\n:authority=a\ncontent-length=5",
	":method=POST\n:scheme=http\n:path=/p?q\n:authority=a:80\nte=trailers\ntrailer=x-t",
	":method=CONNECT\n:protocol=websocket\n:scheme=http\n:path=/ws\n:authority=a",
	":method=HEAD\n:scheme=https\n:path=/%2e/h\nhost=a",
	":method=OPTIONS\n:scheme=http\n:path=*\n:authority=a\ncookie=a=1\ncookie=b=2\ncookie=c",
	":method=POST\n:scheme=http\n:path=/e\n:authority=a\nexpect=100-continue",
	":method=CONNECT\n:authority=a:443",
	"x-trailer=1\nx-other=\ncontent-length=9",
	":method=GET\n:scheme=http\n:path=/../x\n:authority=a",
	":method=TRACE\n:scheme=http\n:path=/\n:authority=a",
	":method=GET\n:scheme=http\n:path=/\n:authority=a\nhost=b",
	":method=GET\n:scheme=http\n:path=/\n:authority=a\nconnection=close",
	":method=GET\n:scheme=ftp\n:path=x\n:authority=a@b\ncontent_length=1",
	":method=GET\n:path=/\n:authority=a\nx=1\n:scheme=http",
	"",
};

static const char *const responses[] = {
	":status=200\ncontent-type=text/plain",
	":status=204",
	":status=200\ncontent-length=5",
	":status=103\nlink=x",
	":status=100",
	":status=304\ncontent-length=70",
	":status=404\nset-cookie=a\nset-cookie=b",
	":status=503\ntrailer=x-t",
	"x-trailer=1\ngrpc-status=0\nset-cookie=no",
	":status=101\nupgrade=websocket",
	":status=999",
	":status=20",
	":status=200\ncontent_length=5",
	":status=200\ntransfer-encoding=chunked",
	":status=200\nX-Upper=1",
	"",
};

struct script {
	const uint8_t *p;
	size_t left;
	struct owner o;
	struct buf in; /* written by the peer, not arrived */
	uint64_t data_bytes; /* of DATA, with its padding */
	uint64_t body_at[IDS];
	bool broken; /* frames were left half said: nothing that comes later can be told for sure */
};

static uint8_t take(struct script *t)
{
	if (!t->left)
		return 0;
	t->left--;
	return *t->p++;
}

static struct str take_bytes(struct script *t, size_t n)
{
	struct str s = { (const char *)t->p, MIN(n, t->left) };

	t->p += s.n;
	t->left -= s.n;
	return s;
}

/* Mostly odd and low, so that steps meet. */
static uint32_t take_id(struct script *t)
{
	uint8_t b = take(t);

	if (b & 0x80)
		return b & 0x40 ? 0 : (b & 0x3fu) * 2;
	return (b & 0x3fu) * 2 + 1;
}

static void block_put(struct script *t, uint32_t id, uint8_t how, struct str block)
{
	uint8_t flags = (how & 0x10 ? NGHTTP2_FLAG_END_STREAM : 0) | (how & 0x20 ? 0 : NGHTTP2_FLAG_END_HEADERS);

	if (how & 0x40 && block.n) { /* in two */
		size_t cut = block.n / 2;

		wire_frame(&t->in, NGHTTP2_HEADERS, flags & (uint8_t)~NGHTTP2_FLAG_END_HEADERS, id, (struct str){ block.p, cut });
		wire_frame(&t->in, NGHTTP2_CONTINUATION, flags & NGHTTP2_FLAG_END_HEADERS, id, (struct str){ block.p + cut, block.n - cut });
	} else {
		wire_frame(&t->in, NGHTTP2_HEADERS, flags, id, block);
	}
	t->broken |= how & 0x20;
}

static void head_step(struct script *t)
{
	uint32_t id = take_id(t);
	uint8_t how = take(t);
	const char *lines = t->o.c.is_server ? requests[how & 15] : responses[how & 15];
	struct buf block;

	buf_init(&block, 1 << 16);
	wire_fields(&block, str_from(lines));
	block_put(t, id, how, buf_str(&block));
	buf_done(&block);
}

/* A head that is good so far, and fields of the input's own. */
static void fields_step(struct script *t)
{
	uint32_t id = take_id(t);
	uint8_t how = take(t), n = take(t);
	struct buf block;

	buf_init(&block, 1 << 20);
	if (n & 0x80)
		wire_fields(&block, str_from(t->o.c.is_server ? requests[n >> 4 & 7] : responses[n >> 4 & 7]));
	for (int i = 0; i < (n & 15); i++) {
		struct str name = take_bytes(t, take(t) & 31);
		uint8_t size = take(t), times = size >= 0xf0 ? 120 : 1;
		struct str value = take_bytes(t, size & 63);

		while (times-- > 0)
			wire_field(&block, name, value);
	}
	if (block.len <= 16384) /* what is more takes more frames than this writes */
		block_put(t, id, how & 0x70, buf_str(&block));
	buf_done(&block);
}

static void data_step(struct script *t)
{
	uint32_t id = take_id(t);
	uint8_t how = take(t), size = take(t);
	uint32_t n = how & 0x80 ? size * 64u : size;
	uint8_t pad = how & 0x40 ? take(t) : 0;
	size_t at = 0, all = n + (how & 0x40 ? pad + 1u : 0);
	char *bytes = calloc(1, all + 1);

	FUZZ_CHECK(bytes);
	if (how & 0x40)
		bytes[at++] = (char)pad;
	for (uint32_t i = 0; i < n; i++)
		bytes[at++] = wire_pattern(!t->o.c.is_server, id, t->body_at[id / 2 % IDS] + i);
	t->body_at[id / 2 % IDS] += n;
	t->data_bytes += all;
	wire_frame(&t->in, NGHTTP2_DATA, (how & 0x10 ? NGHTTP2_FLAG_END_STREAM : 0) | (how & 0x40 ? NGHTTP2_FLAG_PADDED : 0), id,
		   (struct str){ bytes, all });
	free(bytes);
}

static void frame_u32(struct script *t, uint8_t type, uint32_t id, uint32_t v)
{
	const char p[] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	wire_frame(&t->in, type, 0, id, (struct str){ p, sizeof(p) });
}

static void settings_step(struct script *t)
{
	uint8_t id = take(t), mantissa = take(t), exponent = take(t);
	uint32_t v = (uint32_t)mantissa << (exponent & 31);
	const char p[] = { 0, (char)(id & 15), (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	if (id & 0x80)
		wire_frame(&t->in, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
	else
		wire_frame(&t->in, NGHTTP2_SETTINGS, 0, 0, (struct str){ p, id & 0x40 ? 0 : sizeof(p) });
}

static void frame_step(struct script *t, enum step step)
{
	uint32_t id = take_id(t);
	uint8_t a = take(t);

	switch (step) {
	case SCRIPT_WINDOW:
		frame_u32(t, NGHTTP2_WINDOW_UPDATE, id, a & 0x80 ? 0x7fffff00u + a : (uint32_t)a << 10);
		return;
	case SCRIPT_RESET:
		frame_u32(t, NGHTTP2_RST_STREAM, id, a & 15);
		return;
	case SCRIPT_PRIORITY:
		wire_frame(&t->in, NGHTTP2_PRIORITY, 0, id, (struct str){ (char[]){ 0, 0, 0, (char)a, 1 }, 5 });
		return;
	case SCRIPT_PING:
		wire_frame(&t->in, NGHTTP2_PING, a & 1, 0, a & 2 ? (struct str){ t->o.heard.ping, 8 } : STR("12345678"));
		return;
	case SCRIPT_GOAWAY:
		wire_frame(&t->in, NGHTTP2_GOAWAY, 0, 0,
			   (struct str){ (char[]){ 0, 0, (char)(id >> 8), (char)id, 0, 0, 0, (char)(a & 15) }, 8 });
		return;
	default:
		wire_frame(&t->in, NGHTTP2_CONTINUATION, a & NGHTTP2_FLAG_END_HEADERS, id, take_bytes(t, take(t) & 31));
	}
}

/* What was written arrives, whole or in parts; after each the connection has its turn. */
static void arrive(struct script *t, uint8_t how)
{
	size_t part = how & 0x3f ? how & 0x3f : SIZE_MAX;
	bool data_ok = !(how & 0x40);
	struct str all = buf_str(&t->in);
	size_t n;

	if (part < 64 && all.n / part > 200)
		part = all.n / 200;
	for (size_t at = 0; at < all.n; at += n) {
		n = MIN(part, all.n - at);
		owner_turn(&t->o, (struct str){ all.p + at, n }, data_ok);
	}
	owner_turn(&t->o, STR(""), data_ok);
	buf_consume(&t->in, t->in.len);
}

static void habit_step(struct script *t)
{
	uint8_t a = take(t), b = take(t);

	t->o.habit = (struct owner_habit){ .when = a & 3, .act = (enum owner_act)((a >> 2 & 15) % OWNER_ACTS), .consume = a & 0x40,
					   .refuse = (a & 0x83) == 0x80, .body_bytes = (uint32_t)b << 8 };
}

static void act_step(struct script *t)
{
	uint8_t which = take(t), a = take(t);
	struct owner_stream *s = owner_stream_at(&t->o, which);

	if (s && !t->o.ended)
		owner_do(s, (enum owner_act)((a & 15) % OWNER_ACTS), 1 + (uint32_t)(a >> 4) * 4096);
}

static void conn_step(struct script *t)
{
	struct h2_conn *c = &t->o.c;
	uint8_t a = take(t);

	if (t->o.ended)
		return;
	if (!c->is_server && a & 0x80)
		owner_open(&t->o, a);
	else if ((a & 3) == 0)
		h2_conn_goaway(c, false, NGHTTP2_NO_ERROR);
	else if ((a & 3) == 1)
		h2_conn_goaway(c, true, NGHTTP2_NO_ERROR);
	else if (!c->ping_pending)
		FUZZ_CHECK(h2_conn_ping(c, 7) == 0);
}

static void step(struct script *t, enum step what)
{
	struct str raw;

	switch (what) {
	case SCRIPT_RAW:
		raw = take_bytes(t, take(t));
		t->o.raw = t->broken = true;
		FUZZ_CHECK(buf_append_str(&t->in, raw) == 0);
		return;
	case SCRIPT_HEAD:
		head_step(t);
		return;
	case SCRIPT_FIELDS:
		fields_step(t);
		return;
	case SCRIPT_DATA:
		data_step(t);
		return;
	case SCRIPT_SETTINGS:
		settings_step(t);
		return;
	case SCRIPT_ACT:
		act_step(t);
		return;
	case SCRIPT_HABIT:
		habit_step(t);
		return;
	case SCRIPT_ARRIVE:
		arrive(t, take(t));
		return;
	case SCRIPT_TIME:
		t->o.now_ns += take(t) * (NS_PER_MS * 100ull);
		return;
	case SCRIPT_CONN:
		conn_step(t);
		return;
	default:
		frame_step(t, what);
	}
}

void script_run(bool is_server, const uint8_t *bytes, size_t n)
{
	static struct script t; /* large, and each run sets all of it */
	struct h2_settings set = h2_settings_default;
	uint8_t how;

	t.p = bytes;
	t.left = n;
	t.data_bytes = 0;
	t.broken = false;
	memset(t.body_at, 0, sizeof(t.body_at));
	buf_init(&t.in, 16 << 20);
	how = take(&t);
	if (how & 1)
		set.conn_window = 65535;
	if (how & 2)
		set.streams_max = 3;
	if (how & 4)
		set.stream_window = NGHTTP2_INITIAL_WINDOW_SIZE;
	set.connect_protocol = !(how & 8);
	set.stalls_alone = how & 64;
	set.window_max = how & 128 ? H2_WINDOW_MAX : 0;
	owner_init(&t.o, is_server, &set);
	if (is_server && !(how & 16))
		FUZZ_CHECK(buf_append(&t.in, NGHTTP2_CLIENT_MAGIC, 24) == 0);
	if (!(how & 32))
		wire_frame(&t.in, NGHTTP2_SETTINGS, 0, 0, STR(""));
	t.broken = how & (16 | 32);
	for (int i = 0; i < STEPS_MAX && t.left && !t.o.ended; i++)
		step(&t, (enum step)(take(&t) & 15));
	arrive(&t, 0);
	if (!t.broken && !t.o.ended)
		owner_settle(&t.o, t.data_bytes);
	owner_done(&t.o);
	buf_done(&t.in);
}
