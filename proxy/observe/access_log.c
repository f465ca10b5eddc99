/* SPDX-License-Identifier: Apache-2.0 */
/* Access log: see access_log.h. */
#include "proxy/observe/access_log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/json.h"
#include "proxy/observe/reason.h"

#define LINES_MAX_BYTES  (256 * 1024)
#define KEPT_MAX_BYTES   (64 * 1024)
#define FLUSH_AT_BYTES   (32 * 1024) /* some 40 records: 0.2 ms of work */
#define IDLE_BYTES       (8 * 1024)  /* what a log that is written out may hold on to */
#define LINES_PER_SECOND 1000
#define SAMPLE_ONE_IN    100

void access_log_init(struct access_log *log, int fd)
{
	struct stat st;

	*log = (struct access_log){.fd = fd};
	log->may_block = fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
	record_queue_init(&log->kept, KEPT_MAX_BYTES);
	buf_init(&log->lines, LINES_MAX_BYTES);
}

void access_log_done(struct access_log *log)
{
	access_log_flush(log);
	record_queue_done(&log->kept);
	buf_done(&log->lines);
}

/* True when this line is to be written; *@ret_left_out lines before it were not. */
static bool line_is_due(struct access_log *log, uint64_t wall_ns, uint32_t *ret_left_out)
{
	uint64_t second = wall_ns / NS_PER_S;

	if (second != log->second) {
		log->second = second;
		log->written_in_second = 0;
	}
	log->written_in_second++;
	if (log->written_in_second > LINES_PER_SECOND && log->written_in_second % SAMPLE_ONE_IN != 0) {
		log->left_out++;
		return false;
	}
	*ret_left_out = log->left_out;
	log->left_out = 0;
	return true;
}

static void time_put(struct json_writer *w, uint64_t wall_ns)
{
	static __thread time_t date_s; /* the text below is of this second: a log line costs no calendar */
	static __thread char text[40];
	time_t s = (time_t)(wall_ns / NS_PER_S);
	size_t n = sizeof("2026-01-01T00:00:00") - 1;
	char digits[STR_U64_BYTES];
	struct str ms;
	struct tm tm;

	if (s != date_s || !text[0]) {
		gmtime_r(&s, &tm);
		n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		date_s = s;
	}
	ms = str_format_u64(digits, 1000 + wall_ns / NS_PER_MS % 1000); /* its 1 makes way for the point */
	memcpy(text + n, ms.p, ms.n);
	text[n] = '.';
	memcpy(text + n + ms.n, "Z", 2);
	json_cstr(w, "time", text);
}

static void addr_put(struct json_writer *w, const char *key, const struct addr *a)
{
	char text[ADDR_TEXT_BYTES];

	if (!addr_is_any(a))
		json_cstr(w, key, addr_format(a, text));
}

static void text_put(struct json_writer *w, const char *key, const char *value)
{
	if (value && *value)
		json_cstr(w, key, value);
}

static void str_put(struct json_writer *w, const char *key, struct str value)
{
	if (value.n)
		json_str(w, key, value);
}

static void party_put(struct json_writer *w, const char *key, const struct observe_party *p)
{
	json_open_object(w, key);
	text_put(w, "workload", p->workload);
	text_put(w, "namespace", p->namespace);
	text_put(w, "principal", p->spiffe_id);
	text_put(w, "service", p->service_name);
	text_put(w, "service_namespace", p->service_namespace);
	json_close_object(w);
}

static void http_put(struct json_writer *w, const struct observe_record *rec)
{
	str_put(w, "method", rec->method);
	str_put(w, "path", rec->path);
	str_put(w, "authority", rec->authority);
	text_put(w, "protocol", rec->protocol);
	json_u64(w, "response_code", rec->status);
	json_ms(w, "upstream_ms", rec->upstream_ns);
	str_put(w, "user_agent", rec->user_agent);
	str_put(w, "request_id", rec->request_id);
	str_put(w, "trace_id", rec->trace_id);
	json_bool(w, "local_reply", rec->local_reply);
	if (!rec->is_grpc)
		return;
	if (rec->grpc_status >= 0)
		json_u64(w, "grpc_status", (uint64_t)rec->grpc_status);
	json_u64(w, "grpc_messages_received", rec->messages_in);
	json_u64(w, "grpc_messages_sent", rec->messages_out);
}

