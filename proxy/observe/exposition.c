/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as text: Istio's labels, Prometheus exposition format 0.0.4. */
#include <stdio.h>
#include <string.h>
#include "proxy/observe/metrics.h"
#include "proxy/observe/reason.h"
#include "proxy/observe/series.h"

#define LABELS_MAX_BYTES 8192

/* Escapes backslash, quote and newline (exposition format); an absent value is "unknown", as Istio writes it. */
static int label_put(struct buf *b, const char *name, const char *value)
{
	int r = buf_printf(b, "%s%s=\"", b->len ? "," : "", name);

	value = value && *value ? value : "unknown";
	for (; r == 0 && *value; value++) {
		if (*value == '\\' || *value == '"')
			r = buf_append(b, "\\", 1);
		if (r == 0)
			r = *value == '\n' ? buf_append(b, "\\n", 2) : buf_append(b, value, 1);
	}
	return r ? r : buf_append(b, "\"", 1);
}

/* Labels of one side. In this version a workload's canonical service is its service, else its own name. */
static int party_put(struct buf *b, const char *side, const struct observe_party *p)
{
	const char *canonical = p->service_name && *p->service_name ? p->service_name : p->workload;
	const struct {
		const char *name, *value;
	} labels[] = {
		{"workload", p->workload},
		{"workload_namespace", p->namespace},
		{"principal", p->spiffe_id},
		{"app", canonical},
		{"version", NULL},
		{"canonical_service", canonical},
		{"canonical_revision", "latest"},
		{"cluster", "Kubernetes"},
	};
	char name[64];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(labels); i++) {
		snprintf(name, sizeof(name), "%s_%s", side, labels[i].name);
		r = label_put(b, name, labels[i].value);
	}
	return r;
}

static int labels_put(struct buf *b, const struct observe_record *rec, bool http)
{
	const struct observe_party *d = &rec->destination;
	char service[300] = "", status[8];
	int r;

	if (d->service_name && *d->service_name)
		snprintf(service, sizeof(service), "%s.%s.svc.cluster.local", d->service_name,
			 d->service_namespace ? d->service_namespace : "");
	r = label_put(b, "reporter", rec->direction == OBSERVE_INBOUND ? "destination" : "source");
	r = r ? r : party_put(b, "source", &rec->source);
	r = r ? r : party_put(b, "destination", d);
	r = r ? r : label_put(b, "destination_service", service);
	r = r ? r : label_put(b, "destination_service_name", d->service_name);
	r = r ? r : label_put(b, "destination_service_namespace", d->service_namespace);
	r = r ? r
	      : label_put(b, "connection_security_policy",
			  rec->direction == OBSERVE_OUTBOUND ? "unknown"
			  : rec->mtls                        ? "mutual_tls"
							     : "none");
	r = r ? r : label_put(b, "response_flags", reason_flags(rec->reason));
	if (!http)
		return r ? r : label_put(b, "request_protocol", "tcp");
	snprintf(status, sizeof(status), "%u", rec->status);
	r = r ? r : label_put(b, "request_protocol", rec->is_grpc ? "grpc" : "http");
	r = r ? r : label_put(b, "response_code", status);
	/* Empty where a request is not gRPC, as Istio has it. */
	if (!rec->is_grpc || rec->grpc_status < 0)
		return r ? r : buf_append_str(b, STR(",grpc_response_status=\"\""));
	return r ? r : buf_printf(b, ",grpc_response_status=\"%d\"", rec->grpc_status);
}

char *series_labels_format(const struct observe_record *rec, bool http)
{
	char *text = NULL;
	struct buf b;

	buf_init(&b, LABELS_MAX_BYTES);
	if (labels_put(&b, rec, http) == 0)
		text = str_dup(buf_str(&b));
	buf_done(&b);
	return text;
}

