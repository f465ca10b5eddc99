/* SPDX-License-Identifier: Apache-2.0 */
/* The state file of a workload: what an agent that starts again cannot ask the kernel. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/str.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/netns.h"
#include "control/enrol/room.h"

#define STATE_MAX_BYTES (256 * 1024)

char *state_format(const struct enrolled *w)
{
	json_t *labels = json_array(), *o;
	char *text;

	for (size_t i = 0; i < w->spec.n_labels; i++)
		json_array_append_new(labels, json_string(w->spec.labels[i]));
	o = json_pack("{s:i,s:s,s:s,s:s,s:o,s:b,s:i,s:I,s:i,s:i,s:I,s:I,s:s,s:I,s:I}", "id", (int)w->id, "namespace", w->spec.namespace, "name",
		      w->spec.name, "service_account", w->spec.service_account, "labels", labels, "detach", w->spec.detach, "owner_pid",
		      (int)w->spec.owner_pid, "owner_start", (json_int_t)w->spec.owner_start, "pid", (int)w->pid, "proxy_pid", (int)w->proxy_pid,
		      "proxy_start", (json_int_t)w->proxy_start, "created_wall_ns", (json_int_t)w->created_wall_ns, "cert_serial", w->cert_serial,
		      "cert_not_before_s", (json_int_t)w->cert_not_before_s, "cert_not_after_s", (json_int_t)w->cert_not_after_s);
	text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	return text;
}

int enrolled_save(const struct enrolled *w)
{
	_cleanup_(freep) char *text = state_format(w);

	return text ? file_write(w->state_file, 0600, str_from(text)) : -ENOMEM;
}

static int labels_take(struct workload_spec *spec, const json_t *labels)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(labels))
		return -ENODATA;
	json_array_foreach(labels, i, v) {
		if (spec->n_labels == WORKLOAD_LABELS_MAX || !json_is_string(v))
			return -ENODATA;
		spec->labels[spec->n_labels] = str_dup(str_from(json_string_value(v)));
		if (!spec->labels[spec->n_labels])
			return -ENOMEM;
		spec->n_labels++;
	}
	return 0;
}

/* Names become paths: what is no name of ours is refused, whoever wrote the file. */
static bool is_name(const char *name)
{
	return str_is_label(str_from(name));
}

static int object_parse(const struct paths *p, const json_t *o, struct enrolled **ret)
{
	const char *namespace, *name, *account, *serial;
	int id, detach, owner_pid, pid, proxy_pid, r;
	json_int_t owner_start, proxy_start, created, not_before, not_after;
	struct enrolled *w;
	json_t *labels;

	if (json_unpack((json_t *)o, "{s:i,s:s,s:s,s:s,s:o,s:b,s:i,s:I,s:i,s:i,s:I,s:I,s:s,s:I,s:I}", "id", &id, "namespace", &namespace, "name",
			&name, "service_account", &account, "labels", &labels, "detach", &detach, "owner_pid", &owner_pid, "owner_start",
			&owner_start, "pid", &pid, "proxy_pid", &proxy_pid, "proxy_start", &proxy_start, "created_wall_ns", &created,
			"cert_serial", &serial, "cert_not_before_s", &not_before, "cert_not_after_s", &not_after) < 0)
		return -ENODATA;
	if (id < 1 || id > WORKLOAD_IDS_MAX || !is_name(namespace) || !is_name(name) || !is_name(account))
		return -ENODATA;
	w = enrolled_new(p, (uint32_t)id, namespace, name);
	if (!w)
		return -ENOMEM;
	snprintf(w->spec.service_account, sizeof(w->spec.service_account), "%s", account);
	snprintf(w->cert_serial, sizeof(w->cert_serial), "%s", serial);
	w->cert_not_before_s = (uint64_t)not_before;
	w->cert_not_after_s = (uint64_t)not_after;
	w->spec.detach = detach;
	w->spec.owner_pid = owner_pid;
	w->spec.owner_start = (unsigned long long)owner_start;
	w->pid = pid;
	w->proxy_pid = proxy_pid;
	w->proxy_start = (unsigned long long)proxy_start;
	w->created_wall_ns = (uint64_t)created;
	r = labels_take(&w->spec, labels);
	if (r < 0) {
		enrolled_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

int state_parse(const struct paths *p, struct str text, struct enrolled **ret)
{
	json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	int r = object_parse(p, o, ret);

	json_decref(o);
	return r;
}

int enrolled_read(const struct paths *p, const char *path, struct enrolled **ret)
{
	struct buf text;
	int r;

	buf_init(&text, STATE_MAX_BYTES);
	r = file_read(path, &text);
	if (r == 0)
		r = state_parse(p, buf_str(&text), ret);
	buf_done(&text);
	return r;
}

int enrolled_open(struct enrolled *w)
{
	int r = netns_open(w->netns_path, &w->netns_fd);

	r = r ? r : netns_cookie(w->netns_fd, &w->netns_cookie);
	r = r ? r : enrolled_cgroups_open(w);
	r = r ? r : listening_open(w->netns_fd, &w->listening);
	return r;
}
