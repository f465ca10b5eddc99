/* SPDX-License-Identifier: Apache-2.0 */
/* Telemetry: one record in, log line, metrics and the list of refusals out. See observe.h. */
#include "proxy/observe/observe.h"

#include <errno.h>
#include "base/clock.h"
#include "base/json.h"
#include "proxy/observe/access_log.h"
#include "proxy/observe/metrics.h"

#define REFUSALS 64

struct refusal {
	uint64_t at_ns;
	enum observe_direction direction;
	enum trm_reason reason;
	struct addr client, orig_dst;
	char peer[128]; /* proven identity, or "" */
};

struct observe {
	struct access_log log;
	struct metrics metrics;
	struct refusal refusals[REFUSALS]; /* ring: the newest is before refusal_next */
	size_t refusal_next, n_refusals;
	char *namespace, *workload, *service_account, *spiffe_id;
};

static double log_lines(void *user)
{
	return (double)((struct observe *)user)->log.lines_total;
}

static double log_dropped(void *user)
{
	return (double)((struct observe *)user)->log.dropped_total;
}

int observe_new(int log_fd, const char *namespace, const char *workload, struct observe **ret)
{
	struct observe *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	access_log_init(&o->log, log_fd);
	metrics_init(&o->metrics);
	r = observe_set_self(o, namespace, workload, "", "");
	if (r == 0)
		r = observe_gauge_add(o, &(struct observe_gauge){"trammel_access_log_lines_total",
								 "Access log lines written.", true, log_lines, o});
	if (r == 0)
		r = observe_gauge_add(
			o, &(struct observe_gauge){"trammel_access_log_dropped_total",
						   "Access log lines given up, as the log did not take them.", true,
						   log_dropped, o});
	if (r < 0) {
		observe_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

struct observe *observe_free(struct observe *o)
{
	if (!o)
		return NULL;
	access_log_done(&o->log);
	metrics_done(&o->metrics);
	free(o->namespace);
	free(o->workload);
	free(o->service_account);
	free(o->spiffe_id);
	free(o);
	return NULL;
}

static int text_replace(char **to, const char *text)
{
	char *copy = str_dup(str_from(text ? text : ""));

	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

int observe_set_self(struct observe *o, const char *namespace, const char *workload, const char *service_account,
		     const char *spiffe_id)
{
	int r = text_replace(&o->namespace, namespace);

	r = r ? r : text_replace(&o->workload, workload);
	r = r ? r : text_replace(&o->service_account, service_account);
	return r ? r : text_replace(&o->spiffe_id, spiffe_id);
}

int observe_gauge_add(struct observe *o, const struct observe_gauge *g)
{
	if (o->metrics.n_gauges == METRICS_GAUGES_MAX)
		return -ENOBUFS;
	o->metrics.gauges[o->metrics.n_gauges++] = *g;
	return 0;
}

/* Our own side of a record is always ourselves, whatever the coordinator filled in. */
static struct observe_record self_filled(const struct observe *o, const struct observe_record *rec)
{
	struct observe_record r = *rec;
	struct observe_party *self = r.direction == OBSERVE_OUTBOUND ? &r.source : &r.destination;

	self->workload = o->workload;
	self->namespace = o->namespace;
	self->spiffe_id = r.mtls ? o->spiffe_id : NULL; /* shown to nobody on a plaintext connection */
	return r;
}

static void refusal_keep(struct observe *o, const struct observe_record *rec)
{
	struct refusal *f = &o->refusals[o->refusal_next];
	const char *peer = rec->direction == OBSERVE_INBOUND ? rec->source.spiffe_id : rec->destination.spiffe_id;

	*f = (struct refusal){.at_ns = clock_mono_ns(),
			      .direction = rec->direction,
			      .reason = rec->reason,
			      .client = rec->client,
			      .orig_dst = rec->orig_dst};
	snprintf(f->peer, sizeof(f->peer), "%s", peer ? peer : "");
	o->refusal_next = (o->refusal_next + 1) % REFUSALS;
	o->n_refusals = MIN(o->n_refusals + 1, (size_t)REFUSALS);
	o->metrics.refused[rec->reason < TRM_REASON_MAX ? rec->reason : TRM_REASON_INTERNAL]++;
}

/* A request that our own refusal ended is a refusal too; a caller who leaves is not. */
static bool is_refusal(const struct observe_record *rec)
{
	return rec->local_reply && rec->reason != TRM_REASON_NONE;
}

void observe_http_end(struct observe *o, const struct observe_record *rec)
{
	struct observe_record r = self_filled(o, rec);

	metrics_http_end(&o->metrics, &r);
	access_log_add(&o->log, "http", &r);
	if (is_refusal(&r))
		refusal_keep(o, &r);
}

void observe_tcp_open(struct observe *o, const struct observe_record *rec)
{
	struct observe_record r = self_filled(o, rec);

	metrics_tcp_open(&o->metrics, &r);
}

void observe_tcp_end(struct observe *o, const struct observe_record *rec)
{
	struct observe_record r = self_filled(o, rec);

	metrics_tcp_end(&o->metrics, &r);
	access_log_add(&o->log, "tcp", &r);
	if (is_refusal(&r))
		refusal_keep(o, &r);
}

void observe_refused(struct observe *o, const struct observe_record *rec)
{
	struct observe_record r = self_filled(o, rec);

	access_log_add(&o->log, "refused", &r);
	refusal_keep(o, &r);
}

void observe_count(struct observe *o, enum trm_reason reason)
{
	o->metrics.events[reason < TRM_REASON_MAX ? reason : TRM_REASON_INTERNAL]++;
}

bool observe_is_pending(const struct observe *o)
{
	return access_log_is_pending(&o->log);
}

void observe_flush(struct observe *o)
{
	access_log_flush(&o->log);
}

int observe_metrics_format(struct observe *o, struct buf *out)
{
	return metrics_format(&o->metrics, out);
}

void observe_refusals_json(struct observe *o, struct json_writer *w, const char *key)
{
	uint64_t now = clock_mono_ns();
	char text[ADDR_TEXT_BYTES];

	json_open_array(w, key);
	for (size_t i = 0; i < o->n_refusals; i++) {
		const struct refusal *f = &o->refusals[(o->refusal_next + REFUSALS - 1 - i) % REFUSALS];

		json_open_object(w, NULL);
		json_f64(w, "age_s", (double)(now - f->at_ns) / 1e9);
		json_cstr(w, "direction", f->direction == OBSERVE_INBOUND ? "inbound" : "outbound");
		json_cstr(w, "client", addr_format(&f->client, text));
		json_cstr(w, "orig_dst", addr_format(&f->orig_dst, text));
		json_cstr(w, "peer", f->peer);
		json_cstr(w, "reason", trm_reason_label(f->reason));
		json_cstr(w, "reason_text", trm_reason_text(f->reason));
		json_close_object(w);
	}
	json_close_array(w);
}
