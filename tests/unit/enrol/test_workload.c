/* SPDX-License-Identifier: Apache-2.0 */
/* What a workload is given and what is written down of it: addresses, texts, the state file, where its cgroup is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "control/enrol/cgroup.h"
#include "control/enrol/room.h"

static struct paths paths;

static int paths_setup(void **state)
{
	setenv("TRAMMEL_RUN_DIR", "/nowhere/run", 1);
	setenv("TRAMMEL_STATE_DIR", "/nowhere/state", 1);
	if (paths_init(&paths) == 0)
		return 0;
	/* a machine without cgroup2 */
	memset(&paths, 0, sizeof(paths));
	paths.run_dir = strdup("/nowhere/run");
	paths.netns_dir = strdup("/nowhere/run/netns");
	paths.workload_dir = strdup("/nowhere/run/workload");
	paths.proxy_dir = strdup("/nowhere/run/proxy");
	paths.log_dir = strdup("/nowhere/run/log");
	paths.etc_dir = strdup("/nowhere/run/etc");
	paths.cgroup_root = strdup("/nowhere/cgroup/trammel");
	return 0;
}

static int paths_teardown(void **state)
{
	paths_done(&paths);
	return 0;
}

static void addresses_follow_the_id(void **state)
{
	static const struct {
		uint32_t id;
		const char *v4, *v6;
	} cases[] = {
		{ 1, "10.77.0.2", "fd77::2" },
		{ 254, "10.77.0.255", "fd77::ff" },
		{ 255, "10.77.1.0", "fd77::100" },
		{ WORKLOAD_IDS_MAX, "10.77.16.0", "fd77::1000" },
	};
	char text[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr v4, v6;

		workload_addresses(cases[i].id, &v4, &v6);
		assert_string_equal(addr_format_ip(&v4, text), cases[i].v4);
		assert_string_equal(addr_format_ip(&v6, text), cases[i].v6);
		assert_true(addr_is_v4(&v4));
		assert_false(addr_is_v4(&v6));
	}
}

static void addresses_never_meet(void **state)
{
	struct addr gateway4, gateway6;

	workload_addresses(0, &gateway4, &gateway6); /* host 1: the bridge */
	for (uint32_t id = 1; id <= WORKLOAD_IDS_MAX; id += 7) {
		struct addr v4, v6, next4, next6;

		workload_addresses(id, &v4, &v6);
		workload_addresses(id + 1, &next4, &next6);
		assert_false(addr_eq(&v4, &next4));
		assert_false(addr_eq(&v6, &next6));
		assert_false(addr_eq(&v4, &gateway4));
		assert_int_equal(v4.ip[12], 10);
		assert_int_equal(v4.ip[13], 77);
	}
}

