/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: Istio's standard names and labels
 *
 * A series is found by one keyed hash of its label values; its label text is made once, at its birth. At most 2,000
 * series: what comes after is counted in one series whose labels say "overflow". A histogram is 22 lines of text per
 * series: the first 100 series of requests have their own three, the others share those of the overflow series, so that
 * a scrape stays within a few megabytes. Nothing is allocated or formatted for a series that exists. See
 * https://istio.io/latest/docs/reference/config/metrics/.
 */
#ifndef TRAMMEL_PROXY_OBSERVE_METRICS_H
#define TRAMMEL_PROXY_OBSERVE_METRICS_H

#include "base/buf.h"
#include "base/hash.h"
#include "proxy/observe/observe.h"

#define METRICS_SERIES_MAX 2000
#define METRICS_HISTOGRAMS 100
#define METRICS_BUCKETS    19 /* and +Inf */
#define METRICS_GAUGES_MAX 64

struct histogram {
	uint64_t buckets[METRICS_BUCKETS + 1];
	uint64_t count;
	double sum;
};

struct metric_series;

struct metrics {
	struct hash_table http, tcp;
	size_t n_series, n_histograms;
	struct metric_series *http_overflow, *tcp_overflow;
	uint64_t refused[TRM_REASON_MAX], events[TRM_REASON_MAX];
	struct observe_gauge gauges[METRICS_GAUGES_MAX];
	size_t n_gauges;
};

void metrics_init(struct metrics *m);
void metrics_done(struct metrics *m);

void metrics_http_end(struct metrics *m, const struct observe_record *rec);
void metrics_tcp_open(struct metrics *m, const struct observe_record *rec);
void metrics_tcp_end(struct metrics *m, const struct observe_record *rec);

/** metrics_format() - Prometheus text exposition 0.0.4 */
MUST_CHECK int metrics_format(const struct metrics *m, struct buf *out);

#endif
