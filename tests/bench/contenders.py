# SPDX-License-Identifier: Apache-2.0
"""The pairs that are compared, each in pods of the same kind: two namespaces on a bridge.

    pod A: load -> out proxy ==== mTLS, HTTP/1.1 keep-alive or HTTP/2 ==== pod B: in proxy -> server 8080

The peers' pods are made here, with one worker per proxy as a sidecar has; Trammel's are made by `trammel run`. The other proxies are in
other_proxies.py.
"""
import dataclasses
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

import netns  # noqa: E402
from mesh import Mesh, peer_authentication, service  # noqa: E402
from pki import Authority  # noqa: E402
from wait import eventually  # noqa: E402

OUT, IN, APP = 15001, 15006, 8080


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is carried: one server, one protocol."""
    name: str
    server: str            # a program of tools_build()
    protocol: str = "http"  # http, http2, grpc: the name of the service's port
    peers: tuple = ()      # those that the last column compares with

    @property
    def http2(self):
        return self.protocol != "http"


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
    env = None
    asked_for = False  # takes part only when --only names it

    def __init__(self, scene, tools, folder, ca):
        self.scene, self.tools, self.ca = scene, tools, ca
        self.folder = os.path.join(folder, scene.name, self.name)
        os.makedirs(self.folder)
        self.children = []
        self.ready_s = None

    @classmethod
    def can(cls, scene):
        """Is it there, and does it speak that?"""
        return True

    def spawn(self, namespace, *cmd, log="log"):
        with open(os.path.join(self.folder, log), "ab") as f:
            p = subprocess.Popen(["nsenter", "--net=" + namespace.path, *map(str, cmd)], stdout=f, stderr=f)
        self.children.append(p)
        return p

    def start(self):
        self.pods = Pods()
        self.server = self.spawn(self.pods.b, self.tools[self.scene.server], APP)
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

    def run_in_a(self, *cmd):
        """Run a command in pod A, to its end; CompletedProcess."""
        r = subprocess.run([*self.load_argv(), *map(str, cmd)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env, timeout=120)
        if r.returncode:
            raise RuntimeError(f"{self.name}: {cmd[0]}: exit {r.returncode}: {(r.stderr or r.stdout)[-600:]}")
        return r

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


class Trammel(Contender):
    name = "trammel"
    policy = ()

    def start(self):
        self.mesh = Mesh([peer_authentication("STRICT"), service("server", {self.scene.protocol: {"port": 80, "targetPort": APP}}), *self.policy],
                         parent="/dev/shm" if os.path.isdir("/dev/shm") else None)  # as /run is: in memory
        m = self.mesh
        self.pod_b = m.run("server", self.tools[self.scene.server], str(APP))
        self.pod_b.wait_listening(APP)
        start = time.monotonic()
        self.pod_a = m.client("bench")
        self.run_s = time.monotonic() - start
        m.wait_endpoints("server", 1)
        vip = [s for s in m.json("service", "list")["services"] if s["name"] == "server"][0]["addresses"]
        self.vip = [a for a in vip if ":" not in a][0]
        speak = ["--http2-prior-knowledge"] if self.scene.http2 else []
        eventually(lambda: self.pod_a.curl("-f", *speak, f"http://{self.vip}/", check=False).returncode == 0, 20)
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


class TrammelUpgraded(Trammel):
    """HTTP/1.1 goes from proxy to proxy in HTTP/2."""
    name = "trammel-h2"
    asked_for = True
    policy = ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trammel", "namespace": "trammel-system"},
               "data": {"h2UpgradePolicy": "UPGRADE"}},)

    @classmethod
    def can(cls, scene):
        return not scene.http2
