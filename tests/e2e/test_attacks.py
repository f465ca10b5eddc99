# SPDX-License-Identifier: Apache-2.0
"""One attacker beside one good client: the good one has every answer, and the proxy neither grows nor ends.

    attacker (outsider) --------------- plaintext ---- proxy ---- web: pod_servers http 8080, nghttpd http2 8081
    good client (another outsider) ----'
    client (enrolled) ---- proxy ==== mTLS ==== proxy ---- sick: the retry storm goes this way, since retries belong to the caller's proxy

One second each; TRAMMEL_TEST_ATTACK_S=60 (tests/run --long) for the long form. Latencies beside the attack and without it are printed
and not judged: what a machine that is shared does to them says nothing.
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

SECONDS = float(os.environ.get("TRAMMEL_TEST_ATTACK_S", 1))
RATE = 200
# What docs/limits.md lets an attacker have. HTTP/1.1: 300 connections that hold a head or a body being read, 64 KiB each. HTTP/2: 50
# connections with 100 streams each (16 KiB of our own for one), 256 KiB kept unsent and 512 KiB of upstream's window, and 16 MiB
# for all connections that stall.
GROWTH_BYTES = {"h1": 32 << 20, "h2": (50 * (100 * 16 + 256 + 512) << 10) + (16 << 20)}
STORM = os.path.join(LIB, "pod_storm.py")
GOAWAY = "its connections are ended, by GOAWAY where one can be read"

# name: (port, reason in log or metric when one is defined, how one tells that the limit fired: a status, GOAWAY, or None)
H1_ROWS = {
    "rs01_slow_head": (8080, "http_header_timeout", None), "rs01_slow_body": (8080, None, None), "rs01_slow_read": (8080, None, None),
    "rs01_slow_handshake": (8080, None, None), "rs01_silent": (8080, None, None),
    "rs02_large_field": (8080, "http_headers_too_large", "431"), "rs02_many_fields": (8080, "http_headers_too_large", "431"),
    "rs02_long_target": (8080, "http_target_too_long", "414"),
}
H2_ROWS = {
    "h201_rapid_reset": (8081, None, GOAWAY), "h201_elicited_by_fields": (8081, None, GOAWAY), "h201_elicited_by_window": (8081, None, GOAWAY),
    "h203_small": (8081, None, GOAWAY), "h203_empty": (8081, None, GOAWAY), "h203_large": (8081, None, GOAWAY),
    "h204_ping": (8081, None, GOAWAY), "h204_settings": (8081, None, GOAWAY), "h204_settings_empty": (8081, None, None),
    "h204_settings_64": (8081, None, GOAWAY), "h204_list_size_churn": (8081, None, None),
    "h206_bomb": (8081, None, None), "h206_table_flapping": (8081, None, None), "h206_varint": (8081, None, GOAWAY),
    "h207_zero_window": (8081, None, None), "h207_one_byte_windows": (8081, None, None), "h207_never_reads": (8081, None, None),
}
FIRES_LATE = {"rs01_slow_head": 10}  # seconds until its limit: seen in the long form alone


@pytest.fixture(scope="module")
def mesh():
    with Mesh([peer_authentication("PERMISSIVE"), service("web", {"http": {"port": 80, "targetPort": 8080}, "http2": {"port": 81, "targetPort": 8081}})]) as m:
        files = os.path.join(m.root, "files")
        os.mkdir(files)
        for i in range(10):
            with open(os.path.join(files, f"f{i}"), "w") as f:
                f.write(f"file {i}\n")
        with open(os.path.join(files, "big"), "wb") as f:
            f.truncate(1 << 30)
        servers = f"nghttpd --no-tls -n1 -d {files} 8081 & exec {sys.executable} {LIB}/pod_servers.py web http:8080"
        m.web = m.run("web", "sh", "-c", servers)
        m.web.wait_listening(8080, 8081)
        m.client = m.client()
        m.wait_endpoints("web", 1)
        with m.outsider() as m.attacker, m.outsider(0xfb) as m.good:
            assert good(m, "h1", 0.5)["wrong"] == []
            yield m


def start(ns, script, *args):
    return subprocess.Popen(["nsenter", "--net=" + ns.path, sys.executable, os.path.join(LIB, script), *map(str, args)], stdout=subprocess.PIPE, text=True)


def outcome(child, seconds):
    try:
        return json.loads(child.communicate(timeout=seconds + 60)[0])
    finally:
        child.kill()
        child.wait()


def good(mesh, kind, seconds):
    return outcome(start(mesh.good, "pod_good.py", kind, mesh.web.ip, {"h1": 8080, "h2": 8081}[kind], seconds, RATE), seconds)


def pss_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss: +(\d+) kB", f.read(), re.M)[1]) << 10


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


def attack(mesh, row, port, kind):
    """What came of one attack beside one good client."""
    alone = good(mesh, kind, 1)
    pid = mesh.web.proxy_pid()
    with Watch(pid) as watch:
        attacker = start(mesh.attacker, "pod_attacks.py", row, json.dumps({"where": [mesh.web.ip, port], "seconds": SECONDS}))
        client = start(mesh.good, "pod_good.py", kind, mesh.web.ip, {"h1": 8080, "h2": 8081}[kind], SECONDS, RATE)
        beside, report = outcome(client, SECONDS), outcome(attacker, SECONDS)
    assert mesh.web.proxy_pid() == pid and os.path.exists(f"/proc/{pid}"), "the proxy ended"
    print(f"\n{row}: good {beside['asked']} asked, p99 {beside['p99_ms']} ms ({beside['p99_ms'] / alone['p99_ms']:.1f} x alone), proxy +"
          f"{(watch.most - watch.begin) >> 10} KiB, {cpu_s(pid) - watch.cpu:.1f} s CPU; attacker {report}")
    assert not beside["wrong"], beside
    assert beside["asked"] > SECONDS * 10, f"the good client hardly got anywhere: {beside}"
    assert watch.most - watch.begin < GROWTH_BYTES[kind], f"the proxy grew by {(watch.most - watch.begin) >> 20} MiB"
    return report


def check(mesh, row, port, reason, fires, kind):
    report = attack(mesh, row, port, kind)
    assert report["connections"] > 0, report
    if fires == GOAWAY:
        assert report["ended"] or report["codes"], f"nothing stopped it: {report}"
    elif fires:
        assert set(report["statuses"]) <= {fires}, report
    if reason and SECONDS > FIRES_LATE.get(row, 0):
        eventually(lambda: reason in mesh.logs(1 << 22), 5, what=f"{reason} is in a log")
    after = good(mesh, kind, 0.5)
    assert after["wrong"] == [], after


@pytest.mark.slow
@pytest.mark.parametrize("row", H1_ROWS)
def test_http1(mesh, row):
    check(mesh, row, *H1_ROWS[row], "h1")


@pytest.mark.slow
@pytest.mark.parametrize("row", H2_ROWS)
def test_http2(mesh, row):
    check(mesh, row, *H2_ROWS[row], "h2")


@pytest.mark.slow
def test_retry_storm(mesh):
    """A server that answers 503 to everything gets hardly more than what was asked (retry budget 20 %)."""
    mesh.apply("sick.yaml", [service("sick", {"http": {"port": 80, "targetPort": 8080}})])
    sick = mesh.run("sick", sys.executable, STORM, "serve", "8080")
    sick.wait_listening(8080)
    mesh.wait_endpoints("sick", 1)
    pids = mesh.client.proxy_pid(), sick.proxy_pid()
    report = json.loads(mesh.client.exec(sys.executable, STORM, "ask", "sick", "80", SECONDS, timeout=SECONDS + 60).stdout)
    came = int(mesh.client.curl("http://sick/count").stdout)
    asked = report["asked"]
    print(f"\nrs04: {asked} asked, {came} came: {came / asked:.3f}")
    assert asked > 100 and set(report["statuses"]) == {"503"}, report
    assert asked <= came <= asked * 1.2, f"{asked} were asked and {came} came"
    assert mesh.client.proxy_pid() and sick.proxy_pid() and pids[0] in (0, mesh.client.proxy_pid()) and pids[1] in (0, sick.proxy_pid())
