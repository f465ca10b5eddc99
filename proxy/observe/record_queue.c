/* SPDX-License-Identifier: Apache-2.0 */
/* Queue of telemetry records: see record_queue.h. */
#include "proxy/observe/record_queue.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* At the start of an entry. The pointers in the record mean nothing but "there is one": the strings stand behind it. */
struct queued {
	size_t bytes; /* of the whole entry */
	struct queued_record r;
};

#define PARTY(p)                                                                                                       \
	offsetof(struct observe_record, p.workload), offsetof(struct observe_record, p.namespace),                     \
		offsetof(struct observe_record, p.spiffe_id), offsetof(struct observe_record, p.service_namespace),    \
		offsetof(struct observe_record, p.service_name)

/* All that a record borrows, but for constants. */
static const size_t cstrs[] = { PARTY(source), PARTY(destination) };
static const size_t strs[] = {
	offsetof(struct observe_record, method),     offsetof(struct observe_record, path),
	offsetof(struct observe_record, authority),  offsetof(struct observe_record, user_agent),
	offsetof(struct observe_record, request_id), offsetof(struct observe_record, trace_id),
};

static const char **cstr_at(struct observe_record *rec, size_t i)
{
	return (const char **)(void *)((char *)rec + cstrs[i]);
}

static struct str *str_at(struct observe_record *rec, size_t i)
{
	return (struct str *)(void *)((char *)rec + strs[i]);
}

void record_queue_init(struct record_queue *q, size_t max_bytes)
{
	buf_init(&q->bytes, max_bytes);
}

void record_queue_done(struct record_queue *q)
{
	buf_done(&q->bytes);
}

int record_queue_add(struct record_queue *q, const char *kind, uint32_t left_out, const struct observe_record *rec)
{
	struct queued e = { .r = { .rec = *rec, .kind = kind, .left_out = left_out } };
	size_t lens[ARRAY_SIZE(cstrs)] = { 0 };
	char *p;
	int r;

	e.bytes = sizeof(e);
	for (size_t i = 0; i < ARRAY_SIZE(cstrs); i++)
		if (*cstr_at(&e.r.rec, i))
			e.bytes += lens[i] = strlen(*cstr_at(&e.r.rec, i)) + 1;
	for (size_t i = 0; i < ARRAY_SIZE(strs); i++)
		e.bytes += str_at(&e.r.rec, i)->n;
	r = buf_reserve(&q->bytes, e.bytes);
	if (r < 0)
		return r;
	p = mempcpy(buf_tail(&q->bytes, NULL), &e, sizeof(e));
	for (size_t i = 0; i < ARRAY_SIZE(cstrs); i++)
		if (lens[i])
			p = mempcpy(p, *cstr_at(&e.r.rec, i), lens[i]);
	for (size_t i = 0; i < ARRAY_SIZE(strs); i++)
		if (str_at(&e.r.rec, i)->n)
			p = mempcpy(p, str_at(&e.r.rec, i)->p, str_at(&e.r.rec, i)->n);
	buf_commit(&q->bytes, e.bytes);
	return 0;
}

bool record_queue_take(struct record_queue *q, struct queued_record *ret)
{
	const char *p = buf_head(&q->bytes);
	struct queued e;

	if (q->bytes.len == 0)
		return false;
	memcpy(&e, p, sizeof(e));
	p += sizeof(e);
	for (size_t i = 0; i < ARRAY_SIZE(cstrs); i++)
		if (*cstr_at(&e.r.rec, i)) {
			*cstr_at(&e.r.rec, i) = p;
			p += strlen(p) + 1;
		}
	for (size_t i = 0; i < ARRAY_SIZE(strs); i++) {
		str_at(&e.r.rec, i)->p = p;
		p += str_at(&e.r.rec, i)->n;
	}
	*ret = e.r;
	buf_consume(&q->bytes, e.bytes); /* the bytes stay where they are until the next call */
	return true;
}
