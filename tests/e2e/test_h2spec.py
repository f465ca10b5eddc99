# SPDX-License-Identifier: Apache-2.0
"""h2spec, strict: a conformance test of HTTP/2 servers that others wrote, against the proxy.

    stranger:  h2spec (outsider) ---- h2c ------------------------> proxy ---- h2c ---- nghttpd     open, PERMISSIVE
    peer:      h2spec (outsider) ---- TLS bridge ==== mTLS, istio-h2 ==== proxy ---- h2c ---- nghttpd
    app:       h2spec (workload) ---- h2c ---- proxy ==== mTLS ==== proxy ---- h2c ---- nghttpd
    direct:    h2spec (workload) ---- h2c ---- haproxy on the same loopback: that the test itself is right

The origin's file is larger than any window that h2spec grants.
"""
import contextlib
import os
import struct
import xml.etree.ElementTree as ET

import pytest

from mesh import Mesh, peer_authentication, service
from netns import run_in
from peers import need, peer
from pki import Authority
from tls_bridge import TlsBridge, context, handshake

SIZE = 320000
N_CASES = 146  # what h2spec 2.2.1 has in strict mode
ORIGIN, PORT = 8083, 80
POLICY = [
    peer_authentication("STRICT"),
    peer_authentication("PERMISSIVE", "open", "default", labels={"app": "open"}),
    service("open", {"web": {"port": PORT, "targetPort": ORIGIN, "appProtocol": "kubernetes.io/h2c"}}),
    service("shut", {"http2": {"port": PORT, "targetPort": ORIGIN}}),
]
HAPROXY = """
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
listen h2
  bind 127.0.0.1:18603 proto h2
  server origin 127.0.0.1:8083 proto h2
"""


@pytest.fixture(scope="module")
def mesh():
    need("nghttpd")
    peer("h2spec")
    with Mesh(POLICY) as m:
        m.folder = os.path.join(m.root, "www")
        os.mkdir(m.folder)
        with open(os.path.join(m.folder, "index.html"), "w") as f:
            f.write("0123456789abcdef" * (SIZE // 16))
        for name in ("open", "shut"):
            w = m.run(name, "nghttpd", "--no-tls", "-d", m.folder, str(ORIGIN), args=["--service-account", name])
            w.wait_listening(ORIGIN)
            m.wait_endpoints(name, 1)
            setattr(m, name, w)
        m.client = m.client()
        yield m


@pytest.fixture(scope="module")
def outsider(mesh):
    with mesh.outsider() as o:
        yield o


def conforms(mesh, run, host, port):
    """All of h2spec; its own JUnit report says what failed."""
    report = os.path.join(mesh.root, "h2spec.xml")
    if os.path.exists(report):
        os.unlink(report)
    r = run(peer("h2spec"), "--strict", "--host", host, "--port", str(port), "--junit-report", report, check=False, timeout=400)
    assert os.path.exists(report), f"h2spec did not come to its end: exit {r.returncode}\n{r.stdout[-600:]}\n{r.stderr[:3000]}"
    ran, skipped, failed = 0, [], []
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('package')} {case.get('classname')}"
        ran += 1
        bad = [part for part in case if part.tag in ("failure", "error")]
        if bad:
            said = " ".join((bad[0].text or bad[0].get("message") or "").split())
            failed.append(f"{name}: {said}")
        elif case.find("skipped") is not None:
            skipped.append(name)
    print(f"h2spec: {ran} cases, {len(failed)} failed, {len(skipped)} skipped", *skipped, sep="\n  ")
    assert not failed, f"{len(failed)} of {ran} cases failed:\n" + "\n".join(failed)
    assert ran == N_CASES


def test_haproxy_conforms(mesh):
    """Without a mesh between: a server that is known to pass does."""
    need("haproxy")
    conf = os.path.join(mesh.root, "haproxy.cfg")
    with open(conf, "w") as f:
        f.write(HAPROXY)
    p = mesh.open.spawn("haproxy", "-db", "-f", conf)
    mesh.open.wait_listening(18603)
    conforms(mesh, mesh.open.exec, "127.0.0.1", 18603)
    p.terminate()


def in_namespace(o):
    return lambda *cmd, **kwargs: run_in(o.path, *cmd, **kwargs)


@pytest.mark.sanitize
def test_proxy_conforms_to_a_stranger(mesh, outsider):
    conforms(mesh, in_namespace(outsider), mesh.open.ip, ORIGIN)


@pytest.mark.sanitize
@pytest.mark.parametrize("name", ["open", "shut"])
def test_proxy_conforms_to_a_peer(mesh, outsider, name):
    ca = Authority(os.path.join(mesh.state_dir, "ca", "ca.crt"), os.path.join(mesh.state_dir, "ca", "ca.key"))
    crt, key = ca.leaf(mesh.root, ["spiffe://cluster.local/ns/default/sa/h2spec"], "h2spec")
    tls = context(ca.crt, crt, key, ["istio-h2"])
    ip = getattr(mesh, name).ip
    with handshake(outsider.path, ip, ORIGIN, tls) as s:
        assert s.selected_alpn_protocol() == "istio-h2"
    with TlsBridge(outsider.path, ip, ORIGIN, tls) as b:
        conforms(mesh, in_namespace(outsider), "127.0.0.1", b.port)
        assert not b.failures, b.failures


@pytest.mark.sanitize
def test_proxy_conforms_to_its_own_app(mesh):
    conforms(mesh, mesh.client.exec, "shut.default.svc.cluster.local", PORT)  # its shortest name is one that h2spec falls over


def stalled(outsider, ip):
    """A caller of its own connection that grants its answer no window."""
    authority = b"open"
    head = bytes([0x82, 0x86, 0x84, 0x41, len(authority)]) + authority
    c = outsider.connect(ip, ORIGIN)
    c.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0)) + frame(1, 5, 1, head))
    return c


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@pytest.mark.sanitize
def test_callers_that_take_nothing_hold_up_nobody_else(mesh, outsider):
    """Forty answers of 64 KiB and more wait, all on one connection to the app: more than its window holds."""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(stalled(outsider, mesh.open.ip)) for _ in range(40)]
        for c in waiting:
            c.settimeout(5)
            assert c.recv(1), "the head, at least"
        for _ in range(3):
            r = run_in(outsider.path, "curl", "-sS", "--max-time", "10", "--http2-prior-knowledge", "-o", os.devnull, "-w",
                       "%{size_download}", f"http://{mesh.open.ip}:{ORIGIN}/")
            assert int(r.stdout) == SIZE
