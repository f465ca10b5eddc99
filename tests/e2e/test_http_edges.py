# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 at its edges: upgrades, early answers, callers that leave, old versions, idle connections that close, big heads.

    client ---- proxy ==== mTLS ==== proxy ---- raw: a server of scripted bytes on 8090 (one script per path)
                                         `---- node: websocket-like upgrade on 8091
"""
import os
import re
import shutil
import sys
import time

import pytest

from mesh import Mesh, finish_call, peer_authentication, service
from wait import eventually

POLICY = [
    peer_authentication("STRICT"),
    service("raw", {"http": {"port": 80, "targetPort": 8090}}),
    service("ws", {"http": {"port": 80, "targetPort": 8091}}),
]

# Answers by the path's first word; each is (bytes, close afterwards). The head of the request is read first, no more.
RAW = r'''
import socket, sys, threading, time, json
SEEN = []
A = {
    "one-zero": (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold and until close", True),
    "until-close": (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", True),
    "early": (b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig", True),
    "two-lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", False),
    "length-and-chunked": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False),
    "bad-status": (b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", False),
    "garbage": (b"\x00\x01\x02 nonsense\r\n\r\n", False),
    "bad-chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", False),
    "unasked-101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra", False),
    "extra-bytes": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", False),
    "many-1xx": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "hint": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "big-head": (b"HTTP/1.1 200 OK\r\nX-Big: " + b"b" * 200000 + b"\r\nContent-Length: 2\r\n\r\nok", False),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", False),
    "folded": (b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok", False),
    "no-body-204": (b"HTTP/1.1 204 No Content\r\n\r\n", False),
    "keep": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "idle": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
}
def one(c):
    buf = b""
    while True:
        while b"\r\n\r\n" not in buf:
            p = c.recv(65536)
            if not p:
                return
            buf += p
        head, _, buf = buf.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode().strip("/").split("/")[0]
        if path == "seen":
            b = json.dumps(SEEN).encode()
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(b) + b)
            continue
        SEEN.append(path)
        if path == "take":  # reads a body that never ends, notes how it went
            n = len(buf)
            try:
                while True:
                    p = c.recv(65536)
                    if not p:
                        break
                    n += len(p)
                SEEN.append("take-eof")
            except OSError:
                SEEN.append("take-reset")
            return
        if path == "silent":
            time.sleep(30)
        if path == "drip":
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            for i in range(10):
                c.sendall(b"x"); time.sleep(0.05)
            continue
        data, close = A[path]
        c.sendall(data)
        if close:
            if path == "early":
                time.sleep(0.2)
            return
def run(c):
    with c:
        try:
            one(c)
        except OSError:
            pass
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", 8090)); s.listen(100)
while True:
    c, _ = s.accept()
    threading.Thread(target=run, args=(c,), daemon=True).start()
'''

NODE_UPGRADE = """
const h = require('http').createServer((q, s) => s.end('plain'));
h.on('upgrade', (q, sock, head) => {
  if (q.url == '/no') { sock.end('HTTP/1.1 403 Forbidden\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nno'); return; }
  sock.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n');
  sock.write('hello'); sock.on('data', d => sock.write(d)); });
h.listen(8091, '::');
"""


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.raw = m.run("raw", sys.executable, "-c", RAW)
        m.raw.wait_listening(8090)
        m.client = m.client()
        m.wait_endpoints("raw", 1)
        yield m


def get(mesh, path, **how):
    return mesh.client.http("raw", 80, path, **how)


def clean(mesh):
    """After a bad answer the next caller gets its own."""
    for _ in range(3):
        got = get(mesh, "/keep")
        assert got["status"] == 200 and got["text"] == "ok", got


@pytest.mark.sanitize
@pytest.mark.parametrize("path,text", [("one-zero", "old and until close"), ("until-close", "until the end"), ("keep", "ok"), ("trailers", "ok"),
                                       ("drip", "xxxxxxxxxx")])
def test_legal_answers_pass(mesh, path, text):
    got = get(mesh, "/" + path)
    assert got["status"] == 200 and got["text"] == text, got
    clean(mesh)


@pytest.mark.sanitize
@pytest.mark.parametrize("path", ["two-lengths", "length-and-chunked", "bad-status", "garbage", "unasked-101", "big-head", "folded"])
def test_malformed_answer_is_502_and_its_connection_not_used_again(mesh, path):
    got = get(mesh, "/" + path)
    assert got.get("status") == 502, got
    assert [v for k, v in got["headers"] if k == "x-trammel-reason"], got
    assert "poison" not in got["text"] and "extra" not in got["text"]
    clean(mesh)


def test_interim_answers_pass_but_not_without_end(mesh):
    r = mesh.client.curl("-i", "http://raw/hint")
    assert r.stdout.startswith("HTTP/1.1 103 ") and "200 OK" in r.stdout and r.stdout.endswith("ok")
    r = mesh.client.curl("-i", "http://raw/many-1xx", check=False)
    assert r.stdout.count(" 103 ") <= 20 and " 200 " not in r.stdout
    clean(mesh)


@pytest.mark.sanitize
def test_bad_chunk_does_not_look_whole(mesh):
    got = mesh.client.call("http", "raw", 80, path="/bad-chunk")
    assert got.get("status") == 502 or "exception" in got, got
    clean(mesh)


@pytest.mark.sanitize
def test_bytes_after_an_answer_go_to_nobody(mesh):
    for _ in range(5):
        got = get(mesh, "/extra-bytes")
        assert got["status"] == 200 and got["text"] == "ok"
        clean(mesh)


def test_early_answer_ends_the_upload(mesh):
    got = mesh.client.call("talk", "raw", 80, send="POST /early HTTP/1.1\r\nHost: raw\r\nContent-Length: 100000000\r\n\r\n" + "x" * 100000, timeout=10)
    assert " 413 " in got["got"] and got["got"].endswith("big"), got["got"][:300]
    clean(mesh)


def test_caller_that_leaves_is_noticed_upstream(mesh):
    send = "POST /take HTTP/1.1\r\nHost: raw\r\nContent-Length: 1000000\r\n\r\n" + "x" * 1000
    got = mesh.client.call("talk", "raw", 80, send=send, timeout=1)
    assert got["error"]
    eventually(lambda: "take-" in get(mesh, "/seen")["text"], 5)
    clean(mesh)


def test_silent_server_and_caller_that_gives_up(mesh):
    calls = [mesh.client.start_call("talk", "raw", 80, send="GET /silent HTTP/1.1\r\nHost: raw\r\n\r\n", timeout=1) for _ in range(5)]
    for c in calls:
        assert finish_call(c)["error"]
    clean(mesh)


def test_http_1_0_caller(mesh):
    got = mesh.client.call("talk", "raw", 80, send="GET /keep HTTP/1.0\r\nHost: raw\r\n\r\n")
    assert got["got"].endswith("ok") and got["error"] is None
    got = mesh.client.call("talk", "raw", 80, send="GET /trailers HTTP/1.0\r\nHost: raw\r\n\r\n")
    assert got["got"].endswith("\r\n\r\nok"), "no chunks for one who does not know them"


def test_upstream_closes_idle_connections(mesh):
    """Each answer is followed by a close that was not announced: the next request must not be lost in it."""
    for i in range(30):
        got = get(mesh, f"/idle/{i}")
        assert got["status"] == 200 and got["text"] == "ok", (i, got)


def test_connection_limits_of_one_caller(mesh):
    calls = [mesh.client.start_call("hold", "raw", 80, count=300, seconds=2) for _ in range(4)]
    assert [finish_call(c) for c in calls] == [300] * 4
    clean(mesh)


@pytest.fixture(scope="module")
def ws(mesh):
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    w = mesh.run("ws", "node", "-e", NODE_UPGRADE)
    w.wait_listening(8091)
    mesh.wait_endpoints("ws", 1)


UPGRADE = "GET {} HTTP/1.1\r\nHost: ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


@pytest.mark.sanitize
def test_upgrade_becomes_a_tunnel(mesh, ws):
    got = mesh.client.call("converse", "ws", 80, lines=[UPGRADE.format("/"), "first", "second"], pause=0.3)
    assert re.match(r"HTTP/1\.1 101 ", got), got
    assert "hello" in got and got.endswith("firstsecond"), got


def test_upgrade_refused_is_an_answer(mesh, ws):
    got = mesh.client.call("talk", "ws", 80, send=UPGRADE.format("/no"), timeout=5)
    assert " 403 " in got["got"] and got["got"].endswith("no")


def test_upgrade_to_h2c_is_not_passed_on(mesh, ws):
    send = "GET / HTTP/1.1\r\nHost: ws\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
    got = mesh.client.call("talk", "ws", 80, send=send, timeout=2)
    assert " 101 " not in got["got"].split("\r\n")[0]


@pytest.mark.slow
def test_nothing_grows(mesh):
    """Ten thousand requests and a thousand new connections, good and bad: descriptors and memory come back."""
    proxies = [mesh.client.proxy_pid(), mesh.raw.proxy_pid()]

    def sizes():
        out = []
        for p in proxies:
            with open(f"/proc/{p}/smaps_rollup") as f:
                out.append((len(os.listdir(f"/proc/{p}/fd")), sum(int(l.split()[1]) for l in f if l.startswith("Private_Dirty:"))))
        return out

    def burst():
        calls = [mesh.client.start_call("http_steady", "raw", 80, seconds=3, path="/keep", pause=0, keep=k) for k in (True, True, False, False)]
        calls.append(mesh.client.start_call("http_steady", "raw", 80, seconds=3, path="/garbage", pause=0.01))
        return sum(finish_call(c)["ok"] for c in calls)
    burst()
    time.sleep(6)  # pooled connections are closed after their idle time
    before = sizes()
    done = sum(burst() for _ in range(3))
    time.sleep(6)
    after = sizes()
    assert done > 3000
    for (fds, kb), (fds_after, kb_after) in zip(before, after):
        assert fds_after <= fds + 2, (before, after)
        assert kb_after <= kb + 600, (before, after)
    assert [mesh.client.proxy_pid(), mesh.raw.proxy_pid()] == proxies
