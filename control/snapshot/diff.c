/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changed between two snapshots
 *
 * Both are sorted by name, so one walk over the two vectors side by side finds everything.
 */
#include <string.h>
#include "control/snapshot/tables.h"

static bool addresses_equal(const struct addr *a, size_t n_a, const struct addr *b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (!addr_eq(&a[i], &b[i]))
			return false;
	return true;
}

static bool endpoint_is_equal(const struct mesh_endpoint *a, const struct mesh_endpoint *b)
{
	return addr_eq(&a->addr, &b->addr) && a->ready == b->ready && a->terminating == b->terminating &&
	       a->mtls == b->mtls && a->hbone == b->hbone && strcmp(a->spiffe_id, b->spiffe_id) == 0 &&
	       strcmp(a->workload, b->workload) == 0 && strcmp(a->namespace, b->namespace) == 0;
}

static bool tls_is_equal(const struct mesh_backend_tls *a, const struct mesh_backend_tls *b)
{
	if (!a || !b)
		return a == b;
	if (strcmp(a->hostname, b->hostname) != 0 || strcmp(a->ca_pem, b->ca_pem) != 0 || strcmp(a->error, b->error) != 0 ||
	    a->n_names != b->n_names)
		return false;
	for (size_t i = 0; i < a->n_names; i++)
		if (strcmp(a->names[i], b->names[i]) != 0)
			return false;
	return true;
}

static bool port_is_equal(const struct mesh_service_port *a, const struct mesh_service_port *b)
{
	if (a->port != b->port || a->protocol != b->protocol || a->n_endpoints != b->n_endpoints ||
	    strcmp(a->name, b->name) != 0 || !tls_is_equal(a->tls, b->tls))
		return false;
	for (size_t i = 0; i < a->n_endpoints; i++)
		if (!endpoint_is_equal(&a->endpoints[i], &b->endpoints[i]))
			return false;
	return true;
}

static bool service_is_equal(const struct mesh_service *a, const struct mesh_service *b)
{
	if (a->headless != b->headless || a->n_ports != b->n_ports || strcmp(a->hostname, b->hostname) != 0 ||
	    !addresses_equal(a->addresses, a->n_addresses, b->addresses, b->n_addresses))
		return false;
	for (size_t i = 0; i < a->n_ports; i++)
		if (!port_is_equal(&a->ports[i], &b->ports[i]))
			return false;
	return true;
}

static bool inbound_is_equal(const struct mesh_inbound *a, const struct mesh_inbound *b)
{
	if (a->port != b->port || a->has_mtls != b->has_mtls || a->mtls != b->mtls || a->protocol != b->protocol || a->http1 != b->http1 ||
	    !a->service != !b->service || a->service_port != b->service_port)
		return false;
	return !a->service || (strcmp(a->service->name, b->service->name) == 0 &&
			       strcmp(a->service->namespace, b->service->namespace) == 0);
}

static bool workload_is_equal(const struct mesh_workload *a, const struct mesh_workload *b)
{
	if (a->id != b->id || a->default_mtls != b->default_mtls || a->n_labels != b->n_labels ||
	    a->n_inbound != b->n_inbound || strcmp(a->spiffe_id, b->spiffe_id) != 0 ||
	    !addresses_equal(a->addresses, a->n_addresses, b->addresses, b->n_addresses))
		return false;
	for (size_t i = 0; i < a->n_labels; i++)
		if (strcmp(a->labels[i], b->labels[i]) != 0)
			return false;
	for (size_t i = 0; i < a->n_inbound; i++)
		if (!inbound_is_equal(&a->inbound[i], &b->inbound[i]))
			return false;
	return true;
}

static int name_compare(const char *namespace_a, const char *name_a, const char *namespace_b, const char *name_b)
{
	int r = strcmp(namespace_a, namespace_b);

	return r ? r : strcmp(name_a, name_b);
}

typedef void change_fn(const struct mesh_change *change, void *user);

static void services_diff(const struct mesh_snapshot *old, const struct mesh_snapshot *new_, change_fn *on_change,
			  void *user)
{
	size_t n_old = old ? old->n_services : 0;

	for (size_t i = 0, k = 0; i < n_old || k < new_->n_services;) {
		const struct mesh_service *a = i < n_old ? &old->services[i] : NULL;
		const struct mesh_service *b = k < new_->n_services ? &new_->services[k] : NULL;
		int r = !a ? 1 : !b ? -1 : name_compare(a->namespace, a->name, b->namespace, b->name);

		if (r < 0)
			on_change(&(struct mesh_change){.how = MESH_REMOVED, .service = a}, user);
		else if (r > 0)
			on_change(&(struct mesh_change){.how = MESH_ADDED, .service = b}, user);
		else if (!service_is_equal(a, b))
			on_change(&(struct mesh_change){.how = MESH_CHANGED, .service = b}, user);
		i += r <= 0;
		k += r >= 0;
	}
}

static void workloads_diff(const struct mesh_snapshot *old, const struct mesh_snapshot *new_, change_fn *on_change,
			   void *user)
{
	size_t n_old = old ? old->n_workloads : 0;

	for (size_t i = 0, k = 0; i < n_old || k < new_->n_workloads;) {
		const struct mesh_workload *a = i < n_old ? &old->workloads[i] : NULL;
		const struct mesh_workload *b = k < new_->n_workloads ? &new_->workloads[k] : NULL;
		int r = !a ? 1 : !b ? -1 : name_compare(a->namespace, a->name, b->namespace, b->name);

		if (r < 0)
			on_change(&(struct mesh_change){.how = MESH_REMOVED, .workload = a}, user);
		else if (r > 0)
			on_change(&(struct mesh_change){.how = MESH_ADDED, .workload = b}, user);
		else if (!workload_is_equal(a, b))
			on_change(&(struct mesh_change){.how = MESH_CHANGED, .workload = b}, user);
		i += r <= 0;
		k += r >= 0;
	}
}

int mesh_snapshot_diff(const struct mesh_snapshot *old, const struct mesh_snapshot *new_,
		       void (*on_change)(const struct mesh_change *change, void *user), void *user)
{
	services_diff(old, new_, on_change, user);
	workloads_diff(old, new_, on_change, user);
	return 0;
}
