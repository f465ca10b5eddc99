# SPDX-License-Identifier: Apache-2.0
"""A real Envoy and Trammel speak HTTP/2 and gRPC to each other by the Istio sidecar protocol: mTLS, ALPN istio-h2, SPIFFE IDs.

    A: gRPC, curl (outsider) -> Envoy ==== mTLS, istio-h2 ==== proxy -> interop 10000, echo 10001, nghttpd 8083
    B: gRPC, curl (client) -> proxy ==== mTLS, istio-h2 ==== Envoy -> the same servers on loopback, both in a workload whose
       ports 844x are excluded from capture, so that Envoy stands where its proxy would
"""
import os
import subprocess

import pytest

import envoys
from envoys import ID, cluster, config, http_filter, listener
from mesh import Mesh, peer_authentication, service
from netns import run_in
from peers import finish, need, peer

PORTS = {"interop": 10000, "echo": 10001, "files": 8083}  # of the servers; Envoy's are 9440... outside and 8440... inside
INTEROP = ["empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
           "cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
           "unimplemented_method", "unimplemented_service"]
POLICY = [peer_authentication("STRICT")]
for _i, (_name, _port) in enumerate(PORTS.items()):
    _word = "http2" if _name == "files" else "grpc"
    POLICY += [service(_name, {_word: _port}, {"app": "server"}),
               service("envoyed-" + _name, {_word: {"port": _port, "targetPort": 8440 + _i}}, {"app": "envoyed"})]


def servers(folder):
    return f"{peer('interop_server')} --port {PORTS['interop']} & nghttpd --no-tls --echo-upload -d {folder} {PORTS['files']} & {peer('echod')} {PORTS['echo']}"


@pytest.fixture(scope="module")
def mesh():
    need("nghttpd")
    envoys.path()
    with Mesh(POLICY) as m:
        m.folder = os.path.join(m.root, "www")
        os.mkdir(m.folder)
        with open(os.path.join(m.folder, "big"), "wb") as f:
            f.write(os.urandom(16 << 20))
        with open(os.path.join(m.folder, "small"), "w") as f:
            f.write("small\n")
        m.server = m.run("server", "sh", "-c", servers(m.folder), args=["--service-account", "server"])
        m.client = m.run("client", "sleep", "3600", args=["--service-account", "client"])
        m.ca = envoys.authority(m)
        m.server.wait_listening(*PORTS.values())
        for name in PORTS:
            m.wait_endpoints(name, 1)
        yield m


