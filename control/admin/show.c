/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent shows of its snapshot: see show.h. */
#include "control/admin/show.h"

#include <stdio.h>
#include "trammel/reason.h"

static const char *const protocol_names[] = {
	[MESH_APP_UNDECLARED] = "undeclared", [MESH_APP_HTTP1] = "http", [MESH_APP_HTTP2] = "http2", [MESH_APP_GRPC] = "grpc",
	[MESH_APP_TCP] = "tcp",		      [MESH_APP_TLS] = "tls",	 [MESH_APP_SERVER_FIRST] = "server-first",
};

static void addresses_show(struct json_writer *w, const struct addr *a, size_t n)
{
	char text[ADDR_TEXT_BYTES];

	json_open_array(w, "addresses");
	for (size_t i = 0; i < n; i++)
		json_cstr(w, NULL, addr_format_ip(&a[i], text));
	json_close_array(w);
}

static size_t ready_count(const struct mesh_service *svc, size_t *ret_all)
{
	size_t ready = 0, all = 0;

	for (size_t i = 0; i < svc->n_ports; i++)
		for (size_t k = 0; k < svc->ports[i].n_endpoints; k++) {
			all++;
			ready += svc->ports[i].endpoints[k].ready && !svc->ports[i].endpoints[k].terminating;
		}
	*ret_all = all;
	return ready;
}

static void service_show(struct json_writer *w, const struct mesh_service *svc)
{
	char ports_text[512] = "";
	size_t at = 0, all, ready = ready_count(svc, &all);

	json_open_object(w, NULL);
	json_cstr(w, "namespace", svc->namespace);
	json_cstr(w, "name", svc->name);
	json_cstr(w, "hostname", svc->hostname);
	addresses_show(w, svc->addresses, svc->n_addresses);
	json_bool(w, "headless", svc->headless);
	json_open_array(w, "ports");
	for (size_t i = 0; i < svc->n_ports; i++) {
		const struct mesh_service_port *p = &svc->ports[i];

		json_open_object(w, NULL);
		json_u64(w, "port", p->port);
		json_cstr(w, "name", p->name);
		json_cstr(w, "protocol", protocol_names[p->protocol]);
		if (p->tls) {
			json_open_object(w, "backend_tls");
			json_cstr(w, "hostname", p->tls->hostname);
			json_cstr(w, "error", p->tls->error);
			json_close_object(w);
		}
		json_close_object(w);
		if (at < sizeof(ports_text))
			at += (size_t)snprintf(ports_text + at, sizeof(ports_text) - at, "%s%u/%s%s", i ? "," : "", p->port,
					       protocol_names[p->protocol], !p->tls ? "" : *p->tls->error ? "+tls!" : "+tls");
	}
	json_close_array(w);
	json_cstr(w, "ports_text", ports_text);
	json_u64(w, "ready", ready);
	json_u64(w, "endpoints", all);
	json_close_object(w);
}

void show_services(struct json_writer *w, const char *key, const struct mesh_snapshot *s)
{
	json_open_array(w, key);
	for (size_t i = 0; s && i < mesh_snapshot_n_services(s); i++)
		service_show(w, mesh_snapshot_service_at(s, i));
	json_close_array(w);
}

static void endpoint_show(struct json_writer *w, const struct mesh_service *svc, const struct mesh_service_port *port,
			  const struct mesh_endpoint *e)
{
	char text[ADDR_TEXT_BYTES];

	json_open_object(w, NULL);
	json_cstr(w, "namespace", svc->namespace);
	json_cstr(w, "service", svc->name);
	json_u64(w, "port", port->port);
	json_cstr(w, "address", addr_format(&e->addr, text));
	json_bool(w, "ready", e->ready);
	json_bool(w, "terminating", e->terminating);
	json_bool(w, "mtls", e->mtls);
	json_cstr(w, "tunnel", e->hbone ? "hbone" : "");
	json_cstr(w, "workload", e->workload);
	json_cstr(w, "spiffe_id", e->spiffe_id);
	json_close_object(w);
}

void show_endpoints(struct json_writer *w, const char *key, const struct mesh_snapshot *s)
{
	json_open_array(w, key);
	for (size_t i = 0; s && i < mesh_snapshot_n_services(s); i++) {
		const struct mesh_service *svc = mesh_snapshot_service_at(s, i);

		for (size_t p = 0; p < svc->n_ports; p++)
			for (size_t k = 0; k < svc->ports[p].n_endpoints; k++)
				endpoint_show(w, svc, &svc->ports[p], &svc->ports[p].endpoints[k]);
	}
	json_close_array(w);
}

void show_complaints(struct json_writer *w, const char *key, const struct model *m)
{
	json_open_array(w, key);
	for (size_t i = 0; i < model_n_complaints(m); i++) {
		const struct model_complaint *c = model_complaint_at(m, i);

		json_open_object(w, NULL);
		json_cstr(w, "file", c->file);
		json_i64(w, "line", c->line);
		json_cstr(w, "kind", c->kind);
		json_cstr(w, "object", c->object);
		json_cstr(w, "field", c->field);
		json_cstr(w, "text", c->text);
		json_bool(w, "kept_last_good", c->kept_last_good);
		json_close_object(w);
	}
	json_close_array(w);
}

struct proxy_row {
	struct json_writer *w;
	const struct mesh_snapshot *s;
};

static void proxy_show(const struct publish_proxy *p, void *user)
{
	struct proxy_row *row = user;
	const struct mesh_workload *wl = row->s ? mesh_snapshot_workload_by_id(row->s, p->workload_id) : NULL;
	char name[160];

	snprintf(name, sizeof(name), "%s/%s", wl ? wl->namespace : "?", wl ? wl->name : "?");
	json_open_object(row->w, NULL);
	json_cstr(row->w, "workload", name);
	json_u64(row->w, "pid", p->pid);
	json_u64(row->w, "sent_generation", p->sent_generation);
	json_u64(row->w, "acked_generation", p->acked_generation);
	json_u64(row->w, "acks", p->acks);
	json_u64(row->w, "nacks", p->nacks);
	json_u64(row->w, "messages_sent", p->messages_sent);
	json_u64(row->w, "subscriptions", p->subscriptions);
	json_cstr(row->w, "last_error", p->last_error);
	json_close_object(row->w);
}

void show_proxies(struct json_writer *w, const char *key, const struct publish *p, const struct mesh_snapshot *s)
{
	struct proxy_row row = { w, s };

	json_open_array(w, key);
	publish_each_proxy(p, proxy_show, &row);
	json_close_array(w);
}

void show_counters(struct json_writer *w, const char *key, const uint64_t *counts)
{
	json_open_object(w, key);
	for (unsigned int i = 1; i < TRM_REASON_MAX; i++)
		if (counts[i])
			json_u64(w, trm_reason_label(i), counts[i]);
	json_close_object(w);
}