static void texts_for_name_resolution(void **state)
{
	struct workload_spec spec = { .namespace = "shop", .name = "web" };
	struct addr v4, v6;
	char *resolv;

	workload_addresses(1, &v4, &v6);
	assert_null(strstr(etc_hosts, "web")); /* the name of a service that is called alike */
	resolv = etc_resolv_format(&spec, &v4);
	assert_string_equal(resolv, "nameserver 10.77.0.2\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
	free(resolv);
}

static struct enrolled *workload_make(void)
{
	struct enrolled *w = enrolled_new(&paths, 7, "shop", "web");

	assert_non_null(w);
	snprintf(w->spec.service_account, sizeof(w->spec.service_account), "till");
	w->spec.labels[w->spec.n_labels++] = strdup("app=web");
	w->spec.labels[w->spec.n_labels++] = strdup("quote=\"\\\n");
	w->spec.detach = true;
	w->spec.owner_pid = 4711;
	w->spec.owner_start = 123456789012ull;
	w->pid = 42;
	w->proxy_pid = 43;
	w->proxy_start = 99;
	w->created_wall_ns = 1700000000123456789ull;
	snprintf(w->cert_serial, sizeof(w->cert_serial), "00aa11");
	w->cert_not_before_s = 1;
	w->cert_not_after_s = 86401;
	return w;
}

static void names_of_a_workload(void **state)
{
	struct enrolled *w = workload_make();

	assert_string_equal(w->key, "shop_web");
	assert_string_equal(w->veth, "trmv7");
	assert_string_equal(w->netns_path, "/nowhere/run/netns/shop_web");
	assert_string_equal(w->state_file, "/nowhere/run/workload/shop_web.json");
	assert_string_equal(w->admin_path, "/nowhere/run/proxy/shop_web.sock");
	assert_non_null(strstr(w->proxy_cgroup, "/shop_web/proxy"));
	enrolled_free(w);
}

static void longest_names_fit(void **state)
{
	char name[WORKLOAD_NAME_MAX + 1];
	struct enrolled *w;

	memset(name, 'a', WORKLOAD_NAME_MAX);
	name[WORKLOAD_NAME_MAX] = '\0';
	w = enrolled_new(&paths, WORKLOAD_IDS_MAX, name, name);
	assert_non_null(w);
	assert_int_equal(strlen(w->key), 2 * WORKLOAD_NAME_MAX + 1);
	assert_string_equal(w->spec.name, name);
	assert_string_equal(w->veth, "trmv4095");
	enrolled_free(w);
}

static void state_comes_back(void **state)
{
	struct enrolled *w = workload_make(), *back = NULL;
	char *text = state_format(w);

	assert_non_null(text);
	assert_int_equal(state_parse(&paths, str_from(text), &back), 0);
	assert_int_equal(back->id, 7);
	assert_string_equal(back->key, w->key);
	assert_string_equal(back->spec.service_account, "till");
	assert_int_equal(back->spec.n_labels, 2);
	assert_string_equal(back->spec.labels[1], "quote=\"\\\n");
	assert_true(back->spec.detach);
	assert_int_equal(back->spec.owner_pid, 4711);
	assert_true(back->spec.owner_start == w->spec.owner_start);
	assert_int_equal(back->pid, 42);
	assert_int_equal(back->proxy_pid, 43);
	assert_true(back->proxy_start == 99);
	assert_true(back->created_wall_ns == w->created_wall_ns);
	assert_string_equal(back->cert_serial, "00aa11");
	assert_true(back->cert_not_after_s == 86401);
	assert_true(addr_eq(&back->addr4, &w->addr4));
	free(text);
	enrolled_free(w);
	enrolled_free(back);
}

/* Every state file that was cut short is refused, and so is one whose names would lead elsewhere. */
static void state_that_is_nonsense_is_refused(void **state)
{
	static const struct {
		const char *from, *to;
	} edits[] = {
		{ "\"id\": 7", "\"id\": 0" },
		{ "\"id\": 7", "\"id\": 4096" },
		{ "\"id\": 7", "\"id\": \"7\"" },
		{ "\"id\": 7", "\"id\": 7, \"id\": 8" },
		{ "\"name\": \"web\"", "\"name\": \"../x\"" },
		{ "\"name\": \"web\"", "\"name\": \"\"" },
		{ "\"namespace\": \"shop\"", "\"namespace\": \"a_b\"" },
		{ "\"namespace\": \"shop\"", "\"namespace\": null" },
		{ "\"app=web\"", "17" },
		{ "\"detach\": true", "\"detach\": 1" },
	};
	struct enrolled *w = workload_make(), *back;
	char *text = state_format(w), edited[4096];

	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(state_parse(&paths, (struct str){ text, n }, &back), -ENODATA);
	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		const char *at = strstr(text, edits[i].from);

		assert_non_null(at);
		snprintf(edited, sizeof(edited), "%.*s%s%s", (int)(at - text), text, edits[i].to, at + strlen(edits[i].from));
		assert_int_equal(state_parse(&paths, str_from(edited), &back), -ENODATA);
	}
	free(text);
	enrolled_free(w);
}

