# SPDX-License-Identifier: Apache-2.0
"""Names: what a workload is answered, by whom, and when the agent or the upstream server is gone.

    client (its resolv.conf) --53--> captured --> its proxy --> snapshot | agent | upstream server on the mesh's bridge
"""
import json
import os
import signal
import socket
import sys
import threading

import pytest
import yaml

import netns
from mesh import LIB, Mesh, service
from wait import eventually

A, AAAA, MX, PTR = 1, 28, 15, 12
OK, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 1, 2, 3, 4


def ask(workload, name="web", type=A, **more):
    text = json.dumps(dict(name=name, type=type, **more))
    return json.loads(workload.exec(sys.executable, os.path.join(LIB, "pod_dns.py"), text).stdout)


def ask_later(workload, name, **more):
    """Asked inside as soon as the file @when is there."""
    p = workload.spawn(sys.executable, os.path.join(LIB, "pod_dns.py"), json.dumps(dict(name=name, **more)))
    assert p.stdout.readline() == "waits\n"
    return p


def agent_answers(mesh):
    try:
        return mesh.ask("status")
    except OSError:
        return None


def texts(answer):
    return [a[2] for a in answer["answers"]]


@pytest.fixture(scope="module")
def mesh():
    policy = yaml.safe_dump_all([service("web", {"http": 80}), service("head", {"http": 80}, clusterIP="None"),
                                 service("other", {"http": 80}, namespace="shop")])
    with Mesh(policy) as m:
        m.heads = [m.serve(f"head-{i}", "http:80", labels={"app": "head"}) for i in range(3)]
        m.web = m.serve("web", "http:80")
        m.client = m.client("client")
        m.wait_endpoints("head", 3)
        yield m


def vip(mesh, name, v6=False, namespace="default"):
    s = next(s for s in mesh.json("service", "list")["services"] if (s["namespace"], s["name"]) == (namespace, name))
    return next(a for a in s["addresses"] if (":" in a) == v6)


@pytest.mark.sanitize
@pytest.mark.parametrize("over", ["udp", "udp-unconnected", "tcp"])
@pytest.mark.parametrize("name", ["web.default", "web.default.svc", "web.default.svc.cluster.local", "WeB.DEFAULT.svc.Cluster.Local"])
def test_names_of_a_service(mesh, name, over):
    r = ask(mesh.client, name, over=over)
    assert r["rcode"] == OK and texts(r) == [vip(mesh, "web")] and r["answers"][0][1] == 5
    assert r["question"], "the case of the question is kept"
    assert r["from"] == f"{r['server']}:53", "the answer comes from whom was asked"


def test_ipv6_addresses_and_other_types(mesh):
    assert texts(ask(mesh.client, "web.default", AAAA)) == [vip(mesh, "web", v6=True)]
    r = ask(mesh.client, "web.default", MX)
    assert r["rcode"] == OK and not r["answers"]


def test_the_resolver_finds_short_names(mesh):
    assert vip(mesh, "web") in mesh.client.exec("getent", "ahosts", "web").stdout
    assert vip(mesh, "other", namespace="shop") in mesh.client.exec("getent", "ahosts", "other.shop").stdout


def test_headless_names_take_turns(mesh):
    want = sorted(w.ip for w in mesh.heads)
    got = [texts(ask(mesh.client, "head.default.svc.cluster.local")) for _ in range(6)]
    assert all(sorted(g) == want for g in got)
    assert sorted({g[0] for g in got}) == want


def test_unknown_names(mesh):
    for name in ("nosuch.default.svc.cluster.local", "www.example.org", "single"):
        r = ask(mesh.client, name)
        assert r["rcode"] == NXDOMAIN and not r["answers"], name
    assert ask(mesh.client, "1.0.0.10.in-addr.arpa", PTR)["rcode"] == NXDOMAIN
    assert texts(ask(mesh.client, "localhost")) == ["127.0.0.1"]


@pytest.mark.sanitize
@pytest.mark.parametrize("raw,rcode", [
    ("424201000002000000000000" "00000100010000010001", FORMERR), ("424201000001000000000000" "ff61", FORMERR),
    ("424201000001000000000000" "c00c00010001", FORMERR), ("42422800000100000000000000" "00010001", NOTIMP),
])
def test_malformed_questions(mesh, raw, rcode):
    for over in ("udp", "tcp"):
        assert ask(mesh.client, raw=raw, over=over)["rcode"] == rcode
    assert ask(mesh.client, "web.default")["rcode"] == OK


