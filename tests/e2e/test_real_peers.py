# SPDX-License-Identifier: Apache-2.0
"""Programs that nobody here wrote, on both ends.

    curl, node, python urllib, nghttp, redis-cli -> proxy ==== mTLS ==== proxy -> nginx, node, python http.server, redis, postgres
"""
import glob
import os
import shutil
import subprocess
import sys

import pytest

from mesh import Mesh, finish_call, peer_authentication, service
from wait import eventually

POLICY = [
    peer_authentication("STRICT"),
    service("nginx", {"http": {"port": 80, "targetPort": 8080}}),
    service("node", {"http": {"port": 80, "targetPort": 8081}}),
    service("python", {"http": {"port": 80, "targetPort": 8082}}),
    service("redis", {"tcp-redis": 6379}),
    service("redis-open", {"r": 6379}, {"app": "redis"}),
    service("postgres", {"tcp-pg": 5432}),
    service("h2", {"http2": {"port": 80, "targetPort": 8083}}),
]

NODE_SERVER = """
require('http').createServer((q, s) => {
  if (q.url === '/stream') { s.writeHead(200); let n = 0; const t = setInterval(() => { s.write('tick\\n'); if (++n == 5) { clearInterval(t); s.end(); } }, 20); return; }
  let n = 0; q.on('data', c => n += c.length); q.on('end', () => { s.setHeader('x-server', 'node'); s.end(JSON.stringify({url: q.url, n, xfcc: q.headers['x-forwarded-client-cert']})); });
}).listen(8081, '::', () => console.log('up'));
"""
NODE_CLIENT = """
const http = require('http'); const agent = new http.Agent({keepAlive: true, maxSockets: 4}); let left = 200, bad = 0;
for (let i = 0; i < 200; i++) http.get({host: process.argv[1], port: 80, path: '/index.html?' + i, agent}, r => {
  let body = ''; r.on('data', c => body += c); r.on('end', () => { if (r.statusCode != 200) bad++; if (--left == 0) { console.log(JSON.stringify({bad})); process.exit(0); } });
}).on('error', e => { bad++; console.error(e.message); if (--left == 0) { console.log(JSON.stringify({bad})); process.exit(0); } });
"""


def need(*programs):
    for p in programs:
        if not shutil.which(p):
            pytest.skip(f"{p} is not installed")


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.client = m.client()
        yield m


@pytest.fixture(scope="module")
def nginx(mesh):
    need("nginx")
    d = os.path.join(mesh.root, "nginx")
    os.makedirs(os.path.join(d, "html"))
    with open(os.path.join(d, "html", "index.html"), "w") as f:
        f.write("<h1>nginx</h1>\n")
    with open(os.path.join(d, "html", "big"), "wb") as f:
        f.write(os.urandom(64 << 20))
    with open(os.path.join(d, "nginx.conf"), "w") as f:
        f.write(f"""pid {d}/pid; error_log {d}/error.log; worker_processes 1; user root; daemon off;
events {{ worker_connections 512; }}
http {{ access_log {d}/access.log; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f;
  uwsgi_temp_path {d}/u; scgi_temp_path {d}/s; sendfile on; client_max_body_size 100m;
  server {{ listen 8080; listen [::]:8080; root {d}/html;
    location = /who {{ return 200 "$remote_addr $server_addr $http_x_forwarded_client_cert\\n"; }}
    location /put/ {{ dav_methods PUT; create_full_put_path on; client_body_in_file_only on; }} }} }}
""")
    w = mesh.run("nginx", "nginx", "-p", d, "-c", os.path.join(d, "nginx.conf"))
    w.wait_listening(8080)
    w.folder = d
    mesh.wait_endpoints("nginx", 1)
    return w


@pytest.fixture(scope="module")
def redis(mesh):
    need("redis-server", "redis-cli")
    w = mesh.run("redis", "redis-server", "--port", "6379", "--bind", "0.0.0.0", "::", "--protected-mode", "no", "--save", "",
                 "--dir", mesh.root)
    w.wait_listening(6379)
    mesh.wait_endpoints("redis", 1)
    return w


