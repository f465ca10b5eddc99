/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the model share: a model on its loop, and YAML texts as a set of files. */
#ifndef TRAMMEL_TEST_POLICY_LIB_H
#define TRAMMEL_TEST_POLICY_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/log.h"
#include "base/loop.h"
#include "control/model/model.h"
#include "control/model/resource.h"
#include "control/source/yaml.h"

struct bed {
	struct loop *loop;
	struct model *model;
};

static inline void bed_init_ranges(struct bed *b, const char *v4, const char *v6)
{
	static const char *const zones[] = {"77.10.in-addr.arpa", "7.7.d.f.ip6.arpa"};
	struct model_settings s = {.trust_domain = "cluster.local",
				   .cluster_domain = "cluster.local",
				   .reverse_zones = zones,
				   .n_reverse_zones = 2};

	log_set_level(LOG_ERROR);
	if (v4)
		assert_int_equal(cidr_parse(str_from(v4), &s.service_cidr4), 0);
	if (v6)
		assert_int_equal(cidr_parse(str_from(v6), &s.service_cidr6), 0);
	assert_int_equal(loop_new(&b->loop), 0);
	assert_int_equal(model_new(b->loop, &s, &b->model), 0);
}

static inline void bed_init(struct bed *b)
{
	bed_init_ranges(b, "10.79.0.0/16", "fd79::/64");
}

static inline void bed_done(struct bed *b)
{
	model_free(b->model);
	loop_free(b->loop);
}

struct text_file {
	const char *name, *text;
	bool stale;
};

/* Parses @n texts, which must be good YAML, and applies them as one set of @origin. */
static inline void bed_apply_files(struct bed *b, const char *origin, const struct text_file *files, size_t n)
{
	struct yaml_file parsed[8] = {0};
	struct model_document docs[64];
	size_t n_docs = 0;

	assert_true(n <= 8);
	for (size_t i = 0; i < n; i++) {
		struct yaml_error error = {0};

		if (yaml_parse(str_from(files[i].text), &parsed[i], &error))
			fail_msg("%s:%d: %s", files[i].name, error.line, error.text);
		for (size_t k = 0; k < parsed[i].n; k++) {
			assert_true(n_docs < 64);
			docs[n_docs++] = (struct model_document){.root = parsed[i].documents[k].root,
								 .lines = &parsed[i].documents[k].lines,
								 .place = {files[i].name, parsed[i].documents[k].line},
								 .stale = files[i].stale};
		}
	}
	assert_int_equal(
		model_apply_set(b->model, origin, &(struct model_set){.documents = docs, .n_documents = n_docs}), 0);
	for (size_t i = 0; i < n; i++)
		yaml_file_done(&parsed[i]);
}

static inline void bed_apply(struct bed *b, const char *text)
{
	bed_apply_files(b, "file", &(struct text_file){"p.yaml", text, false}, 1);
}

static inline void complaints_print(const struct model *m)
{
	for (size_t i = 0; i < model_n_complaints(m); i++) {
		const struct model_complaint *c = model_complaint_at(m, i);

		print_message("  complaint: %s:%d %s %s %s: %s%s\n", c->file, c->line, c->kind, c->object, c->field,
			      c->text, c->kept_last_good ? " (kept)" : "");
	}
}

/* One complaint that stands at @line about @field and says @text. */
static inline const struct model_complaint *complaint_get(const struct model *m, int line, const char *field,
							  const char *text)
{
	for (size_t i = 0; i < model_n_complaints(m); i++) {
		const struct model_complaint *c = model_complaint_at(m, i);

		if (c->line == line && strcmp(c->field, field) == 0 && strstr(c->text, text))
			return c;
	}
	complaints_print(m);
	fail_msg("no complaint at line %d about %s that says \"%s\"", line, field, text);
	return NULL;
}

static inline void no_complaints(const struct model *m)
{
	complaints_print(m);
	assert_int_equal(model_n_complaints(m), 0);
}

static inline struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(str_from(text), &a), 0);
	return a;
}

static inline struct addr ip_port(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(str_from(text), &a), 0);
	return a;
}

/* A workload with up to two labels and one or two addresses that listens on @port (0: on nothing). */
static inline void workload_set(struct bed *b, uint32_t id, const char *ns, const char *name, const char *label,
				const char *v4, const char *v6, uint16_t port)
{
	struct addr addrs[2];
	const char *labels[] = {label};
	size_t n = 0;

	if (v4)
		addrs[n++] = ip(v4);
	if (v6)
		addrs[n++] = ip(v6);
	assert_int_equal(model_workload_set(b->model, &(struct model_workload){.id = id,
									       .namespace = ns,
									       .name = name,
									       .service_account = "sa",
									       .labels = labels,
									       .n_labels = label != NULL,
									       .addresses = addrs,
									       .n_addresses = n,
									       .listening = &port,
									       .n_listening = port != 0}),
			 0);
}

#endif
