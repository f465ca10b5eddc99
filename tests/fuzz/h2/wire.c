/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 frames by hand: see wire.h. */
#include "tests/fuzz/h2/wire.h"

#include "proxy/http/h2_scan.h"
#include "proxy/http/lex.h"
#include "tests/fuzz/fuzz.h"

static void put(struct buf *out, const void *p, size_t n)
{
	FUZZ_CHECK(buf_append(out, p, n) == 0);
}

void wire_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t id, struct str payload)
{
	const uint8_t head[H2_FRAME_HEAD_BYTES] = { (uint8_t)(payload.n >> 16), (uint8_t)(payload.n >> 8), (uint8_t)payload.n, type,
						    flags, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };

	put(out, head, sizeof(head));
	put(out, payload.p, payload.n);
}

/* RFC 7541 section 5.1, a prefix of 7 bits; then the bytes as they are. */
static void put_string(struct buf *out, struct str s)
{
	size_t n = s.n;
	uint8_t b = n < 127 ? (uint8_t)n : 127;

	put(out, &b, 1);
	if (n >= 127)
		for (n -= 127;; n >>= 7) {
			b = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
			put(out, &b, 1);
			if (n <= 0x7f)
				break;
		}
	put(out, s.p, s.n);
}

void wire_field(struct buf *out, struct str name, struct str value)
{
	put(out, "", 1);
	put_string(out, name);
	put_string(out, value);
}

void wire_fields(struct buf *out, struct str lines)
{
	struct str line, name;

	while (str_split(&lines, '\n', &line))
		if (str_split(&line, '=', &name))
			wire_field(out, name, line.p ? line : STR(""));
}

void wire_reader_init(struct wire_reader *w, bool from_server)
{
	memset(w, 0, offsetof(struct wire_reader, streams));
	w->from_server = w->greeted = from_server;
	w->goaway_id = UINT32_MAX;
	buf_init(&w->block, 1 << 20);
	FUZZ_CHECK(nghttp2_hd_inflate_new(&w->inflater) == 0);
}

void wire_reader_done(struct wire_reader *w)
{
	nghttp2_hd_inflate_del(w->inflater);
	buf_done(&w->block);
}

/* RFC 9113 section 8.2.1 and 8.2.2 */
static void check_field(struct str name, struct str value)
{
	static const char *const hop[] = { "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host" };

	FUZZ_CHECK(name.n > 0);
	for (size_t i = name.p[0] == ':'; i < name.n; i++)
		FUZZ_CHECK((lex(name.p[i]) & LEX_TOKEN) && !(name.p[i] >= 'A' && name.p[i] <= 'Z'));
	if (value.n) {
		FUZZ_CHECK(lex_ctl_find(value.p, value.p + value.n) == value.p + value.n);
		FUZZ_CHECK(str_trim_ows(value).n == value.n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hop); i++)
		FUZZ_CHECK(!str_eq_c(name, hop[i]));
	FUZZ_CHECK(!str_eq_c(name, "te") || str_eq_c(value, "trailers"));
}

struct section {
	unsigned n_pseudo, n_fields, status;
};

/* Decodes the block; RFC 9113 section 8.3: pseudo-header fields first. */
static struct section section_read(struct wire_reader *w)
{
	const uint8_t *p = (const uint8_t *)buf_head(&w->block);
	struct section s = { 0 };
	size_t left = w->block.len;

	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(w->inflater, &nv, &flags, p, left, 1);

		FUZZ_CHECK(n >= 0);
		p += n;
		left -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			struct str name = { (char *)nv.name, nv.namelen }, value = { (char *)nv.value, nv.valuelen };

			check_field(name, value);
			FUZZ_CHECK(name.p[0] != ':' || s.n_fields == 0);
			*(name.p[0] == ':' ? &s.n_pseudo : &s.n_fields) += 1;
			if (str_eq_c(name, ":status"))
				s.status = (unsigned)(value.p[0] - '0') * 100 + (unsigned)(value.p[1] - '0') * 10;
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
		FUZZ_CHECK((flags & NGHTTP2_HD_INFLATE_EMIT) || left > 0);
	}
	FUZZ_CHECK(left == 0 && nghttp2_hd_inflate_end_headers(w->inflater) == 0);
	return s;
}

struct wire_stream *wire_stream_get(struct wire_reader *w, uint32_t id)
{
	for (size_t i = w->n_streams; i-- > 0;)
		if (w->streams[i].id == id)
			return &w->streams[i];
	FUZZ_CHECK((id & 1) && w->n_streams < WIRE_STREAMS); /* nobody here opens even ones */
	w->streams[w->n_streams] = (struct wire_stream){ .id = id };
	return &w->streams[w->n_streams++];
}

static void block_end(struct wire_reader *w)
{
	struct wire_stream *s = wire_stream_get(w, w->block_id);
	struct section got = section_read(w);

	if (s->final_head) {
		FUZZ_CHECK(w->block_ends && got.n_pseudo == 0); /* trailers */
	} else if (w->from_server) {
		FUZZ_CHECK(got.n_pseudo == 1 && got.status >= 100);
		s->final_head = got.status >= 200;
		FUZZ_CHECK(s->final_head || !w->block_ends);
	} else {
		FUZZ_CHECK(got.n_pseudo >= 2);
		s->final_head = true;
	}
	s->head = true;
	s->ended = w->block_ends;
	w->block_id = 0;
	buf_release(&w->block);
}

