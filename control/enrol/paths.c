/* SPDX-License-Identifier: Apache-2.0 */
/* Where an instance keeps its things: see paths.h. */
#include "control/enrol/paths.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "control/enrol/cgroup.h"
#include "trammel/admin.h"

#define AGENT_LOG "agent.log"

static const char *env_or(const char *name, const char *otherwise)
{
	const char *v = getenv(name);

	return v && *v ? v : otherwise;
}

/* FNV-1a: the same folder gives the same name in every run, unlike the keyed hash. */
static uint32_t name_hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

static char *below(const char *dir, const char *name)
{
	return dir ? str_printf("%s/%s", dir, name) : NULL;
}

int paths_init(struct paths *p)
{
	static const char *const settings[] = { "TRAMMEL_RUN_DIR", "TRAMMEL_STATE_DIR", "TRAMMEL_BPFFS" };
	int r;

	*p = (struct paths){ 0 };
	/* the agent works from "/": a relative path would name another folder there */
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (*env_or(settings[i], "/") != '/')
			return -EINVAL;
	r = cgroup_mount_find("/proc/self/mounts", &p->cgroup_mount);
	if (r < 0)
		return r;
	p->run_dir = str_dup(str_from(env_or("TRAMMEL_RUN_DIR", TRM_RUN_DIR)));
	p->state_dir = str_dup(str_from(env_or("TRAMMEL_STATE_DIR", TRM_STATE_DIR)));
	p->bpffs = str_dup(str_from(env_or("TRAMMEL_BPFFS", TRM_BPFFS)));
	p->netns_dir = below(p->run_dir, "netns");
	p->mesh_netns = below(p->netns_dir, "trammel");
	p->workload_dir = below(p->run_dir, "workload");
	p->proxy_dir = below(p->run_dir, "proxy");
	p->log_dir = below(p->run_dir, "log");
	p->etc_dir = below(p->run_dir, "etc");
	p->agent_socket = below(p->run_dir, "agent.sock");
	p->publish_socket = below(p->run_dir, "publish.sock");
	p->lock_file = below(p->run_dir, "agent.lock");
	p->bpffs_file = below(p->run_dir, "bpffs");
	p->mounted_file = below(p->run_dir, "bpffs.mounted");
	p->ca_dir = below(p->state_dir, "ca");
	if (p->run_dir && strcmp(p->run_dir, TRM_RUN_DIR) == 0)
		p->cgroup_root = below(p->cgroup_mount, "trammel");
	else if (p->run_dir)
		p->cgroup_root = str_printf("%s/trammel.%08x", p->cgroup_mount, name_hash(p->run_dir));
	if (p->state_dir && p->bpffs && p->mesh_netns && p->workload_dir && p->proxy_dir && p->log_dir && p->etc_dir && p->agent_socket &&
	    p->publish_socket && p->lock_file && p->bpffs_file && p->mounted_file && p->ca_dir && p->cgroup_root)
		return 0;
	paths_done(p);
	return -ENOMEM;
}

void paths_done(struct paths *p)
{
	char **all[] = { &p->run_dir,	  &p->state_dir,    &p->bpffs,		&p->netns_dir, &p->mesh_netns,	  &p->workload_dir,
			 &p->proxy_dir,	  &p->log_dir,	    &p->etc_dir,	&p->agent_socket, &p->publish_socket, &p->lock_file,
			 &p->bpffs_file,  &p->mounted_file, &p->ca_dir,	    &p->cgroup_mount,	&p->cgroup_root };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		free(*all[i]);
		*all[i] = NULL;
	}
}

/* Is there anything but an agent's log, which `trammel up` opens first? */
bool paths_are_ours(const struct paths *p)
{
	DIR *d = opendir(p->run_dir);
	struct dirent *e;
	bool found = false;

	while (d && (e = readdir(d)))
		found = found || (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, AGENT_LOG) != 0);
	if (d)
		closedir(d);
	return !found || access(p->lock_file, F_OK) == 0;
}

bool paths_lock_is_in_place(const struct paths *p, int fd)
{
	struct stat held, now;

	return fstat(fd, &held) == 0 && stat(p->lock_file, &now) == 0 && held.st_ino == now.st_ino && held.st_dev == now.st_dev;
}

int paths_claim(const struct paths *p)
{
	int r = dir_make(p->run_dir, 0755);

	return r ? r : paths_are_ours(p) ? 0 : -ENOTEMPTY;
}

int paths_remove(const struct paths *p)
{
	_cleanup_(freep) char *log = below(p->run_dir, AGENT_LOG);
	const char *const dirs[] = { p->netns_dir, p->workload_dir, p->proxy_dir, p->log_dir, p->etc_dir };
	const char *const files[] = { p->agent_socket, p->publish_socket, p->bpffs_file, p->mounted_file, log, p->lock_file };
	int r = 0;

	if (!paths_are_ours(p))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++)
		r = dir_remove(dirs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++) /* the lock last: it marks the folder as ours */
		if (!files[i] || (unlink(files[i]) < 0 && errno != ENOENT && errno != ENOTDIR))
			r = files[i] ? -errno : -ENOMEM;
	if (r == 0 && rmdir(p->run_dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
		r = -errno;
	return r;
}

char *paths_bpffs_recorded(const struct paths *p)
{
	char *path = NULL;
	struct buf text;

	buf_init(&text, PATH_MAX);
	if (file_read(p->bpffs_file, &text) == 0 && text.len)
		path = str_dup(buf_str(&text));
	buf_done(&text);
	return path;
}

int paths_make(const struct paths *p)
{
	const struct {
		const char *path;
		mode_t mode;
	} dirs[] = {
		{ p->run_dir, 0755 }, { p->workload_dir, 0700 }, { p->proxy_dir, 0700 }, { p->log_dir, 0755 },
		{ p->etc_dir, 0755 }, { p->state_dir, 0755 },	  { p->ca_dir, 0755 },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++)
		r = dir_make(dirs[i].path, dirs[i].mode);
	return r;
}
