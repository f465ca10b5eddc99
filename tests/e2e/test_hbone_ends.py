# SPDX-License-Identifier: Apache-2.0
"""HBONE: how tunnels end when an end stalls, breaks the rules or refuses (set-up: hbone_mesh.py)."""
import json
import os
import signal
import struct
import time

import pytest

import h2.errors
import h2.settings
from hbone_mesh import APPS, caller, far, log_lines, mesh, outside, tunnel_to, two_far  # fixtures are among them
from hbone_peer import Reset, authority
from pod_servers import pattern
from wait import eventually

HEADERS, END_HEADERS = 1, 4
WINDOW, UNSENT = 65535, 120000  # more than the window takes, less than it and what the proxy keeps for a stream


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def bad_trailers(stream):
    """A second head without END_STREAM, as no message has it."""
    return frame(HEADERS, END_HEADERS, stream, b"\x00\x01a\x01b")


@pytest.fixture
def narrow(mesh, outside):
    """A caller that grants its streams little."""
    with tunnel_to(mesh, outside, settings={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW}) as c:
        yield c


def tunnels_of(mesh, port):
    return [c for c in mesh.web.conns() if c["orig_dst"] == authority(mesh.web.ip, port)]


@pytest.mark.sanitize
@pytest.mark.parametrize("code", ["CANCEL", "NO_ERROR", "INTERNAL_ERROR"])
def test_a_reset_ends_what_was_still_to_be_sent(mesh, narrow, code):
    """The caller took nothing and goes, orderly or not: nothing is kept for it."""
    s = narrow.connect(authority(mesh.web.ip, APPS["source"]))
    s.send(b"%d\n" % (8 << 20))
    eventually(lambda: s.n_received == WINDOW, 10)
    time.sleep(0.3)  # for the rest of what is taken to pile up in the proxy
    assert tunnels_of(mesh, APPS["source"])
    s.reset(getattr(h2.errors.ErrorCodes, code))
    eventually(lambda: not tunnels_of(mesh, APPS["source"]), 10)
    assert narrow.ping() < 2, "the connection lives on"


@pytest.mark.parametrize("late", ["", "and more"])
def test_what_the_app_said_waits_for_a_caller_that_stalls(mesh, narrow, late):
    """The app has gone, its last bytes have not: they wait longer than the peer's end is waited for, also if more is sent."""
    s = narrow.connect(authority(mesh.web.ip, APPS["source"] if not late else 8080))
    if late:  # HTTP: the proxy itself ends the connection
        s.send(b"GET /bytes/%d HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n" % UNSENT)
    else:
        s.send(b"%d\n" % UNSENT)
        s.end()
    eventually(lambda: s.n_received == WINDOW, 10)
    time.sleep(7)
    if late:
        s.send(late.encode())
        time.sleep(0.5)
    got = s.recv_until()
    assert got == pattern(UNSENT) if not late else len(got) > UNSENT and got.endswith(pattern(UNSENT))


@pytest.mark.sanitize
def test_in_a_second_head_in_a_tunnel_is_a_stream_error(mesh, caller):
    s = caller.connect(authority(mesh.web.ip, APPS["ending"]))
    assert s.recv_until(end=b"\n") == b"hello\n"
    caller.raw(bad_trailers(s.id))
    with pytest.raises(Reset) as e:
        s.recv(5)
    assert e.value.code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    how = lambda: json.loads(caller.connect(authority(mesh.web.ip, APPS["record"])).recv_until())[-1]["how"]
    eventually(lambda: how() == "reset", 5)
    eventually(lambda: not tunnels_of(mesh, APPS["ending"]), 5)


@pytest.mark.sanitize
def test_out_a_second_head_in_a_tunnel_is_a_reset(mesh, far):
    call = mesh.client.start_call("talk", "far1", APPS["digest"], send="x")
    eventually(lambda: any(r["authority"].endswith(f":{APPS['digest']}") and r["status"] == 200 and not r["ended"] for r in far.seen), 5)
    r = [r for r in far.seen if r["authority"].endswith(f":{APPS['digest']}")][-1]
    far.connections[r["connection"]].raw(bad_trailers(r["stream"]))
    assert json.loads(call.communicate(timeout=20)[0].strip().splitlines()[-1])["error"] == "ECONNRESET"
    eventually(lambda: r["ended"] == "reset 1", 5, what="PROTOCOL_ERROR")
    assert mesh.client.http("far1", 80)["status"] == 200
    assert far.seen[-1]["connection"] == r["connection"], "the connection lives on"


@pytest.mark.sanitize
@pytest.mark.parametrize("n,taken", [(60, True), (99, True), (150, False)])
def test_out_an_answer_of_many_fields(mesh, far, n, taken):
    """Up to the limit it is an answer; above it it is none, and the other tunnels of the connection do not hear of it."""
    held = mesh.client.start_call("hold", "far1", APPS["echo"], count=1, seconds=3)
    eventually(lambda: any(r["authority"].endswith(f":{APPS['echo']}") and r["status"] == 200 and not r["ended"] for r in far.seen), 5)
    far.extra = [(f"x-field-{i}", "v") for i in range(n)]
    got = mesh.client.call("talk", "far1", APPS["who"], send="who\n")["got"]  # a tunnel of its own
    assert ("far" in got) == taken, got
    far.extra = []
    assert json.loads(held.communicate(timeout=20)[0].strip().splitlines()[-1]) == 1
    assert mesh.client.http("far1", 80)["status"] == 200


def test_out_who_refuses_every_tunnel_is_not_stormed(mesh, far):
    """Without GOAWAY: all that are refused together wait on one new connection, a bounded number of times."""
    far.forget()
    n = len(far.connections)
    far.refuse = True
    mesh.client.call("hold", "far1", APPS["echo"], count=30, seconds=0.1)
    assert 2 <= len(far.connections) - n <= 8
    far.refuse = False
    assert mesh.client.http("far1", 80)["status"] == 200


def test_the_final_goaway_comes_however_many_tunnels_begin(mesh, outside):
    """Its second of grace is one second, not one from the last tunnel on."""
    with tunnel_to(mesh, outside) as c:
        first = c.connect(authority(mesh.web.ip, APPS["echo"]))
        os.kill(mesh.web.proxy_pid(), signal.SIGTERM)
        begun, n = time.monotonic(), 0
        while time.monotonic() - begun < 20 and not (c.goaway and c.goaway[0] < 2**31 - 1):
            try:
                c.goaway = None if c.goaway and c.goaway[0] == 2**31 - 1 else c.goaway  # the peer's own rule: it opens on
                c.connect(authority(mesh.web.ip, APPS["echo"])).end()
                n += 1
            except ConnectionError:
                pass
            time.sleep(0.1)
        assert n >= 3 and c.goaway and c.goaway[0] < 2**31 - 1, (n, c.goaway)
        first.send(b"still")
        assert first.recv_until(n=5) == b"still", "what was open goes on"
        first.end()
    eventually(lambda: mesh.client.http("web", 80)["status"] == 200, 15)
