# SPDX-License-Identifier: Apache-2.0
"""Where a workload may go: unknown destinations under both policies, ports a service has not, the agent being away, spread.

    client -> proxy -> {service web, its pods, an outside server on the bridge}
"""
import os
import signal
import socket
import threading
import time

import pytest

from mesh import Mesh, finish_call, peer_authentication, service
from wait import eventually

POLICY = [
    peer_authentication("STRICT"),
    service("web", {"http": {"port": 80, "targetPort": 8080}}),
    service("fresh", {"http": {"port": 80, "targetPort": 8080}}, {"app": "web"}),
    service("spread", {"http": {"port": 80, "targetPort": 8080}}, {"group": "spread"}),
    service("spread-tcp", {"tcp-who": 7000}, {"group": "spread"}),
]


def config(**data):
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trammel", "namespace": "trammel-system"}, "data": data}]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web-1", "http:8080", labels={"app": "web"})
        m.client = m.client()
        m.wait_endpoints("web", 1)
        assert m.client.http("web", 80)["status"] == 200
        yield m


@pytest.fixture(scope="module")
def outside(mesh):
    """A plain server on the bridge that says hello to everyone."""
    with mesh.outsider() as o:
        listener = o.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((str(o.addresses[0]), 9999))
        listener.listen()

        def loop():
            while True:
                try:
                    conn, _ = listener.accept()
                except OSError:
                    return
                with conn:
                    conn.sendall(b"outside\n")
        threading.Thread(target=loop, daemon=True).start()
        yield str(o.addresses[0])
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_registry_only_refuses_the_unknown_within_a_second(mesh, outside):
    hello = lambda: mesh.client.call("talk", outside, 9999, send="x", timeout=5)
    assert hello()["got"] == "outside\n"
    mesh.apply("config.yaml", config(outboundTrafficPolicy="REGISTRY_ONLY"))
    got = eventually(lambda: (lambda g: g if g["got"] == "" else None)(hello()), 2)
    assert got["error"] in ("ECONNREFUSED", "ECONNRESET", "EPERM", "EACCES", None)
    assert "dst_unknown" in eventually(mesh.client.refusals)
    assert mesh.client.http("web", 80)["status"] == 200, "the mesh itself is known"
    mesh.apply("config.yaml", config(outboundTrafficPolicy="ALLOW_ANY"))
    eventually(lambda: hello()["got"] == "outside\n", 2)
    mesh.withdraw("config.yaml")


def test_a_port_the_service_has_not(mesh):
    got = mesh.client.call("talk", "web", 81, send="GET / HTTP/1.1\r\nHost: web\r\n\r\n", timeout=8)
    assert '"server"' not in got["got"]
    assert got["seconds"] < 6
    assert "port_unknown" in eventually(mesh.client.refusals)


def test_address_where_nobody_lives(mesh):
    """An address of the workloads' network that no one has: refused by the kernel's own answer, not a hang for ever."""
    got = mesh.client.call("http", mesh.web.ip.rsplit(".", 2)[0] + ".77.77", 80, timeout=20)
    assert got.get("status") in (502, 503, 504) or "exception" in got
    assert mesh.client.http("web", 80)["status"] == 200


def test_http_is_spread_evenly(mesh):
    pods = [mesh.serve(f"spread-{i}", "http:8080", "who:7000", labels={"group": "spread"}) for i in range(3)]
    mesh.wait_endpoints("spread", 3)
    mesh.client.call("http_many", "spread", 80, count=3)
    got = mesh.client.call("http_many", "spread", 80, count=300)
    assert sorted(got) == ["spread-0", "spread-1", "spread-2"]
    assert max(got.values()) < 2 * min(got.values()), got
    seen = {mesh.client.call("who", "spread-tcp", 7000)["server"]["server"] for _ in range(20)}
    assert len(seen) == 3, "TCP connections are spread too"
    for p in pods:
        p.stop()


@pytest.mark.slow
def test_agent_away_known_goes_on_unknown_fails_closed_and_soon(mesh):
    """What was asked for before is served; what never was is refused with a reason, and works when the agent is back."""
    known = mesh.client.start_call("http", "web", 80, after=1)  # begun now: exec itself asks the agent
    unknown = mesh.client.start_call("http", "fresh.default.svc.cluster.local", 80, after=1, timeout=25)
    time.sleep(0.5)
    os.kill(mesh.agent_pid(), signal.SIGKILL)
    start = time.monotonic()
    assert finish_call(known)["status"] == 200
    got = finish_call(unknown)
    assert got.get("status") != 200 and time.monotonic() - start < 20, got
    mesh.up()
    eventually(lambda: mesh.client.http("fresh.default.svc.cluster.local", 80).get("status") == 200, 10)