def test_curl_to_nginx(mesh, nginx):
    assert mesh.client.curl("http://nginx/").stdout == "<h1>nginx</h1>\n"
    assert mesh.client.curl(f"http://[{nginx.ip6}]:8080/").stdout == "<h1>nginx</h1>\n"


def test_nginx_logs_the_true_client(mesh, nginx):
    seen, own, xfcc = mesh.client.curl("-4", "http://nginx/who").stdout.split(" ", 2)
    assert seen == mesh.client.ip and own == nginx.ip
    assert "URI=spiffe://" in xfcc


def test_curl_takes_a_big_file_from_nginx_sendfile(mesh, nginx):
    there = os.path.join(mesh.root, "fetched")
    mesh.client.curl("-o", there, "http://nginx/big")
    assert subprocess.run(["cmp", there, os.path.join(nginx.folder, "html", "big")]).returncode == 0


def test_curl_ranges_and_conditions(mesh, nginx):
    r = mesh.client.curl("-D", "-", "-o", "/dev/null", "-r", "10-19", "http://nginx/big").stdout
    assert " 206 " in r and "ontent-" in r
    etag = [l.split(": ")[1].strip() for l in mesh.client.curl("-I", "http://nginx/").stdout.splitlines() if l.lower().startswith("etag")][0]
    assert " 304 " in mesh.client.curl("-D", "-", "-o", "/dev/null", "-H", f"If-None-Match: {etag}", "http://nginx/").stdout


def test_curl_many_urls_on_one_connection(mesh, nginx):
    r = mesh.client.curl("-w", "%{num_connects} %{http_code}\\n", "-o", "/dev/null", *sum([["http://nginx/", "-o", "/dev/null"] for _ in range(9)], []), "http://nginx/")
    lines = r.stdout.split("\n")[:-1]
    assert [l.split()[1] for l in lines] == ["200"] * 10
    assert [l.split()[0] for l in lines] == ["1"] + ["0"] * 9, "one connection for all"


def test_node_client_to_nginx(mesh, nginx):
    need("node")
    r = mesh.client.exec("node", "-e", NODE_CLIENT, "nginx")
    assert '{"bad":0}' in r.stdout, r.stderr


def test_node_server(mesh):
    need("node")
    w = mesh.run("node", "node", "-e", NODE_SERVER)
    w.wait_listening(8081)
    mesh.wait_endpoints("node", 1)
    assert '"url":"/a"' in mesh.client.curl("http://node/a").stdout
    assert mesh.client.curl("http://node/stream").stdout == "tick\n" * 5
    assert '"n":100000' in mesh.client.curl("-d", "x" * 100000, "http://node/post").stdout


def test_python_server_and_client(mesh):
    w = mesh.run("python", sys.executable, "-m", "http.server", "8082", "--bind", "::", "--directory", "/usr/share/common-licenses")
    w.wait_listening(8082)
    mesh.wait_endpoints("python", 1)
    code = "import urllib.request as u; print(len(u.urlopen('http://python/GPL-3').read()))"
    assert int(mesh.client.exec(sys.executable, "-c", code).stdout) == os.path.getsize("/usr/share/common-licenses/GPL-3")


@pytest.mark.parametrize("host", ["redis", "redis-open", "pod"])
def test_redis(mesh, redis, host):
    host = redis.ip if host == "pod" else host
    cli = lambda *a, **k: mesh.client.exec("redis-cli", "-h", host, *a, **k).stdout.strip()
    assert cli("ping") == "PONG"
    assert cli("set", "k", "v") == "OK" and cli("get", "k") == "v"
    assert cli("-x", "set", "big", input="z" * 1000000) == "OK" and cli("strlen", "big") == "1000000"
    assert cli("client", "list").count(f"addr={mesh.client.ip}:") == 1


