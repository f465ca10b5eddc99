# SPDX-License-Identifier: Apache-2.0
"""Names inside workloads: mesh names answered by the proxy, all others by the resolvers that the mesh is told.

    client -> 53, captured -> proxy (15053) -> the mesh's own names
                                            -> a resolver outside (a UDP and TCP server of the test) for the rest
"""
import ipaddress
import json
import socket
import struct
import sys
import threading

import pytest

from mesh import CALLS, Mesh, finish_call, service
from wait import eventually

A, AAAA, TXT, PTR = 1, 28, 16, 12
POLICY = [
    service("web", {"http": {"port": 80, "targetPort": 8080}}),
    service("many", {"http": 8080}, {"group": "many"}, clusterIP="None"),
    service("v4only", {"http": {"port": 80, "targetPort": 8080}}, {"app": "web"}, ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"]),
]


def question(name, kind, number=0x1234):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.rstrip(".").split(".") if l) + b"\0"
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)


def header(answer):
    number, flags, _, answers, authorities, _ = struct.unpack(">HHHHHH", answer[:12])
    return {"number": number, "code": flags & 15, "answers": answers, "authorities": authorities, "truncated": bool(flags & 0x200),
            "authoritative": bool(flags & 0x400)}


class Resolver:
    """Answers every A question with 192.0.2.7 and notes what it was asked."""

    def __init__(self, outsider):
        self.ip = str(outsider.addresses[0])
        self.asked = []
        self.udp = outsider.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((self.ip, 5353))
        self.tcp = outsider.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.bind((self.ip, 5353))
        self.tcp.listen()
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()

    def answer(self, q):
        end = q.index(b"\0", 12) + 5
        labels, at = [], 12
        while q[at]:
            labels.append(q[at + 1:at + 1 + q[at]].decode())
            at += 1 + q[at]
        self.asked.append(".".join(labels))
        head = q[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if q[end - 4:end - 2] == b"\0\x01" else 0, 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 60, 4) + socket.inet_aton("192.0.2.7")
        return head + q[12:end] + (record if head[7] else b"")

    def serve_udp(self):
        while True:
            try:
                q, peer = self.udp.recvfrom(2000)
            except OSError:
                return
            self.udp.sendto(self.answer(q), peer)

    def serve_tcp(self):
        while True:
            try:
                conn, _ = self.tcp.accept()
            except OSError:
                return
            with conn:
                size = conn.recv(2, socket.MSG_WAITALL)
                if len(size) < 2:
                    continue  # left without a question
                n, = struct.unpack(">H", size)
                reply = self.answer(conn.recv(n, socket.MSG_WAITALL))
                conn.sendall(struct.pack(">H", len(reply)) + reply)

    def close(self):
        self.udp.close()
        self.tcp.close()


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web-1", "http:8080", labels={"app": "web"})
        m.client = m.client()
        m.wait_endpoints("web", 1)
        yield m


@pytest.fixture(scope="module")
def resolver(mesh):
    with mesh.outsider() as o:
        r = Resolver(o)
        mesh.apply("config.yaml", [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trammel", "namespace": "trammel-system"},
                                    "data": {"dnsUpstream": f"{r.ip}:5353"}}])
        eventually(lambda: ask(mesh, "outside.example")["answers"] == 1, 5)
        yield r
        r.close()


def ask(mesh, name, kind=A, tcp=False, server=None, raw=None):
    """One question, asked of the workload's own resolver address or another; the answer's header."""
    got = mesh.client.call("dns", question=(raw or question(name, kind)).hex(), tcp=tcp, server=server)
    assert "exception" not in got, got
    return dict(header(bytes.fromhex(got["answer"])), raw=bytes.fromhex(got["answer"])) if got["answer"] else None


@pytest.mark.sanitize
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("kind", [A, AAAA], ids=["A", "AAAA"])
def test_service(mesh, kind, tcp):
    got = ask(mesh, "web.default.svc.cluster.local", kind, tcp)
    assert got["code"] == 0 and got["answers"] == 1 and got["number"] == 0x1234


def test_case_does_not_matter(mesh):
    assert ask(mesh, "WeB.DEFAULT.svc.cluster.LOCAL")["answers"] == 1


def test_asked_of_any_server_it_is_answered_by_the_proxy(mesh):
    """Capture goes by port 53, not by which resolver the application was told."""
    assert ask(mesh, "web.default.svc.cluster.local", server="192.0.2.53")["answers"] == 1


def test_name_that_is_not_there(mesh):
    got = ask(mesh, "nothing.default.svc.cluster.local")
    assert got["code"] == 3 and got["answers"] == 0


