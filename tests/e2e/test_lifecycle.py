# SPDX-License-Identifier: Apache-2.0
"""Processes die, are replaced, renewed and taken away; traffic does not notice, and nothing is left.

    client ---- proxy ==== mTLS ==== proxy ---- web          kill -9 the agent, kill -9 a proxy, TERM a proxy, down
    a sniffer on the bridge counts marker bytes meanwhile
"""
import os
import signal
import subprocess
import time

import pytest

import residue
from mesh import TRAMMEL, Mesh, finish_call, peer_authentication, service
from sniffer import Sniffer
from wait import eventually

POLICY = [peer_authentication("STRICT"), service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-echo": 7003})]
MARKER = "life-marker-in-the-clear-1618"


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", "echo:7003")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        assert m.client.http("web", 80)["status"] == 200
        yield m


@pytest.mark.sanitize
def test_agent_killed_under_load(mesh):
    """0 failed requests and an unbroken TCP stream, while it is dead and while the next one takes over."""
    o = mesh.outsider()
    http = mesh.client.start_call("http_steady", "web", 80, seconds=6, path="/" + MARKER)
    fresh = mesh.client.start_call("http_steady", "web", 80, seconds=6, keep=False, pause=0.01)
    tcp = mesh.client.start_call("ping_pong", "web", 7003, rounds=500, size=100, pause=0.01)
    with o, Sniffer(mesh.netns(), [MARKER.encode()]) as wire:
        time.sleep(1)
        pid = mesh.agent_pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid), 5)
        time.sleep(1)
        assert o.ask(mesh.web.ip, 8080, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 3) == b"", "STRICT holds without an agent"
        mesh.up()
        assert mesh.agent_pid() != pid
        time.sleep(1)
        got, got_fresh, echoed = finish_call(http), finish_call(fresh), finish_call(tcp)
    assert got["n_failed"] == 0 and got["ok"] > 500, got
    assert got_fresh["n_failed"] == 0 and got_fresh["ok"] > 100, got_fresh
    assert echoed == 500
    assert wire.complete and wire.hits[MARKER.encode()] == 0
    rows = {(w["namespace"], w["name"]): w for w in mesh.json("workload", "list")["workloads"]}
    assert rows["default", "web"]["proxy_pid"] and rows["default", "client"]["proxy_pid"]
    mesh.apply("after.yaml", [service("after", {"http": {"port": 80, "targetPort": 8080}}, {"app": "web"})])
    eventually(lambda: mesh.client.http("after", 80).get("status") == 200, 5, what="the new agent takes policy")
    third = mesh.client.mesh.serve("third", "http:8080")
    assert third.http("web", 80)["status"] == 200


def test_agent_dead_says_so_and_down_works(mesh):
    os.kill(mesh.agent_pid(), signal.SIGKILL)
    def refused():
        r = mesh.trammel("workload", "list", check=False)
        return r.returncode == 1 and "trammel up" in r.stderr
    eventually(refused, 5)
    mesh.down()
    assert mesh.processes() == []


@pytest.mark.parametrize("side", ["client", "web"])
def test_proxy_killed_under_load(mesh, side):
    """Only what was in flight fails; it is back within a second; nothing goes in the clear meanwhile."""
    w = getattr(mesh, side)
    o = mesh.outsider()
    with o, Sniffer(mesh.netns(), [MARKER.encode()]) as wire:
        for _ in range(3):
            call = mesh.client.start_call("http_steady", "web", 80, seconds=3, path="/" + MARKER, timeout=5)
            time.sleep(0.8)
            before = w.proxy_pid()
            os.kill(before, signal.SIGKILL)
            killed = time.monotonic()
            assert b"HTTP" not in o.ask(mesh.web.ip, 8080, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2)

            def back():
                row = w.get()
                return row["proxy_pid"] not in (0, before) and mesh.client.http("web", 80, timeout=2).get("status") == 200
            eventually(back, 5, 0.02)
            took = time.monotonic() - killed
            got = finish_call(call)
            assert got["n_failed"] <= 2, got
            assert got["longest"] < 1.0, got
            assert got["ok"] > 100
            assert took < 3
    assert wire.complete and wire.hits[MARKER.encode()] == 0


def test_proxy_that_cannot_come_back_fails_closed(mesh):
    """Stopped by a signal it cannot answer: connections wait or fail, and nothing reaches the app around it."""
    pid = mesh.web.proxy_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with mesh.outsider() as o, Sniffer(mesh.netns(), [MARKER.encode()]) as wire:
            assert o.ask(mesh.web.ip, 8080, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2) == b""
            got = mesh.client.call("http", "web", 80, path="/" + MARKER, timeout=2)
            assert got.get("status") != 200
        assert wire.hits[MARKER.encode()] == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: mesh.client.http("web", 80)["status"] == 200, 10)


def test_proxy_that_cannot_start_is_tried_ever_more_slowly():
    """It ends by its own fault before it served: no storm of starts while a connection waits for it."""
    m = Mesh(POLICY, start=False)
    with m:
        broken = os.path.join(m.root, "broken-proxy")
        with open(broken, "w") as f:
            f.write("#!/bin/sh\nexit 3\n")
        os.chmod(broken, 0o755)
        m.env["TRAMMEL_PROXY_BIN"] = broken
        m.up()
        waiting = m.client().start_call("http", "web", 80)
        time.sleep(4)
        assert waiting.poll() is None, "it waits, and is not passed by the proxy"
        with open(os.path.join(m.run_dir, "agent.log")) as f:
            log = f.read()
        starts = log.count("proxy started")
        assert 4 <= starts <= 10, log
        assert log.count("code=3") in (starts - 1, starts), log


