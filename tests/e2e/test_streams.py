# SPDX-License-Identifier: Apache-2.0
"""TCP that is not HTTP keeps its meaning: order, ends, resets, back pressure, and what applications do with sockets.

    client ---- proxy ==== mTLS (ALPN istio) ==== proxy ---- server   one port per behaviour (see lib/pod_servers.py)

Each behaviour is tried on a port declared as tcp and on one not declared at all (sniffed), and by pod address.
"""
import json

import pytest

from mesh import Mesh, peer_authentication, service
from wait import eventually

DECLARED = {"who": 7001, "banner": 7002, "echo": 7003, "digest": 7004, "source": 7005, "rst": 7006, "ending": 7007,
            "record": 7008, "fionread": 7009, "peek": 7010, "waitall": 7011, "spliced": 7012, "sendfile": 7013, "lazy": 7014}
OPEN = {k: p + 100 for k, p in DECLARED.items()}
MIB = 1 << 20

POLICY = [
    peer_authentication("STRICT"),
    service("declared", {f"tcp-{k}": p for k, p in DECLARED.items()}, {"app": "server"}),
    service("open", {f"x{k}": p for k, p in OPEN.items()}, {"app": "server"}),
]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.server = m.serve("server", *[f"{k}:{p}" for t in (DECLARED, OPEN) for k, p in t.items()])
        m.client = m.client()
        m.wait_endpoints("declared", 1)
        yield m


@pytest.fixture(params=["declared", "open", "pod"])
def to(request, mesh):
    """to("echo") -> (host, port) of that behaviour."""
    table = OPEN if request.param == "open" else DECLARED
    host = mesh.server.ip if request.param == "pod" else request.param
    return lambda kind: {"host": host, "port": table[kind]}


def last_record(mesh, kind):
    got = json.loads(mesh.server.call("talk", "127.0.0.1", DECLARED["record"])["got"])
    return [r for r in got if r["kind"] == kind]


@pytest.mark.sanitize
def test_64_mib_up(mesh, to):
    got = mesh.client.call("upload", **to("digest"), count=64 * MIB)
    assert got["server"] == {"bytes": 64 * MIB, "sha256": got["sha256"]}


@pytest.mark.sanitize
def test_64_mib_down(mesh, to):
    got = mesh.client.call("download", **to("source"), count=64 * MIB)
    assert got["bytes"] == 64 * MIB and got["sha256"] == got["expected"]


def test_half_close_of_the_caller(mesh, to):
    got = mesh.client.call("upload", **to("digest"), count=10)
    assert got["server"]["bytes"] == 10, "the answer came after our FIN"


def test_half_close_of_the_server(mesh, to):
    before = len(last_record(mesh, "source"))
    got = mesh.client.call("download", **to("source"), count=1000)
    assert got["bytes"] == 1000
    seen = eventually(lambda: last_record(mesh, "source")[before:], what="the server's record")
    assert seen[0]["after_half_close"] == "farewell after your half-close"


def test_reset_by_the_server_is_a_reset(mesh, to):
    got = mesh.client.call("talk", **to("rst"), send="anything at all\n")
    assert got["error"] == "ECONNRESET", got


def test_reset_by_the_caller_is_a_reset(mesh):
    before = len(last_record(mesh, "ending"))
    assert mesh.client.call("reset_after_greeting", "declared", DECLARED["ending"]) == "hello\n"
    seen = eventually(lambda: last_record(mesh, "ending")[before:], what="the server's record")
    assert seen[0]["how"] == "reset"


def test_close_by_the_caller_is_an_end(mesh):
    before = len(last_record(mesh, "ending"))
    assert mesh.client.call("close_after_greeting", "declared", DECLARED["ending"]) == "hello\n"
    seen = eventually(lambda: last_record(mesh, "ending")[before:], what="the server's record")
    assert seen[0]["how"] == "eof"


def test_server_speaks_first_on_a_declared_port(mesh):
    for host in ("declared", mesh.server.ip, mesh.server.ip6):
        got = mesh.client.call("first_words", host, DECLARED["banner"])
        assert got["greeting"].startswith("220 server"), got
        assert got["echo"] == "ping"
        assert got["waited"] < 1, "no detection time-out in the way of a declared port"


def test_server_speaks_first_on_a_port_nobody_declared(mesh):
    got = mesh.client.call("first_words", "open", OPEN["banner"], timeout=20)
    assert got["greeting"].startswith("220 server"), got
    assert got["echo"] == "ping"


def test_many_small_exchanges(mesh, to):
    assert mesh.client.call("ping_pong", **to("echo"), rounds=2000, size=64) == 2000


def test_fionread_tells_what_is_there(mesh, to):
    got = mesh.client.call("small_writes", **to("fionread"), total=30000, step=500)
    assert got["total"] == 30000 and all(got["sizes"]), got


def test_peek_then_read(mesh, to):
    got = mesh.client.call("talk", **to("peek"), send="look before you read")
    assert json.loads(got["got"]) == {"same": True, "got": "look before you read"}


def test_waitall(mesh, to):
    got = mesh.client.call("small_writes", **to("waitall"), total=100000, step=700)
    assert got == {"got": 100000}


def test_splice_user(mesh, to):
    assert mesh.client.call("ping_pong", **to("spliced"), rounds=300, size=5000) == 300


def test_sendfile_user(mesh, to):
    got = mesh.client.call("talk", **to("sendfile"), send="\n", half_close=True, limit=2 * MIB)
    assert len(got["got"]) == MIB


def test_a_reader_that_sleeps_slows_the_writer(mesh):
    """Back pressure: while the server does not read, a bounded amount is taken; nothing is lost after."""
    got = mesh.client.call("full_pipe", "declared", DECLARED["lazy"], count=64 * MIB)
    assert got["early"] < 32 * MIB, f"{got['early']} bytes were swallowed while nobody read"
    assert got["server"] == {"bytes": 64 * MIB, "sha256": got["sha256"]}


def test_connection_without_a_byte_is_passed_on(mesh):
    """Open, say nothing, close the writing side: the server sees the end and answers."""
    got = mesh.client.call("talk", "declared", DECLARED["digest"], half_close=True)
    assert json.loads(got["got"])["bytes"] == 0
