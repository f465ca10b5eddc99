/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 frames by hand: what a peer of ours writes, and a reader that holds ours to the rules
 *
 * Writing refuses nothing: a fuzz input may say what no library would. Reading accepts only what RFC 9113 lets us send.
 */
#ifndef TRAMMEL_TESTS_FUZZ_H2_WIRE_H
#define TRAMMEL_TESTS_FUZZ_H2_WIRE_H

#include <nghttp2/nghttp2.h>
#include "base/buf.h"
#include "base/str.h"

#define WIRE_STREAMS 1024 /* more than any input opens */

/** wire_frame() - append one frame */
void wire_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t id, struct str payload);

/** wire_field() - append one field, spelled out: no table, no Huffman code */
void wire_field(struct buf *out, struct str name, struct str value);

/** wire_fields() - append "name=value\nname=value" */
void wire_fields(struct buf *out, struct str lines);

/** wire_pattern() - the byte at @at of the body that goes @from_server on stream @id */
static inline char wire_pattern(bool from_server, uint32_t id, uint64_t at)
{
	return (char)(at * 7 + (at >> 8) + id * 13 + (from_server ? 101 : 3));
}

struct wire_stream {
	uint32_t id;
	uint64_t data_bytes;
	uint64_t credit; /* of WINDOW_UPDATE */
	bool head, final_head, ended, reset;
};

/* What the peer has heard from us. */
struct wire_reader {
	nghttp2_hd_inflater *inflater;
	bool from_server;
	bool greeted, settled; /* preface, first SETTINGS */
	bool block_ends;       /* of the field block under way: END_STREAM */
	uint32_t block_id;     /* CONTINUATION must follow */
	struct buf block;
	uint32_t last_id;      /* highest opened */
	uint32_t goaway_id;    /* lowest: those above were not looked at, and may be sent elsewhere */
	bool goaway;
	uint64_t credit;
	char ping[8]; /* the last that wants an answer */
	size_t n_streams;
	struct wire_stream streams[WIRE_STREAMS];
};

void wire_reader_init(struct wire_reader *w, bool from_server);
void wire_reader_done(struct wire_reader *w);

/** wire_stream_get() - what was heard of stream @id; nothing so far is an answer, too */
struct wire_stream *wire_stream_get(struct wire_reader *w, uint32_t id);

/** wire_read() - @bytes end with a whole frame; aborts at the first thing that may not be sent */
void wire_read(struct wire_reader *w, struct str bytes);

#endif
