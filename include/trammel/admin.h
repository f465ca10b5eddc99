/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin protocol: how the command line talks to the agent and to proxies
 *
 * A unix stream socket (agent: RUN_DIR/agent.sock, 0600; proxy: RUN_DIR/proxy/NAMESPACE_NAME.sock, 0600). One request and one
 * answer per connection, each a JSON object ended by a newline, at most TRM_ADMIN_MAX_BYTES. Request: {"op": OP, ...}.
 * Answer: {"ok": true, ...} or {"ok": false, "error": {"thing": ..., "reason": ..., "next": ...}}.
 *
 * Agent:
 *   status                                   version, pid, uptime_s, generation, bpffs, run_dir, policy_dir, features
 *   workload.create {namespace, name, service_account, labels[], detach, owner_pid}
 *                                            -> {id, namespace, name, netns, cgroup, addresses[], etc_dir, generation}: everything made, enrolled, closed until READY
 *   workload.started {namespace, name, pid}  the command runs; the agent watches its cgroup
 *   workload.get {namespace, name}           same answer as create, and pid (of CMD), proxy_pid
 *   workload.stop {namespace, name}          end its processes (TERM, 5 s, KILL) and remove it
 *   workload.list                            {workloads: [...]}
 *   service.list | endpoint.list             from the snapshot in force
 *   snapshot.show                            {generation, built_at, services, workloads, complaints: [...], proxies: [{workload, generation, acked, ...}]}
 *   prog.list | map.list | map.dump {map}    from the datapath
 *   feature.list                             {features: [...]}
 *   stats                                    {counters: {reason: n}, ...}
 *   conn.refused                             recent drops the kernel reported {refused: [...]}
 *   cert.list                                {certs: [{workload, spiffe_id, serial, not_before, not_after}], ca: {...}}
 *   listener.list                            {listeners: [{workload, name, address, port, owner}]}
 *   down                                     end everything, remove everything, then exit
 * Fields of the agent's rows (the command line's tables, tools/cmd_NOUN.c, name the same keys; times in seconds, addresses as text):
 *   workloads   namespace, name, id, state, addresses[], service_account, labels[], pid, proxy_pid (0: none runs), proxy_restarts,
 *               listening[], netns, cgroup (the app's), age_s
 *   services    namespace, name, hostname, addresses[], headless, ports[{port, name, protocol}], ports_text, ready, endpoints
 *   endpoints   namespace, service, port, address, ready, terminating, mtls, workload, spiffe_id
 *   snapshot    generation, built_at_s, policy_dir, agent_pid, services, workloads, complaints[{file, line, kind, object, field, text,
 *               kept_last_good}], proxies[{workload, pid, sent_generation, acked_generation, acks, nacks, subscriptions, last_error}]
 *   certs       workload, spiffe_id, serial, not_before, not_after          listeners   workload, name, address, port, owner
 *   refused     workload, direction, client, orig_dst, reason, reason_text, age_s
 *   conns       (proxy) id, direction, state, protocol, tls, mtls, client, orig_dst, endpoint, peer, bytes_in, bytes_out, requests, age_s
 *   status      and what trammel-agent writes to --ready-fd: pid, version, run_dir, policy_dir, generation, workloads, complaints (counts)
 *
 * trammel-agent [--policy DIR] [--ready-fd N]: serves; --ready-fd gets one line, the answer to "status" or an error, and is closed.
 * trammel-agent --clean [--json]: removes whatever this instance left behind, without a running agent.
 * RUN_DIR/netns is a mount of its own with shared propagation, so that an unmount there reaches workloads' mount namespaces.
 *
 * Proxy:
 *   status                                   {workload, version, pid, ready, generation, connections, ...}
 *   conn.list                                {conns: [...], refused: [...]}
 *   cert.show                                {spiffe_id, serial, not_before, not_after, issuer, trust_bundle: n}
 *   stats                                    {metrics: "Prometheus text"}
 *   drain                                    begin to drain
 */
#ifndef TRAMMEL_ADMIN_H
#define TRAMMEL_ADMIN_H

#define TRM_ADMIN_MAX_BYTES (16 * 1024 * 1024)
#define TRM_RUN_DIR	    "/run/trammel"
#define TRM_STATE_DIR	    "/var/lib/trammel"
#define TRM_BPFFS	    "/sys/fs/bpf/trammel"

#endif
