# SPDX-License-Identifier: Apache-2.0
"""A mesh with an HBONE peer outside of it, which shares no code with ours: constants, helpers and fixtures of test_hbone*.py.

    outside (mesh's network, not enrolled, certificate of the mesh's CA)
        in:   hbone_peer.Client ==== tunnel to web:15008 ==== proxy -> web       http 8080, TCP behaviours 7000..
        out:  client -> proxy ==== tunnel to outside:15008 ==== hbone_peer.Server -> servers on outside
"""
import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest

from hbone_peer import Client, Server
from mesh import SERVERS, Mesh, peer_authentication, service
from netns import call_in, socket_in
from pki import Authority

ID = "spiffe://cluster.local/ns/default/sa/"
APPS = {"http": 8080, "who": 7000, "echo": 7001, "digest": 7002, "source": 7003, "banner": 7004, "record": 7005, "rst": 7006, "ending": 7007}
PORTS = {"http": {"port": 80, "targetPort": 8080}, **{f"tcp-{k}": p for k, p in APPS.items() if k not in ("http", "banner")}, "mysql-banner": 7004}
DOWN = 7999  # nobody listens
BIG = 64 << 20


def far_slice(name, address, service_name="far", account="far", labels=None, annotations=None, ports=PORTS):
    """The endpoints of a peer that is no workload: by the label that a pod would have, as the account that must answer."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default",
                         "labels": {"kubernetes.io/service-name": service_name,
                                    **({"networking.istio.io/tunnel": "http"} if labels is None else labels)},
                         "annotations": {"alpha.istio.io/kubernetes-serviceaccounts": account, **(annotations or {})}},
            "addressType": "IPv6" if ":" in address else "IPv4",
            "ports": [{"name": k, "port": v["targetPort"] if isinstance(v, dict) else v} for k, v in ports.items()],
            "endpoints": [{"addresses": [address]}]}


POLICY = [
    peer_authentication("STRICT"),
    service("web", {**PORTS, "grpc": {"port": 81, "targetPort": 8081}}),
    service("labelled", PORTS, {"app": "labelled"}),
]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        specs = [f"{k}:{p}" for k, p in APPS.items()]
        m.web = m.serve("web", *specs, args=["--service-account", "web"])
        m.labelled = m.serve("labelled", *specs, labels={"app": "labelled", "networking.istio.io/tunnel": "http"},
                             args=["--service-account", "labelled"])
        m.client = m.run("client", "sleep", "3600", args=["--service-account", "client"])
        m.other = m.run("other", "sleep", "3600", args=["--service-account", "other"])
        m.ca = Authority(os.path.join(m.state_dir, "ca", "ca.crt"), os.path.join(m.state_dir, "ca", "ca.key"))
        m.pair = m.ca.leaf(m.root, [ID + "outside"], "outside")
        m.wait_endpoints("labelled", 1)
        yield m


@pytest.fixture(scope="module")
def outside(mesh):
    with mesh.outsider() as o:
        yield o


def tunnel_to(mesh, outside, ip=None, pair=None, **kwargs):
    """An HBONE connection to a workload, from outside."""
    crt, key = pair or mesh.pair
    return Client(outside.connect(ip or mesh.web.ip, 15008), crt, key, mesh.ca.crt, **kwargs)


@pytest.fixture
def caller(mesh, outside):
    with tunnel_to(mesh, outside, peer=ID + "web") as c:
        yield c


def log_lines(mesh, mark):
    """Lines of access logs that hold this text."""
    return [json.loads(l) for l in mesh.logs(4 << 20).splitlines() if mark in l and l.startswith("{")]


class Far:
    """An outsider with servers and an HBONE listener."""

    def __init__(self, mesh, outside, account="far", port=15008):
        self.outside, self.ip, self.ip6 = outside, *sorted(map(str, outside.addresses), key=lambda a: ":" in a)
        self.apps = subprocess.Popen(["nsenter", "--net=" + outside.path, sys.executable, SERVERS, "far", *[f"{k}:{p}" for k, p in APPS.items()]],
                                     stdout=subprocess.PIPE)
        assert self.apps.stdout.readline() == b"ready\n"
        crt, key = mesh.ca.leaf(mesh.root, [ID + account], f"{account}-{self.ip}")
        listener = socket_in(outside.path, socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        listener.listen(64)
        self.server = Server(listener, crt, key, mesh.ca.crt, self.dial, own=[self.ip, self.ip6])

    def dial(self, host, port):
        return call_in(self.outside.path, socket.create_connection, (host, port), 2)

    def close(self):
        self.server.close()
        self.apps.terminate()
        self.apps.wait()
        self.apps.stdout.close()


@pytest.fixture(scope="module")
def two_far(mesh):
    """far has two endpoints, v4; far-1 one of them over both families; impostor the same address and another account."""
    with contextlib.ExitStack() as stack:
        far = []
        for host in (0xfb, 0xfc):
            far.append(Far(mesh, stack.enter_context(mesh.outsider(host))))
            stack.callback(far[-1].close)
        a, b = far
        mesh.apply("far.yaml", [
            service("far", PORTS, False), far_slice("far-a", a.ip), far_slice("far-b", b.ip),
            service("far1", {**PORTS, "tcp-down": DOWN}, False),
            far_slice("far1-a", a.ip, "far1", labels={}, annotations={"ambient.istio.io/redirection": "enabled"}, ports={**PORTS, "tcp-down": DOWN}),
            service("far6", PORTS, False, ipFamilies=["IPv6"], ipFamilyPolicy="SingleStack"), far_slice("far6-a", a.ip6, "far6"),
            service("impostor", PORTS, False), far_slice("impostor-a", b.ip, "impostor", "somebody-else"),
        ])
        mesh.wait_endpoints("far", 2)
        mesh.wait_endpoints("impostor", 1)
        yield far


@pytest.fixture
def far(two_far):
    for f in two_far:
        f.server.answer, f.server.deny, f.server.stall, f.server.extra, f.server.refuse = None, set(), 0, [], False
    return two_far[0].server