static int head_put(struct buf *out, const char *name, const char *type, const char *help)
{
	return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int counter_some_put(struct buf *out, const struct hash_table *t, const char *name, const char *help,
			    double (*value)(const struct metric_series *s), bool grpc_only)
{
	int r = head_put(out, name, "counter", help);

	for (struct hash_node *n = hash_table_first(t); n && r == 0; n = hash_table_next(t, n)) {
		const struct metric_series *s = container_of(n, struct metric_series, node);

		if (grpc_only && !s->is_grpc)
			continue;
		r = buf_printf(out, "%s{%s} %.17g\n", name, s->labels, value(s));
	}
	return r;
}

static int counter_put(struct buf *out, const struct hash_table *t, const char *name, const char *help,
		       double (*value)(const struct metric_series *s))
{
	return counter_some_put(out, t, name, help, value, false);
}

static int messages_put(struct buf *out, const struct hash_table *t, const char *name, const char *help,
			double (*value)(const struct metric_series *s))
{
	return counter_some_put(out, t, name, help, value, true);
}

static int histogram_put(struct buf *out, const char *name, const char *labels, const struct histogram *h)
{
	uint64_t sum = 0;
	int r = 0;

	for (int i = 0; i < METRICS_BUCKETS && r == 0; i++) {
		sum += h->buckets[i];
		r = buf_printf(out, "%s_bucket{%s,le=\"%.17g\"} %llu\n", name, labels, metrics_borders[i],
			       (unsigned long long)sum);
	}
	if (r == 0)
		r = buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.17g\n%s_count{%s} %llu\n", name,
			       labels, (unsigned long long)h->count, name, labels, h->sum, name, labels,
			       (unsigned long long)h->count);
	return r;
}

static int histograms_put(struct buf *out, const struct hash_table *t, const char *name, const char *help,
			  size_t offset)
{
	int r = head_put(out, name, "histogram", help);

	for (struct hash_node *n = hash_table_first(t); n && r == 0; n = hash_table_next(t, n)) {
		const struct metric_series *s = container_of(n, struct metric_series, node);

		if (s->histograms)
			r = histogram_put(out, name, s->labels,
					  (const struct histogram *)((const char *)s->histograms + offset));
	}
	return r;
}

static int reasons_put(struct buf *out, const char *name, const char *help, const uint64_t *counts)
{
	int r = head_put(out, name, "counter", help);

	for (unsigned int i = 1; i < TRM_REASON_MAX && r == 0; i++)
		if (counts[i])
			r = buf_printf(out, "%s{reason=\"%s\"} %llu\n", name, trm_reason_label(i),
				       (unsigned long long)counts[i]);
	return r;
}

static double value_count(const struct metric_series *s)
{
	return (double)s->count;
}

static double value_opened(const struct metric_series *s)
{
	return (double)s->opened;
}

/* Istio: "sent" is what the response carried, "received" what the request carried. */
static double value_sent(const struct metric_series *s)
{
	return (double)s->bytes_out;
}

static double value_received(const struct metric_series *s)
{
	return (double)s->bytes_in;
}

static double value_messages_in(const struct metric_series *s)
{
	return (double)s->messages_in;
}

static double value_messages_out(const struct metric_series *s)
{
	return (double)s->messages_out;
}

int metrics_format(const struct metrics *m, struct buf *out)
{
	int r = counter_put(out, &m->http, "istio_requests_total", "Requests ended.", value_count);

	r = r ? r
	      : histograms_put(out, &m->http, "istio_request_duration_milliseconds", "Duration of requests.",
			       offsetof(struct series_histograms, duration_ms));
	r = r ? r
	      : histograms_put(out, &m->http, "istio_request_bytes", "Size of request bodies.",
			       offsetof(struct series_histograms, bytes_in));
	r = r ? r
	      : histograms_put(out, &m->http, "istio_response_bytes", "Size of response bodies.",
			       offsetof(struct series_histograms, bytes_out));
	r = r ? r
	      : messages_put(out, &m->http, "istio_request_messages_total", "gRPC messages of requests.",
			     value_messages_in);
	r = r ? r
	      : messages_put(out, &m->http, "istio_response_messages_total", "gRPC messages of responses.",
			     value_messages_out);
	r = r ? r
	      : counter_put(out, &m->tcp, "istio_tcp_connections_opened_total", "TCP connections opened.",
			    value_opened);
	r = r ? r
	      : counter_put(out, &m->tcp, "istio_tcp_connections_closed_total", "TCP connections closed.", value_count);
	r = r ? r
	      : counter_put(out, &m->tcp, "istio_tcp_sent_bytes_total", "Bytes sent to the downstream.", value_sent);
	r = r ? r
	      : counter_put(out, &m->tcp, "istio_tcp_received_bytes_total", "Bytes received from the downstream.",
			    value_received);
	r = r ? r
	      : reasons_put(out, "trammel_refused_total", "Connections and requests refused, by reason.", m->refused);
	r = r ? r
	      : reasons_put(out, "trammel_events_total", "Events without a connection of their own, by reason.",
			    m->events);
	for (size_t i = 0; i < m->n_gauges && r == 0; i++) {
		const struct observe_gauge *g = &m->gauges[i];

		r = head_put(out, g->name, g->is_counter ? "counter" : "gauge", g->help);
		r = r ? r : buf_printf(out, "%s %.17g\n", g->name, g->value(g->user));
	}
	return r;
}
