/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: finding the series of a record and counting. See metrics.h. */
#include "proxy/observe/metrics.h"

#include <stdio.h>
#include <string.h>
#include "proxy/observe/reason.h"
#include "proxy/observe/series.h"

#define KEY_BYTES 1024

/* Istio's (Envoy's) bucket borders: milliseconds, and the same numbers for bytes. */
const double metrics_borders[METRICS_BUCKETS] = {0.5,  1,    5,     10,    25,    50,     100,    250,     500,    1000,
						 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

struct key {
	char bytes[KEY_BYTES];
	size_t n;
};

void metrics_init(struct metrics *m)
{
	*m = (struct metrics){0};
	hash_table_init(&m->http);
	hash_table_init(&m->tcp);
}

static void series_free(struct metric_series *s)
{
	free(s->key);
	free(s->labels);
	free(s->histograms);
	free(s);
}

static void table_free(struct hash_table *t)
{
	struct hash_node *n = hash_table_first(t), *next;

	for (; n; n = next) {
		struct metric_series *s = container_of(n, struct metric_series, node);

		next = hash_table_next(t, n);
		series_free(s);
	}
	hash_table_done(t);
}

void metrics_done(struct metrics *m)
{
	table_free(&m->http);
	table_free(&m->tcp);
}

/* A value ends with a byte that cannot stand in a label; what does not fit makes two series one, never a crash. */
static void key_add(struct key *k, const char *value)
{
	size_t n =
		value && strcmp(value, "unknown") != 0 ? strlen(value) : 0; /* an absent value's label says "unknown" */

	n = MIN(n, sizeof(k->bytes) - k->n - 1);
	if (n)
		memcpy(k->bytes + k->n, value, n);
	k->n += n;
	if (k->n < sizeof(k->bytes) - 1)
		k->bytes[k->n++] = '\n';
}

/* All that series_labels_format() looks at, and nothing else: no two series may have the same labels. */
static void key_make(struct key *k, const struct observe_record *rec, bool http)
{
	char number[4];

	k->n = 0;
	key_add(k, rec->direction == OBSERVE_OUTBOUND ? "s" : rec->mtls ? "dm" : "dn");
	key_add(k, rec->source.workload);
	key_add(k, rec->source.namespace);
	key_add(k, rec->source.spiffe_id);
	key_add(k, rec->source.service_name);
	key_add(k, rec->destination.workload);
	key_add(k, rec->destination.namespace);
	key_add(k, rec->destination.spiffe_id);
	key_add(k, rec->destination.service_name);
	key_add(k, rec->destination.service_namespace);
	key_add(k, reason_flags(rec->reason));
	if (!http)
		return;
	/* gRPC's status as one byte that no label begins with; none for other requests */
	if (rec->is_grpc)
		key_add(k, (const char[]){ (char)(rec->grpc_status + 2), '\0' });
	number[0] = (char)('0' + rec->status / 100 % 10);
	number[1] = (char)('0' + rec->status / 10 % 10);
	number[2] = (char)('0' + rec->status % 10);
	number[3] = '\0';
	key_add(k, number);
}

static bool series_eq(const struct hash_node *node, const void *key)
{
	const struct metric_series *s = container_of(node, struct metric_series, node);
	const struct key *k = key;

	return s->key_bytes == k->n && memcmp(s->key, k->bytes, k->n) == 0;
}

static struct metric_series *series_add(struct metrics *m, struct hash_table *t, const struct key *k, uint64_t hash,
					const struct observe_record *rec, bool http)
{
	struct metric_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->key = malloc(k->n ? k->n : 1);
	s->key_bytes = k->n;
	s->is_grpc = http && rec->is_grpc;
	s->labels = series_labels_format(rec, http);
	if (http && m->n_histograms < METRICS_HISTOGRAMS)
		s->histograms = calloc(1, sizeof(*s->histograms));
	if (!s->key || !s->labels || hash_table_add(t, &s->node, hash) < 0) {
		series_free(s);
		return NULL;
	}
	m->n_histograms += s->histograms != NULL;
	memcpy(s->key, k->bytes, k->n);
	m->n_series++;
	return s;
}

/* The series for what has none of its own; made when first needed, with histograms. NULL when memory is out. */
static struct metric_series *overflow_get(struct metrics *m, bool http)
{
	static const struct observe_record overflow = {
		.source = {"overflow", "overflow", "overflow", NULL, NULL},
		.destination = {"overflow", "overflow", "overflow", "overflow", "overflow"},
	};
	struct metric_series **spare = http ? &m->http_overflow : &m->tcp_overflow;
	struct key k;

	if (*spare)
		return *spare;
	key_make(&k, &overflow, http);
	*spare = series_add(m, http ? &m->http : &m->tcp, &k, hash_bytes(k.bytes, k.n), &overflow, http);
	if (*spare && http && !(*spare)->histograms)
		(*spare)->histograms = calloc(1, sizeof(*(*spare)->histograms));
	return *spare;
}

/* NULL only when memory is out: that one record is not counted. */
static struct metric_series *series_get(struct metrics *m, const struct observe_record *rec, bool http)
{
	struct hash_table *t = http ? &m->http : &m->tcp;
	struct hash_node *node;
	struct key k;
	uint64_t hash;

	key_make(&k, rec, http);
	hash = hash_bytes(k.bytes, k.n);
	node = hash_table_find(t, hash, series_eq, &k);
	if (LIKELY(node != NULL))
		return container_of(node, struct metric_series, node);
	if (m->n_series < METRICS_SERIES_MAX)
		return series_add(m, t, &k, hash, rec, http);
	return overflow_get(m, http);
}

static void histogram_add(struct histogram *h, double v)
{
	int i = 0;

	while (i < METRICS_BUCKETS && v > metrics_borders[i])
		i++;
	h->buckets[i]++;
	h->count++;
	h->sum += v;
}

void metrics_http_end(struct metrics *m, const struct observe_record *rec)
{
	struct metric_series *s = series_get(m, rec, true), *spare;
	struct series_histograms *h;

	if (!s)
		return;
	s->count++;
	s->messages_in += rec->messages_in;
	s->messages_out += rec->messages_out;
	h = s->histograms;
	if (UNLIKELY(!h)) {
		spare = overflow_get(m, true);
		h = spare ? spare->histograms : NULL;
	}
	if (!h)
		return;
	histogram_add(&h->duration_ms, (double)rec->duration_ns / 1e6);
	histogram_add(&h->bytes_in, (double)rec->bytes_in);
	histogram_add(&h->bytes_out, (double)rec->bytes_out);
}

void metrics_tcp_open(struct metrics *m, const struct observe_record *rec)
{
	struct metric_series *s = series_get(m, rec, false);

	if (s)
		s->opened++;
}

void metrics_tcp_end(struct metrics *m, const struct observe_record *rec)
{
	struct metric_series *s = series_get(m, rec, false);

	if (!s)
		return;
	s->count++;
	s->bytes_in += rec->bytes_in;
	s->bytes_out += rec->bytes_out;
}