def test_a_service_that_comes_and_goes(mesh):
    assert ask(mesh.client, "late.default.svc.cluster.local")["rcode"] == NXDOMAIN
    mesh.apply("late.yaml", yaml.safe_dump(service("late", {"http": 80}, {"app": "web"})))
    eventually(lambda: texts(ask(mesh.client, "late.default.svc.cluster.local")), 5, what="late is named")
    mesh.withdraw("late.yaml")
    eventually(lambda: ask(mesh.client, "late.default.svc.cluster.local")["rcode"] == NXDOMAIN, 5, what="late is no longer named")


class Upstream:
    """A DNS server on the bridge, UDP and TCP, that knows names below .test, with 60 addresses below big.test."""

    def __init__(self, mesh):
        path = mesh.netns()
        self.ip = str(netns.bridge_in(path)[1][0].ip)
        self.asked = []
        self.udp = netns.socket_in(path, socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = netns.socket_in(path, socket.AF_INET, socket.SOCK_STREAM)
        for s in (self.udp, self.tcp):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((self.ip, 5399))
        self.tcp.listen()
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def answer(self, q):
        n = 60 if b"\3big\4test" in q.lower() else 1 if b"\4test\0" in q.lower() else 0
        self.asked.append(q)
        records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2" + bytes([i]) for i in range(n))
        return q[:2] + (b"\x81\x80" if n else b"\x81\x83") + b"\0\1" + n.to_bytes(2, "big") + b"\0\0\0\0" + q[12:] + records

    def serve_udp(self):
        while True:
            try:
                q, peer = self.udp.recvfrom(4096)
                a = self.answer(q)
                self.udp.sendto(a if len(a) <= 512 else a[:2] + b"\x83\x80\0\1" + bytes(6) + q[12:], peer)
            except OSError:  # closed
                return

    def serve_tcp(self):
        while True:
            try:
                c, _ = self.tcp.accept()
            except OSError:
                return
            with c:
                n = int.from_bytes(c.recv(2), "big")
                a = self.answer(c.recv(n))
                c.sendall(len(a).to_bytes(2, "big") + a)

    def close(self):
        for s in (self.udp, self.tcp):
            s.close()


def mesh_config(**data):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trammel", "namespace": "trammel-system"}, "data": data})


def test_other_names_go_upstream(mesh):
    up = Upstream(mesh)
    try:
        mesh.apply("mesh.yaml", mesh_config(dnsUpstream=f"{up.ip}:5399"))
        eventually(lambda: texts(ask(mesh.client, "x.test")) == ["192.0.2.0"], 5, what="x.test is answered from upstream")
        assert ask(mesh.client, "nowhere.invalid")["rcode"] == NXDOMAIN
        big = ask(mesh.client, "big.test")
        assert big["tc"] and not big["answers"]
        assert len(texts(ask(mesh.client, "big.test", over="tcp"))) == 60
        before = len(up.asked)
        assert texts(ask(mesh.client, "web.default")) == [vip(mesh, "web")]
        assert len(up.asked) == before, "names of the mesh do not leave it"
        idents = {q[:2] for q in up.asked}
        assert b"\x42\x42" not in idents or len(idents) > 1, "the asker's id is not used towards upstream"
        up.close()
        assert ask(mesh.client, "y.test", timeout=10)["rcode"] == SERVFAIL
    finally:
        up.close()
        mesh.withdraw("mesh.yaml")
    eventually(lambda: ask(mesh.client, "y.test")["rcode"] == NXDOMAIN, 5)


def test_names_without_the_agent(tmp_path):
    """What was asked before is answered on; what was not is SERVFAIL, never NXDOMAIN: it might exist."""
    with Mesh(yaml.safe_dump_all([service("web", {"http": 80}), service("unseen", {"http": 80}, {"app": "web"})])) as m:
        m.serve("web", "http:80")
        client = m.client("client")
        first = ask(client, "web.default")
        assert first["rcode"] == OK
        os.chmod(tmp_path, 0o755)
        gone = str(tmp_path / "agent-is-gone")  # `trammel exec` needs the agent: the questions are inside before it dies
        waiting = [ask_later(client, n, when=gone, timeout=10) for n in ("web.default", "unseen.default")]
        os.kill(m.agent_pid(), signal.SIGKILL)
        eventually(lambda: not os.path.exists(os.path.join(m.run_dir, "agent.sock")) or not agent_answers(m), 5)
        open(gone, "w").close()
        known, unseen = (json.loads(p.communicate(timeout=30)[0]) for p in waiting)
        assert texts(known) == texts(first)
        assert unseen["rcode"] == SERVFAIL
        m.up()
        assert texts(ask(client, "web.default")) == texts(first)
        eventually(lambda: ask(client, "unseen.default")["rcode"] == OK, 10, what="the proxy is back at its agent")
