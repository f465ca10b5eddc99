/* SPDX-License-Identifier: Apache-2.0 */
/* The datapath's life: take-over under a living connection, stale layouts, full maps, nothing left behind, the budget.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <bpf/bpf.h>
#include "control/datapath/room.h"
#include "bed.h"

#define VERIFIER_BUDGET 100000

static int setup(void **state)
{
	(void)state;
	bed_open();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	datapath_destroy(bed.dp);
	bed.dp = NULL;
	bed_close();
	return 0;
}

static void enrol(void)
{
	bed_datapath_open();
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	bed_listen();
}

static void dial_is_captured(const char *address)
{
	int fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0), got;

	assert_int_equal(dial(fd, address), 0);
	got = take(bed.out_fd);
	assert_true(got >= 0);
	assert_string_equal(orig_dst_of(got), address);
	assert_string_equal(peer_of(fd), address);
	close(fd);
	close(got);
}

/* The programs of this datapath by id: others on this machine may run their own. */
struct loaded {
	uint32_t ids[64];
	size_t n;
};

static struct loaded loaded_now(void)
{
	_cleanup_(freep) char *text = json_of(datapath_progs_json);
	json_t *list = json_loads(text, 0, NULL), *p;
	struct loaded l = {};
	size_t i;

	json_array_foreach (list, i, p)
		l.ids[l.n++] = (uint32_t)json_integer_value(json_object_get(p, "id"));
	json_decref(list);
	return l;
}

static size_t loaded_alive(const struct loaded *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(fd_closep) int fd = bpf_prog_get_fd_by_id(l->ids[i]);

		n += fd >= 0;
	}
	return n;
}

/* Programs are freed a little after their last link. */
static void loaded_goes(const struct loaded *l, size_t want)
{
	assert_int_equal(l->n, want);
	for (int i = 0; i < 100 && loaded_alive(l) > 0; i++)
		usleep(20000);
	assert_int_equal(loaded_alive(l), 0);
}

static uint32_t program_behind(const char *hook)
{
	_cleanup_(freep) char *path = str_printf("%s/%d/links/default_web/%s", bed.root, TRM_ABI, hook);
	uint32_t id = link_prog_id(path);

	assert_true(id != 0);
	return id;
}

/* The agent goes and comes back: what is attached works in between, connections live, settings stay, programs are new.
 */
static void test_take_over(void **state)
{
	static const char *const watched[] = {"trm_connect4", "trm_sockops_px", HOOK_SK_LOOKUP, HOOK_GUARD};
	uint32_t before[ARRAY_SIZE(watched)];
	struct loaded old;
	int fd, got, far;
	char text[8];

	(void)state;
	enrol();
	fd = bed_socket(IN_APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(fd, "192.0.2.70:80"), 0);
	got = take(bed.out_fd);
	for (size_t i = 0; i < ARRAY_SIZE(watched); i++)
		before[i] = program_behind(watched[i]);
	old = loaded_now();

	bed.dp = datapath_close(bed.dp);
	dial_is_captured("192.0.2.71:80"); /* no agent */
	far = bed_socket(IN_FAR, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(far, POD4 ":8080"), 0);
	close(take(bed.in_fd));
	close(far);

	bed_datapath_open();
	dial_is_captured("192.0.2.72:80"); /* before it is attached again */
	assert_int_not_equal(program_behind("trm_connect4"), before[0]);
	bed_attach(TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	for (size_t i = 0; i < ARRAY_SIZE(watched); i++)
		assert_int_not_equal(program_behind(watched[i]), before[i]);
	dial_is_captured("192.0.2.73:80");
	far = bed_socket(IN_FAR, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(far, POD4 ":8080"), 0); /* the slot is still filled */
	close(take(bed.in_fd));
	close(far);

	assert_int_equal(write(fd, "alive", 5), 5);
	assert_int_equal(read(got, text, sizeof(text)), 5);
	assert_string_equal(orig_dst_of(got), "192.0.2.70:80");
	assert_string_equal(peer_of(fd), "192.0.2.70:80");
	close(fd);
	close(got);
	/* One set of programs, not two. */
	loaded_goes(&old, HOOKS + 2);
}

/* A taken-over workload keeps its flags: attaching again does not close it for a moment. */
static void test_take_over_flags(void **state)
{
	struct datapath_workload w = {.id = 7,
				      .key = "default_web",
				      .netns_cookie = bed.netns_cookie,
				      .proxy_cgroup_id = bed.proxy_cgroup_id,
				      .ifname = "eth0"};
	_cleanup_(freep) char *path = NULL, *error = NULL;
	_cleanup_(fd_closep) int map = -1;
	struct trm_workload now;

	(void)state;
	enrol();
	bed.dp = datapath_close(bed.dp);
	bed_datapath_open();
	w.netns_fd = bed.pod_ns;
	w.app_cgroup_fd = bed.app_cgroup;
	w.proxy_cgroup_fd = bed.proxy_cgroup;
	w.addr4 = at(POD4);
	assert_int_equal(datapath_workload_attach(bed.dp, &w, &error), 0);
	path = str_printf("%s/%d/maps/trm_workload", bed.root, TRM_ABI);
	map = bpf_obj_get(path);
	assert_int_equal(bpf_map_lookup_elem(map, &bed.netns_cookie, &now), 0);
	assert_int_equal(now.flags, TRM_WL_READY | TRM_WL_DNS_CAPTURE);
	/* A new workload begins closed. */
	datapath_workload_detach(bed.dp, 7, "default_web");
	assert_int_equal(datapath_workload_attach(bed.dp, &w, &error), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &bed.netns_cookie, &now), 0);
	assert_int_equal(now.flags, 0);
}

