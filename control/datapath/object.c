/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading
 *
 * One object per hook, all on the same pinned maps: libbpf creates a map where no pin is and takes the pinned one where
 * there is. What the kernel may lack is found out by loading: first with everything, then with less.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "control/datapath/room.h"
#include "connect.skel.h"
#include "guard.skel.h"
#include "message.skel.h"
#include "name.skel.h"
#include "sk_lookup.skel.h"
#include "sockops.skel.h"
#include "sockopt.skel.h"

enum object_index {
	OBJECT_CONNECT,
	OBJECT_MESSAGE,
	OBJECT_NAME,
	OBJECT_SOCKOPS,
	OBJECT_SOCKOPT,
};
_Static_assert(OBJECT_SOCKOPT + 1 == OBJECTS, "object table");

/* In the order of attachment: what hands over stands before what captures. */
const struct hook hooks[HOOKS] = {
	{"trm_getsockopt", HOOK_PROXY, OBJECT_SOCKOPT}, {"trm_setsockopt", HOOK_PROXY, OBJECT_SOCKOPT},
	{"trm_sockops_px", HOOK_PROXY, OBJECT_SOCKOPS}, {"trm_sockops_app", HOOK_APP, OBJECT_SOCKOPS},
	{"trm_getpeer4", HOOK_APP, OBJECT_NAME},        {"trm_getpeer6", HOOK_APP, OBJECT_NAME},
	{"trm_getself4", HOOK_APP, OBJECT_NAME},        {"trm_getself6", HOOK_APP, OBJECT_NAME},
	{"trm_recvmsg4", HOOK_APP, OBJECT_MESSAGE},     {"trm_recvmsg6", HOOK_APP, OBJECT_MESSAGE},
	{"trm_sendmsg4", HOOK_APP, OBJECT_MESSAGE},     {"trm_sendmsg6", HOOK_APP, OBJECT_MESSAGE},
	{"trm_connect4", HOOK_APP, OBJECT_CONNECT},     {"trm_connect6", HOOK_APP, OBJECT_CONNECT},
};

struct kind {
	const char *name;
	void *(*open)(const struct bpf_object_open_opts *opts, const struct datapath *dp, struct bpf_object **ret);
	int (*load)(void *skeleton);
	void (*destroy)(void *skeleton);
};

#define DEFINE_KIND(hook, settings)                                                                  \
	static void *hook##_open(const struct bpf_object_open_opts *opts, const struct datapath *dp, \
				 struct bpf_object **ret)                                            \
	{                                                                                            \
		struct hook##_bpf *s = hook##_bpf__open_opts(opts);                                  \
                                                                                                     \
		(void)dp;                                                                            \
		if (!s)                                                                              \
			return NULL;                                                                 \
		settings;                                                                            \
		*ret = s->obj;                                                                       \
		return s;                                                                            \
	}                                                                                            \
	static int hook##_load(void *s)                                                              \
	{                                                                                            \
		return hook##_bpf__load(s);                                                          \
	}                                                                                            \
	static void hook##_destroy(void *s)                                                          \
	{                                                                                            \
		hook##_bpf__destroy(s);                                                              \
	}

DEFINE_KIND(connect,
	    (s->rodata->has_mptcp = dp->abilities.has_mptcp, s->rodata->has_set_retval = dp->abilities.has_set_retval,
	     s->rodata->trace_flows = dp->trace_flows))
DEFINE_KIND(message,
	    (s->rodata->has_set_retval = dp->abilities.has_set_retval, s->rodata->trace_flows = dp->trace_flows))
DEFINE_KIND(name, (void)0)
DEFINE_KIND(sockops, (void)0)
DEFINE_KIND(sockopt, (void)0)

#define KIND(hook)                                              \
	{                                                       \
#hook, hook##_open, hook##_load, hook##_destroy \
	}
static const struct kind kinds[OBJECTS] = {
	[OBJECT_CONNECT] = KIND(connect), [OBJECT_MESSAGE] = KIND(message), [OBJECT_NAME] = KIND(name),
	[OBJECT_SOCKOPS] = KIND(sockops), [OBJECT_SOCKOPT] = KIND(sockopt),
};

static int load_error(const char *name, int err, char **ret_error)
{
	const char *next = err == -EPERM || err == -EACCES ? "run as root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)"
							   : "see trammel feature list";

	return fail(ret_error, err, "BPF object %s: cannot load: %s (%s); %s", name, strerror(-err), bpf_log_text(),
		    next);
}

static int object_load(const struct datapath *dp, int i, struct object *ret, char **ret_error)
{
	_cleanup_(freep) char *maps = str_printf("%s/maps", dp->abi_root);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = maps);
	struct bpf_object *obj;
	void *skeleton;
	int err;

	if (!maps)
		return -ENOMEM;
	bpf_log_begin();
	skeleton = kinds[i].open(&opts, dp, &obj);
	if (!skeleton)
		return load_error(kinds[i].name, -errno, ret_error);
	err = kinds[i].load(skeleton);
	if (err) {
		kinds[i].destroy(skeleton);
		return load_error(kinds[i].name, err, ret_error);
	}
	*ret = (struct object){.bpf = obj, .skeleton = skeleton};
	return 0;
}