static void cgroup_mount_is_found_by_type(void **state)
{
	static const struct {
		const char *mounts, *want;
	} cases[] = {
		{ "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,relatime 0 0\n", "/sys/fs/cgroup" },
		{ "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", "/sys/fs/cgroup/unified" },
		{ "none /mnt/with\\040space cgroup2 rw 0 0\n", "/mnt/with space" },
		{ "cgroup2 /first cgroup2 rw 0 0\ncgroup2 /second cgroup2 rw 0 0\n", "/first" },
		{ "cgroup2 /not/by/name cgroup rw 0 0\n", NULL },
		{ "", NULL },
	};
	char path[] = "/tmp/trammel-mounts-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *mount = NULL;

		assert_int_equal(file_write(path, 0600, str_from(cases[i].mounts)), 0);
		if (cases[i].want) {
			assert_int_equal(cgroup_mount_find(path, &mount), 0);
			assert_string_equal(mount, cases[i].want);
			free(mount);
		} else {
			assert_int_equal(cgroup_mount_find(path, &mount), -ENOENT);
			assert_null(mount);
		}
	}
	unlink(path);
	assert_int_equal(cgroup_mount_find(path, &(char *){ NULL }), -ENOENT);
}

static void instances_have_cgroups_of_their_own(void **state)
{
	static const char *const dirs[] = { "/run/trammel", "/tmp/a/run", "/tmp/b/run" };
	char *roots[3];

	for (size_t i = 0; i < 3; i++) {
		struct paths p, again;

		setenv("TRAMMEL_RUN_DIR", dirs[i], 1);
		if (paths_init(&p) < 0)
			skip(); /* no cgroup2 here */
		assert_int_equal(paths_init(&again), 0);
		assert_string_equal(p.cgroup_root, again.cgroup_root);
		roots[i] = strdup(p.cgroup_root + strlen(p.cgroup_mount));
		paths_done(&p);
		paths_done(&again);
	}
	assert_string_equal(roots[0], "/trammel");
	assert_string_not_equal(roots[1], roots[2]);
	for (size_t i = 0; i < 3; i++)
		free(roots[i]);
}

static void touch(const char *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(file_write(path, 0600, STR("x")), 0);
}

/* Whatever stands in TRAMMEL_RUN_DIR that no agent put there is neither used nor removed. */
static void a_foreign_folder_is_left_alone(void **state)
{
	char dir[] = "/tmp/trammel-run-XXXXXX", etc[64];
	struct paths p;

	assert_non_null(mkdtemp(dir));
	setenv("TRAMMEL_RUN_DIR", dir, 1);
	if (paths_init(&p) < 0)
		skip(); /* no cgroup2 here */
	assert_int_equal(paths_claim(&p), 0); /* empty */
	touch(dir, "agent.log");
	assert_int_equal(paths_claim(&p), 0); /* opened by `trammel up` before the agent runs */
	snprintf(etc, sizeof(etc), "%s/etc", dir);
	assert_int_equal(dir_make(etc, 0755), 0);
	touch(etc, "passwd");
	assert_int_equal(paths_claim(&p), -ENOTEMPTY);
	assert_int_equal(paths_remove(&p), 0);
	assert_false(dir_is_empty(etc));
	touch(dir, "agent.lock"); /* now it is an instance's */
	touch(dir, "notes.txt");
	assert_int_equal(paths_claim(&p), 0);
	assert_int_equal(paths_remove(&p), 0);
	assert_int_equal(access(etc, F_OK), -1);
	assert_false(dir_is_empty(dir)); /* the notes stay */
	paths_done(&p);
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(access(dir, F_OK), -1);
}

static void relative_paths_are_refused(void **state)
{
	struct paths p;

	setenv("TRAMMEL_RUN_DIR", "run", 1);
	assert_int_equal(paths_init(&p), -EINVAL);
	setenv("TRAMMEL_RUN_DIR", "/run/trammel", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_follow_the_id),
		cmocka_unit_test(addresses_never_meet),
		cmocka_unit_test(texts_for_name_resolution),
		cmocka_unit_test(names_of_a_workload),
		cmocka_unit_test(longest_names_fit),
		cmocka_unit_test(state_comes_back),
		cmocka_unit_test(state_that_is_nonsense_is_refused),
		cmocka_unit_test(cgroup_mount_is_found_by_type),
		cmocka_unit_test(instances_have_cgroups_of_their_own),
		cmocka_unit_test(a_foreign_folder_is_left_alone),
		cmocka_unit_test(relative_paths_are_refused),
	};

	return cmocka_run_group_tests(tests, paths_setup, paths_teardown);
}
