/* SPDX-License-Identifier: Apache-2.0 */
/* What is loaded, attached and stored, as JSON: `trammel prog list`, `map list`, `map dump`. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include "control/datapath/room.h"
#include "trammel/reason.h"

#define FILL_ALARM_PERCENT 80

static const char *prog_type_name(uint32_t type)
{
	switch (type) {
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
		return "cgroup_sock_addr";
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
		return "cgroup_sockopt";
	case BPF_PROG_TYPE_SOCK_OPS:
		return "sock_ops";
	case BPF_PROG_TYPE_SK_LOOKUP:
		return "sk_lookup";
	case BPF_PROG_TYPE_SCHED_CLS:
		return "tc";
	default:
		return "other";
	}
}

/* The links of one program: all workloads' for a shared one, one workload's for an instance. */
struct links_show {
	struct json_writer *w;
	const char *links, *hook;
};

static int on_link_show(const char *name, void *user)
{
	struct links_show *s = user;
	_cleanup_(freep) char *path = str_printf("%s/%s/%s", s->links, name, s->hook);

	if (path && pin_exists(path))
		json_cstr(s->w, NULL, name);
	return 0;
}

static void prog_write(struct json_writer *w, int fd, const char *links, const char *hook, const char *workload)
{
	struct links_show show = {w, links, hook};
	struct bpf_prog_info about = {};
	uint32_t len = sizeof(about);
	char tag[2 * BPF_TAG_SIZE + 1];

	if (bpf_obj_get_info_by_fd(fd, &about, &len))
		return;
	for (size_t i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(tag + 2 * i, 3, "%02x", about.tag[i]);
	json_open_object(w, NULL);
	json_cstr(w, "name", hook);
	json_cstr(w, "type", prog_type_name(about.type));
	json_u64(w, "id", about.id);
	json_cstr(w, "tag", tag);
	json_u64(w, "verifier_steps", about.verified_insns);
	json_u64(w, "jited_bytes", about.jited_prog_len);
	json_u64(w, "loaded_at_ns", about.load_time);
	json_open_array(w, "links");
	if (workload)
		json_cstr(w, NULL, workload);
	else
		(void)pin_dir_each(links, on_link_show, &show);
	json_close_array(w);
	json_close_object(w);
}

static int on_instances(const char *name, void *user)
{
	static const char *const names[] = {HOOK_SK_LOOKUP, HOOK_GUARD};
	struct links_show *s = user;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *path = str_printf("%s/%s/%s", s->links, name, names[i]);
		uint32_t id = path ? link_prog_id(path) : 0;
		_cleanup_(fd_closep) int fd = id ? bpf_prog_get_fd_by_id(id) : -1;

		if (fd >= 0)
			prog_write(s->w, fd, s->links, names[i], name);
	}
	return 0;
}

void datapath_progs_json(struct datapath *dp, struct json_writer *w, const char *key)
{
	_cleanup_(freep) char *links = str_printf("%s/links", dp->abi_root);
	struct links_show show = {w, links, NULL};

	json_open_array(w, key);
	for (int i = 0; links && i < HOOKS; i++)
		prog_write(w, bpf_program__fd(hook_program(dp, &hooks[i])), links, hooks[i].name, NULL);
	if (links)
		(void)pin_dir_each(links, on_instances, &show);
	json_close_array(w);
}

static const char *map_type_name(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_HASH:
		return "hash";
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		return "percpu_array";
	case BPF_MAP_TYPE_LPM_TRIE:
		return "lpm_trie";
	case BPF_MAP_TYPE_SOCKMAP:
		return "sockmap";
	case BPF_MAP_TYPE_SK_STORAGE:
		return "sk_storage";
	case BPF_MAP_TYPE_RINGBUF:
		return "ringbuf";
	default:
		return "other";
	}
}

static int on_entry_count(const void *key, const void *value, void *user)
{
	(void)key, (void)value;
	(*(uint64_t *)user)++;
	return 0;
}