/* The connect object uses all that is optional: what it loads with, the kernel has. */
static int abilities_find(struct datapath *dp, char **ret_error)
{
	static const struct abilities ladder[] = {{true, true}, {true, false}, {false, true}, {false, false}};
	_cleanup_(freep) char *error = NULL;
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ladder); i++) {
		dp->abilities = ladder[i];
		free(error);
		error = NULL;
		err = object_load(dp, OBJECT_CONNECT, &dp->objects[OBJECT_CONNECT], &error);
		if (!err)
			return 0;
		if (err == -EPERM)
			break;
	}
	if (ret_error && !*ret_error)
		*ret_error = TAKE_PTR(error);
	return err;
}

static int map_fds_find(struct datapath *dp, char **ret_error)
{
	for (int i = 0; i < MAPS; i++) {
		dp->map_fds[i] = bpf_object__find_map_fd_by_name(dp->objects[OBJECT_CONNECT].bpf, map_names[i]);
		if (dp->map_fds[i] < 0)
			return fail(ret_error, -ENOENT, "map %s: not in the object", map_names[i]);
	}
	return 0;
}

struct bpf_program *hook_program(struct datapath *dp, const struct hook *h)
{
	return bpf_object__find_program_by_name(dp->objects[h->object].bpf, h->name);
}

static int programs_pin(struct datapath *dp, char **ret_error)
{
	int err;

	for (int i = 0; i < HOOKS; i++) {
		_cleanup_(freep) char *path = str_printf("%s/progs/%s", dp->abi_root, hooks[i].name);

		if (!path)
			return -ENOMEM;
		err = pin_replace(bpf_program__fd(hook_program(dp, &hooks[i])), path);
		if (err)
			return fail(ret_error, err, "program %s: cannot pin: %s", path, strerror(-err));
	}
	return 0;
}

int objects_load(struct datapath *dp, char **ret_error)
{
	int err;

	err = abilities_find(dp, ret_error);
	for (int i = 0; !err && i < OBJECTS; i++)
		if (i != OBJECT_CONNECT)
			err = object_load(dp, i, &dp->objects[i], ret_error);
	if (!err)
		err = map_fds_find(dp, ret_error);
	if (!err)
		err = programs_pin(dp, ret_error);
	return err;
}

void objects_unload(struct datapath *dp)
{
	for (int i = 0; i < OBJECTS; i++)
		if (dp->objects[i].skeleton)
			kinds[i].destroy(dp->objects[i].skeleton);
}

int sk_lookup_load(struct datapath *dp, const struct instance *in, int *ret_fd, char **ret_error)
{
	_cleanup_(freep) char *maps = str_printf("%s/maps", dp->abi_root);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = maps);
	struct sk_lookup_bpf *s;
	int err, fd;

	if (!maps)
		return -ENOMEM;
	bpf_log_begin();
	s = sk_lookup_bpf__open_opts(&opts);
	if (!s)
		return load_error("sk_lookup", -errno, ret_error);
	s->rodata->workload_id = in->workload_id;
	s->rodata->netns_cookie = in->netns_cookie;
	s->rodata->trace_flows = dp->trace_flows;
	err = sk_lookup_bpf__load(s);
	fd = err ? -1 : fcntl(bpf_program__fd(s->progs.trm_sk_lookup), F_DUPFD_CLOEXEC, 3);
	if (!err && fd < 0)
		err = -errno;
	sk_lookup_bpf__destroy(s);
	if (err)
		return load_error("sk_lookup", err, ret_error);
	*ret_fd = fd;
	return 0;
}

int guard_load(struct datapath *dp, const struct instance *in, int *ret_fd, char **ret_error)
{
	_cleanup_(freep) char *maps = str_printf("%s/maps", dp->abi_root);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = maps);
	struct guard_bpf *s;
	int err, fd;

	if (!maps)
		return -ENOMEM;
	bpf_log_begin();
	s = guard_bpf__open_opts(&opts);
	if (!s)
		return load_error("guard", -errno, ret_error);
	s->rodata->workload_id = in->workload_id;
	s->rodata->netns_cookie = in->netns_cookie;
	s->rodata->l2_bytes = in->l2_bytes;
	err = guard_bpf__load(s);
	fd = err ? -1 : fcntl(bpf_program__fd(s->progs.trm_guard), F_DUPFD_CLOEXEC, 3);
	if (!err && fd < 0)
		err = -errno;
	guard_bpf__destroy(s);
	if (err)
		return load_error("guard", err, ret_error);
	*ret_fd = fd;
	return 0;
}