static void line_put(struct json_writer *w, const char *kind, const struct observe_record *rec, uint32_t left_out)
{
	json_open_object(w, NULL);
	time_put(w, rec->started_wall_ns);
	json_cstr(w, "kind", kind);
	json_cstr(w, "direction", rec->direction == OBSERVE_INBOUND ? "inbound" : "outbound");
	if (rec->protocol && kind[0] == 'h')
		http_put(w, rec);
	json_cstr(w, "response_flags", reason_flags(rec->reason));
	json_cstr(w, "reason", trm_reason_label(rec->reason));
	if (rec->reason != TRM_REASON_NONE)
		json_cstr(w, "reason_text", trm_reason_text(rec->reason));
	json_u64(w, "bytes_received", rec->bytes_in);
	json_u64(w, "bytes_sent", rec->bytes_out);
	json_ms(w, "duration_ms", rec->duration_ns);
	addr_put(w, "client", &rec->client);
	addr_put(w, "orig_dst", &rec->orig_dst);
	addr_put(w, "endpoint", &rec->endpoint);
	json_bool(w, "mtls", rec->mtls);
	party_put(w, "source", &rec->source);
	party_put(w, "destination", &rec->destination);
	json_u64(w, "conn_id", rec->conn_id);
	if (left_out)
		json_u64(w, "lines_left_out", left_out);
	json_close_object(w);
}

void access_log_add(struct access_log *log, const char *kind, const struct observe_record *rec)
{
	uint32_t left_out;

	if (log->fd < 0 || !line_is_due(log, clock_wall_ns(), &left_out))
		return;
	if (record_queue_add(&log->kept, kind, left_out, rec) < 0) {
		log->dropped_total++;
		return;
	}
	if (log->kept.bytes.len >= FLUSH_AT_BYTES)
		access_log_flush(log);
}

static void lines_make(struct access_log *log)
{
	struct queued_record q;
	struct json_writer w;

	while (record_queue_take(&log->kept, &q)) {
		size_t before = log->lines.len;

		json_writer_init(&w, &log->lines);
		line_put(&w, q.kind, &q.rec, q.left_out);
		if (json_writer_end(&w) == 0 && buf_append(&log->lines, "\n", 1) == 0) {
			log->lines_total++;
		} else {
			log->lines.len = before; /* a part of a line is worse than none */
			log->dropped_total++;
		}
	}
}

/* Bytes of the first line, its end with it. */
static size_t line_bytes(const struct buf *lines)
{
	const char *end = memchr(buf_head(lines), '\n', lines->len);

	return end ? (size_t)(end - buf_head(lines)) + 1 : lines->len;
}

/* Gives up what is buffered, but for the rest of a line of which a part is written: the next lines must not be stuck to
 * it. */
static void lines_drop(struct access_log *log)
{
	size_t keep = log->in_line ? line_bytes(&log->lines) : 0;
	const char *p = log->lines.mem + log->lines.off + keep;

	for (size_t i = 0; i < log->lines.len - keep; i++)
		log->dropped_total += p[i] == '\n';
	log->lines.len = keep;
	if (!keep)
		buf_release(&log->lines);
}

/*
 * A log that others write to as well cannot be set non-blocking: that is a flag of the open file, which they share.
 * A pipe that polls writable takes PIPE_BUF bytes without blocking (pipe(7)); a regular file never blocks in this
 * sense.
 */
static ssize_t log_write(const struct access_log *log)
{
	struct pollfd p = {.fd = log->fd, .events = POLLOUT};
	size_t n = log->lines.len;

	if (log->may_block) {
		if (poll(&p, 1, 0) == 0) {
			errno = EAGAIN;
			return -1;
		}
		n = MIN(n, (size_t)PIPE_BUF);
	}
	return write(log->fd, buf_head(&log->lines), n);
}

bool access_log_is_pending(const struct access_log *log)
{
	return log->kept.bytes.len > 0 || log->lines.len > 0;
}

static void lines_write(struct access_log *log)
{
	while (log->lines.len) {
		ssize_t k = log_write(log);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN && log->lines.len < LINES_MAX_BYTES / 2)
			return; /* a slow pipe: the next flush tries again */
		if (k < 0) {
			lines_drop(log);
			return;
		}
		if (k)
			log->in_line = buf_head(&log->lines)[k - 1] != '\n';
		buf_consume(&log->lines, (size_t)k);
	}
}

void access_log_flush(struct access_log *log)
{
	lines_make(log);
	lines_write(log);
	if (log->lines.len == 0 && log->lines.cap > IDLE_BYTES)
		buf_release(&log->lines);
	if (log->kept.bytes.cap > IDLE_BYTES)
		buf_release(&log->kept.bytes);
}
