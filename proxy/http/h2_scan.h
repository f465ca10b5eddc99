/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames begin in the bytes of an HTTP/2 connection, and what nghttp2 says nothing of. Pure
 *
 * nghttp2 passes over DATA on streams that are closed without telling anybody, counts CONTINUATION frames by the calls they
 * come in, takes any number of changes of HPACK's table, and cannot be stopped between two requests. To see such frames
 * their headers are followed here, beside it, and the first bytes of field blocks; nothing else is read.
 */
#ifndef TRAMMEL_PROXY_HTTP_H2_SCAN_H
#define TRAMMEL_PROXY_HTTP_H2_SCAN_H

#include <stdbool.h>
#include "base/str.h"

#define H2_FRAME_HEAD_BYTES 9
#define H2_PREFACE_BYTES    24
#define H2_TABLE_UPDATES    2 /* of a field block: RFC 7541 section 4.2 */

enum h2_scan_stop {
	H2_SCAN_END,	       /* of the input */
	H2_SCAN_DATA,	       /* a frame, as below */
	H2_SCAN_HEADERS,       /* a frame */
	H2_SCAN_CONTINUATION,  /* a frame */
	H2_SCAN_GOAWAY,	       /* a frame */
	H2_SCAN_TABLE_UPDATES, /* more than H2_TABLE_UPDATES in one block */
};

struct h2_scan {
	uint32_t left; /* bytes to pass over: of a payload, of the preface */
	uint8_t head[H2_FRAME_HEAD_BYTES];
	uint8_t n_head;
	uint32_t n_continuations; /* in a row, up to the frame last stopped at */
	int32_t id;		  /* of the stream of the frame last stopped at */
	/* the field block under way, up to its first field */
	bool at_updates;      /* nothing but changes of the table so far */
	bool in_number;	      /* of one of them */
	bool is_padded;	      /* the pad length comes next */
	uint8_t skip, pad;    /* bytes of this frame before and behind its part of the block */
	uint32_t n_updates;
};

/**
 * h2_scan_next() - go on to what is to be looked at
 * @from:      where to go on in @input: behind what the last call returned, if that was a frame; else there
 *
 * Return: what it is, and in @ret_to up to where @input may be given to nghttp2 before anything is decided. For a frame
 * that is all of its header but the last byte.
 */
enum h2_scan_stop h2_scan_next(struct h2_scan *s, struct str input, size_t from, size_t *ret_to);

/** h2_scan_step_back() - what was stopped at is a frame, and is to be stopped at again: the last byte of its header comes again */
void h2_scan_step_back(struct h2_scan *s);

#endif
