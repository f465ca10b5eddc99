/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: validated resources of all sources, and the workloads that run here
 *
 * A source hands over parsed YAML or JSON documents; the model validates one resource at a time and refuses a bad one
 * with path and reason while the last good one stays. Workloads come from enrolment. Every change is announced once per
 * loop turn.
 */
#ifndef TRAMMEL_CONTROL_MODEL_H
#define TRAMMEL_CONTROL_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/loop.h"

struct model;

struct model_settings {
	const char *trust_domain;                 /* "cluster.local" */
	const char *cluster_domain;               /* "cluster.local" */
	const char *const *reverse_zones;         /* of the mesh's own addresses: "77.10.in-addr.arpa"; borrowed */
	size_t n_reverse_zones;
	struct cidr service_cidr4, service_cidr6; /* virtual addresses for services that state none */
};

MUST_CHECK int model_new(struct loop *loop, const struct model_settings *settings, struct model **ret);
struct model *model_free(struct model *m);
DEFINE_CLEANUP(struct model, model_free)

/** model_on_change() - @fn runs from the loop, once after any number of changes in a turn */
void model_on_change(struct model *m, void (*fn)(void *user), void *user);

/* Where a resource stood, for people. */
struct model_place {
	const char *file; /* borrowed for the call; copied where kept */
	int line;         /* of the document's first line */
};

/* One complaint about a document or file. */
struct model_complaint {
	char *file;   /* path as watched */
	int line;     /* of the field where known, else of the document */
	char *kind;   /* "Service", or "" */
	char *object; /* "default/web", or "" */
	char *field;  /* "spec.ports[0].port", or "" */
	char *text;   /* reason and next step */
	bool kept_last_good;
	uint64_t since_wall_ns;
};

/* Sets: what a source hands over */

struct line_table;

/* One parsed document, or the last good version of one. */
struct model_document {
	const json_t *root;             /* borrowed for the call */
	const struct line_table *lines; /* of its fields; sealed; may be NULL */
	struct model_place place;
	bool stale; /* from the last good version of a file that is broken now: yields to a fresh document of the same
		       object */
};

/* What the source itself has to complain about: a file that is no YAML, a folder that is gone. */
struct model_fault {
	struct model_place place;
	const char *field; /* "" where not known */
	const char *text;
	bool kept_last_good;
};

struct model_set {
	const struct model_document *documents;
	size_t n_documents;
	const struct model_fault *faults;
	size_t n_faults;
};

/**
 * model_apply_set() - replace everything @origin has said so far by @set
 * @origin:  name of the source ("file"); copied
 *
 * Each object stands alone: one that is refused is complained about, and its last good version stays in force. Where a
 * document cannot even be told to be a certain object (no name, unknown kind), no object of the same file is removed.
 * What is left out of @set is removed. Applied as a whole or (on -ENOMEM) not at all.
 *
 * Return: 0 (also when objects were refused) or -ENOMEM.
 */
MUST_CHECK int model_apply_set(struct model *m, const char *origin, const struct model_set *set);

/* Workloads */

struct model_workload {
	uint32_t id;
	const char *namespace, *name, *service_account;
	const char *const *labels; /* "key=value" */
	size_t n_labels;
	const struct addr *addresses; /* port 0 */
	size_t n_addresses;
	const uint16_t *listening; /* TCP ports open on other than loopback, sorted: the readiness of endpoints */
	size_t n_listening;
	bool terminating;
};

/** model_workload_set() - add or replace (key: namespace and name); everything is copied; -ENOMEM */
MUST_CHECK int model_workload_set(struct model *m, const struct model_workload *w);
void model_workload_remove(struct model *m, const char *namespace, const char *name);

/* Complaints in force, for `trammel snapshot show`, logs and metrics. */
size_t model_n_complaints(const struct model *m);
const struct model_complaint *model_complaint_at(const struct model *m, size_t i);

#endif
