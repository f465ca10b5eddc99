/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups: see cgroup.h. */
#include "control/enrol/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"

#define POLL_MS 5

int cgroup_mount_find(const char *mounts_file, char **ret)
{
	FILE *f = setmntent(mounts_file, "re");
	struct mntent *m;
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r == -ENOENT && (m = getmntent(f)))
		if (strcmp(m->mnt_type, "cgroup2") == 0) {
			*ret = str_dup(str_from(m->mnt_dir));
			r = *ret ? 0 : -ENOMEM;
		}
	endmntent(f);
	return r;
}

int cgroup_make(const char *path)
{
	return dir_make(path, 0755);
}

static int file_append_of(const char *path, const char *file, struct buf *out)
{
	_cleanup_(freep) char *name = str_printf("%s/%s", path, file);

	return name ? file_read(name, out) : -ENOMEM;
}

/* Calls @fn for every process of @path itself. */
static void pids_each(const char *path, void (*fn)(pid_t pid, void *user), void *user)
{
	struct str rest, line;
	struct buf text;
	uint64_t pid;

	buf_init(&text, 1024 * 1024);
	if (file_append_of(path, "cgroup.procs", &text) == 0) {
		rest = buf_str(&text);
		while (rest.n && str_split(&rest, '\n', &line))
			if (str_parse_u64(line, INT32_MAX, &pid) == 0 && pid > 0)
				fn((pid_t)pid, user);
	}
	buf_done(&text);
}

static void pid_signal(pid_t pid, void *user)
{
	kill(pid, *(int *)user);
}

void cgroup_signal(const char *path, int signo)
{
	pids_each(path, pid_signal, &signo);
}

static void pid_keep(pid_t pid, void *user)
{
	if (!*(pid_t *)user)
		*(pid_t *)user = pid;
}

pid_t cgroup_first_pid(const char *path)
{
	pid_t pid = 0;

	pids_each(path, pid_keep, &pid);
	return pid;
}

static void below_each(const char *path, void (*fn)(const char *child, void *user), void *user)
{
	DIR *d = opendir(path);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		_cleanup_(freep) char *child = NULL;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		child = str_printf("%s/%s", path, e->d_name);
		if (child)
			fn(child, user);
	}
	closedir(d);
}

static void child_kill(const char *child, void *user)
{
	cgroup_kill(child);
}

void cgroup_kill(const char *path)
{
	_cleanup_(freep) char *file = str_printf("%s/cgroup.kill", path);

	if (file && file_write_into(file, STR("1")) == 0)
		return;
	cgroup_signal(path, SIGKILL); /* before Linux 5.14 */
	below_each(path, child_kill, NULL);
}

bool cgroup_is_populated(const char *path)
{
	bool populated = false;
	struct buf text;

	buf_init(&text, 4096);
	if (file_append_of(path, "cgroup.events", &text) == 0 && buf_append(&text, "", 1) == 0)
		populated = strstr(buf_head(&text), "populated 1") != NULL;
	buf_done(&text);
	return populated;
}

static void child_remove(const char *child, void *user)
{
	below_each(child, child_remove, NULL);
	rmdir(child);
}

int cgroup_remove(const char *path, unsigned int wait_ms)
{
	for (unsigned int waited = 0;; waited += POLL_MS) {
		const struct timespec pause = { 0, POLL_MS * 1000000 };

		below_each(path, child_remove, NULL);
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY || waited >= wait_ms)
			return -errno;
		nanosleep(&pause, NULL);
	}
}

int cgroup_id(const char *path, uint64_t *ret)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	*ret = st.st_ino;
	return 0;
}