void datapath_maps_json(struct datapath *dp, struct json_writer *w, const char *key)
{
	json_open_array(w, key);
	for (int i = 0; i < MAPS; i++) {
		_cleanup_(freep) char *pin = str_printf("%s/maps/%s", dp->abi_root, map_names[i]);
		struct bpf_map_info about = {};
		uint32_t len = sizeof(about);
		uint64_t n = 0;
		int err;

		if (bpf_obj_get_info_by_fd(dp->map_fds[i], &about, &len))
			continue;
		json_open_object(w, NULL);
		json_cstr(w, "name", map_names[i]);
		json_cstr(w, "type", map_type_name(about.type));
		json_u64(w, "id", about.id);
		json_u64(w, "key_bytes", about.key_size);
		json_u64(w, "value_bytes", about.value_size);
		json_u64(w, "max_entries", about.max_entries);
		if (about.type == BPF_MAP_TYPE_HASH || about.type == BPF_MAP_TYPE_LPM_TRIE ||
		    about.type == BPF_MAP_TYPE_SOCKMAP) {
			err = map_each(dp->map_fds[i], about.key_size, about.value_size, on_entry_count, &n);
			if (!err) {
				json_u64(w, "entries", n);
				json_f64(w, "fill_percent", 100.0 * (double)n / (double)about.max_entries);
				json_bool(w, "alarm", n * 100 >= (uint64_t)about.max_entries * FILL_ALARM_PERCENT);
			}
		}
		json_cstr(w, "pin", pin);
		json_close_object(w);
	}
	json_close_array(w);
}

/* Addresses and ports as text; ports in shared structs are in network order. */
static void ip_write(struct json_writer *w, const char *key, const __u8 ip[16])
{
	char text[ADDR_TEXT_BYTES];
	struct addr a = {};

	memcpy(a.ip, ip, 16);
	json_cstr(w, key, addr_format_ip(&a, text));
}

static void addr_write(struct json_writer *w, const char *key, const struct trm_addr *t)
{
	struct addr a = {.port = ntohs(t->port)};
	char text[ADDR_TEXT_BYTES];

	memcpy(a.ip, t->ip, 16);
	json_cstr(w, key, addr_format(&a, text));
}

static void workload_write(struct json_writer *w, const void *key, const void *value)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{TRM_WL_READY, "ready"},
		     {TRM_WL_REFUSE_UNKNOWN, "refuse_unknown"},
		     {TRM_WL_DNS_CAPTURE, "dns_capture"},
		     {TRM_WL_LEAVING, "leaving"}};
	struct trm_workload wl;
	uint64_t cookie;

	memcpy(&cookie, key, sizeof(cookie));
	memcpy(&wl, value, sizeof(wl));
	json_u64(w, "netns_cookie", cookie);
	json_u64(w, "workload_id", wl.id);
	json_open_array(w, "flags");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (wl.flags & names[i].bit)
			json_cstr(w, NULL, names[i].name);
	json_close_array(w);
	ip_write(w, "addr4", wl.addr4);
	ip_write(w, "addr6", wl.addr6);
	json_u64(w, "proxy_cgroup_id", wl.proxy_cgroup_id);
}

static void xport_write(struct json_writer *w, const void *key, const void *value)
{
	struct trm_xport_key k;

	(void)value;
	memcpy(&k, key, sizeof(k));
	json_u64(w, "workload_id", k.workload_id);
	json_u64(w, "port", ntohs(k.port));
	json_cstr(w, "direction", k.inbound ? "inbound" : "outbound");
}

static void xcidr_write(struct json_writer *w, const void *key, const void *value)
{
	struct trm_xcidr_key k;
	_cleanup_(freep) char *text = NULL;
	char ip[ADDR_TEXT_BYTES];
	struct addr a = {};
	uint32_t bits;

	(void)value;
	memcpy(&k, key, sizeof(k));
	memcpy(a.ip, k.ip, 16);
	bits = k.prefixlen - 32;
	if (addr_is_v4(&a) && bits >= 96)
		bits -= 96;
	text = str_printf("%s/%u", addr_format_ip(&a, ip), bits);
	json_u64(w, "workload_id", k.workload_id);
	json_cstr(w, "cidr", text);
}

static void dest_entry_write(struct json_writer *w, const void *key, const void *value)
{
	struct trm_dest_key k;
	struct trm_dest d;

	memcpy(&k, key, sizeof(k));
	memcpy(&d, value, sizeof(d));
	ip_write(w, "ip", k.ip);
	json_u64(w, "port", ntohs(k.port));
	json_cstr(w, "kind", d.kind == TRM_DEST_SERVICE ? "service" : "endpoint");
	json_u64(w, "generation", d.generation);
}

