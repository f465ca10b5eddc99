/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operational log
 *
 * One line per event on stderr: time, level, program, message, key=value pairs. Values with spaces or quotes are
 * quoted by the caller with LOG_Q. Anything a peer can trigger goes through log_limited(), which writes at most
 * 10 lines a second per call site and then says how many it left out.
 */
#ifndef TRAMMEL_BASE_LOG_H
#define TRAMMEL_BASE_LOG_H

#include <stdint.h>

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
};

struct log_site {
	uint64_t second;
	uint32_t written, left_out;
};

/** log_init() - @program is borrowed for ever; level from TRAMMEL_LOG (error, warn, info, debug), else @level */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/** log_write() - @msg: a constant sentence; @fmt: key=value pairs, or NULL. Any thread. */
void log_write(enum log_level level, const char *msg, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void log_write_limited(struct log_site *site, enum log_level level, const char *msg, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define log_error(msg, ...) log_write(LOG_ERROR, msg, __VA_ARGS__)
#define log_warn(msg, ...)  log_write(LOG_WARN, msg, __VA_ARGS__)
#define log_info(msg, ...)  log_write(LOG_INFO, msg, __VA_ARGS__)
#define log_debug(msg, ...)                                                                                            \
	do {                                                                                                           \
		if (log_get_level() >= LOG_DEBUG)                                                                      \
			log_write(LOG_DEBUG, msg, __VA_ARGS__);                                                        \
	} while (0)
#define log_limited(level, msg, ...)                                                                                   \
	do {                                                                                                           \
		static __thread struct log_site log_site_;                                                             \
		log_write_limited(&log_site_, level, msg, __VA_ARGS__);                                                \
	} while (0)

#endif
