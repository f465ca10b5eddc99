# SPDX-License-Identifier: Apache-2.0
"""The tests' own HBONE client and server speak to each other: what test_hbone.py then finds is the proxy's.

    Client ==== mTLS, HTTP/2 CONNECT ==== Server ---- pod_servers.py      all on the loopback of this process
"""
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

import hbone_peer
from hbone_peer import Client, Reset, Server
from mesh import SERVERS
from pki import Authority
from pod_servers import pattern
from wait import eventually

ID = "spiffe://cluster.local/ns/default/sa/"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("pki"))
    ca = Authority.make(folder, "mesh")
    ports = {k: free_port() for k in ("http", "echo", "banner", "digest", "source", "record", "rst")}
    apps = subprocess.Popen([sys.executable, SERVERS, "far", *[f"{k}:{p}@127.0.0.1" for k, p in ports.items()]], stdout=subprocess.PIPE)
    assert apps.stdout.readline() == b"ready\n"
    crt, key = ca.leaf(folder, [ID + "far"], "far")
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        with Server(listener, crt, key, ca.crt, lambda host, port: socket.create_connection((host, port), 2), own=["127.0.0.1"]) as s:
            s.ports, s.folder, s.address = ports, folder, listener.getsockname()
            s.client_pair = ca.leaf(folder, [ID + "near"], "near")
            yield s
    finally:
        apps.terminate()
        apps.wait()
        apps.stdout.close()


def client(far, **kwargs):
    crt, key = kwargs.pop("pair", far.client_pair)
    return Client(socket.create_connection(far.address), crt, key, far.ca, **kwargs)


@pytest.fixture
def near(far):
    far.answer, far.stall = None, 0
    with client(far, peer=ID + "far") as c:
        yield c


def to(far, kind):
    return f"127.0.0.1:{far.ports[kind]}"


def test_a_tunnel_carries_bytes(far, near):
    s = near.connect(to(far, "echo"), source="192.0.2.1:5000")
    assert s.status == 200
    s.send(b"ping")
    assert s.recv() == b"ping"
    s.end()
    assert s.recv() == b""
    seen = far.seen[-1]
    assert seen["peer"] == ID + "near" and seen["sni"] is None
    assert [k for k, _ in seen["headers"]] == [":method", ":authority", "baggage", "forwarded", "traceparent"]


def test_server_speaks_first(far, near):
    assert near.connect(to(far, "banner")).recv_until(end=b"\r\n") == b"220 far speaks first\r\n"


def test_half_close_both_ways(far, near):
    s = near.connect(to(far, "digest"))
    s.send(b"abc")
    s.end()
    assert json.loads(s.recv_until()) == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    s = near.connect(to(far, "source"))
    s.send(b"1000\n")
    assert s.recv_until() == pattern(1000)
    s.send(b"after your end")
    s.end()
    eventually(lambda: b"after your end" in near.connect(to(far, "record")).recv_until(), 5)


def test_much_both_ways_at_once(far, near):
    body = pattern(24 << 20)
    s = near.connect(to(far, "echo"))
    t = threading.Thread(target=lambda: (s.send(body), s.end()))
    t.start()
    h = hashlib.sha256()
    n = 0
    while True:
        part = s.recv()
        if not part:
            break
        n += len(part)
        h.update(part)
    t.join()
    assert n == len(body) and h.digest() == hashlib.sha256(body).digest()


def test_several_streams_on_a_connection(far, near):
    many = [near.connect(to(far, "echo"), wait=False) for _ in range(50)]
    for i, s in enumerate(many):
        assert s.wait_head().status == 200
        s.send(b"%d" % i)
    for i, s in enumerate(many):
        assert s.recv_until(n=len(str(i))) == b"%d" % i
        s.end()
        assert s.recv() == b""
    assert len({r["connection"] for r in far.seen[-50:]}) == 1


def test_answers(far, near):
    assert near.connect("127.0.0.2:80").status == 400
    assert near.connect("nonsense").status == 400
    assert near.connect(f"127.0.0.1:{free_port()}").status == 503
    s = near.request([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", to(far, "http"))], end=True)
    assert s.wait_head().status == 400
    far.deny = {ID + "near"}
    assert near.connect(to(far, "echo")).status == 401
    far.deny = set()
    far.answer = 503
    assert near.connect(to(far, "echo")).status == 503
    far.answer = None
    assert near.connect(to(far, "echo")).status == 200


def test_reset_both_ways(far, near):
    s = near.connect(to(far, "echo"))
    s.reset()
    eventually(lambda: far.seen[-1]["ended"] == "reset 8", 5)
    s = near.connect(to(far, "rst"))
    s.send(b"x")
    with pytest.raises(Reset):
        s.recv_until()


def test_ping(near):
    assert near.ping() < 2


def test_goaway_lets_open_streams_end(far):
    with client(far) as c:
        s = c.connect(to(far, "echo"))
        far.drain()
        eventually(lambda: c.goaway, 5)
        assert c.goaway[:2] == (s.id, 0)
        s.send(b"still here")
        assert s.recv() == b"still here"
        with pytest.raises(ConnectionError):
            c.connect(to(far, "echo"))


def test_client_goaway(far):
    with client(far) as c:
        s = c.connect(to(far, "echo"))
        c.send_goaway()
        eventually(lambda: far.live()[-1].goaway, 5)
        s.send(b"x")
        assert s.recv() == b"x"


def test_identities(far):
    with pytest.raises(ConnectionError):
        client(far, peer=ID + "other").close()
    stranger = Authority.make(os.path.join(far.folder, "s"))
    for pair in ((None, None), stranger.leaf(os.path.join(far.folder, "s"), [ID + "near"])):
        n = len(far.refused)
        with pytest.raises((ssl.SSLError, OSError)):
            with client(far, pair=pair) as c:
                c.connect(to(far, "echo"))
        eventually(lambda: len(far.refused) > n, 5)
