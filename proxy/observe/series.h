/* SPDX-License-Identifier: Apache-2.0 */
/* One time series and the text of its labels; private to the metrics. */
#ifndef TRAMMEL_PROXY_OBSERVE_SERIES_H
#define TRAMMEL_PROXY_OBSERVE_SERIES_H

#include "proxy/observe/metrics.h"

struct metric_series {
	struct hash_node node;
	char *key;
	size_t key_bytes;
	char *labels;                         /* a="b",c="d", without braces */
	uint64_t count, opened;               /* HTTP: requests. TCP: closed and opened */
	uint64_t bytes_in, bytes_out;         /* TCP */
	uint64_t messages_in, messages_out;   /* gRPC */
	bool is_grpc;
	struct series_histograms *histograms; /* HTTP: its own, or NULL: counted in those of the overflow series */
};

struct series_histograms {
	struct histogram duration_ms, bytes_in, bytes_out;
};

extern const double metrics_borders[METRICS_BUCKETS];

/** series_labels_format() - Istio's labels of a record; heap, NULL when memory is out */
char *series_labels_format(const struct observe_record *rec, bool http);

#endif
