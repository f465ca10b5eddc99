# SPDX-License-Identifier: Apache-2.0
"""Compares Trammel with other pairs of proxies, in interleaved rounds.

  tests/bench/run [--quick] [--rounds N] [--think MS] [--only NAME,...] [--json FILE] [--measures cpu,rate,connect,memory,start,http2,grpc,body,body2]

Each pair speaks mTLS between two pods on a bridge: HTTP/1.1 keep-alive (cpu: saturated; rate: fixed rates; connect: new connections; memory;
start), HTTP/2 (http2), gRPC unary (grpc), large bodies over HTTP/1.1 (body) and HTTP/2 (body2). --quick takes about 6 minutes, the whole about
40. Prints medians, and the median of the ratios of each round: ours to the best peer in the same round, so that a machine whose speed drifts
does not decide. The best is taken among nginx and HAProxy for HTTP/1.1, among all proxies for HTTP/2 and gRPC; for bodies it is HAProxy.
"added" is what comes on top of no mesh in the same round. As root. TRAMMEL_BUILD names the build folder (default: build).
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

import bodies  # noqa: E402
import contenders as c  # noqa: E402
import http1  # noqa: E402
import http2  # noqa: E402
import other_proxies as others  # noqa: E402
from pki import Authority  # noqa: E402

KINDS = (c.NoMesh, c.Relay, others.Nginx, others.Haproxy, others.Nghttpx, others.Envoy, c.Trammel, c.TrammelUpgraded)
SCENES = {
    c.Scene("http1", "think_server", peers=("nginx", "haproxy")): ("cpu", "rate", "connect", "memory", "start"),
    c.Scene("http2", "h2_server", "http2", peers=("haproxy", "nghttpx", "envoy")): ("http2",),
    c.Scene("grpc", "h2_server", "grpc", peers=("nginx", "haproxy", "nghttpx", "envoy")): ("grpc",),
    c.Scene("body", "body_server", peers=("haproxy",)): ("body",),
    c.Scene("body2", "h2_server", "http2", peers=("haproxy",)): ("body2",),
}
MEASURES = [m for measures in SCENES.values() for m in measures]


def tools_build(folder):
    """Compile the small programs."""
    built = {}
    for name, libs in (("load", []), ("think_server", []), ("tls_relay", ["-lssl", "-lcrypto"]), ("h2_server", ["-lnghttp2", "-lz"]),
                       ("body_server", ["-lz", "-pthread"])):
        built[name] = os.path.join(folder, name)
        subprocess.run(["cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", built[name], os.path.join(HERE, name + ".c"), *libs], check=True)
    return built


class Bench:
    def __init__(self, scene, contenders, options):
        self.scene, self.contenders, self.options = scene, contenders, options
        self.samples = {}  # (measure, contender) -> {round: value}
        self.round = 0

    def add(self, measure, k, value):
        if value or k.proxies_a():  # no mesh spends nothing
            self.samples.setdefault((measure, k.name), {})[self.round] = value

    def each(self, fn, *args):
        """One interleaved round; every other one the other way round."""
        for k in self.contenders[::-1 if self.round % 2 else 1]:
            try:
                fn(self, k, *args)
            except Exception as e:
                print(f"  {k.name}: {fn.__module__}.{fn.__name__}: {e}", file=sys.stderr)

    def check(self, fn):
        """Who does not answer rightly is not measured."""
        for k in list(self.contenders):
            try:
                fn(self, k)
            except Exception as e:
                print(f"  {k.name} is left out: {e}", file=sys.stderr)
                self.contenders.remove(k)

    def plan(self, measures):
        """(once), (each round): functions with their arguments."""
        o = self.options
        once, rounds = [], []
        if "memory" in measures:
            once.append((http1.memory,))
        if "start" in measures:
            once.append((http1.start,))
        if "cpu" in measures:
            rounds.append((http1.cpu,))
        if "rate" in measures:
            thinks = o.think or ([2] if o.quick else [0, 2, 10])
            rounds += [(http1.rate_cell, r, t, p) for p in (False, True) for r in (200, 1000) for t in thinks]
        if "connect" in measures:
            rounds.append((http1.connect,))
        if "http2" in measures or "grpc" in measures:
            rounds += [(http2.saturated,)] + [(http2.rate_cell, r) for r in ((1000,) if o.quick else (1000, 3000))]
        if "body" in measures or "body2" in measures:
            rounds.append((bodies.bodies,))
        return once, rounds

    def run(self, measures):
        start = time.monotonic()
        if self.scene.server != "think_server":
            self.check(bodies.check if self.scene.name.startswith("body") else http2.check)
        once, rounds = self.plan(measures)
        for fn, *args in once:
            self.each(fn, *args)
        for n in range(self.options.rounds if rounds else 0):
            self.round = n
            print(f"{self.scene.name}: round {n + 1} of {self.options.rounds}, {time.monotonic() - start:.0f} s", file=sys.stderr)
            for fn, *args in rounds:
                self.each(fn, *args)

    def added(self):
        """What each contender adds to no mesh in the same round: to the mean, and to the median, which a stolen CPU moves less."""
        for (measure, name), values in list(self.samples.items()):
            none = self.samples.get((measure, "no mesh"))
            if measure.endswith((": mean us", ": p50 us")) and none and name != "no mesh":
                self.samples[measure + " added", name] = {r: v - none[r] for r, v in values.items() if r in none}

    def ratio(self, measure, more_is_better):
        """The median over the rounds of ours to the best peer."""
        ours = self.samples.get((measure, "trammel"), {})
        there_are = [self.samples[measure, n] for n in self.scene.peers if (measure, n) in self.samples]
        ratios = []
        for r, value in ours.items():
            there = [p[r] for p in there_are if r in p and p[r] > 0]
            if there:
                ratios.append(value / (max if more_is_better else min)(there))
        return statistics.median(ratios) if ratios else None

    def table(self):
        self.added()
        rows = []
        for measure in dict.fromkeys(m for m, _ in self.samples):
            more_is_better = "per second" in measure or "requests/s" in measure
            got = {k.name: self.samples[measure, k.name] for k in self.contenders if (measure, k.name) in self.samples}
            rows.append({"measure": measure, "values": {n: statistics.median(v.values()) for n, v in got.items() if v},
                         "trammel_to_best_peer": self.ratio(measure, more_is_better), "more_is_better": more_is_better,
                         "samples": {n: list(v.values()) for n, v in got.items()}})
        return rows


def show(rows):
    names = [k.name for k in KINDS if any(k.name in r["values"] for r in rows)]
    width = max((len(r["measure"]) for r in rows), default=10)
    print(f"{'median':{width}}  " + "".join(f"{n:>11}" for n in names) + "   ours/best peer")
    for r in rows:
        cells = "".join(f"{r['values'][n]:>11.1f}" if n in r["values"] else f"{'-':>11}" for n in names)
        mark = f"{r['trammel_to_best_peer']:.2f}" + (" (more is better)" if r["more_is_better"] else "") if r["trammel_to_best_peer"] else "-"
        print(f"{r['measure']:{width}}  {cells}   {mark}")


def options():
    p = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="about six minutes")
    p.add_argument("--rounds", type=int, help="interleaved rounds (5; quick: 3)")
    p.add_argument("--seconds", type=float, help="length of one fixed-rate run (3; quick: 1)")
    p.add_argument("--think", type=int, action="append", help="HTTP/1.1: milliseconds the server thinks; may be given again (0, 2, 10; quick: 2)")
    p.add_argument("--body-mib", type=int, help="size of a large body (1024; quick: 256)")
    p.add_argument("--only", help="contenders by name, with commas: " + ", ".join(k.name for k in KINDS))
    p.add_argument("--json", help="also write everything there")
    p.add_argument("--measures", default=",".join(MEASURES))
    o = p.parse_args()
    o.rounds = o.rounds or (3 if o.quick else 5)
    o.seconds = o.seconds or (1 if o.quick else 3)
    o.body_mib = o.body_mib or (256 if o.quick else 1024)
    o.measures = o.measures.split(",")
    for word in o.measures:
        if word not in MEASURES:
            p.error(f"--measures: {word} is none of {', '.join(MEASURES)}")
    return o


def scene_run(scene, measures, o, tools, folder, ca):
    """Starts who takes part, measures, stops them; the rows of the table."""
    running = []
    try:
        for kind in KINDS:
            if kind.can(scene) and (kind.name in o.only.split(",") if o.only else not kind.asked_for):
                k = kind(scene, tools, folder, ca)
                running.append(k)
                k.start()
        b = Bench(scene, list(running), o)
        b.run(measures)
        return b.table()
    finally:
        for k in running:
            k.stop()


def main():
    o = options()
    if os.geteuid() != 0:
        sys.exit("bench: needs root for network namespaces")
    folder = tempfile.mkdtemp(prefix="trm-bench-")
    os.chmod(folder, 0o755)
    rows = []
    try:
        tools, ca = tools_build(folder), Authority.make(folder, "bench")
        for scene, measures in SCENES.items():
            wanted = [m for m in measures if m in o.measures]
            if wanted:
                rows += scene_run(scene, wanted, o, tools, folder, ca)
        show(rows)
        if o.json:
            with open(o.json, "w") as f:
                json.dump({"rounds": o.rounds, "seconds": o.seconds, "kernel": os.uname().release, "cpus": os.cpu_count(), "rows": rows}, f, indent=1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