static void on_headers(struct wire_reader *w, uint8_t flags, uint32_t id, struct str payload)
{
	struct wire_stream *s = wire_stream_get(w, id);

	FUZZ_CHECK(!s->ended && !s->reset && !(flags & NGHTTP2_FLAG_PADDED));
	if (!w->from_server && !s->head) {
		FUZZ_CHECK(id > w->last_id);
		w->last_id = id;
	}
	if (flags & NGHTTP2_FLAG_PRIORITY)
		payload = (struct str){ payload.p + 5, payload.n - 5 };
	put(&w->block, payload.p, payload.n);
	w->block_id = id;
	w->block_ends = flags & NGHTTP2_FLAG_END_STREAM;
	if (flags & NGHTTP2_FLAG_END_HEADERS)
		block_end(w);
}

static void on_data(struct wire_reader *w, uint8_t flags, uint32_t id, struct str payload)
{
	struct wire_stream *s = wire_stream_get(w, id);

	FUZZ_CHECK(s->final_head && !s->ended && !s->reset && !(flags & NGHTTP2_FLAG_PADDED));
	for (size_t i = 0; i < payload.n; i++)
		FUZZ_CHECK(payload.p[i] == wire_pattern(w->from_server, id, s->data_bytes + i));
	s->data_bytes += payload.n;
	s->ended = flags & NGHTTP2_FLAG_END_STREAM;
}

static uint32_t u32_at(struct str payload, size_t at)
{
	const uint8_t *p = (const uint8_t *)payload.p + at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void on_window_update(struct wire_reader *w, uint32_t id, struct str payload)
{
	uint32_t n = u32_at(payload, 0);

	FUZZ_CHECK(payload.n == 4 && n > 0 && n <= INT32_MAX);
	*(id ? &wire_stream_get(w, id)->credit : &w->credit) += n;
}

static void on_goaway(struct wire_reader *w, struct str payload)
{
	FUZZ_CHECK(payload.n >= 8);
	w->goaway_id = MIN(w->goaway_id, u32_at(payload, 0));
	w->goaway = true;
}

static void on_frame(struct wire_reader *w, uint8_t type, uint8_t flags, uint32_t id, struct str payload)
{
	FUZZ_CHECK(w->settled || (type == NGHTTP2_SETTINGS && !(flags & NGHTTP2_FLAG_ACK)));
	FUZZ_CHECK(payload.n <= 16384 && (w->block_id == 0 || (type == NGHTTP2_CONTINUATION && id == w->block_id)));
	w->settled = true;
	switch (type) {
	case NGHTTP2_HEADERS:
		on_headers(w, flags, id, payload);
		return;
	case NGHTTP2_CONTINUATION:
		FUZZ_CHECK(w->block_id);
		put(&w->block, payload.p, payload.n);
		if (flags & NGHTTP2_FLAG_END_HEADERS)
			block_end(w);
		return;
	case NGHTTP2_DATA:
		on_data(w, flags, id, payload);
		return;
	case NGHTTP2_WINDOW_UPDATE:
		on_window_update(w, id, payload);
		return;
	case NGHTTP2_RST_STREAM:
		FUZZ_CHECK(payload.n == 4);
		if (w->from_server || (id & 1)) /* else a promise that came before our word against it: RFC 9113 section 8.4 */
			wire_stream_get(w, id)->reset = true;
		return;
	case NGHTTP2_GOAWAY:
		on_goaway(w, payload);
		return;
	default:
		FUZZ_CHECK(id == 0 && (type == NGHTTP2_SETTINGS || (type == NGHTTP2_PING && payload.n == sizeof(w->ping))));
		if (type == NGHTTP2_PING && !(flags & NGHTTP2_FLAG_ACK))
			memcpy(w->ping, payload.p, sizeof(w->ping));
	}
}

void wire_read(struct wire_reader *w, struct str in)
{
	if (in.n && !w->greeted) {
		FUZZ_CHECK(in.n >= H2_PREFACE_BYTES && !memcmp(in.p, NGHTTP2_CLIENT_MAGIC, H2_PREFACE_BYTES));
		in = (struct str){ in.p + H2_PREFACE_BYTES, in.n - H2_PREFACE_BYTES };
		w->greeted = true;
	}
	while (in.n) {
		const uint8_t *p = (const uint8_t *)in.p;
		size_t n;

		FUZZ_CHECK(in.n >= H2_FRAME_HEAD_BYTES);
		n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		FUZZ_CHECK(in.n >= H2_FRAME_HEAD_BYTES + n);
		on_frame(w, p[3], p[4], u32_at(in, 5) & INT32_MAX, (struct str){ in.p + H2_FRAME_HEAD_BYTES, n });
		in = (struct str){ in.p + H2_FRAME_HEAD_BYTES + n, in.n - H2_FRAME_HEAD_BYTES - n };
	}
}
