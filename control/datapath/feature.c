/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel offers of what we need
 *
 * Found out by doing: a program or map of each kind is loaded and thrown away. A version number proves nothing, kernels
 * carry features back and leave them out.
 */
#include <errno.h>
#include <mntent.h>
#include <string.h>
#include <unistd.h>
#include "control/datapath/room.h"

static bool has_btf(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

static bool has_cgroup2(void)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	bool found = false;

	while (f && !found && (m = getmntent(f)))
		found = strcmp(m->mnt_type, "cgroup2") == 0;
	if (f)
		endmntent(f);
	return found;
}

/* The field came with kernel 5.17; without it loopback and the wire look alike. */
static bool has_sk_lookup_ifindex(void)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_SK_LOOKUP);
	struct bpf_insn read_it[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = BPF_REG_1,
		 .src_reg = BPF_REG_1,
		 .off = offsetof(struct bpf_sk_lookup, ingress_ifindex)},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	_cleanup_(fd_closep) int fd =
		bpf_prog_load(BPF_PROG_TYPE_SK_LOOKUP, "trm_probe", "GPL", read_it, ARRAY_SIZE(read_it), &opts);

	return fd >= 0;
}

static bool has_bpf_syscall(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_HASH, NULL) > 0;
}

enum probe_kind {
	PROBE_CALL,
	PROBE_PROG,
	PROBE_MAP,
	PROBE_HELPER,
};

static const struct feature {
	const char *name;
	bool needed;
	enum probe_kind kind;
	bool (*call)(void);
	enum bpf_prog_type prog;
	enum bpf_map_type map;
	enum bpf_func_id helper;
	const char *why;
} features[] = {
	{.name = "bpf", .needed = true, .call = has_bpf_syscall, .why = "load programs: root, CONFIG_BPF_SYSCALL"},
	{.name = "btf", .needed = true, .call = has_btf, .why = "relocate programs: CONFIG_DEBUG_INFO_BTF"},
	{.name = "cgroup2",
	 .needed = true,
	 .call = has_cgroup2,
	 .why = "tell workloads apart: a mounted cgroup v2 hierarchy"},
	{.name = "cgroup_sock_addr",
	 .needed = true,
	 .kind = PROBE_PROG,
	 .prog = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	 .why = "capture outbound connections: CONFIG_CGROUP_BPF"},
	{.name = "cgroup_sockopt",
	 .needed = true,
	 .kind = PROBE_PROG,
	 .prog = BPF_PROG_TYPE_CGROUP_SOCKOPT,
	 .why = "tell the proxy the original destination"},
	{.name = "sock_ops",
	 .needed = true,
	 .kind = PROBE_PROG,
	 .prog = BPF_PROG_TYPE_SOCK_OPS,
	 .why = "hand over between sockets"},
	{.name = "sk_lookup",
	 .needed = true,
	 .kind = PROBE_PROG,
	 .prog = BPF_PROG_TYPE_SK_LOOKUP,
	 .why = "steer inbound connections"},
	{.name = "sk_lookup_ifindex",
	 .needed = true,
	 .call = has_sk_lookup_ifindex,
	 .why = "tell loopback from the wire: kernel 5.17"},
	{.name = "tc",
	 .needed = true,
	 .kind = PROBE_PROG,
	 .prog = BPF_PROG_TYPE_SCHED_CLS,
	 .why = "escape guard: CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS"},
	{.name = "sk_storage",
	 .needed = true,
	 .kind = PROBE_HELPER,
	 .prog = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	 .helper = BPF_FUNC_sk_storage_get,
	 .why = "remember the original destination"},
	{.name = "sock_ops_netns_cookie",
	 .needed = true,
	 .kind = PROBE_HELPER,
	 .prog = BPF_PROG_TYPE_SOCK_OPS,
	 .helper = BPF_FUNC_get_netns_cookie,
	 .why = "keep workloads' connections apart: kernel 5.15"},
	{.name = "sockmap",
	 .needed = true,
	 .kind = PROBE_MAP,
	 .map = BPF_MAP_TYPE_SOCKMAP,
	 .why = "hold the proxy's listeners"},
	{.name = "lpm_trie",
	 .needed = true,
	 .kind = PROBE_MAP,
	 .map = BPF_MAP_TYPE_LPM_TRIE,
	 .why = "exclude networks"},
	{.name = "ringbuf", .needed = true, .kind = PROBE_MAP, .map = BPF_MAP_TYPE_RINGBUF, .why = "report refusals"},
	{.name = "set_retval",
	 .kind = PROBE_HELPER,
	 .prog = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	 .helper = BPF_FUNC_set_retval,
	 .why = "refuse with ECONNREFUSED; without it with EPERM"},
	{.name = "mptcp_sock",
	 .kind = PROBE_HELPER,
	 .prog = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	 .helper = BPF_FUNC_skc_to_mptcp_sock,
	 .why = "show an MPTCP socket the address it dialled"},
	{.name = "tcx",
	 .call = guard_has_tcx,
	 .why = "pin the escape guard as a link; without it a clsact filter: kernel 6.6"},
};

static bool feature_probe(const struct feature *f)
{
	switch (f->kind) {
	case PROBE_PROG:
		return libbpf_probe_bpf_prog_type(f->prog, NULL) > 0;
	case PROBE_MAP:
		return libbpf_probe_bpf_map_type(f->map, NULL) > 0;
	case PROBE_HELPER:
		return libbpf_probe_bpf_helper(f->prog, f->helper, NULL) > 0;
	default:
		return f->call();
	}
}

void datapath_features_json(struct json_writer *w, const char *key)
{
	bpf_log_begin();
	json_open_array(w, key);
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		json_open_object(w, NULL);
		json_cstr(w, "name", features[i].name);
		json_bool(w, "ok", feature_probe(&features[i]));
		json_bool(w, "needed", features[i].needed);
		json_cstr(w, "why", features[i].why);
		json_close_object(w);
	}
	json_close_array(w);
}
