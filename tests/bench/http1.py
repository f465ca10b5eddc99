# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1: requests at saturation and at fixed rates, new connections, memory at rest."""
import json
import os
import subprocess
import sys
import time

from accounts import Spent, pin, private_kb, pss_kb

HERE = os.path.dirname(os.path.abspath(__file__))


def load(k, *args, cpus=None, check=True):
    """Run the generator in pod A; its JSON, with the proxies' CPU time per request in microseconds."""
    host, port = k.target()
    prefix = ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []
    with Spent(k) as spent:
        r = k.run_in_a(*prefix, k.tools["load"], "-a", host, "-p", port, *args)
    got = json.loads(r.stdout)
    if got["errors"] and check:
        raise RuntimeError(f"{k.name}: {got['errors']} failed requests: {got}")
    warm = int(args[args.index("-w") + 1]) if "-w" in args else 0
    got["cpu_us"] = spent.ns / 1000 / max(got["requests"] + warm, 1)
    return got


def cpu(b, k):
    n = 5000 if b.options.quick else 20000
    got = load(k, "-c", 32, "-n", n, "-w", 200)
    b.add("saturated, 32 connections: CPU us/request", k, got["cpu_us"])
    b.add("saturated, 32 connections: requests/s", k, got["rate"])
    got = load(k, "-c", 1, "-n", n // 5, "-w", 20)
    b.add("1 connection: mean us", k, got["mean_us"])
    b.add("1 connection: CPU us/request", k, got["cpu_us"])


def rate_cell(b, k, rate, think_ms, pinned):
    cpus = {0}, {1}
    whole = set(range(os.cpu_count()))
    sides = (k.proxies_a(), k.proxies_b() + k.app())
    if pinned:
        pin(sides[0], cpus[0])
        pin(sides[1], cpus[1])
    try:
        got = load(k, "-c", 16, "-r", rate, "-t", b.options.seconds + 0.5, "-w", rate // 2, "-P", f"/{think_ms}", cpus=cpus[0] if pinned else None)
    finally:
        for s in sides:
            pin(s, whole)
    label = f"{rate}/s, thinks {think_ms} ms{', pinned' if pinned else ''}: "
    for what, field in (("mean us", "mean_us"), ("p50 us", "p50_us"), ("p99 us", "p99_us"), ("CPU us/request", "cpu_us")):
        b.add(label + what, k, got[field])


def connect(b, k):
    n = 500 if b.options.quick else 2000
    got = load(k, "-c", 8, "-n", n, "-m", "connect", check=False)
    b.add("new connections: per second", k, got["rate"])
    b.add("new connections: CPU us each", k, got["cpu_us"])


def memory(b, k):
    pids = k.proxies_a() + k.proxies_b()
    if not pids:
        return
    count = 200 if b.options.quick else 1000
    b.add("idle proxy: PSS kB", k, pss_kb(pids) / 2)
    b.add("idle proxy: private kB", k, private_kb(pids) / 2)
    prefix, ip, port, (crt, key), alpn = k.idle_tls_argv()
    before = pss_kb(k.proxies_b())
    p = subprocess.Popen([*prefix, sys.executable, os.path.join(HERE, "idle_tls.py"), ip, str(port), str(count), crt, key, alpn[0] if alpn else ""],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = p.stdout.readline()
        if line != f"held {count}\n":
            raise RuntimeError(f"only {line!r}: {p.stderr.read()[-500:]}")
        time.sleep(0.5)
        b.add("idle mTLS connection: kB each, in proxy", k, (pss_kb(k.proxies_b()) - before) / count)
    finally:
        p.stdin.close()
        p.wait()
        p.stdout.close()
        p.stderr.close()


def start(b, k):
    if k.ready_s:
        b.add("proxy start to ready: ms", k, k.ready_s * 1000)