static void test_stale_abi(void **state)
{
	struct datapath_config config = {.bpffs_root = bed.root};
	_cleanup_(freep) char *old = NULL, *current = NULL, *error = NULL;
	struct datapath *dp = NULL;

	(void)state;
	enrol();
	current = str_printf("%s/%d", bed.root, TRM_ABI);
	old = str_printf("%s/%d", bed.root, TRM_ABI + 1);
	bed.dp = datapath_close(bed.dp);
	assert_int_equal(rename(current, old), 0);
	assert_int_equal(datapath_open(&config, &dp, &error), -EBUSY);
	assert_non_null(strstr(error, old));
	assert_non_null(strstr(error, "trammel down"));
	assert_false(pin_exists(current)); /* nothing made */
	dial_is_captured("192.0.2.80:80"); /* nothing broken */
	free(error);
	error = NULL;
	assert_int_equal(datapath_destroy_path(bed.root, &error), 0);
	bed_datapath_open(); /* and then it may */
}

/* A pinned map of another shape is named, and nothing is left half-made. */
static void test_alien_map(void **state)
{
	struct datapath_config config = {.bpffs_root = bed.root};
	_cleanup_(freep) char *maps = str_printf("%s/%d/maps", bed.root, TRM_ABI),
			      *pin = str_printf("%s/trm_dest", maps);
	_cleanup_(freep) char *error = NULL;
	_cleanup_(fd_closep) int fd = -1;
	struct datapath *dp = NULL;

	(void)state;
	assert_int_equal(pin_dir_make(maps), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "trm_dest", 4, 4, 1, NULL);
	assert_int_equal(bpf_obj_pin(fd, pin), 0);
	assert_true(datapath_open(&config, &dp, &error) < 0);
	assert_non_null(strstr(error, "trm_dest"));
	assert_null(dp);
	assert_int_equal(datapath_destroy_path(bed.root, NULL), 0);
	bed_datapath_open();
}

static void test_destroy(void **state)
{
	struct loaded l;

	(void)state;
	enrol();
	l = loaded_now();
	datapath_destroy(bed.dp);
	bed.dp = NULL;
	assert_false(pin_exists(bed.root));
	loaded_goes(&l, HOOKS + 2);
	/* From the pins alone, and where nothing is. */
	bed_datapath_open();
	bed_attach(TRM_WL_READY);
	l = loaded_now();
	bed.dp = datapath_close(bed.dp);
	assert_int_equal(loaded_alive(&l), HOOKS + 2);
	assert_int_equal(datapath_destroy_path(bed.root, NULL), 0);
	assert_false(pin_exists(bed.root));
	loaded_goes(&l, HOOKS + 2);
	assert_int_equal(datapath_destroy_path(bed.root, NULL), 0);
}

/* Captured connections are events where they were asked for, and there alone. */
static void test_trace_flows(void **state)
{
	(void)state;
	enrol();
	events_clear();
	dial_is_captured("192.0.2.90:80");
	assert_null(event_find(TRM_EVENT_FLOW, TRM_REASON_CAPTURED));
	bed.dp = datapath_close(bed.dp);
	bed.trace_flows = true;
	bed_datapath_open();
	bed.trace_flows = false;
	dial_is_captured("192.0.2.90:81");
	assert_non_null(event_find(TRM_EVENT_FLOW, TRM_REASON_CAPTURED));
	assert_int_equal(ntohs(event_find(TRM_EVENT_FLOW, TRM_REASON_CAPTURED)->dst.port), 81);
}

