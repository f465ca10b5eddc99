# SPDX-License-Identifier: Apache-2.0
"""Compares Trammel with other pairs of proxies, in interleaved rounds.

  tests/bench/run [--quick] [--rounds N] [--think MS] [--only NAME,...] [--json FILE] [--measures cpu,rate,latency,connect,memory,start]

Each pair speaks mTLS and HTTP/1.1 keep-alive between two pods on a bridge. --quick takes about 4 minutes, the whole about 30. Prints medians, and the
median of the ratios of each round: ours to the better of nginx and HAProxy in the same round, so that a machine whose speed drifts does not decide. "added"
is what comes on top of no mesh in the same round. As root. TRAMMEL_BUILD names the build folder (default: build).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("TRAMMEL_BUILD", os.path.join(os.path.dirname(os.path.dirname(HERE)), "build"))
sys.path.insert(0, HERE)

import contenders as c  # noqa: E402
from pki import Authority  # noqa: E402


def tools_build(folder):
    """Compile the small programs."""
    built = {}
    for name, libs in (("load", []), ("think_server", []), ("tls_relay", ["-lssl", "-lcrypto"])):
        built[name] = os.path.join(folder, name)
        subprocess.run(["cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", built[name], os.path.join(HERE, name + ".c"), *libs], check=True)
    return built


def cpu_ns(pids):
    """CPU time the threads of these processes have had."""
    total = 0
    for pid in pids:
        try:
            for t in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{t}/schedstat") as f:
                    total += int(f.read().split()[0])
        except OSError:
            pass
    return total


def pss_kb(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(l.split()[1]) for l in f if l.startswith("Pss:"))
    return total


def private_kb(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(l.split()[1]) for l in f if l.startswith(("Private_Dirty:", "Private_Clean:")))
    return total


def pin(pids, cpus):
    for pid in pids:
        try:
            for t in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(t), cpus)
        except OSError:
            pass


def load(k, *args, cpus=None, check=True):
    """Run the generator in pod A; its JSON, with the proxies' CPU time per request in microseconds."""
    host, port = k.target()
    prefix = ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []
    proxies = k.proxies_a() + k.proxies_b()
    before = cpu_ns(proxies)
    r = subprocess.run([*k.load_argv(), *prefix, k.tools["load"], "-a", host, "-p", str(port), *map(str, args)], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, env=getattr(k, "env", None), timeout=120)
    used = cpu_ns(proxies) - before
    if r.returncode:
        raise RuntimeError(f"{k.name}: load: {r.stderr or r.stdout}")
    got = json.loads(r.stdout)
    if got["errors"] and check:
        raise RuntimeError(f"{k.name}: {got['errors']} failed requests: {got}")
    warm = int(args[args.index("-w") + 1]) if "-w" in args else 0
    got["cpu_us"] = used / 1000 / max(got["requests"] + warm, 1)
    return got


