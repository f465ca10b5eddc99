/* SPDX-License-Identifier: Apache-2.0 */
/* The state file of a workload: what an agent that starts again cannot ask the kernel. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/spawn.h"
#include "base/str.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/netns.h"
#include "control/enrol/room.h"

int enrolled_save(const struct enrolled *w)
{
	json_t *labels = json_array(), *o;
	char *text;
	int r;

	for (size_t i = 0; i < w->spec.n_labels; i++)
		json_array_append_new(labels, json_string(w->spec.labels[i]));
	o = json_pack("{s:i,s:s,s:s,s:s,s:o,s:b,s:i,s:I,s:i,s:i,s:I,s:I}", "id", (int)w->id, "namespace", w->spec.namespace, "name", w->spec.name,
		      "service_account", w->spec.service_account, "labels", labels, "detach", w->spec.detach, "owner_pid", (int)w->spec.owner_pid,
		      "owner_start", (json_int_t)w->spec.owner_start, "pid", (int)w->pid, "proxy_pid", (int)w->proxy_pid, "proxy_start",
		      (json_int_t)w->proxy_start, "created_wall_ns", (json_int_t)w->created_wall_ns);
	text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	r = file_write(w->state_file, 0600, str_from(text));
	free(text);
	return r;
}

static int labels_take(struct workload_spec *spec, const json_t *labels)
{
	const json_t *v;
	size_t i;

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

static int state_parse(const struct paths *p, const json_t *o, struct enrolled **ret)
{
	const char *namespace, *name, *account;
	int id, detach, owner_pid, pid, proxy_pid, r;
	json_int_t owner_start, proxy_start, created;
	struct enrolled *w;
	json_t *labels;

	if (json_unpack((json_t *)o, "{s:i,s:s,s:s,s:s,s:o,s:b,s:i,s:I,s:i,s:i,s:I,s:I}", "id", &id, "namespace", &namespace, "name", &name,
			"service_account", &account, "labels", &labels, "detach", &detach, "owner_pid", &owner_pid, "owner_start", &owner_start,
			"pid", &pid, "proxy_pid", &proxy_pid, "proxy_start", &proxy_start, "created_wall_ns", &created) < 0)
		return -ENODATA;
	if (id < 1 || id > WORKLOAD_IDS_MAX)
		return -ENODATA;
	w = enrolled_alloc(p, (uint32_t)id, namespace, name);
	if (!w)
		return -ENOMEM;
	snprintf(w->spec.namespace, sizeof(w->spec.namespace), "%s", namespace);
	snprintf(w->spec.name, sizeof(w->spec.name), "%s", name);
	snprintf(w->spec.service_account, sizeof(w->spec.service_account), "%s", account);
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

int enrolled_open(const struct paths *p, const char *path, struct enrolled **ret)
{
	struct enrolled *w = NULL;
	struct buf text;
	json_t *o = NULL;
	int r;

	buf_init(&text, 256 * 1024);
	r = file_read(path, &text);
	if (r == 0)
		o = json_loadb(buf_head(&text), text.len, 0, NULL);
	buf_done(&text);
	r = r ? r : state_parse(p, o, &w);
	json_decref(o);
	r = r ? r : netns_open(w->netns_path, &w->netns_fd);
	r = r ? r : netns_cookie(w->netns_fd, &w->netns_cookie);
	r = r ? r : enrolled_cgroups_open(w);
	r = r ? r : listening_open(w->netns_fd, &w->listening);
	if (r < 0) {
		if (w)
			enrolled_remove(p, w); /* half of it is gone: the rest goes too */
		return r == -ENOMEM ? r : -ENODATA;
	}
	/* a number that now belongs to another process is nobody's */
	if (w->proxy_pid && spawn_start_time(w->proxy_pid) != w->proxy_start)
		w->proxy_pid = 0;
	*ret = w;
	return 0;
}
