/* SPDX-License-Identifier: Apache-2.0 */
/* Operational log: see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

#define LINE_BYTES     2048
#define LINES_PER_SITE 10

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *log_program = "trammel";
static enum log_level log_level_now = LOG_INFO;

void log_init(const char *program, enum log_level level)
{
	const char *env = getenv("TRAMMEL_LOG");

	log_program = program;
	log_level_now = level;
	for (int i = 0; env && i <= LOG_DEBUG; i++)
		if (strcmp(env, level_names[i]) == 0)
			log_level_now = (enum log_level)i;
}

void log_set_level(enum log_level level)
{
	log_level_now = level;
}

enum log_level log_get_level(void)
{
	return log_level_now;
}

static void line_write(enum log_level level, uint32_t left_out, const char *msg, const char *fmt, va_list ap)
{
	char line[LINE_BYTES];
	uint64_t now = clock_wall_ns();
	time_t s = (time_t)(now / NS_PER_S);
	struct tm tm;
	size_t n;
	int k;

	gmtime_r(&s, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03uZ %s %s: %.200s", (unsigned int)(now / NS_PER_MS % 1000),
			      level_names[level], log_program, msg);
	if (fmt) {
		line[n++] = ' ';
		k = vsnprintf(line + n, sizeof(line) - n - 40, fmt, ap);
		n += k < 0 ? 0 : (size_t)k < sizeof(line) - n - 40 ? (size_t)k : sizeof(line) - n - 41;
	}
	if (left_out)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " left_out=%u", left_out);
	for (size_t i = 0; i < n; i++) /* nothing a peer sent may start a line of its own or drive a terminal */
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, n); /* nowhere to report a full stderr to */
}

void log_write(enum log_level level, const char *msg, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level_now)
		return;
	va_start(ap, fmt);
	line_write(level, 0, msg, fmt, ap);
	va_end(ap);
}

void log_write_limited(struct log_site *site, enum log_level level, const char *msg, const char *fmt, ...)
{
	uint64_t second = clock_mono_ns() / NS_PER_S;
	uint32_t left_out = 0;
	va_list ap;

	if (level > log_level_now)
		return;
	if (site->second != second) {
		left_out = site->left_out;
		*site = (struct log_site){ .second = second };
	}
	if (site->written >= LINES_PER_SITE) {
		site->left_out++;
		return;
	}
	site->written++;
	va_start(ap, fmt);
	line_write(level, left_out, msg, fmt, ap);
	va_end(ap);
}