class Bench:
    def __init__(self, contenders, options):
        self.contenders, self.options = contenders, options
        self.samples = {}  # (measure, contender) -> {round: value}
        self.round = 0

    def add(self, measure, k, value):
        self.samples.setdefault((measure, k.name), {})[self.round] = value

    def each(self, fn, *args):
        """One interleaved round; every other one the other way round."""
        for k in self.contenders[::-1 if self.round % 2 else 1]:
            try:
                fn(k, *args)
            except Exception as e:
                print(f"  {k.name}: {fn.__name__}: {e}", file=sys.stderr)

    # measures

    def cpu(self, k):
        n = 5000 if self.options.quick else 20000
        got = load(k, "-c", 32, "-n", n, "-w", 200)
        self.add("saturated, 32 connections: CPU us/request", k, got["cpu_us"])
        self.add("saturated, 32 connections: requests/s", k, got["rate"])
        got = load(k, "-c", 1, "-n", n // 5, "-w", 20)
        self.add("1 connection: mean us", k, got["mean_us"])
        self.add("1 connection: CPU us/request", k, got["cpu_us"])

    def rate(self, k, rate, think_ms, pinned):
        cpus = {0}, {1}
        whole = set(range(os.cpu_count()))
        sides = (k.proxies_a(), k.proxies_b() + k.app())
        if pinned:
            pin(sides[0], cpus[0])
            pin(sides[1], cpus[1])
        try:
            got = load(k, "-c", 16, "-r", rate, "-t", self.options.seconds + 0.5, "-w", rate // 2, "-P", f"/{think_ms}", cpus=cpus[0] if pinned else None)
        finally:
            for s in sides:
                pin(s, whole)
        label = f"{rate}/s, thinks {think_ms} ms{', pinned' if pinned else ''}: "
        for what, field in (("mean us", "mean_us"), ("p50 us", "p50_us"), ("p99 us", "p99_us"), ("CPU us/request", "cpu_us")):
            self.add(label + what, k, got[field])

    def connect(self, k):
        n = 500 if self.options.quick else 2000
        got = load(k, "-c", 8, "-n", n, "-m", "connect", check=False)
        self.add("new connections: per second", k, got["rate"])
        self.add("new connections: CPU us each", k, got["cpu_us"])

    def memory(self, k):
        pids = k.proxies_a() + k.proxies_b()
        if not pids:
            return
        count = 200 if self.options.quick else 1000
        self.add("idle proxy: PSS kB", k, pss_kb(pids) / 2)
        self.add("idle proxy: private kB", k, private_kb(pids) / 2)
        prefix, ip, port, (crt, key), alpn = k.idle_tls_argv()
        before = pss_kb(k.proxies_b())
        p = subprocess.Popen([*prefix, sys.executable, os.path.join(HERE, "idle_tls.py"), ip, str(port), str(count), crt, key, alpn[0] if alpn else ""],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = p.stdout.readline()
            if line != f"held {count}\n":
                raise RuntimeError(f"only {line!r}: {p.stderr.read()[-500:]}")
            time.sleep(0.5)
            self.add("idle mTLS connection: kB each, in proxy", k, (pss_kb(k.proxies_b()) - before) / count)
        finally:
            p.stdin.close()
            p.wait()
            p.stdout.close()
            p.stderr.close()

    def run(self):
        o, start = self.options, time.monotonic()
        thinks = o.think or ([2] if o.quick else [0, 2, 10])
        cells = [(r, t, p) for p in (False, True) for r in (200, 1000) for t in thinks]
        if "memory" in o.measures:
            self.each(self.memory)
        for n in range(o.rounds):
            self.round = n
            print(f"round {n + 1} of {o.rounds}, {time.monotonic() - start:.0f} s", file=sys.stderr)
            if "cpu" in o.measures:
                self.each(self.cpu)
            if "rate" in o.measures or "latency" in o.measures:
                for cell in cells:
                    self.each(self.rate, *cell)
            if "connect" in o.measures:
                self.each(self.connect)
        if "start" in o.measures:
            for k in self.contenders:
                if k.ready_s:
                    self.add("proxy start to ready: ms", k, k.ready_s * 1000)

    def added(self):
        """What each contender adds to no mesh in the same round: to the mean, and to the median, which a stolen CPU moves less."""
        for (measure, name), values in list(self.samples.items()):
            none = self.samples.get((measure, "no mesh"))
            if measure.endswith((": mean us", ": p50 us")) and none and name != "no mesh":
                self.samples[measure + " added", name] = {r: v - none[r] for r, v in values.items() if r in none}

    def ratio(self, measure, more_is_better):
        """The median over the rounds of ours to the better peer."""
        ours = self.samples.get((measure, "trammel"), {})
        peers = [self.samples[measure, n] for n in ("nginx", "haproxy") if (measure, n) in self.samples]
        ratios = []
        for r, value in ours.items():
            there = [p[r] for p in peers if r in p and p[r] > 0]
            if there:
                ratios.append(value / (max if more_is_better else min)(there))
        return statistics.median(ratios) if ratios else None

    def table(self):
        self.added()
        names = [k.name for k in self.contenders]
        rows = []
        for measure in dict.fromkeys(m for m, _ in self.samples):
            more_is_better = "per second" in measure or "requests/s" in measure
            got = {n: self.samples[measure, n] for n in names if (measure, n) in self.samples}
            rows.append({"measure": measure, "values": {n: statistics.median(v.values()) for n, v in got.items() if v},
                         "trammel_to_best_peer": self.ratio(measure, more_is_better), "more_is_better": more_is_better,
                         "samples": {n: list(v.values()) for n, v in got.items()}})
        return names, rows


def show(names, rows):
    width = max((len(r["measure"]) for r in rows), default=10)
    print(f"{'median':{width}}  " + "".join(f"{n:>10}" for n in names) + "   ours/better peer")
    for r in rows:
        cells = "".join(f"{r['values'][n]:>10.1f}" if n in r["values"] else f"{'-':>10}" for n in names)
        mark = f"{r['trammel_to_best_peer']:.2f}" + (" (more is better)" if r["more_is_better"] else "") if r["trammel_to_best_peer"] else "-"
        print(f"{r['measure']:{width}}  {cells}   {mark}")


def main():
    p = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="about four minutes")
    p.add_argument("--rounds", type=int, help="interleaved rounds (5; quick: 3)")
    p.add_argument("--seconds", type=float, help="length of one fixed-rate run (3; quick: 2)")
    p.add_argument("--think", type=int, action="append", help="milliseconds the server thinks; may be given again (0, 2, 10; quick: 2)")
    p.add_argument("--only", help="contenders by name, with commas")
    p.add_argument("--json", help="also write everything there")
    p.add_argument("--measures", default="cpu,rate,connect,memory,start")
    o = p.parse_args()
    o.rounds = o.rounds or (3 if o.quick else 5)
    o.seconds = o.seconds or (2 if o.quick else 3)
    o.measures = o.measures.split(",")
    if os.geteuid() != 0:
        sys.exit("bench: needs root for network namespaces")
    folder = tempfile.mkdtemp(prefix="trm-bench-")
    os.chmod(folder, 0o755)
    running = []
    try:
        tools, ca = tools_build(folder), Authority.make(folder, "bench")
        kinds = [c.NoMesh, c.Relay] + [k for k in (c.Nginx, c.Haproxy) if shutil.which(k.need)] + ([c.Envoy] if c.envoy_path() else []) + [c.Trammel]
        for kind in kinds:
            if o.only and kind.name not in o.only.split(","):
                continue
            k = kind(tools, folder, ca)
            running.append(k)
            k.start()
        b = Bench(running, o)
        b.run()
        names, rows = b.table()
        show(names, rows)
        if o.json:
            with open(o.json, "w") as f:
                json.dump({"rounds": o.rounds, "seconds": o.seconds, "kernel": os.uname().release, "cpus": os.cpu_count(), "rows": rows}, f, indent=1)
    finally:
        for k in running:
            k.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