static void handover_write(struct json_writer *w, const void *key, const void *value)
{
	struct trm_tuple t;
	struct trm_sock s;

	memcpy(&t, key, sizeof(t));
	memcpy(&s, value, sizeof(s));
	json_u64(w, "netns_cookie", t.netns_cookie);
	addr_write(w, "src", &t.src);
	addr_write(w, "dst", &t.dst);
	addr_write(w, "orig_dst", &s.orig_dst);
	addr_write(w, "client", &s.client);
	json_u64(w, "cookie", s.cookie);
	json_u64(w, "opened_ns", s.opened_ns);
}

static void listener_write(struct json_writer *w, const void *key, const void *value)
{
	static const char *const slots[TRM_SLOTS] = {"inbound", "metrics", "ready", "unused"};
	uint64_t cookie;
	uint32_t k;

	memcpy(&k, key, sizeof(k));
	memcpy(&cookie, value, sizeof(cookie));
	json_u64(w, "workload_id", k / TRM_SLOTS);
	json_cstr(w, "slot", slots[k % TRM_SLOTS]);
	json_u64(w, "socket_cookie", cookie);
}

static const struct decoder {
	size_t key_bytes, value_bytes;
	void (*write)(struct json_writer *w, const void *key, const void *value);
} decoders[MAPS] = {
	[MAP_WORKLOAD] = {sizeof(uint64_t), sizeof(struct trm_workload), workload_write},
	[MAP_XPORT] = {sizeof(struct trm_xport_key), 1, xport_write},
	[MAP_XCIDR] = {sizeof(struct trm_xcidr_key), 1, xcidr_write},
	[MAP_DEST] = {sizeof(struct trm_dest_key), sizeof(struct trm_dest), dest_entry_write},
	[MAP_HANDOVER] = {sizeof(struct trm_tuple), sizeof(struct trm_sock), handover_write},
	[MAP_LISTENER] = {sizeof(uint32_t), sizeof(uint64_t), listener_write},
};

struct dump {
	struct json_writer *w;
	const struct decoder *d;
};

static int on_entry_write(const void *key, const void *value, void *user)
{
	struct dump *dump = user;

	json_open_object(dump->w, NULL);
	dump->d->write(dump->w, key, value);
	json_close_object(dump->w);
	return dump->w->err;
}

static int counters_write(struct datapath *dp, struct json_writer *w)
{
	uint64_t counts[TRM_REASON_MAX];
	int err = datapath_counters(dp, counts);

	for (unsigned int i = 0; !err && i < TRM_REASON_MAX; i++) {
		json_open_object(w, NULL);
		json_cstr(w, "reason", trm_reason_label(i));
		json_u64(w, "count", counts[i]);
		json_close_object(w);
	}
	return err;
}

static int budgets_write(struct datapath *dp, struct json_writer *w)
{
	static const char *const kinds[] = {"none", "flow", "drop", "listen", "close"};
	int cpus = libbpf_num_possible_cpus();
	_cleanup_(freep) struct trm_budget *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

	if (!values)
		return cpus < 0 ? cpus : -ENOMEM;
	for (uint32_t kind = TRM_EVENT_FLOW; kind <= TRM_EVENT_CLOSE; kind++) {
		if (bpf_map_lookup_elem(dp->map_fds[MAP_BUDGET], &kind, values))
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++) {
			json_open_object(w, NULL);
			json_cstr(w, "event", kinds[kind]);
			json_u64(w, "cpu", (uint64_t)cpu);
			json_u64(w, "second", values[cpu].second);
			json_u64(w, "used", values[cpu].used);
			json_close_object(w);
		}
	}
	return 0;
}

int datapath_map_dump_json(struct datapath *dp, const char *map, struct json_writer *w, const char *key)
{
	int i = 0, err;

	while (i < MAPS && strcmp(map_names[i], map))
		i++;
	if (i == MAPS)
		return -ENOENT;
	/* Socket storage is found by socket alone, and reading the ring buffer would take the events. */
	if (i == MAP_SOCK || i == MAP_EVENTS)
		return -EOPNOTSUPP;
	json_open_array(w, key);
	if (i == MAP_COUNT) {
		err = counters_write(dp, w);
	} else if (i == MAP_BUDGET) {
		err = budgets_write(dp, w);
	} else {
		struct dump dump = {w, &decoders[i]};

		err = map_each(dp->map_fds[i], decoders[i].key_bytes, decoders[i].value_bytes, on_entry_write, &dump);
	}
	json_close_array(w);
	return err;
}
