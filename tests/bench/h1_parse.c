/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a head costs
 *
 *   h1_parse [ROUNDS]
 *
 * Prints nanoseconds per head for reading, writing and tracing a typical request and its response: the median of 15
 * rounds. For instructions, which do not depend on the machine's mood, run it under valgrind with ROUNDS 1:
 *   valgrind --tool=callgrind --toggle-collect='h1_request_parse' ./h1_parse 1
 * and divide by the number of heads printed; where perf_event_open() is allowed, they are printed too.
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"
#include "proxy/http/h1.h"
#include "proxy/http/trace.h"

#define ROUNDS	   15
#define HEADS_MANY 200000

static const char request_text[] = "GET /api/v1/orders/1842?expand=lines&currency=EUR HTTP/1.1\r\n"
				   "Host: orders.shop.svc.cluster.local:8080\r\n"
				   "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101\r\n"
				   "Accept: application/json\r\n"
				   "Accept-Encoding: gzip, deflate\r\n"
				   "Content-Type: application/json\r\n"
				   "Content-Length: 0\r\n"
				   "x-request-id: 7f6dd0d5-3f1b-4f0e-9c55-2b6f6a1f6f11\r\n"
				   "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
				   "\r\n";
static const char response_text[] = "HTTP/1.1 200 OK\r\n"
				    "Server: nginx/1.22.1\r\n"
				    "Date: Mon, 24 Nov 2025 10:00:00 GMT\r\n"
				    "Content-Type: application/json\r\n"
				    "Content-Length: 512\r\n"
				    "Connection: keep-alive\r\n"
				    "ETag: \"65f1c2d4-200\"\r\n"
				    "Cache-Control: no-store\r\n"
				    "\r\n";

struct bench {
	struct pool pool;
	struct http_field fields[HTTP_FIELDS_CAP];
	struct http_head head;
	struct h1_parser parser;
	struct trace_random random;
	struct buf out;
	struct h1_body_out body;
};

static void must(int r)
{
	if (r) {
		fprintf(stderr, "unexpected answer %d\n", r);
		exit(1);
	}
}

static void read_request(struct bench *b)
{
	struct http_reject reject;
	size_t consumed;

	must(h1_request_parse(&b->parser, &b->pool, (struct str){ request_text, sizeof(request_text) - 1 }, &b->head,
			      &consumed, &reject));
}

static void write_request(struct bench *b)
{
	must(h1_request_write(&b->out, &b->head, NULL, &b->body));
	buf_consume(&b->out, b->out.len);
}

static void read_response(struct bench *b)
{
	const struct h1_asked asked = { 0 };
	struct http_reject reject;
	size_t consumed;

	must(h1_response_parse(&b->parser, &asked, (struct str){ response_text, sizeof(response_text) - 1 }, &b->head,
			       &consumed, &reject));
}

static void write_response(struct bench *b)
{
	const struct h1_response_options opts = { HTTP_1_1, true };
	bool close;

	must(h1_response_write(&b->out, &b->head, &opts, &b->body, &close));
	buf_consume(&b->out, b->out.len);
}

/* The whole of a request on its way through the proxy, as far as HTTP goes. */
static void pass_request(struct bench *b)
{
	struct trace t;

	pool_reset(&b->pool);
	read_request(b);
	must(trace_apply(&b->head, &b->pool, &b->random, &t));
	write_request(b);
}

static int instructions_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *name, size_t bytes, unsigned rounds, unsigned n_heads,
		    void (*fn)(struct bench *b))
{
	int fd = instructions_open();
	uint64_t n_instructions = 0;
	double ns[ROUNDS];

	for (unsigned r = 0; r < rounds; r++) {
		uint64_t from = clock_mono_ns();

		if (fd >= 0)
			ioctl(fd, PERF_EVENT_IOC_RESET, 0);
		for (unsigned i = 0; i < n_heads; i++)
			fn(b);
		ns[r] = (double)(clock_mono_ns() - from) / n_heads;
		if (fd >= 0 && read(fd, &n_instructions, sizeof(n_instructions)) != sizeof(n_instructions))
			n_instructions = 0;
	}
	qsort(ns, rounds, sizeof(ns[0]), compare);
	printf("%-16s %4zu bytes  %7.1f ns (best %.1f)", name, bytes, ns[rounds / 2], ns[0]);
	if (n_instructions)
		printf("  %7.1f instructions", (double)n_instructions / n_heads);
	printf("  %u heads\n", n_heads);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS;
	unsigned n_heads = rounds == 1 ? 1000 : HEADS_MANY;
	struct bench b = { .head = { .fields = b.fields, .cap_fields = HTTP_FIELDS_CAP } };

	if (rounds < 1 || rounds > ROUNDS)
		return 2;
	pool_init(&b.pool, 65536);
	buf_init(&b.out, 65536);
	h1_parser_init(&b.parser, NULL);
	trace_random_seed(&b.random, 1);
	measure(&b, "request read", sizeof(request_text) - 1, rounds, n_heads, read_request);
	measure(&b, "request write", sizeof(request_text) - 1, rounds, n_heads, write_request);
	measure(&b, "request passed", sizeof(request_text) - 1, rounds, n_heads, pass_request);
	measure(&b, "response read", sizeof(response_text) - 1, rounds, n_heads, read_response);
	measure(&b, "response write", sizeof(response_text) - 1, rounds, n_heads, write_response);
	pool_done(&b.pool);
	buf_done(&b.out);
	return 0;
}
