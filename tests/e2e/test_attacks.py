# SPDX-License-Identifier: Apache-2.0
"""One attacker beside one good client: the good one has every answer, and the proxy neither grows nor ends.

    attacker (outsider) --------------- plaintext ---- proxy ---- web: pod_servers http 8080, nghttpd http2 8081
    good client (another outsider) ----'                               and nginx http 8082 for the good client, so that the attacker's answers,
                                                                       which one python gives, are not what it waits for
    client (enrolled) ---- proxy ==== mTLS ==== proxy ---- sick: the retry storm goes this way, since retries belong to the caller's proxy

One second each; TRAMMEL_TEST_ATTACK_S=60 (tests/run --long) for the long form. Latencies beside the attack and without it are printed
and not judged: what a machine that is shared does to them says nothing. Where there are two CPUs the attacker has the last one and all
others the first, so that they are the proxy's doing as far as can be.
"""
import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from mesh import LIB, Mesh, peer_authentication, service
from wait import eventually

PORTS, GOOD_PORTS = {"h1": 8080, "h2": 8081}, {"h1": 8082, "h2": 8081}
NGINX = """daemon off; master_process off; user root; pid {d}/pid; error_log {d}/err;
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
  keepalive_requests 1000000; default_type application/json;
  server {{ listen 8082; location / {{ return 200 '{{"path": "$uri"}}'; }} }} }}
"""
SECONDS = float(os.environ.get("TRAMMEL_TEST_ATTACK_S", 1))
RATE = 200
# What docs/limits.md lets an attacker have. HTTP/1.1: 300 connections that hold a head or a body being read, 64 KiB each. HTTP/2: 50
# connections with 100 streams each (16 KiB of our own for one), 256 KiB kept unsent and 512 KiB of upstream's window, and 16 MiB
# for all connections that stall.
GROWTH_BYTES = {"h1": 32 << 20, "h2": (50 * (100 * 16 + 256 + 512) << 10) + (16 << 20)}
STORM = os.path.join(LIB, "pod_storm.py")
GOAWAY = "its connections are ended, by GOAWAY where one can be read"

# name: (reason that log and metric give when the limit fires, how the attacker sees it: a status, GOAWAY). Both None: nothing ends it within a
# minute, by design: a body of ten bytes a second makes progress, a silent connection is an idle one (10 minutes), what is not read waits (5
# minutes). The good client's answers and the proxy's memory are what there is to see. A handshake that comes too slowly on a port that takes
# plaintext HTTP, too, is read as HTTP after 5 s.
H1_ROWS = {
    "rs01_slow_head": ("http_header_timeout", None), "rs01_slow_body": (None, None), "rs01_slow_read": (None, None),
    "rs01_slow_handshake": ("http_syntax", "400"), "rs01_silent": (None, None),
    "rs02_large_field": ("http_headers_too_large", "431"), "rs02_many_fields": ("http_headers_too_large", "431"),
    "rs02_long_target": ("http_target_too_long", "414"),
}
H2_ROWS = {
    "h201_rapid_reset": ("h2_resets", GOAWAY), "h201_elicited_by_fields": ("h2_resets", GOAWAY), "h201_elicited_by_window": ("h2_resets", GOAWAY),
    "h203_small": ("h2_fields", GOAWAY), "h203_empty": ("h2_fields", GOAWAY), "h203_large": ("h2_fields", GOAWAY),
    "h204_ping": ("h2_control", GOAWAY), "h204_settings": ("h2_control", GOAWAY), "h204_settings_empty": ("h2_control", GOAWAY),
    "h204_settings_64": ("h2_control", GOAWAY), "h204_list_size_churn": ("h2_control", GOAWAY),
    "h206_bomb": ("h2_fields", GOAWAY), "h206_table_flapping": ("h2_protocol", GOAWAY), "h206_varint": ("h2_protocol", GOAWAY),
    "h207_zero_window": (None, None), "h207_one_byte_windows": (None, None), "h207_never_reads": (None, None),
}
FIRES_LATE = {"rs01_slow_head": 10, "rs01_slow_handshake": 5}  # seconds until it does: long form alone


@pytest.fixture(scope="module")
def mesh():
    with Mesh([peer_authentication("PERMISSIVE"), service("web", {"http": {"port": 80, "targetPort": 8080}, "http2": {"port": 81, "targetPort": 8081},
                                                                      "http-good": {"port": 82, "targetPort": 8082}})]) as m:
        files = os.path.join(m.root, "files")
        os.mkdir(files)
        for i in range(10):
            with open(os.path.join(files, f"f{i}"), "w") as f:
                f.write(f"file {i}\n")
        with open(os.path.join(files, "big"), "wb") as f:
            f.truncate(1 << 30)
        with open(os.path.join(m.root, "nginx.conf"), "w") as f:
            f.write(NGINX.format(d=m.root))
        servers = f"nghttpd --no-tls -n1 -d {files} 8081 & nginx -p {m.root} -c {m.root}/nginx.conf & exec {sys.executable} {LIB}/pod_servers.py web http:8080"
        m.web = m.run("web", "sh", "-c", servers)
        m.web.wait_listening(8080, 8081, 8082)
        m.client = m.client()
        m.wait_endpoints("web", 1)
        with m.outsider() as m.attacker, m.outsider(0xfb) as m.good:
            assert good(m, "h1", 0.5)["wrong"] == []
            yield m


