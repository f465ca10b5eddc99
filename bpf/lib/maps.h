/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All maps
 *
 * Every object includes this file and shares them by pin (ROOT/TRM_ABI/maps/NAME). Keys and values live in
 * include/trammel. Hashes allocate entries as they come, so an idle node pays for the buckets alone; none of them is an
 * LRU: nothing that decides is ever evicted.
 */
#ifndef TRAMMEL_BPF_MAPS_H
#define TRAMMEL_BPF_MAPS_H

#include "bpf/lib/kern.h"
#include "trammel/abi.h"
#include "trammel/flow.h"
#include "trammel/reason.h"
#include "trammel/workload.h"

/* Netns cookie -> settings. Missing means refuse. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRM_MAX_WORKLOADS);
	__type(key, __u64);
	__type(value, struct trm_workload);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_workload SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRM_MAX_XPORTS);
	__type(key, struct trm_xport_key);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_xport SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRM_MAX_XCIDRS);
	__type(key, struct trm_xcidr_key);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_xcidr SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRM_MAX_DESTS);
	__type(key, struct trm_dest_key);
	__type(value, struct trm_dest);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_dest SEC(".maps");

/* Connections between connect() and the other end's accept; emptied by the accepting side. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRM_MAX_HANDOVERS);
	__type(key, struct trm_tuple);
	__type(value, struct trm_sock);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_handover SEC(".maps");

/* Lives and dies with its socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct trm_sock);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_sock SEC(".maps");

/* workload id * TRM_SLOTS + slot -> listening socket of the proxy. The only use of a sockmap: it holds listeners. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, TRM_MAX_WORKLOADS *TRM_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_listener SEC(".maps");

/* Counters by reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TRM_REASON_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, TRM_EVENTS_BYTES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_events SEC(".maps");

/* Event budget of this CPU in this second, one per kind of event. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TRM_EVENT_CLOSE + 1);
	__type(key, __u32);
	__type(value, struct trm_budget);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trm_budget SEC(".maps");

#endif
