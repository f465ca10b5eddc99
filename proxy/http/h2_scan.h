/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames begin in the bytes of an HTTP/2 connection. Pure
 *
 * nghttp2 passes over DATA on streams that are closed without telling anybody, and counts CONTINUATION frames by the
 * calls they come in. To see such frames their headers are followed here, beside it; nothing else is read.
 */
#ifndef TRAMMEL_PROXY_HTTP_H2_SCAN_H
#define TRAMMEL_PROXY_HTTP_H2_SCAN_H

#include "base/str.h"

#define H2_FRAME_HEAD_BYTES 9
#define H2_PREFACE_BYTES    24

struct h2_scan {
	uint32_t left; /* bytes to pass over: of a payload, of the preface */
	uint8_t head[H2_FRAME_HEAD_BYTES];
	uint8_t n_head;
	uint32_t n_continuations; /* in a row, up to the frame last stopped at */
};

/**
 * h2_scan_next() - go on to the next DATA or CONTINUATION frame
 * @from:      where to go on in @input
 * @ret_type:  NGHTTP2_DATA or NGHTTP2_CONTINUATION, when there is one
 * @ret_id:    its stream; 0: there is none in @input
 *
 * Return: index up to which @input says nothing of that frame's payload, and may be given to nghttp2 before anything is
 * decided: all but the last byte of its header has been passed.
 */
size_t h2_scan_next(struct h2_scan *s, struct str input, size_t from, uint8_t *ret_type, int32_t *ret_id);

#endif