/* An attachment that fails at its last step leaves nothing of the workload. */
static void test_attach_fails(void **state)
{
	struct datapath_workload w = {
		.id = 9, .key = "default_bad", .netns_cookie = bed.netns_cookie, .ifname = "nosuch0"};
	_cleanup_(freep) char *dir = str_printf("%s/%d/links/default_bad", bed.root, TRM_ABI), *error = NULL;

	(void)state;
	bed_datapath_open();
	w.netns_fd = bed.pod_ns;
	w.app_cgroup_fd = bed.app_cgroup;
	w.proxy_cgroup_fd = bed.proxy_cgroup;
	assert_int_equal(datapath_workload_attach(bed.dp, &w, &error), -ENODEV);
	assert_non_null(strstr(error, "nosuch0"));
	assert_false(pin_exists(dir));
	assert_int_equal(map_entries("trm_workload"), 0);
	assert_int_equal(loaded_now().n, HOOKS);
	free(error);
	error = NULL;
	w.id = TRM_MAX_WORKLOADS;
	assert_int_equal(datapath_workload_attach(bed.dp, &w, &error), -EINVAL);
	assert_int_equal(datapath_workload_set_flags(bed.dp, 9, 0), -ENOENT);
	assert_int_equal(datapath_workload_set_listener(bed.dp, TRM_MAX_WORKLOADS, TRM_SLOT_READY, 0), -EINVAL);
}

static void test_dest_sync(void **state)
{
	static struct datapath_dest dests[3000];
	size_t n = ARRAY_SIZE(dests);

	(void)state;
	bed_datapath_open();
	for (size_t i = 0; i < n; i++) {
		uint32_t ip = htonl(0x0b000000u + (uint32_t)i);

		dests[i].addr = at("11.0.0.0:80");
		memcpy(dests[i].addr.ip + 12, &ip, 4);
		dests[i].kind = TRM_DEST_ENDPOINT;
	}
	assert_int_equal(datapath_dest_sync(bed.dp, 1, dests, n, NULL), 0);
	assert_int_equal(map_entries("trm_dest"), n);
	assert_int_equal(datapath_dest_sync(bed.dp, 2, dests + 1000, 500, NULL), 0);
	assert_int_equal(map_entries("trm_dest"), 500);
	assert_int_equal(datapath_dest_sync(bed.dp, 3, dests, 0, NULL), 0);
	assert_int_equal(map_entries("trm_dest"), 0);
}

