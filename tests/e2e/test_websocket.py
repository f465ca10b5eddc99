# SPDX-License-Identifier: Apache-2.0
"""WebSocket through two proxies, between libraries that nobody here wrote.

    gorilla (Go), websockets (Python) -> proxy ==== mTLS ==== proxy -> gorilla 8081, websockets 8082     HTTP/1.1 Upgrade
    frames by hand on python's h2     -> proxy ==== mTLS ==== proxy -> hypercorn 8083                    extended CONNECT, RFC 8441
"""
import json
import os
import sys

import pytest

from mesh import LIB, Mesh, peer_authentication, service
from peers import finish, need_modules, peer
from wait import eventually

MIB = 1 << 20
POLICY = [
    peer_authentication("STRICT"),
    service("go", {"http": {"port": 80, "targetPort": 8081}}, {"app": "server"}),
    service("python", {"http": {"port": 80, "targetPort": 8082}}, {"app": "server"}),
    service("two", {"http2": {"port": 80, "targetPort": 8083}}),
    service("pages", {"http": {"port": 80, "targetPort": 8080}}),
    service("nobody", {"http": 80}),
]
SERVERS = ["go", "python"]


@pytest.fixture(scope="module")
def mesh():
    need_modules("websockets")
    with Mesh(POLICY) as m:
        script = f"{peer('ws')} serve 8081 & exec {sys.executable} {os.path.join(LIB, 'pod_ws.py')} serve 8082"
        m.server = m.run("server", "sh", "-c", script)
        m.client = m.client()
        m.server.wait_listening(8081, 8082, timeout=20)
        for name in SERVERS:
            m.wait_endpoints(name, 1)
        yield m


def ws(mesh, function, **args):
    """One function of pod_ws.py in the client."""
    code, saw, said = finish(mesh.client.spawn(sys.executable, os.path.join(LIB, "pod_ws.py"), function, json.dumps(args)), 150)
    assert code == 0, (saw, said)
    return saw


def gorilla(mesh, url, count, size, rounds):
    return finish(mesh.client.spawn(peer("ws"), "load", url, count, size, rounds), 150)[1]


def logged(mesh, path):
    """The access log lines of one path: one from each proxy."""
    def lines():
        found = [json.loads(l[l.index("{"):]) for l in mesh.logs(1 << 22).splitlines() if f'"{path}"' in l and "{" in l]
        return found if len(found) >= 2 else None
    return eventually(lines, 5, what=f"a line of each proxy with {path}")


@pytest.mark.parametrize("server", SERVERS)
def test_two_hundred_at_once(mesh, server):
    """Messages of 4 KiB with pings between, from both libraries at the same time."""
    other = mesh.client.spawn(peer("ws"), "load", f"ws://{server}/", 100, 4096, 10)
    assert ws(mesh, "load", url=f"ws://{server}/", count=100, size=4096, rounds=10) == {"ok": 100, "bad": []}
    assert finish(other, 150)[1] == {"ok": 100, "bad": {}}


@pytest.mark.sanitize
@pytest.mark.parametrize("server", SERVERS)
def test_a_few_with_large_messages(mesh, server):
    assert gorilla(mesh, f"ws://{server}/", 4, 3 * MIB, 2) == {"ok": 4, "bad": {}}


@pytest.mark.sanitize
@pytest.mark.parametrize("server", SERVERS)
def test_large_frames(mesh, server):
    """Sizes around each form of the length, then one frame of many megabytes."""
    sizes = [0, 1, 125, 126, 65535, 65536, MIB, MIB + 1, 16 * MIB]
    assert ws(mesh, "big", url=f"ws://{server}/", sizes=sizes) == {"same": [True] * len(sizes)}


@pytest.mark.sanitize
@pytest.mark.parametrize("server", SERVERS)
def test_fragmented_message(mesh, server):
    assert ws(mesh, "fragments", url=f"ws://{server}/", count=100, size=20000) == {"same": True}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4999])
def test_close_code_of_the_server(mesh, server, code):
    assert ws(mesh, "closed", url=f"ws://{server}/close/{code}") == {"code": code, "reason": "as asked", "answered": True}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("code", [1000, 3333])
def test_close_code_of_the_client(mesh, server, code):
    assert ws(mesh, "closing", url=f"ws://{server}/", code=code) == {"code": code}


def test_subprotocol_is_negotiated(mesh):
    assert ws(mesh, "subprotocol", url="ws://go/") == {"chosen": "echo.trammel", "status": 101}


def test_silence_is_no_end(mesh):
    assert ws(mesh, "idle", url="ws://go/", seconds=4) == {"got": "still there"}


def test_nobody_to_upgrade_with(mesh):
    assert ws(mesh, "refused", url="ws://nobody/") == {"status": 503}


def test_server_that_is_asked_without_an_upgrade(mesh):
    """Its refusal is the caller's, and the connection goes on as HTTP."""
    r = mesh.client.curl("-w", "%{http_code} %{num_connects}\\n", "-o", "/dev/null", "http://go/", "-o", "/dev/null", "http://go/")
    assert r.stdout.split("\n")[:2] == ["400 1", "400 0"]


def test_upgrade_is_logged_once_it_ends(mesh):
    ws(mesh, "closing", url="ws://go/log-this-socket", code=1000)
    for line in logged(mesh, "/log-this-socket"):
        assert line["response_code"] == 101 and line["protocol"] == "HTTP/1.1", line


# RFC 8441: needs the proxy's own HTTP/2 where it looks at what passes

WHOLE = {"may": 1, "status": "200", "echoed": [True] * 3, "pong": True, "fragments": True, "close": 1000}


@pytest.fixture(scope="module")
def two(mesh):
    need_modules("hypercorn")
    w = mesh.run("two", "env", f"PYTHONPATH={LIB}", sys.executable, "-m", "hypercorn", "--bind", "[::]:8083", "pod_asgi:app")
    w.wait_listening(8083, timeout=20)
    mesh.wait_endpoints("two", 1)
    return w


def extended(mesh, host, port, path="/"):
    need_modules("h2")
    args = {"host": host, "port": port, "path": path}
    return finish(mesh.client.spawn(sys.executable, os.path.join(LIB, "pod_h2.py"), "websocket", json.dumps(args)), 90)[1]


@pytest.mark.sanitize
def test_extended_connect_over_http2(mesh, two):
    """Offered in SETTINGS; echoes up to 1 MiB, a ping, a message in parts and the close handshake, on one stream of a connection."""
    assert extended(mesh, "two", 80) == WHOLE


def test_http2_websocket_to_a_server_that_does_not_know_upgrade(mesh):
    """It answers 200 with its page: over HTTP/2 that would be a tunnel."""
    mesh.serve("pages", "http:8080")
    mesh.wait_endpoints("pages", 1)
    saw = extended(mesh, "pages", 80)
    assert saw["status"] == "502", saw


def test_extended_connect_is_logged(mesh, two):
    """As what it is to policy and routes, whatever the wire: a GET that was upgraded."""
    assert extended(mesh, "two", 80, "/log-extended") == WHOLE
    lines = logged(mesh, "/log-extended")
    assert {l["direction"] for l in lines} == {"inbound", "outbound"}
    assert all(l["protocol"] == "HTTP/2" and l["method"] == "GET" and l["response_code"] == 101 for l in lines), lines
