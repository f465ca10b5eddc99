/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames begin in the bytes of an HTTP/2 connection. Pure
 *
 * nghttp2 passes over DATA on streams that are closed without telling anybody. To see such frames their headers are
 * followed here, beside it; nothing else is read.
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
};

/**
 * h2_scan_data() - go on to the next DATA frame
 * @from:    where to go on in @input
 * @ret_id:  its stream; 0: there is none in @input
 *
 * Return: index up to which @input says nothing of that frame's payload, and may be given to nghttp2 before anything is
 * decided: all but the last byte of its header has been passed.
 */
size_t h2_scan_data(struct h2_scan *s, struct str input, size_t from, int32_t *ret_id);

#endif