static void test_dest_full(void **state)
{
	size_t n = TRM_MAX_DESTS + 1;
	struct datapath_dest *dests = calloc(n, sizeof(*dests));
	struct datapath_dest first = {at("10.9.9.9:80"), TRM_DEST_SERVICE};
	_cleanup_(freep) char *error = NULL, *maps = NULL;

	(void)state;
	bed_datapath_open();
	assert_int_equal(datapath_dest_sync(bed.dp, 1, &first, 1, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		memcpy(dests[i].addr.ip, &i, sizeof(i));
		dests[i].kind = TRM_DEST_ENDPOINT;
	}
	assert_int_equal(datapath_dest_sync(bed.dp, 2, dests, n, &error), -E2BIG);
	assert_non_null(strstr(error, "trm_dest"));
	assert_non_null(strstr(error, "262144"));
	maps = json_of(datapath_maps_json);
	assert_non_null(strstr(maps, "\"fill_percent\":100"));
	assert_non_null(strstr(maps, "\"alarm\":true"));
	/* The next good set makes room. */
	assert_int_equal(datapath_dest_sync(bed.dp, 3, &first, 1, NULL), 0);
	assert_int_equal(map_entries("trm_dest"), 1);
	free(dests);
}

static void features_write(struct datapath *dp, struct json_writer *w, const char *key)
{
	(void)dp;
	datapath_features_json(w, key);
}

static void test_features(void **state)
{
	_cleanup_(freep) char *text = json_of(features_write);
	json_t *list = json_loads(text, 0, NULL), *f;
	size_t i;

	(void)state;
	assert_true(json_array_size(list) > 10);
	json_array_foreach (list, i, f) {
		print_message("%-24s %s\n", json_string_value(json_object_get(f, "name")),
			      json_is_true(json_object_get(f, "ok")) ? "ok" : "no");
		if (json_is_true(json_object_get(f, "needed")))
			assert_true(json_is_true(json_object_get(f, "ok")));
	}
	json_decref(list);
}

static const char *dump_name;

static void dump_write(struct datapath *dp, struct json_writer *w, const char *key)
{
	assert_int_equal(datapath_map_dump_json(dp, dump_name, w, key), 0);
}

static void test_dumps(void **state)
{
	struct datapath_dest dest = {at("[2001:db8::1]:443"), TRM_DEST_SERVICE};
	static const struct {
		const char *map, *want;
	} cases[] = {
		{"trm_workload", "\"flags\":[\"ready\",\"dns_capture\"],\"addr4\":\"10.77.0.2\",\"addr6\":\"fd77::2\""},
		{"trm_xport", "{\"workload_id\":7,\"port\":9090,\"direction\":\"inbound\"}"},
		{"trm_xcidr", "{\"workload_id\":7,\"cidr\":\"10.0.0.0/8\"}"},
		{"trm_dest", "{\"ip\":\"2001:db8::1\",\"port\":443,\"kind\":\"service\",\"generation\":5}"},
		{"trm_listener", "{\"workload_id\":7,\"slot\":\"inbound\",\"socket_cookie\":"},
		{"trm_count", "{\"reason\":\"captured\",\"count\":"},
		{"trm_handover", "[]"},
		{"trm_budget", "\"event\":\"drop\""},
	};
	struct json_writer w;
	struct cidr c;
	struct buf out;

	(void)state;
	enrol();
	assert_int_equal(cidr_parse(STR("10.0.0.0/8"), &c), 0);
	assert_int_equal(datapath_workload_exclude_cidr(bed.dp, 7, &c), 0);
	assert_int_equal(datapath_workload_exclude_port(bed.dp, 7, 9090, true), 0);
	assert_int_equal(datapath_dest_sync(bed.dp, 5, &dest, 1, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *text = NULL;

		dump_name = cases[i].map;
		text = json_of(dump_write);
		if (!strstr(text, cases[i].want))
			print_message("%s: %s\n", dump_name, text);
		assert_non_null(strstr(text, cases[i].want));
	}
	buf_init(&out, 4096);
	json_writer_init(&w, &out);
	assert_int_equal(datapath_map_dump_json(bed.dp, "trm_nosuch", &w, NULL), -ENOENT);
	assert_int_equal(datapath_map_dump_json(bed.dp, "trm_sock", &w, NULL), -EOPNOTSUPP);
	buf_done(&out);
}

/* What the verifier walks, per program: printed, and held to a tenth of the kernel's limit. */
static void test_verifier_budget(void **state)
{
	_cleanup_(freep) char *text = NULL;
	json_t *list, *p;
	size_t i;

	(void)state;
	enrol();
	text = json_of(datapath_progs_json);
	list = json_loads(text, 0, NULL);
	assert_int_equal(json_array_size(list), HOOKS + 2);
	json_array_foreach (list, i, p) {
		json_int_t steps = json_integer_value(json_object_get(p, "verifier_steps"));

		print_message("%-16s %6lld steps %6lld bytes\n", json_string_value(json_object_get(p, "name")),
			      (long long)steps, (long long)json_integer_value(json_object_get(p, "jited_bytes")));
		assert_in_range(steps, 1, VERIFIER_BUDGET);
		assert_int_equal(json_array_size(json_object_get(p, "links")), 1);
	}
	json_decref(list);
}

static void test_bpffs_ensure(void **state)
{
	char dir[] = "/tmp/trm-bpffs-XXXXXX";
	_cleanup_(freep) char *root = NULL, *file = NULL, *error = NULL;
	bool mounted = false;

	(void)state;
	assert_non_null(mkdtemp(dir));
	root = str_printf("%s/fs/trammel", dir);
	assert_int_equal(datapath_bpffs_ensure(root, &mounted, &error), 0);
	assert_true(mounted);
	assert_int_equal(datapath_bpffs_ensure(root, &mounted, &error), 0);
	assert_false(mounted);
	/* Never over somebody's files. */
	file = str_printf("%s/trammel", dir);
	assert_int_equal(datapath_bpffs_ensure(file, &mounted, &error), -ENOTEMPTY);
	assert_non_null(strstr(error, dir));
	{
		_cleanup_(freep) char *mount_dir = str_printf("%s/fs", dir);

		assert_int_equal(umount(mount_dir), 0);
		assert_int_equal(rmdir(mount_dir), 0);
		assert_int_equal(rmdir(dir), 0);
	}
}

#define LIFE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIFE(test_take_over),
		LIFE(test_take_over_flags),
		LIFE(test_stale_abi),
		LIFE(test_alien_map),
		LIFE(test_destroy),
		LIFE(test_trace_flows),
		LIFE(test_attach_fails),
		LIFE(test_dest_sync),
		LIFE(test_dest_full),
		LIFE(test_features),
		LIFE(test_dumps),
		LIFE(test_verifier_budget),
		cmocka_unit_test(test_bpffs_ensure),
	};

	bed_require();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