def test_drain_on_term(mesh):
    """TERM: no new work, what runs ends whole, then a new proxy serves; no request fails."""
    slow = mesh.client.start_call("http", "web", 80, path="/slow/1500")
    steady = mesh.client.start_call("http_steady", "web", 80, seconds=4)
    time.sleep(0.5)
    before = mesh.web.proxy_pid()
    os.kill(before, signal.SIGTERM)
    assert finish_call(slow)["status"] == 200, "the request in flight ended whole"
    got = finish_call(steady)
    assert got["n_failed"] == 0 and got["ok"] > 100, got
    eventually(lambda: mesh.web.proxy_pid() not in (0, before), 5)
    eventually(lambda: not alive(before), 60)


@pytest.mark.slow
def test_certificates_are_renewed_without_a_dropped_connection():
    """Leaves of 10 s: serials change while HTTP and a TCP stream go on."""
    with Mesh(POLICY, env={"TRAMMEL_LEAF_TTL_S": "10"}) as m:
        web = m.serve("web", "http:8080", "echo:7003")
        client = m.client()
        m.wait_endpoints("web", 1)
        assert client.http("web", 80)["status"] == 200
        serials = lambda: {c["workload"]: (c["serial"], c["not_after"], c["not_before"]) for c in m.json("cert", "list")["certs"]}
        first = eventually(lambda: (lambda s: s if len(s) == 2 else None)(serials()), 5)
        life = [float(c["not_after"]) - float(c["not_before"]) if not isinstance(c["not_after"], str) else None for c in m.json("cert", "list")["certs"]]
        if life[0] is not None and life[0] > 3600:
            pytest.fail(f"TRAMMEL_LEAF_TTL_S is not heeded: leaves live {life[0]} s")
        http = client.start_call("http_steady", "web", 80, seconds=22)
        fresh = client.start_call("http_steady", web.ip, 8080, seconds=22, keep=False, pause=0.02)
        tcp = client.start_call("ping_pong", "web", 7003, rounds=210, size=1000, pause=0.1)
        got, got_fresh, echoed = finish_call(http), finish_call(fresh), finish_call(tcp)
        now = serials()
        assert all(now[w][0] != first[w][0] for w in first), (first, now)
        assert got["n_failed"] == 0 and got_fresh["n_failed"] == 0 and echoed == 210, (got, got_fresh, echoed)


@pytest.mark.sanitize
def test_down_leaves_nothing():
    """Namespaces, cgroups, pins, mounts, interfaces, links and processes are looked at before and after."""
    interfaces = lambda: set(os.listdir("/sys/class/net"))
    before = interfaces()
    m = Mesh(POLICY)
    try:
        web = m.serve("web", "http:8080", "echo:7003")
        client = m.client()
        m.wait_endpoints("web", 1)
        assert client.http("web", 80)["status"] == 200
        web.spawn("sleep", "1000")
        during = residue.held(m)
        assert all(during[k] for k in ("namespaces", "cgroups", "processes", "links", "mounts", "pins")), during
        m.down()
        for c in m.children:
            c.wait(10)
        eventually(lambda: residue.left(m, during) == {}, 5, what="nothing is left")
        assert residue.traces(m) == {}
        assert not [i for i in interfaces() - before if "trm" in i]
        assert not os.path.exists(m.bpffs), "the pin folder is gone"
        assert os.path.exists(os.path.join(m.state_dir, "ca", "ca.key")), "the CA stays: it is state"
    finally:
        m.close()


def test_stop_leaves_nothing_of_one(mesh):
    w = mesh.serve("brief", "http:8080")
    w.http("web", 80)
    during = residue.held(mesh, w)
    assert all(during[k] for k in ("namespaces", "cgroups", "processes", "links", "mounts", "pins")), during
    w.stop()
    eventually(lambda: residue.left(mesh, during) == {}, 5, what=f"nothing is left: {residue.left(mesh, during)}")
    assert mesh.client.http("web", 80)["status"] == 200


def test_a_command_that_ends_takes_its_workload_along(mesh):
    w = mesh.run("short", "sleep", "0.5")
    during = residue.held(mesh, w)
    eventually(lambda: w.get() is None, 10, what="the workload is gone after its command")
    eventually(lambda: residue.left(mesh, during) == {}, 5, what="nothing is left")


def test_run_killed_in_the_foreground(mesh):
    """kill -9 of `trammel run` itself: the agent takes the workload away."""
    p = subprocess.Popen([TRAMMEL, "run", "--name", "fore", "--", "sleep", "1000"], env=mesh.env)
    names = lambda: [w["name"] for w in mesh.json("workload", "list")["workloads"]]
    try:
        eventually(lambda: "fore" in names(), 10)
    finally:
        p.kill()
        p.wait()
    eventually(lambda: "fore" not in names(), 10)


def test_two_meshes_side_by_side(mesh):
    with Mesh(POLICY) as other:
        web = other.serve("web", "http:8080", "echo:7003")
        other.wait_endpoints("web", 1)
        assert web.http("web.default", 80)["status"] == 200
        assert mesh.client.http("web", 80)["status"] == 200
    assert mesh.client.http("web", 80)["status"] == 200, "the other's end is not ours"


def test_up_and_down_again_keeps_the_ca(mesh):
    with open(os.path.join(mesh.state_dir, "ca", "ca.crt")) as f:
        ca = f.read()
    mesh.down()
    mesh.up()
    with open(os.path.join(mesh.state_dir, "ca", "ca.crt")) as f:
        assert f.read() == ca
    web = mesh.serve("web", "http:8080", "echo:7003")
    mesh.wait_endpoints("web", 1)
    assert web.http("web.default", 80)["status"] == 200
