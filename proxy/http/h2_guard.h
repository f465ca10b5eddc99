/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an honest HTTP/2 peer does not do, counted
 *
 * Each counter has a rate at which it is forgiven and a bound. Pure; time is a parameter. The bounds are those of
 * docs/limits.md.
 */
#ifndef TRAMMEL_PROXY_HTTP_H2_GUARD_H
#define TRAMMEL_PROXY_HTTP_H2_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#define H2_RESET_BURST	     200 /* streams reset, theirs and those that they made us reset */
#define H2_RESET_PER_S	     33
#define H2_EARLY_REFUSED     2000 /* streams above our bound, opened before the peer could know it */
#define H2_GLITCH_GOAWAY     375 /* frames that are legal but odd, or ignored */
#define H2_GLITCH_CLOSE	     500
#define H2_GLITCH_PER_S	     10
#define H2_WINDOW_PER_DATA   10 /* WINDOW_UPDATE frames for each DATA frame sent, above a base */
#define H2_WINDOW_BASE	     200
#define H2_PRIORITY_BASE     100 /* PRIORITY frames, and as many again for each stream */
#define H2_CONTROL_BURST     1000 /* PING and SETTINGS */
#define H2_CONTROL_PER_S     20

enum h2_verdict {
	H2_FINE,
	H2_GO,	  /* say GOAWAY, let streams finish */
	H2_CLOSE, /* now */
};

struct h2_bucket {
	uint64_t at_ms;
	uint32_t level;
};

struct h2_guard {
	struct h2_bucket resets, glitches, control;
	uint64_t n_priority, n_streams, n_window_updates, n_data_sent;
	uint64_t busy_mark;
	uint32_t n_early;
};

/** h2_guard_reset() - a stream was reset, by them or because of them */
enum h2_verdict h2_guard_reset(struct h2_guard *g, uint64_t now_ms);
/** h2_guard_refused_early() - a stream was refused to a peer that has not acknowledged our SETTINGS */
enum h2_verdict h2_guard_refused_early(struct h2_guard *g);
/** h2_guard_glitch() - @n odd things */
enum h2_verdict h2_guard_glitch(struct h2_guard *g, uint32_t n, uint64_t now_ms);
/** h2_guard_control() - a PING or SETTINGS that wants an answer */
enum h2_verdict h2_guard_control(struct h2_guard *g, uint64_t now_ms);
/** h2_guard_is_busy() - has anything been opened or sent since the last look? */
bool h2_guard_is_busy(struct h2_guard *g);
enum h2_verdict h2_guard_priority(struct h2_guard *g);
enum h2_verdict h2_guard_window_update(struct h2_guard *g);

#endif