def test_redis_pipeline_and_subscription(mesh, redis):
    sub = mesh.client.spawn("redis-cli", "-h", "redis", "subscribe", "news")
    eventually(lambda: "1" in mesh.client.exec("redis-cli", "-h", "redis", "pubsub", "numsub", "news").stdout.split(), what="subscribed")
    mesh.client.exec("redis-cli", "-h", "redis", "publish", "news", "hello-subscriber")
    lines = [sub.stdout.readline() for _ in range(6)]
    sub.kill()
    assert "hello-subscriber\n" in lines
    need("redis-benchmark")
    r = mesh.client.exec("redis-benchmark", "-h", "redis", "-n", "5000", "-c", "20", "-P", "8", "-t", "set,get", "-q", timeout=60)
    assert "requests per second" in r.stdout and "rror" not in r.stdout + r.stderr


def postgres_programs():
    found = [os.path.dirname(p) for p in sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))]
    return found[-1] if found else None


def test_postgres(mesh):
    """A protocol of its own whose client asks for TLS first; spoken by hand where there is no psql."""
    d = postgres_programs()
    if not d:
        pytest.skip("postgres is not installed; redis stands for opaque protocols")
    store = os.path.join(mesh.root, "pg")
    os.mkdir(store)
    shutil.chown(store, "nobody")
    env = {"LC_ALL": "C"}
    r = subprocess.run([os.path.join(d, "initdb"), "-D", os.path.join(store, "db"), "-A", "trust", "-U", "t", "--no-sync"], user="nobody",
                       env=dict(os.environ, **env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 0, r.stdout
    with open(os.path.join(store, "db", "pg_hba.conf"), "a") as f:
        f.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
    w = mesh.run("postgres", "setpriv", "--reuid=nobody", "--clear-groups", os.path.join(d, "postgres"), "-D", os.path.join(store, "db"),
                 "-c", "listen_addresses=*", "-c", f"unix_socket_directories={store}", "-c", "fsync=off")
    w.wait_listening(5432)
    mesh.wait_endpoints("postgres", 1)
    code = """
import socket, struct, sys
s = socket.create_connection(("postgres", 5432), 10)
s.sendall(struct.pack(">II", 8, 80877103)); assert s.recv(1) == b"N"
p = b"user\\0t\\0database\\0postgres\\0\\0"; s.sendall(struct.pack(">II", 8 + len(p), 196608) + p)
f = s.makefile("rb")
def msgs():
    while True:
        k = f.read(1); n = struct.unpack(">I", f.read(4))[0]; yield k, f.read(n - 4)
m = msgs()
for k, b in m:
    assert k != b"E", b
    if k == b"Z": break
q = b"select inet_client_addr(), sum(i) from generate_series(1,100000) i\\0"; s.sendall(b"Q" + struct.pack(">I", 4 + len(q)) + q)
for k, b in m:
    assert k != b"E", b
    if k == b"D": print(b.decode("latin1"))
    if k == b"Z": break
"""
    out = mesh.client.exec(sys.executable, "-c", code).stdout
    assert "5000050000" in out and mesh.client.ip in out


def test_http2_with_prior_knowledge(mesh):
    """HTTP/2 in cleartext between app and proxy: today carried as it is, over mTLS."""
    need("nghttpd")
    d = os.path.join(mesh.root, "h2")
    os.mkdir(d)
    with open(os.path.join(d, "index.html"), "w") as f:
        f.write("two\n")
    w = mesh.run("h2", "nghttpd", "--no-tls", "-d", d, "8083")
    w.wait_listening(8083)
    mesh.wait_endpoints("h2", 1)
    r = mesh.client.curl("--http2-prior-knowledge", "-w", "%{http_version}", "http://h2/index.html")
    assert r.stdout == "two\n2"
    r = mesh.client.exec("h2load", "-n", "2000", "-c", "4", "-m", "10", "http://h2/index.html", timeout=60)
    assert "2000 succeeded, 0 failed" in r.stdout
