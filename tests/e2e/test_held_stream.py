# SPDX-License-Identifier: Apache-2.0
"""gRPC streams that are held while certificates are renewed under them and policy changes: no number of theirs is missing.

    flood hold ---- proxy ==== mTLS, leaves of 10 s ==== proxy ---- echod        a number a second each way
                                                                                 by service name, and by address

For 40 s, or as long as TRAMMEL_TEST_HOLD_S says (tests/run --long: 600).
"""
import json
import os
import time

import pytest

from mesh import Mesh, peer_authentication, service
from peers import finish, peer
from wait import eventually

HOLD_S = int(os.environ.get("TRAMMEL_TEST_HOLD_S", "40"))
ECHO = 10001
POLICY = [peer_authentication("STRICT"), service("echo", {"grpc": ECHO})]


@pytest.fixture
def mesh():
    with Mesh(POLICY, env={"TRAMMEL_LEAF_TTL_S": "10"}) as m:
        m.echo = m.run("echo", peer("echod"), str(ECHO))
        m.echo.wait_listening(ECHO)
        m.client = m.client()
        m.wait_endpoints("echo", 1)
        yield m


def hold(mesh, host):
    p = mesh.client.spawn(peer("flood"), "hold", f"{host}:{ECHO}", "-seconds", HOLD_S, "-within", HOLD_S + 120, "-id", f"held-{host.strip('[]')}")
    assert json.loads(p.stdout.readline())["held"]
    return p


def serials(mesh):
    return {c["workload"]: c["serial"] for c in mesh.json("cert", "list")["certs"]}


def change_policy(mesh, n):
    """Each time another one of: a service more, another mode for a port, another port for the service that is in use."""
    docs = [[service(f"more-{n}", {"http": 80}, {"app": "echo"})],
            [peer_authentication("PERMISSIVE", "echo", "default", labels={"app": "echo"})],
            [peer_authentication("STRICT", "echo", "default", labels={"app": "echo"}, ports={ECHO: "STRICT"})]]
    mesh.apply("more.yaml", docs[n % 3])
    mesh.apply("base.yaml", [*POLICY[:-1], service("echo", {"grpc": ECHO, "grpc-other": 20000 + n})])


@pytest.mark.slow
def test_streams_outlive_certificates_and_policies(mesh):
    held = [hold(mesh, "echo"), hold(mesh, mesh.echo.ip), hold(mesh, f"[{mesh.echo.ip6}]")]
    first = eventually(lambda: (lambda s: s if len(s) == 2 else None)(serials(mesh)), 5)
    seen, started, n = {w: {s} for w, s in first.items()}, time.monotonic(), 0
    while time.monotonic() < started + HOLD_S - 3:
        change_policy(mesh, n)
        time.sleep(2)
        assert not mesh.complaints(), mesh.complaints()
        for w, s in serials(mesh).items():
            seen[w].add(s)
        for p in held:
            assert p.poll() is None, finish(p, 10)
        n += 1
    for p in held:
        code, saw, said = finish(p, 60)
        assert code == 0 and saw["numbers"] == HOLD_S + 1, (saw, said)
    assert all(len(s) > HOLD_S // 15 for s in seen.values()), seen
    assert n >= 5 and set(seen) == {"default/echo", "default/client"}, (n, seen)
    again = mesh.client.spawn(peer("flood"), "many", f"echo:{ECHO}", "-channels", 3, "-streams", 10)
    assert finish(again, 60)[1]["ok"] == 30, "and what is new finds its way"