def test_known_name_without_this_kind_of_address(mesh):
    got = ask(mesh, "v4only.default.svc.cluster.local", AAAA)
    assert got["code"] == 0 and got["answers"] == 0, "no data is not the same as no name"
    assert ask(mesh, "v4only.default.svc.cluster.local", A)["answers"] == 1
    assert ask(mesh, "web.default.svc.cluster.local", TXT)["code"] == 0


def test_headless_names_all_ready_pods(mesh):
    pods = [mesh.serve(f"many-{i}", "http:8080", labels={"group": "many"}) for i in range(4)]
    mesh.wait_endpoints("many", 4)
    eventually(lambda: ask(mesh, "many.default.svc.cluster.local")["answers"] == 4, 5)
    pods[0].stop()
    eventually(lambda: ask(mesh, "many.default.svc.cluster.local")["answers"] == 3, 5)
    for p in pods[1:]:
        p.stop()


@pytest.mark.sanitize
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_other_names_are_asked_of_the_resolver(mesh, resolver, tcp):
    got = ask(mesh, "www.outside.example", A, tcp)
    assert got["answers"] == 1 and socket.inet_aton("192.0.2.7") in got["raw"]
    assert "www.outside.example" in [n.lower() for n in resolver.asked]


def test_known_names_are_not_told_to_the_resolver(mesh, resolver):
    for kind in (A, AAAA, TXT):
        ask(mesh, "web.default.svc.cluster.local", kind)
    assert "web.default.svc.cluster.local" not in [n.lower() for n in resolver.asked]


LEAKS = ("nothing.default.svc.cluster.local", "nothing.elsewhere.svc.cluster.local", "cluster.local", "svc.cluster.local",
         "_http._tcp.web.default.svc.cluster.local", "no host.default.svc.cluster.local")


@pytest.mark.sanitize
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_names_of_the_mesh_are_told_to_nobody(mesh, resolver, tcp):
    """The mesh is the authority for its domain, and for the reverse names of its addresses."""
    vip = [e["addresses"] for e in mesh.json("service", "list")["services"] if e["name"] == "web"][0]
    reverse = [ipaddress.ip_address(a).reverse_pointer for a in [mesh.web.ip, mesh.web.ip6, *vip]]
    assert len(reverse) == 4
    before = len(resolver.asked)
    for name, kind in [(n, k) for n in LEAKS for k in (A, AAAA, TXT)] + [(n, PTR) for n in reverse]:
        got = ask(mesh, name, kind, tcp)
        assert got["answers"] == 0 and got["authorities"] == 1 and got["authoritative"], (name, got)
        assert got["code"] == (0 if name in ("cluster.local", "svc.cluster.local") else 3), (name, got)
    assert resolver.asked[before:] == []
    ask(mesh, ipaddress.ip_address("192.0.2.7").reverse_pointer, PTR, tcp)
    assert resolver.asked[before:] == ["7.2.0.192.in-addr.arpa"], "addresses of others are asked of others"


def names(mesh, host):
    """What the C library of the workload finds."""
    return finish_call(mesh.client.spawn(sys.executable, CALLS, "names", json.dumps({"host": host})))


def test_search_list_finds_and_tells_no_name_of_the_mesh(mesh, resolver):
    """The C library's resolver with ndots:5: every name is tried below the mesh's domain first."""
    before = len(resolver.asked)
    for name in ("web", "web.default", "web.default.svc", "web.default.svc.cluster.local", "web.default.svc.cluster.local."):
        assert len(names(mesh, name)) == 2, name
    assert resolver.asked[before:] == []
    assert names(mesh, "www.outside.example") == ["192.0.2.7"]
    assert {n.lower() for n in resolver.asked[before:]} == {"www.outside.example"}


@pytest.mark.sanitize
def test_nonsense_is_refused_or_dropped_and_the_proxy_lives(mesh):
    pid = mesh.client.proxy_pid()
    good = question("web.default.svc.cluster.local", A)
    loops = good[:12] + b"\xc0\x0c" + good[-4:]
    for raw in (b"", b"\0", good[:11], good[:-1], loops, good[:12] + b"\x3f" + b"a" * 10, good[:4] + b"\xff\xff" + good[6:], good[:2] + b"\x80\0" + good[4:],
                good[:12] + b"\x40abc" + good[-4:], good + b"\0" * 500, good[:12] + bytes([63]) + b"a" * 63 + (bytes([63]) + b"a" * 63) * 4 + b"\0" + good[-4:]):
        got = ask(mesh, "", raw=raw or b"\0")
        assert got is None or got["code"] in (0, 1, 4, 5) or got["answers"] == 0
    assert mesh.client.proxy_pid() == pid
    assert ask(mesh, "web.default.svc.cluster.local")["answers"] == 1
