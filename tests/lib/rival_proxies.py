# SPDX-License-Identifier: Apache-2.0
"""Other people's reverse proxies in front of the recording origins, in a namespace of their own, on loopback.

Set as their manuals advise where security is asked for, and with room for what the catalogues call legal: docs/conformance.md.
"""
import os
import re
import subprocess
import sys

from netns import Namespace
from wait import eventually

LIB = os.path.dirname(os.path.abspath(__file__))
H1_ORIGIN, H2_ORIGIN = 8080, 8081
H1, H2_TO_H1, H2_TO_H2 = 9001, 9002, 9003  # what the caller speaks, and what the origin does

NGINX = """daemon off; worker_processes 1; user root; pid {d}/pid; error_log {d}/err crit;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
  large_client_header_buffers 8 64k; client_header_buffer_size 64k; http2_max_concurrent_streams 100; client_header_timeout 2s; client_body_timeout 2s;
  upstream h1 {{ server 127.0.0.1:{h1o}; keepalive 8; }}
  server {{ listen {h1};
    location / {{ proxy_pass http://h1; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }} }}
  server {{ listen {h2h1} http2;
    location / {{ proxy_pass http://h1; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }} }} }}
"""

HAPROXY = """global
  nbthread 1
  tune.bufsize 131072
  tune.http.maxhdr 256
defaults
  mode http
  timeout connect 2s
  timeout client 2s
  timeout server 5s
  timeout http-request 2s
  http-reuse safe
  option http-restrict-req-hdr-names reject
listen h1
  bind :{h1}
  server s 127.0.0.1:{h1o}
listen h2h1
  bind :{h2h1} proto h2
  server s 127.0.0.1:{h1o}
listen h2h2
  bind :{h2h2} proto h2
  server s 127.0.0.1:{h2o} proto h2
"""


def _version(*argv):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return re.search(r"\d+\.\d+\.\d+", r.stdout)[0]


class Peer:
    """One proxy with origins of its own. with Peer("haproxy", folder) as p: p.call(...)"""
    kinds = {"nginx": (H1, H2_TO_H1), "haproxy": (H1, H2_TO_H1, H2_TO_H2), "nghttpx": (H1, H2_TO_H1, H2_TO_H2)}

    def __init__(self, name, folder):
        self.name, self.folder, self.children = name, os.path.join(folder, name), []
        os.makedirs(self.folder)
        self.version = _version(name, {"nginx": "-v", "haproxy": "-v", "nghttpx": "--version"}[name])

    def __enter__(self):
        self.net = Namespace()
        try:
            self._spawn(sys.executable, os.path.join(LIB, "pod_vectors.py"), "origin", H1_ORIGIN, self.control("h1"))
            self._spawn(sys.executable, os.path.join(LIB, "pod_h2_vectors.py"), "origin", H2_ORIGIN, self.control("h2"))
            for port in (H1_ORIGIN, H2_ORIGIN):
                self._wait(port)
            for argv in getattr(self, self.name)():
                self._spawn(*argv)
            for port in self.kinds[self.name]:
                self._wait(port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for p in self.children:
            p.terminate()
        for p in self.children:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.net.close()

    def control(self, origin):
        return os.path.join(self.folder, origin + ".sock")

    def run(self, script, what, job, timeout=600):
        """What a pod script prints for a job, run beside the proxy."""
        return self.net.run(sys.executable, os.path.join(LIB, script), what, input=job, timeout=timeout).stdout

    def _spawn(self, *argv):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.children.append(subprocess.Popen(["nsenter", "--net=" + self.net.path, *map(str, argv)], stdout=log, stderr=log))

    def _wait(self, port):
        def probe():
            with self.net.socket() as s:
                s.settimeout(1)
                s.connect(("127.0.0.1", port))
            return True
        eventually(probe, 20, 0.02, f"{self.name}: port {port} accepts; see {self.folder}/log")

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text.format(d=self.folder, h1=H1, h2h1=H2_TO_H1, h2h2=H2_TO_H2, h1o=H1_ORIGIN, h2o=H2_ORIGIN))
        return path

    def nginx(self):
        return [["nginx", "-p", self.folder, "-c", self._write("conf", NGINX)]]

    def haproxy(self):
        return [["haproxy", "-db", "-f", self._write("cfg", HAPROXY)]]

    def nghttpx(self):
        base = ["nghttpx", "--conf=/dev/null", "--workers=1", "--accesslog-file=/dev/null", "--request-header-field-buffer=131072",
                "--max-request-header-fields=256", "--no-location-rewrite", "--errorlog-file=" + os.path.join(self.folder, "err")]
        return [[*base, f"--frontend=127.0.0.1,{H1};no-tls", f"--frontend=127.0.0.1,{H2_TO_H1};no-tls", f"--backend=127.0.0.1,{H1_ORIGIN}"],
                [*base, f"--frontend=127.0.0.1,{H2_TO_H2};no-tls", f"--backend=127.0.0.1,{H2_ORIGIN};;proto=h2"]]