class Outside:
    """Programs beside Envoy, outside the mesh."""

    def __init__(self, o):
        self.o = o

    def address(self, name):
        return "127.0.0.1", 9440 + list(PORTS).index(name)

    def run(self, *cmd, timeout=90):
        return run_in(self.o.path, *map(str, cmd), timeout=timeout).stdout

    def spawn(self, *cmd):
        return subprocess.Popen(["nsenter", "--net=" + self.o.path, *map(str, cmd)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    caller = "outside-envoy"


class Inside:
    """Programs in a workload that is of the mesh."""

    def __init__(self, w):
        self.w = w

    def address(self, name):
        return "envoyed-" + name, PORTS[name]

    def run(self, *cmd, timeout=90):
        return self.w.exec(*cmd, timeout=timeout).stdout

    def spawn(self, *cmd):
        return self.w.spawn(*cmd)

    caller = "client"


@pytest.fixture(scope="module")
def calls(mesh):
    crt, key = mesh.ca.leaf(mesh.root, [ID + "outside-envoy"], "outside")
    tls = envoys.tls_upstream('"istio-h2"', mesh.ca.crt, crt, key, ID + "server")
    conf = config(os.path.join(mesh.root, "outside.yaml"),
                  [listener(9440 + i, http_filter(name, timeout="0s")) for i, name in enumerate(PORTS)],
                  [cluster(name, mesh.server.ip, port, tls, http2=True) for name, port in PORTS.items()])
    with mesh.outsider() as o, envoys.outside(mesh, o, conf, 9440):
        yield Outside(o)


@pytest.fixture(scope="module")
def is_called(mesh):
    crt, key = mesh.ca.leaf(mesh.root, [ID + "envoyed"], "inside")
    tls = envoys.tls_downstream('"istio-h2"', mesh.ca.crt, crt, key, ID + "client")
    conf = config(os.path.join(mesh.root, "inside.yaml"),
                  [listener(8440 + i, http_filter(name, "HTTP2", "0s"), tls, "::") for i, name in enumerate(PORTS)],
                  [cluster(name, "127.0.0.1", port, http2=True) for name, port in PORTS.items()])
    w = mesh.run("envoyed", "sh", "-c", f"{servers(mesh.folder)} & exec {' '.join(envoys.argv(conf))}", args=["--service-account", "envoyed"])
    ports = [8440 + i for i in range(len(PORTS))]
    envoys.exclude(mesh, "envoyed", *ports)
    w.wait_listening(*PORTS.values(), *ports, timeout=20)
    for name in PORTS:
        mesh.wait_endpoints("envoyed-" + name, 1)
    return Inside(mesh.client)


@pytest.fixture(scope="module", params=["calls", "is_called"])
def side(request):
    """Envoy calls, or is called."""
    return request.getfixturevalue(request.param)


def flood(side, mode, *flags):
    host, port = side.address("echo")
    code, saw, said = finish(side.spawn(peer("flood"), mode, f"{host}:{port}", *flags), 150)
    assert code == 0, (saw, said)
    return saw


@pytest.mark.parametrize("case", INTEROP)
def test_interop(side, case):
    host, port = side.address("interop")
    side.run(peer("interop_client"), "--server_host", host, "--server_port", port, "--test_case", case)


def test_identity_is_proven(side):
    """Whoever terminates the mTLS tells the app who called."""
    saw = flood(side, "fail", "-code", 0)
    assert f"URI={ID}{side.caller}" in saw["head"]["x-saw-client-cert"][0], saw


def test_many_streams(side):
    saw = flood(side, "many", "-channels", 10, "-streams", 100)
    assert saw["ok"] == saw["peak"] == 1000, saw


def test_cancellation_reaches_the_server(side):
    saw = flood(side, "cancel", "-channels", 2, "-streams", 25)
    assert saw["ends"] == {"cancelled": 50} and saw["worst_ms"] < 1000, saw


def test_deadline_reaches_the_server(side):
    saw = flood(side, "deadline", "-streams", 10, "-deadline-ms", 700)
    assert saw["ok"] == 10 and all(0 < told <= 700 for told in saw["told_ms"]), saw


def test_metadata_comes_through(side):
    flood(side, "meta")


def test_big_file(mesh, side):
    host, port = side.address("files")
    there = os.path.join(mesh.root, "fetched")
    side.run("curl", "-sS", "--max-time", "60", "--http2-prior-knowledge", "-o", there, f"http://{host}:{port}/big")
    assert subprocess.run(["cmp", there, os.path.join(mesh.folder, "big")]).returncode == 0


def test_big_body(mesh, side):
    """Sent and echoed, both ways at once."""
    host, port = side.address("files")
    there, sent = os.path.join(mesh.root, "echoed"), os.path.join(mesh.folder, "big")
    side.run("curl", "-sS", "--max-time", "60", "--http2-prior-knowledge", "-X", "POST", "--data-binary", "@" + sent, "-o", there, f"http://{host}:{port}/")
    assert subprocess.run(["cmp", there, sent]).returncode == 0


def test_many_requests(side):
    need("h2load")
    host, port = side.address("files")
    said = side.run("h2load", "-n", 2000, "-c", 4, "-m", 20, f"http://{host}:{port}/small")
    assert "2000 succeeded, 0 failed" in said and "2000 2xx" in said, said
