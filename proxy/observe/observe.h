/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telemetry: what an ended exchange or connection says of itself
 *
 * The coordinator fills one record and calls observe_http_end() or observe_tcp_end() once, at the end. From the record
 * come the access log line (JSON), the metrics (Istio's standard names) and the list of recent refusals. Label values
 * come from the snapshot or from proven identities alone, never from what a peer may write into a header.
 */
#ifndef TRAMMEL_PROXY_OBSERVE_H
#define TRAMMEL_PROXY_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/buf.h"
#include "base/str.h"
#include "trammel/reason.h"

struct observe;

enum observe_direction {
	OBSERVE_OUTBOUND, /* reporter="source" */
	OBSERVE_INBOUND,  /* reporter="destination" */
};

/* Who is on the other side, for labels and log. All strings borrowed for the call; "" or NULL = unknown. */
struct observe_party {
	const char *workload, *namespace, *spiffe_id; /* spiffe_id only when proven by mTLS */
	const char *service_namespace, *service_name; /* destination only */
};

struct observe_record {
	enum observe_direction direction;
	struct observe_party source, destination;
	struct addr client, orig_dst, endpoint; /* endpoint: zero where none was tried */
	bool mtls;                              /* on the mesh side of the connection */
	uint64_t conn_id;
	uint64_t started_wall_ns;
	uint64_t duration_ns;
	uint64_t bytes_in, bytes_out; /* of bodies (HTTP) or payload (TCP): from and to the downstream */
	enum trm_reason reason;       /* TRM_REASON_NONE when all went well */
	/* HTTP alone */
	struct str method, path, authority, user_agent, request_id, trace_id; /* trace_id: 32 hex digits */
	uint16_t status;                                                      /* 0: none was sent */
	const char *protocol;                                                 /* "HTTP/1.1" */
	uint64_t upstream_ns; /* from the request sent to the response head */
	bool local_reply;     /* the proxy answered by itself */
	/* gRPC alone */
	bool is_grpc;
	int16_t grpc_status; /* 0 to 16; -1: none came */
	uint64_t messages_in, messages_out; /* from and to the downstream */
};

/** observe_new() - @log_fd: access log, borrowed, -1 = off; the workload's own names are copied */
MUST_CHECK int observe_new(int log_fd, const char *namespace, const char *workload, struct observe **ret);
struct observe *observe_free(struct observe *o);
/** observe_set_self() - the names became known or changed */
MUST_CHECK int observe_set_self(struct observe *o, const char *namespace, const char *workload,
				const char *service_account, const char *spiffe_id);

void observe_http_end(struct observe *o, const struct observe_record *rec);
void observe_tcp_open(struct observe *o, const struct observe_record *rec);
void observe_tcp_end(struct observe *o, const struct observe_record *rec);
/** observe_refused() - a connection refused before it became HTTP or TCP (also counts trammel_refused_total{reason}) */
void observe_refused(struct observe *o, const struct observe_record *rec);
/** observe_count() - an event without a record: trammel_events_total{reason} */
void observe_count(struct observe *o, enum trm_reason reason);

/* Gauges and counters of other rooms: read at scrape time. */
struct observe_gauge {
	const char *name, *help; /* constant */
	bool is_counter;
	double (*value)(void *user);
	void *user;
};
MUST_CHECK int observe_gauge_add(struct observe *o, const struct observe_gauge *g);

/** observe_flush() - write out the access log lines that are kept; they are also written when there are many */
void observe_flush(struct observe *o);
/** observe_is_pending() - are lines kept that observe_flush() would write? */
bool observe_is_pending(const struct observe *o);

/** observe_metrics_format() - Prometheus text exposition 0.0.4 */
MUST_CHECK int observe_metrics_format(struct observe *o, struct buf *out);

/** observe_refusals_json() - the last 64 refusals, newest first, as a JSON array value written with @key into @w */
struct json_writer;
void observe_refusals_json(struct observe *o, struct json_writer *w, const char *key);

#endif
