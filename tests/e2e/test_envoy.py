# SPDX-License-Identifier: Apache-2.0
"""A real Envoy and Trammel speak the Istio sidecar protocol to each other: mTLS on the original port, mesh ALPN, SPIFFE IDs.

    A: curl -> Envoy (outsider, certificate of the mesh's CA) ==== mTLS ==== proxy -> web
    B: client -> proxy ==== mTLS ==== Envoy -> origin, both in a workload whose port 8443 is excluded from capture,
       so that Envoy stands where its proxy would
"""
import os
import re
import sys

import pytest

import envoys
from envoys import ID, cluster, config, http_filter, listener, tcp_filter
from mesh import SERVERS, Mesh, peer_authentication, service
from netns import run_in
POLICY = [
    peer_authentication("STRICT"),
    service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-who": 7000}),
    service("envoyed", {"http": {"port": 80, "targetPort": 8443}}),
    service("envoyed-tcp", {"tcp": {"port": 7000, "targetPort": 8444}}, {"app": "envoyed"}),
]


@pytest.fixture(scope="module")
def mesh():
    envoys.path()
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", "who:7000", args=["--service-account", "web"])
        m.client = m.run("client", "sleep", "3600", args=["--service-account", "client"])
        m.ca = envoys.authority(m)
        m.wait_endpoints("web", 1)
        yield m


@pytest.fixture(scope="module")
def outside(mesh):
    """Envoy outside the mesh: 9080 -> web's HTTP, 9000 -> web's TCP, both IPv4; 9086 -> web's HTTP over IPv6."""
    crt, key = mesh.ca.leaf(mesh.root, [ID + "outside-envoy"], "outside")
    tls = lambda alpn: envoys.tls_upstream(alpn, mesh.ca.crt, crt, key, ID + "web")
    conf = config(os.path.join(mesh.root, "outside.yaml"), [
        listener(9080, http_filter("http4")), listener(9086, http_filter("http6")),
        listener(9000, tcp_filter("tcp"))],
        [cluster("http4", mesh.web.ip, 8080, tls('"istio-http/1.1", "istio", "http/1.1"')), cluster("http6", mesh.web.ip6, 8080, tls('"istio-http/1.1"')),
         cluster("tcp", mesh.web.ip, 7000, tls('"istio"'))])
    with mesh.outsider() as o, envoys.outside(mesh, o, conf, 9080):
        yield o


@pytest.mark.parametrize("port", [9080, 9086], ids=["v4", "v6"])
def test_envoy_calls_http(mesh, outside, port):
    r = run_in(outside.path, "curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{port}/from-envoy")
    assert '"path": "/from-envoy"' in r.stdout, r.stdout
    assert f"URI={ID}outside-envoy" in r.stdout, "the proven identity of Envoy reaches the app"


def test_envoy_keeps_its_connection(mesh, outside):
    r = run_in(outside.path, "curl", "-sS", "--max-time", "20", *["http://127.0.0.1:9080/k"] * 50)
    connections = set(re.findall(r'"connection": (\d+)', r.stdout))
    assert r.stdout.count('"server"') == 50 and len(connections) <= 2


def test_envoy_calls_tcp(mesh, outside):
    with outside.connect("127.0.0.1", 9000, 5) as s:
        s.sendall(b"who\n")
        assert b'"server": "web"' in s.recv(1000)


def test_envoy_sends_a_big_body(mesh, outside):
    path = os.path.join(mesh.root, "body")
    with open(path, "wb") as f:
        f.write(os.urandom(16 << 20))
    r = run_in(outside.path, "curl", "-sS", "--max-time", "30", "-T", path, "http://127.0.0.1:9080/put")
    assert f'"bytes": {16 << 20}' in r.stdout


@pytest.fixture(scope="module")
def envoyed(mesh):
    crt, key = mesh.ca.leaf(mesh.root, [ID + "envoyed"], "inside")
    tls = lambda alpn: envoys.tls_downstream(alpn, mesh.ca.crt, crt, key, ID + "client")
    conf = config(os.path.join(mesh.root, "inside.yaml"),
                  [listener(8443, http_filter("app"), tls('"istio-http/1.1", "istio"'), "::"),
                   listener(8444, tcp_filter("who"), tls('"istio"'), "::")],
                  [cluster("app", "127.0.0.1", 8080), cluster("who", "127.0.0.1", 7000)])
    script = f"{sys.executable} {SERVERS} envoyed http:8080@127.0.0.1 who:7000@127.0.0.1 & exec {' '.join(envoys.argv(conf))}"
    w = mesh.run("envoyed", "sh", "-c", script, args=["--service-account", "envoyed"])
    envoys.exclude(mesh, "envoyed", 8443, 8444)
    w.wait_listening(8443, 8444, timeout=20)
    mesh.wait_endpoints("envoyed", 1)
    mesh.wait_endpoints("envoyed-tcp", 1)
    return w


@pytest.mark.parametrize("host", ["envoyed", "v4", "v6"])
def test_envoy_is_called_http(mesh, envoyed, host):
    target = {"v4": (envoyed.ip, 8443), "v6": (envoyed.ip6, 8443)}.get(host, (host, 80))
    got = mesh.client.http(*target, "/to-envoy")
    assert got["status"] == 200, got
    assert got["json"]["path"] == "/to-envoy"
    headers = {k.lower(): v for k, v in got["json"]["headers"]}
    assert f"URI={ID}client" in headers["x-forwarded-client-cert"], "Envoy proved who called"


def test_envoy_is_called_with_a_big_body(mesh, envoyed):
    got = mesh.client.http("envoyed", 80, "/put", method="POST", upload_bytes=16 << 20)
    assert got["json"]["sha256"] == got["sent_sha256"]


def test_envoy_is_called_tcp(mesh, envoyed):
    got = mesh.client.call("who", "envoyed-tcp", 7000)
    assert got["server"]["server"] == "envoyed"


def test_envoy_with_another_identity_is_not_called(mesh, envoyed):
    """A certificate of the mesh's CA is not enough: it must be the one that was asked for."""
    crt, key = mesh.ca.leaf(mesh.root, [ID + "somebody-else"], "inside")  # over the old files; Envoy read those at its start
    tls = envoys.tls_downstream('"istio-http/1.1"', mesh.ca.crt, crt, key, ID + "client")
    conf = config(os.path.join(mesh.root, "impostor.yaml"), [listener(8445, http_filter("app"), tls)], [cluster("app", "127.0.0.1", 8080)])
    mesh.apply("impostor.yaml", [service("impostor", {"http": {"port": 80, "targetPort": 8445}}, {"app": "envoyed"})])
    envoys.exclude(mesh, "envoyed", 8445)
    p = envoyed.spawn(*envoys.argv(conf))
    envoyed.wait_listening(8445, timeout=20)
    mesh.wait_endpoints("impostor", 1)
    got = mesh.client.http("impostor", 80)
    assert got["status"] in (502, 503), got
    assert ["x-trammel-reason", "peer_identity"] in got["headers"], got["headers"]
    p.terminate()
