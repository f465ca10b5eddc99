/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files: bytes -> documents -> model -> snapshot
 *
 * Whatever the bytes are, every complaint names a line of the file and says something, applying the same set again
 * changes nothing, what is in force has addresses that nobody else has, and an empty set takes all of it away.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include "base/log.h"
#include "control/model/resource.h"
#include "control/snapshot/snapshot.h"
#include "control/source/yaml.h"

#define DOCUMENTS_MAX 64

static size_t n_lines;

static void complaints_check(const struct model *m)
{
	for (size_t i = 0; i < model_n_complaints(m); i++) {
		const struct model_complaint *c = model_complaint_at(m, i);

		FUZZ_CHECK(c->line >= 1 && (size_t)c->line <= n_lines + 1);
		FUZZ_CHECK(c->text[0] != '\0');
		FUZZ_CHECK(c->since_wall_ns > 0);
	}
}

static void snapshot_check(const struct mesh_snapshot *s)
{
	for (size_t i = 0; i < mesh_snapshot_n_services(s); i++) {
		const struct mesh_service *svc = mesh_snapshot_service_at(s, i);
		struct mesh_dns_answer dns;

		FUZZ_CHECK(mesh_snapshot_service_find(s, svc->namespace, svc->name) == svc);
		FUZZ_CHECK(mesh_snapshot_dns_find(s, svc->namespace, str_from(svc->hostname), &dns) &&
			   dns.service == svc);
		for (size_t k = 0; k < svc->n_addresses; k++)
			FUZZ_CHECK(mesh_snapshot_service_by_ip(s, &svc->addresses[k]) == svc);
		for (size_t k = 0; k < svc->n_ports; k++) {
			const struct mesh_service_port *p = &svc->ports[k];

			FUZZ_CHECK(p->port > 0 && mesh_service_port_find(svc, p->port) == p);
			for (size_t e = 0; e < p->n_endpoints; e++) {
				FUZZ_CHECK(mesh_snapshot_endpoint_by_addr(s, &p->endpoints[e].addr, NULL, NULL) !=
					   NULL);
				FUZZ_CHECK(e == 0 ||
					   memcmp(p->endpoints[e - 1].addr.ip, p->endpoints[e].addr.ip, 16) <= 0);
			}
		}
	}
}

static void on_change(const struct mesh_change *change, void *user)
{
	FUZZ_CHECK(!"the same set again changes nothing");
}

static void set_check(const struct yaml_file *file)
{
	static const char *const labels[] = {"app=a"};
	static struct addr address = {.ip = {[10] = 0xff, 0xff, 10, 78, 0, 2}};
	static const uint16_t listening[] = {80, 8080};
	struct model_settings settings = {.trust_domain = "cluster.local", .cluster_domain = "cluster.local"};
	struct model_document docs[DOCUMENTS_MAX];
	struct model_set set = {.documents = docs};
	struct mesh_snapshot *a, *b;
	struct model *m;

	FUZZ_CHECK(cidr_parse(STR("10.79.0.0/16"), &settings.service_cidr4) == 0);
	FUZZ_CHECK(cidr_parse(STR("fd79::/64"), &settings.service_cidr6) == 0);
	FUZZ_CHECK(model_new(NULL, &settings, &m) == 0);
	FUZZ_CHECK(model_workload_set(m, &(struct model_workload){.id = 1,
								  .namespace = "default",
								  .name = "w",
								  .labels = labels,
								  .n_labels = 1,
								  .addresses = &address,
								  .n_addresses = 1,
								  .listening = listening,
								  .n_listening = 2}) == 0);
	for (size_t i = 0; i < file->n && i < DOCUMENTS_MAX; i++)
		docs[set.n_documents++] = (struct model_document){.root = file->documents[i].root,
								  .lines = &file->documents[i].lines,
								  .place = {"f.yaml", file->documents[i].line}};
	FUZZ_CHECK(model_apply_set(m, "file", &set) == 0);
	complaints_check(m);
	FUZZ_CHECK(mesh_snapshot_build(m, 1, &a) == 0);
	snapshot_check(a);
	FUZZ_CHECK(model_apply_set(m, "file", &set) == 0);
	complaints_check(m);
	FUZZ_CHECK(mesh_snapshot_build(m, 2, &b) == 0);
	FUZZ_CHECK(mesh_snapshot_diff(a, b, on_change, NULL) == 0);
	mesh_snapshot_unref(a);
	mesh_snapshot_unref(b);
	FUZZ_CHECK(model_apply_set(m, "file", &(struct model_set){0}) == 0);
	FUZZ_CHECK(model_n_complaints(m) == 0);
	for (int k = 0; k < RESOURCE_KINDS; k++) {
		size_t n;

		(void)model_resources(m, (enum resource_kind)k, &n);
		FUZZ_CHECK(n == 0);
	}
	model_free(m);
}

static void parsed_check(int r, struct yaml_file *file, const struct yaml_error *error)
{
	if (r == 0) {
		set_check(file);
		yaml_file_done(file);
	} else {
		FUZZ_CHECK(r == YAML_E_REFUSED);
		FUZZ_CHECK(error->line >= 1 && (size_t)error->line <= n_lines + 1 && error->text[0]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str s = {(const char *)bytes, n};
	struct yaml_error error = {0};
	struct yaml_file file = {0};

	log_set_level(LOG_ERROR);
	n_lines = 1;
	for (size_t i = 0; i < n; i++) /* YAML has more line ends than \n: CR, NEL (C2 85), LS and PS (E2 80 A8, A9) */
		n_lines += bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == 0x85 || bytes[i] == 0xa8 ||
			   bytes[i] == 0xa9;
	parsed_check(yaml_parse(s, &file, &error), &file, &error);
	if (n && (bytes[0] == '{' || bytes[0] == '[')) {
		file = (struct yaml_file){0};
		error = (struct yaml_error){0};
		parsed_check(yaml_parse_json(s, &file, &error), &file, &error);
	}
	return 0;
}
