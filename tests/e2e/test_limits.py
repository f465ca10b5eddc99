# SPDX-License-Identifier: Apache-2.0
"""One caller's connections are limited, so that others find room: with few descriptors, and so with few connections.

    crowd: an outsider that opens more connections than one address may
    other: an outsider with another address          all ---- proxy ---- web   http 8080, STRICT
    client (enrolled)
"""
import contextlib
import subprocess
import time

import pytest

from mesh import TRAMMEL, Mesh, peer_authentication, service
from wait import eventually

FILES = 1256
ALL = (FILES - 256) // 2
ONE = ALL // 2


@pytest.fixture(scope="module")
def mesh():
    with Mesh([peer_authentication("STRICT"), service("web", {"http": {"port": 80, "targetPort": 8080}})], start=False) as m:
        # the agent and its proxies may open no more
        subprocess.run(["prlimit", f"--nofile={FILES}:{FILES}", TRAMMEL, "up", "--policy", m.policy_dir], env=m.env, check=True, timeout=30)
        m.is_up = True
        m.web = m.serve("web", "http:8080")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        assert m.client.http("web", 80)["status"] == 200
        with open(f"/proc/{m.web.proxy_pid()}/limits") as f:
            assert f"Max open files {FILES}" in " ".join(next(l for l in f if l.startswith("Max open files")).split())
        yield m


def dial(outsider, ip):
    """A connection that says nothing; None when it was ended before we had it."""
    try:
        return outsider.connect(ip, 8080)
    except ConnectionError:
        return None


def is_open(conn):
    """Said nothing and was not ended."""
    try:
        conn.setblocking(False)
        return conn.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def stays_open(outsider, ip):
    with dial(outsider, ip) as conn:
        time.sleep(0.2)
        return is_open(conn)


@pytest.mark.sanitize
def test_one_source_is_stopped_at_its_limit_and_others_are_served(mesh):
    with mesh.outsider() as crowd, mesh.outsider(0xfb) as other, contextlib.ExitStack() as stack:
        for ip in (mesh.web.ip, mesh.web.ip6):
            conns = [stack.enter_context(c) for c in (dial(crowd, ip) for _ in range(ONE + 50)) if c]
            eventually(lambda: sum(map(is_open, conns)) == ONE, 4, what=f"{ONE} connections are open")
            assert all(map(is_open, conns[:ONE])), "who came first stays"
            guest = stack.enter_context(other.connect(ip, 8080))
            got = mesh.client.http(mesh.web.ip, 8080)
            assert got.get("status") == 200, got
            assert is_open(guest), "another address has room"
            for c in conns:
                c.close()
            eventually(lambda: stays_open(crowd, ip), 5, what="the crowd's address is let in again")
        rows = [r for r in mesh.web.refused() if r["reason"] == "source_limit"]
        assert rows and any(str(a) in str(rows) for a in crowd.addresses), rows
        assert mesh.web.metric_sum("trammel_refused_total", reason="source_limit") >= 50
        assert mesh.web.metric_sum("trammel_refused_total", reason="conn_limit") == 0

