/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace headers: W3C traceparent and tracestate, B3 single and multi, x-request-id
 *
 * Decides, for one request head, which trace it belongs to and rewrites the head for the next hop: our span becomes the
 * parent of what comes after. Nothing is sent anywhere. Random numbers come from a generator that the caller seeds
 * once: no system call per request.
 */
#ifndef TRAMMEL_PROXY_HTTP_TRACE_H
#define TRAMMEL_PROXY_HTTP_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/pool.h"
#include "proxy/http/head.h"

/* xoshiro256**: for ids, not for secrets. One per worker. */
struct trace_random {
	uint64_t s[4];
};

/** trace_random_init() - seeded by getrandom(); negative errno when the kernel has none to give */
MUST_CHECK int trace_random_init(struct trace_random *r);
/** trace_random_seed() - the same sequence for the same @seed; for tests */
void trace_random_seed(struct trace_random *r, uint64_t seed);
uint64_t trace_random_next(struct trace_random *r);

/* What the exchange says of itself in logs; all texts in the pool. */
struct trace {
	struct str trace_id;   /* 32 lower-case hex digits */
	struct str span_id;    /* 16: our span */
	struct str parent_id;  /* 16: the caller's span, or empty */
	struct str request_id; /* x-request-id as sent on */
	bool sampled;
	bool continued; /* the caller's trace was valid and is carried on */
};

/**
 * trace_apply() - join the caller's trace or start one, and rewrite @head for the next hop
 * @head: its trace fields are struck out and replaced; new strings live in @pool
 *
 * A valid traceparent: same trace id and flags, new span id, tracestate passed (dropped when malformed or over 32
 * members; several fields are joined). Else valid B3: likewise. Else new ids and no tracestate. B3 is sent
 * in the form it came in (both forms when both came), traceparent always. x-request-id is made when absent, and
 * replaced when it is repeated, longer than 128 bytes or holds other than visible characters.
 *
 * Return: 0, -ENOMEM, -ENOBUFS (no room for fields).
 */
MUST_CHECK int trace_apply(struct http_head *head, struct pool *pool, struct trace_random *random, struct trace *ret);

/** trace_parent_new() - a traceparent of a new trace, sampled, in @pool; its p is NULL without memory */
struct str trace_parent_new(struct trace_random *random, struct pool *pool);

/* A parsed traceparent. */
struct trace_parent {
	char trace_id[32];
	char span_id[16];
	uint8_t flags;
};

/** trace_parent_parse() - strict, W3C Trace Context level 2: lower case, known length for version 00, no zero ids, not ff; -EINVAL */
MUST_CHECK int trace_parent_parse(struct str value, struct trace_parent *ret);

/** trace_state_is_valid() - 1 to 32 members, keys and values of the grammar; a key twice is passed as it is (level 2, as its test suite wants) */
bool trace_state_is_valid(struct str value);

#endif
