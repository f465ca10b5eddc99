# SPDX-License-Identifier: Apache-2.0
"""A mesh of its own for a test: its state in a folder of the test's, brought up, used and taken down whole."""
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import yaml

import netns
from wait import eventually

LIB = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(LIB))
BUILD = os.environ.get("TRAMMEL_BUILD", os.path.join(TOP, "build"))
TRAMMEL = os.path.join(BUILD, "tools", "trammel")
CALLS = os.path.join(LIB, "pod_calls.py")
SERVERS = os.path.join(LIB, "pod_servers.py")
_numbers = itertools.count(1)


class Failed(RuntimeError):
    """A command of ours ended with another exit code than asked for."""

    def __init__(self, args, code, out, err):
        super().__init__(f"{' '.join(map(str, args))}: exit {code}\nstdout: {out[-2000:]}\nstderr: {err[-4000:]}")
        self.code, self.out, self.err = code, out, err


class Mesh:
    """with Mesh(policy) as m: web = m.serve("web", "http:8080", labels={"app": "web"}) ..."""

    def __init__(self, policy="", env=None, start=True, parent=None):
        self.root = tempfile.mkdtemp(prefix="trm-e2e-", dir=parent)
        os.chmod(self.root, 0o755)  # proxies run as another user
        self.policy_dir = os.path.join(self.root, "policy")
        self.run_dir = os.path.join(self.root, "run")
        self.state_dir = os.path.join(self.root, "state")
        self.bpffs = f"/sys/fs/bpf/trme2e{os.getpid()}x{next(_numbers)}"
        os.mkdir(self.policy_dir)
        self.env = dict(os.environ, TRAMMEL_RUN_DIR=self.run_dir, TRAMMEL_STATE_DIR=self.state_dir, TRAMMEL_BPFFS=self.bpffs,
                        **(env or {}))
        self.workloads, self.children = {}, []
        self.is_up = False
        if policy:
            self.apply("base.yaml", policy)
        if start:
            try:
                self.up()
            except BaseException:
                self.close()
                raise

    # Commands

    def trammel(self, *args, check=True, timeout=30, input=None, env=None, user=None):
        """Run `trammel ARGS`; CompletedProcess. check: the exit code must be 0; a number: that one; False: any."""
        cmd = [TRAMMEL if user is None else self.copy_for_others(), *map(str, args)]
        kwargs = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
        r = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, input=input,
                           env=dict(self.env, **(env or {})), **kwargs)
        want = 0 if check is True else check
        if check is not False and r.returncode != want:
            raise Failed(cmd, r.returncode, r.stdout, r.stderr)
        return r

    def copy_for_others(self):
        """trammel and its agent, copied to where every user gets: a build folder below /root lets no other user in."""
        for path in ("control/trammel-agent", "tools/trammel"):
            copy = os.path.join(self.root, "bin", path)
            if not os.path.exists(copy):
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy(os.path.join(BUILD, path), copy)
        return copy

    def json(self, *args, **kwargs):
        return json.loads(self.trammel(*args, "--json", **kwargs).stdout)

    def up(self, *args, timeout=30):
        r = self.trammel("up", "--policy", self.policy_dir, *args, timeout=timeout)
        self.is_up = True
        return r

    # Policy

    def apply(self, name, policy):
        """Put YAML text, or objects, into the policy folder under a file name, whole at once."""
        text = policy if isinstance(policy, str) else yaml.safe_dump_all(policy)
        path = os.path.join(self.policy_dir, name)
        with open(path + ".new~", "w") as f:
            f.write(text)
        os.rename(path + ".new~", path)

    def withdraw(self, name):
        os.unlink(os.path.join(self.policy_dir, name))

    def complaints(self):
        return self.json("snapshot", "show")["complaints"]

    # Workloads

    def run(self, name, *cmd, labels=None, namespace="default", args=(), timeout=30):
        """trammel run --detach"""
        words = ["run", "--name", name, "--namespace", namespace, "--detach"]
        for k, v in (labels or {"app": name}).items():
            words += ["--label", f"{k}={v}"]
        r = self.trammel(*words, *args, "--", *cmd, timeout=timeout)
        w = Workload(self, json.loads(r.stdout))
        self.workloads[w.key] = w
        return w

    def serve(self, name, *specs, **kwargs):
        """A workload whose command is the tests' own server; back when it listens."""
        w = self.run(name, sys.executable, SERVERS, name, *specs, **kwargs)
        ports = [int(s.partition("@")[0].split(":")[1]) for s in specs if not s.startswith("udp:")]
        w.wait_listening(*ports)
        return w

    def client(self, name="client", **kwargs):
        return self.run(name, "sleep", "3600", **kwargs)

    def wait_endpoints(self, service, count, namespace="default", timeout=10):
        """Until a service has that many ready endpoints on each of its ports."""
        def probe():
            ready = {}
            for e in self.json("endpoint", "list")["endpoints"]:
                if (e["namespace"], e["service"]) == (namespace, service):
                    ready.setdefault(e["port"], set()).update({e["workload"] or e["address"]} if e["ready"] else ())
            return ready and all(len(names) == count for names in ready.values())
        eventually(probe, timeout, what=f"{count} ready endpoints of {service}")

    # What the agent is

    def agent_pid(self):
        return self.ask("status")["pid"]

    def ask(self, op, socket_name="agent.sock", **fields):
        """One request of the admin protocol (include/trammel/admin.h)."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(os.path.join(self.run_dir, socket_name))
            s.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            return json.loads(b"".join(iter(lambda: s.recv(65536), b"")))

    def netns(self):
        """Path of the namespace that holds the bridge."""
        pinned = os.path.join(self.run_dir, "netns")
        candidates = [pinned] if os.path.isfile(pinned) else []
        if os.path.isdir(pinned):
            candidates += [os.path.join(pinned, n) for n in sorted(os.listdir(pinned))]
        candidates.append(f"/proc/{self.agent_pid()}/ns/net")
        for path in candidates:
            try:
                netns.bridge_in(path)
                return path
            except RuntimeError:
                pass
        raise AssertionError(f"no namespace with a bridge among {candidates}")

    def outsider(self, host=0xfa):
        return netns.Outsider(self.netns(), host, tag=f"o{os.getpid() % 10000:d}")

    # End

    def down(self):
        logs = self._open_logs()
        r = self.trammel("down", timeout=60)
        self.is_up = False
        reports = sanitizer_reports(logs)
        assert not reports, reports
        return r

    def logs(self, tail=6000):
        """The ends of all logs below the run folder, for a failure's report."""
        out = []
        for d, _, files in os.walk(self.root):
            for f in sorted(files):
                if f.endswith(".log"):
                    with open(os.path.join(d, f), errors="replace") as h:
                        out.append(f"--- {os.path.join(d, f)}\n{h.read()[-tail:]}")
        return "\n".join(out)

    def close(self):
        """Always: processes, mesh, folder; ends hard what does not end by itself."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for f in (child.stdout, child.stderr, child.stdin):
                if f:
                    f.close()
        logs = self._open_logs()  # down removes their names; what is written at the very end is read all the same
        try:
            if os.path.exists(TRAMMEL):
                subprocess.run([TRAMMEL, "down"], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        finally:
            self._sweep()
            reports = sanitizer_reports(logs)
            shutil.rmtree(self.root, ignore_errors=True)
        assert not reports, reports

    def _open_logs(self):
        return [open(os.path.join(d, f), errors="replace") for d, _, files in os.walk(self.root) for f in sorted(files)
                if f.endswith(".log") and "access" not in f]

    def _sweep(self):
        """What a mesh that broke left: only processes that carry our run folder, only mounts and pins below our folders."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        with open("/proc/self/mounts") as f:
            below = [l.split()[1] for l in f if l.split()[1].startswith((self.root + "/", self.bpffs + "/"))]
        for path in reversed(below):
            subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL)
        if os.path.isdir(self.bpffs):
            shutil.rmtree(self.bpffs, ignore_errors=True)

    def processes(self):
        mark, found = f"TRAMMEL_RUN_DIR={self.run_dir}".encode(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if mark in f.read().split(b"\0") and int(pid) != os.getpid():
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Workload:
    """One workload started with `trammel run --detach`."""

    def __init__(self, mesh, facts):
        self.mesh, self.facts = mesh, facts
        self.name, self.namespace, self.pid = facts["name"], facts["namespace"], facts["pid"]
        self.key = f"{self.namespace}/{self.name}"
        self.netns, self.cgroup = facts["netns"], facts["cgroup"]
        self.addresses = [a.split("/")[0] for a in facts["addresses"]]

    @property
    def ip(self):
        return next(a for a in self.addresses if ":" not in a)

    @property
    def ip6(self):
        return next(a for a in self.addresses if ":" in a)

    def exec(self, *cmd, check=True, timeout=30, input=None):
        return self.mesh.trammel("exec", self.key, "--", *cmd, check=check, timeout=timeout, input=input)

    def spawn(self, *cmd):
        """The command inside, beside the test; ended with the mesh at the latest."""
        p = subprocess.Popen([TRAMMEL, "exec", self.key, "--", *map(str, cmd)], env=self.mesh.env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        self.mesh.children.append(p)
        return p

    def call(self, function, host=None, port=None, within=90, **args):
        """One function of pod_calls.py inside the workload; within: seconds for the whole of it."""
        return finish_call(self.start_call(function, host, port, **args), within)

    def start_call(self, function, host=None, port=None, **args):
        if host is not None:
            args.update(host=host, port=port)
        return self.spawn(sys.executable, CALLS, function, json.dumps(args))

    def http(self, host, port, path="/", **args):
        return self.call("http", host, port, path=path, **args)

    def curl(self, *args, check=True, timeout=30):
        return self.exec("curl", "-sS", "--max-time", "20", *args, check=check, timeout=timeout)

    def wait_listening(self, *ports, timeout=10):
        """Until its own processes listen on these ports (asked of the kernel, in its namespace)."""
        def probe():
            text = ""
            for table in ("tcp", "tcp6"):
                with open(f"/proc/{self.pid}/net/{table}") as f:
                    text += f.read()
            have = {int(l.split()[1].rsplit(":", 1)[1], 16) for l in text.splitlines()
                    if ":" in l and l.split()[3:4] == ["0A"]}
            return set(ports) <= have
        eventually(probe, timeout, what=f"{self.key} listens on {ports}")

    def get(self):
        """Its row in `trammel workload list`."""
        for w in self.mesh.json("workload", "list")["workloads"]:
            if (w["namespace"], w["name"]) == (self.namespace, self.name):
                return w
        return None

    def proxy_pid(self):
        return (self.get() or {}).get("proxy_pid") or 0

    def conns(self):
        """Its open connections in `trammel conn list`."""
        return [c for c in self.mesh.json("conn", "list")["conns"] if c.get("workload") == self.key]

    def refused(self):
        """Its recent refusals in `trammel conn list`, by proxy and kernel."""
        return [r for r in self.mesh.json("conn", "list")["refused"] if r.get("workload") in (self.key, None)]

    def refusals(self):
        return [r["reason"] for r in self.refused()]

    def metrics(self):
        """Its proxy's metrics, scraped from inside: {"name{labels}": value}"""
        text = self.curl(f"http://{self.ip}:15090/metrics").stdout
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                k, _, v = line.rpartition(" ")
                found[k] = float(v)
        return found

    def metric_sum(self, name, **labels):
        want = [f'{k}="{v}"' for k, v in labels.items()]
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name and all(w in k for w in want))

    def stop(self):
        self.mesh.trammel("stop", self.key)
        self.mesh.workloads.pop(self.key, None)


def sanitizer_reports(logs):
    """What sanitizers wrote into open log files: a test that passed otherwise fails by it."""
    words, found = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "UndefinedBehaviorSanitizer"), ""
    for log in logs:
        with log:
            lines = log.read().splitlines()
        at = [i for i, l in enumerate(lines) if any(w in l for w in words)]
        if at:
            found += f"{log.name}:\n" + "\n".join(lines[at[0]:at[0] + 60]) + "\n"
    return found


def finish_call(p, timeout=90):
    """The result of a start_call()."""
    out, err = p.communicate(timeout=timeout)
    lines = out.strip().splitlines()
    if not lines:
        raise Failed(p.args, p.returncode, out, err)
    return json.loads(lines[-1])


def service(name, ports, selector=None, namespace="default", **spec):
    """A Service object; ports: {"http": 80, ...} or dicts."""
    rows = [{"name": k, **(v if isinstance(v, dict) else {"port": v})} for k, v in ports.items()]
    body = {"ports": rows, "ipFamilyPolicy": "PreferDualStack", **spec}
    if selector is not False:
        body["selector"] = selector or {"app": name}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def peer_authentication(mode, name="default", namespace="istio-system", ports=None, labels=None):
    spec = {"mtls": {"mode": mode}}
    if labels:
        spec["selector"] = {"matchLabels": labels}
    if ports:
        spec["portLevelMtls"] = {str(p): {"mode": m} for p, m in ports.items()}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": name, "namespace": namespace},
            "spec": spec}