def pin(pid, last):
    """The attacker's CPU, or the others'."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {cpus[-1]} if last else {cpus[0]})


def start(ns, script, *args, last=False):
    child = subprocess.Popen(["nsenter", "--net=" + ns.path, sys.executable, os.path.join(LIB, script), *map(str, args)], stdout=subprocess.PIPE, text=True)
    pin(child.pid, last)
    return child


def outcome(child, seconds):
    try:
        return json.loads(child.communicate(timeout=seconds + 60)[0])
    finally:
        child.kill()
        child.wait()


def good(mesh, kind, seconds):
    return outcome(start(mesh.good, "pod_good.py", kind, mesh.web.ip, GOOD_PORTS[kind], seconds, RATE), seconds)


def pss_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss: +(\d+) kB", f.read(), re.M)[1]) << 10


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(c) for c in f.read().split()]


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """The most that a process held while this is open."""

    def __init__(self, pid):
        self.pid, self.most, self.done = pid, pss_bytes(pid), threading.Event()
        self.begin, self.cpu = self.most, cpu_s(pid)
        self.thread = threading.Thread(target=self._look)

    def _look(self):
        while not self.done.wait(0.1):
            try:
                self.most = max(self.most, pss_bytes(self.pid))
            except OSError:
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.done.set()
        self.thread.join()


def told(mesh, reason):
    """How often the proxy has said it: (in its metric, in its logs)."""
    counted = sum(mesh.web.metric_sum(name, reason=reason) for name in ("trammel_refused_total", "trammel_events_total"))
    return counted, mesh.logs(1 << 24).count(reason)


def attack(mesh, row, kind):
    """What came of one attack beside one good client."""
    port = PORTS[kind]
    pid = mesh.web.proxy_pid()
    for p in (pid, mesh.web.pid, *children(mesh.web.pid)):
        pin(p, False)
    alone = good(mesh, kind, max(1, SECONDS / 6))
    with Watch(pid) as watch:
        attacker = start(mesh.attacker, "pod_attacks.py", row, json.dumps({"where": [mesh.web.ip, port], "seconds": SECONDS}), last=True)
        client = start(mesh.good, "pod_good.py", kind, mesh.web.ip, GOOD_PORTS[kind], SECONDS, RATE)
        beside, report = outcome(client, SECONDS), outcome(attacker, SECONDS)
    assert mesh.web.proxy_pid() == pid and os.path.exists(f"/proc/{pid}"), "the proxy ended"
    print(f"\n{row}: good {beside['asked']} asked, p99 {beside['p99_ms']} ms ({beside['p99_ms'] / alone['p99_ms']:.1f} x alone), proxy +"
          f"{(watch.most - watch.begin) >> 10} KiB, {cpu_s(pid) - watch.cpu:.1f} s CPU; attacker {report}")
    assert not beside["wrong"], beside
    assert beside["asked"] > SECONDS * 10, f"the good client hardly got anywhere: {beside}"
    assert watch.most - watch.begin < GROWTH_BYTES[kind], f"the proxy grew by {(watch.most - watch.begin) >> 20} MiB"
    return report


def check(mesh, row, reason, seen, kind):
    before = reason and told(mesh, reason)
    report = attack(mesh, row, kind)
    assert report["connections"] > 0, report
    if seen == GOAWAY:
        assert report["ended"] or report["codes"], f"nothing stopped it: {report}"
    elif seen and SECONDS > FIRES_LATE.get(row, 0):
        assert set(report["statuses"]) == {seen}, report
    if reason and SECONDS > FIRES_LATE.get(row, 0):
        eventually(lambda: all(b > a for a, b in zip(before, told(mesh, reason))), 5, what=f"{reason} is told in metric and log, {before} before: {told(mesh, reason)}")
    after = good(mesh, kind, 0.5)
    assert after["wrong"] == [], after


@pytest.mark.slow
@pytest.mark.parametrize("row", H1_ROWS)
def test_http1(mesh, row):
    check(mesh, row, *H1_ROWS[row], kind="h1")


@pytest.mark.slow
@pytest.mark.parametrize("row", H2_ROWS)
def test_http2(mesh, row):
    check(mesh, row, *H2_ROWS[row], kind="h2")


@pytest.mark.slow
def test_retry_storm(mesh):
    """A server that answers 503 to everything gets hardly more than what was asked (retry budget 20 %)."""
    mesh.apply("sick.yaml", [service("sick", {"http": {"port": 80, "targetPort": 8080}})])
    sick = mesh.run("sick", sys.executable, STORM, "serve", "8080")
    sick.wait_listening(8080)
    mesh.wait_endpoints("sick", 1)
    assert int(mesh.client.curl("http://sick/count").stdout) == 0
    pids = mesh.client.proxy_pid(), sick.proxy_pid()
    report = json.loads(mesh.client.exec(sys.executable, STORM, "ask", "sick", "80", SECONDS, timeout=SECONDS + 60).stdout)
    came = int(mesh.client.curl("http://sick/count").stdout)
    asked = report["asked"]
    print(f"\nrs04: {asked} asked, {came} came: {came / asked:.3f}")
    assert asked > 100 and set(report["statuses"]) == {"503"}, report
    assert asked <= came <= asked * 1.2, f"{asked} were asked and {came} came"
    assert all(pids) and pids == (mesh.client.proxy_pid(), sick.proxy_pid()), "a proxy ended"
