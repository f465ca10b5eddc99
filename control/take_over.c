/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over what an earlier agent left
 *
 * Links and maps are pinned and proxies run on, so a workload noticed nothing. What is known of it comes from its state file and is held
 * against the kernel: its namespace and cgroups must be there, its proxy must be the process that was started. Whatever does not fit is
 * removed whole.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "control/agent.h"
#include "control/enrol/cgroup.h"

static int one_take_over(struct agent *a, struct enrolled *e)
{
	struct fault fault = { 0 };
	struct agent_workload *w;
	int r = enrolled_open(e);

	if (r == 0 && proxy_process_take_listeners(e) < 0) {
		/* No proxy ran: its listeners went with the last agent. */
		r = enrolled_listeners_make(e);
	}
	if (r < 0) {
		log_warn("workload not taken over, removed", "workload=%s err=%s", e->key, strerror(-r));
		enrolment_take_away(a, e);
		return r;
	}
	if (!e->pid) /* started, it may be, while no agent was there to be told */
		e->pid = cgroup_first_pid(e->app_cgroup);
	r = enrolment_attach(a, e, &w, &fault);
	if (r < 0) {
		log_error("workload not taken over, removed", "err=\"%s\"", fault_or(fault.reason));
		fault_done(&fault);
		return r;
	}
	enrolment_tell(w);
	enrolment_listen_look(w);
	log_info("workload taken over", "workload=%s proxy_pid=%d", e->key, (int)e->proxy_pid);
	if (e->pid || !w->owner_io.loop) /* else its command line is about to start it */
		enrolment_started(w, e->pid); /* it may have ended meanwhile */
	return 0;
}

/* @file: "NAMESPACE_NAME.json". A file that cannot be read still names what has to go. */
static void file_take_over(struct agent *a, const char *file)
{
	_cleanup_(freep) char *path = str_printf("%s/%s", a->paths.workload_dir, file), *key = str_dup(str_from(file));
	struct enrolled *e;
	char *split;
	int r;

	if (!path || !key)
		return;
	r = enrolled_read(&a->paths, path, &e);
	if (r == 0 && enrolment_find(a, e->spec.namespace, e->spec.name)) {
		enrolled_free(e); /* the folder changes while it is read, and may show a file twice */
		return;
	}
	if (r == 0) {
		if (one_take_over(a, e) == 0 && e->id > a->next_id)
			a->next_id = e->id;
		return;
	}
	log_warn("state file unreadable, workload removed", "path=%s err=%s", path, strerror(-r));
	key[strlen(key) - strlen(".json")] = '\0';
	split = strchr(key, '_');
	if (split) {
		*split = '\0';
		e = enrolled_new(&a->paths, 0, key, split + 1); /* the number is not known; links and files go by name */
		if (e)
			enrolment_take_away(a, e);
	}
	unlink(path);
}

void take_over_all(struct agent *a)
{
	DIR *d = opendir(a->paths.workload_dir);
	struct dirent *f;

	if (!d) {
		log_error("nothing taken over", "path=%s err=%s", a->paths.workload_dir, strerror(errno));
		return;
	}
	while ((f = readdir(d))) {
		if (str_ends(str_from(f->d_name), STR(".json")))
			file_take_over(a, f->d_name);
		else if (str_ends(str_from(f->d_name), STR(".new")))
			(void)unlinkat(dirfd(d), f->d_name, 0); /* a write that was cut short */
	}
	closedir(d);
}
