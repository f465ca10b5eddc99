# SPDX-License-Identifier: Apache-2.0
"""HBONE, as Istio's ztunnel speaks it: HTTP/2 CONNECT in mTLS on port 15008, with a peer that shares no code with ours.

    outside (mesh's network, not enrolled, certificate of the mesh's CA)
        in:   hbone_peer.Client ==== tunnel to web:15008 ==== proxy -> web       http 8080, TCP behaviours 7000..
        out:  client -> proxy ==== tunnel to outside:15008 ==== hbone_peer.Server -> servers on outside
    own:      client -> proxy ==== tunnel ==== proxy -> labelled                 a workload with networking.istio.io/tunnel=http
"""
import hashlib
import json
import os
import re
import shutil
import ssl
import struct
import threading
import time

import pytest

import h2.config
import h2.connection
import h2.errors
import h2.events
from hbone_mesh import ID, APPS, DOWN, BIG, far_slice, mesh, outside, tunnel_to, caller, log_lines, two_far, far  # fixtures are among them
from hbone_peer import Client, Reset, authority
from mesh import peer_authentication, service
from pki import Authority
from pod_servers import pattern
from wait import eventually


def get(stream, path="/", headers=""):
    """One HTTP/1.1 request in a tunnel: (status, what the origin saw)."""
    stream.send(f"GET {path} HTTP/1.1\r\nHost: web\r\n{headers}\r\n".encode())
    got = stream.recv_until(end=b"\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    n = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    body += stream.recv_until(n=n - len(body)) if n > len(body) else b""
    return int(head.split()[1]), json.loads(body)


# In: who may, and to where


@pytest.mark.sanitize
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_http_in_a_tunnel(mesh, outside, family):
    ip = mesh.web.ip if family == "v4" else mesh.web.ip6
    with tunnel_to(mesh, outside, ip, peer=ID + "web") as c:
        s = c.connect(authority(ip, 8080), source="192.0.2.66:4711")
        assert s.status == 200
        status, saw = get(s, f"/tunnel-{family}", "X-Forwarded-Client-Cert: URI=spiffe://evil\r\n")
        assert status == 200 and saw["path"] == f"/tunnel-{family}"
        headers = {k.lower(): v for k, v in saw["headers"]}
        assert f"URI={ID}outside" in headers["x-forwarded-client-cert"] and "evil" not in headers["x-forwarded-client-cert"]
        assert saw["peer"].rpartition(":")[0].strip("[]") in map(str, outside.addresses), "the connection's source, not what forwarded says"
        status, saw = get(s, "/again")
        assert status == 200, "keep-alive inside the tunnel"
    row = eventually(lambda: log_lines(mesh, f"/tunnel-{family}"), 5)[0]
    assert row["source"]["principal"] == ID + "outside" and row["mtls"]
    assert row["orig_dst"] == authority(ip, 8080), "the inner destination"


@pytest.mark.sanitize
def test_tcp_in_a_tunnel(mesh, outside, caller):
    s = caller.connect(authority(mesh.web.ip, APPS["who"]))
    s.send(b"who\n")
    saw = json.loads(s.recv_until(end=b"\n"))
    assert saw["server"] == "web" and saw["peer"].rpartition(":")[0] == str(outside.addresses[0])
    assert saw["own"] == f"{mesh.web.ip}:{APPS['who']}"


def test_server_first(mesh, caller):
    assert caller.connect(authority(mesh.web.ip, APPS["banner"])).recv_until(end=b"\r\n") == b"220 web speaks first\r\n"


def test_a_port_without_a_service(mesh, caller):
    """STRICT holds there too, and a tunnel is mTLS."""
    s = caller.connect(authority(mesh.web.ip, APPS["record"]))
    assert s.status == 200 and s.recv_until(end=b"]").startswith(b"[")


@pytest.mark.sanitize
def test_half_close_both_ways(mesh, caller):
    s = caller.connect(authority(mesh.web.ip, APPS["digest"]))
    s.send(b"abc")
    s.end()
    assert json.loads(s.recv_until()) == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    s = caller.connect(authority(mesh.web.ip, APPS["source"]))
    s.send(b"100000\n")
    assert s.recv_until() == pattern(100000), "END_STREAM after the app's half-close"
    s.send(b"after your end")
    s.end()
    eventually(lambda: b"after your end" in caller.connect(authority(mesh.web.ip, APPS["record"])).recv_until(), 5)


def test_much_both_ways(mesh, caller):
    body = pattern(BIG)
    s = caller.connect(authority(mesh.web.ip, APPS["echo"]))
    t = threading.Thread(target=lambda: (s.send(body), s.end()))
    t.start()
    digest, n = hashlib.sha256(), 0
    while True:
        part = s.recv(60)
        if not part:
            break
        n += len(part)
        digest.update(part)
    t.join()
    assert (n, digest.hexdigest()) == (BIG, hashlib.sha256(body).hexdigest())


def test_a_reader_that_is_slow_holds_its_own_stream_alone(mesh, caller):
    """What one stream does not take, back-pressure keeps at the app; its neighbours go on."""
    slow = caller.connect(authority(mesh.web.ip, APPS["source"]))
    slow.send(b"%d\n" % BIG)
    time.sleep(0.5)
    for _ in range(20):
        s = caller.connect(authority(mesh.web.ip, APPS["echo"]))
        s.send(b"x" * 10000)
        assert s.recv_until(n=10000) == b"x" * 10000
    assert slow.n_received <= 5 << 20
    digest, n = hashlib.sha256(), 0
    while True:
        part = slow.recv(60)
        if not part:
            break
        n += len(part)
        digest.update(part)
    assert n == BIG and digest.hexdigest() == hashlib.sha256(pattern(BIG)).hexdigest()


def test_many_streams_on_one_connection(mesh, caller):
    many = [caller.connect(authority(mesh.web.ip, APPS["echo"]), wait=False) for _ in range(90)]
    for i, s in enumerate(many):
        assert s.wait_head().status == 200
        s.send(b"%d" % i)
    for i, s in enumerate(many):
        assert s.recv_until(n=len(str(i))) == b"%d" % i
    assert 90 <= caller.settings.get(3, 0) <= 1000, "a bound on streams is announced"


def test_resets_pass(mesh, caller):
    s = caller.connect(authority(mesh.web.ip, APPS["rst"]))
    s.send(b"x")
    with pytest.raises(Reset):
        s.recv_until()
    s = caller.connect(authority(mesh.web.ip, APPS["ending"]))
    assert s.recv_until(end=b"\n") == b"hello\n"
    s.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
    how = lambda: json.loads(caller.connect(authority(mesh.web.ip, APPS["record"])).recv_until())[-1]["how"]
    eventually(lambda: how() == "reset", 5)
    s = caller.connect(authority(mesh.web.ip, APPS["ending"]))
    assert s.recv_until(end=b"\n") == b"hello\n"
    s.reset(h2.errors.ErrorCodes.CANCEL)
    eventually(lambda: how() == "eof", 5)
    assert caller.ping() < 2, "the connection lives on"


def h2_get(stream, path):
    """A request of HTTP/2 inside a tunnel, prior knowledge: (status, body)."""
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    c.initiate_connection()
    c.send_headers(1, [(":method", "GET"), (":path", path), (":authority", "web"), (":scheme", "http")], end_stream=True)
    stream.send(c.data_to_send())
    status, body, done = None, b"", False
    while not done:
        part = stream.recv()
        assert part, "ended before the answer did"
        for e in c.receive_data(part):
            if isinstance(e, h2.events.ResponseReceived):
                status = dict(e.headers)[":status"]
            elif isinstance(e, h2.events.DataReceived):
                body += e.data
            done = done or isinstance(e, h2.events.StreamEnded)
        if c.data_to_send:
            stream.send(c.data_to_send() or b"")
    return status, body


@pytest.mark.parametrize("port", [8081, 8082], ids=["grpc port", "undeclared port"])
def test_http2_in_a_tunnel(mesh, caller, port):
    if not shutil.which("nghttpd"):
        pytest.skip("nghttpd is not installed")
    d = os.path.join(mesh.root, "h2")
    os.makedirs(d, exist_ok=True)
    with open(os.path.join(d, "page"), "w") as f:
        f.write("by HTTP/2\n")
    p = mesh.web.spawn("nghttpd", "--no-tls", "-d", d, str(port))
    mesh.web.wait_listening(port)
    try:
        assert h2_get(caller.connect(authority(mesh.web.ip, port)), "/page") == ("200", b"by HTTP/2\n")
    finally:
        p.terminate()


@pytest.mark.sanitize
def test_app_down_is_503_and_never_200(mesh, caller):
    s = caller.connect(authority(mesh.web.ip, DOWN))
    assert s.status == 503 and s.recv() == b"", "answered and ended"
    eventually(lambda: "connect_refused" in mesh.web.refusals() or log_lines(mesh, "connect_refused"), 5)
    assert caller.connect(authority(mesh.web.ip, APPS["who"])).status == 200, "the connection lives on"


WRONG = {
    "another workload": lambda m: (authority(m.client.ip, 8080), 400),
    "an address nobody has": lambda m: ("192.0.2.1:80", 400),
    "loopback": lambda m: ("127.0.0.1:8080", 400),
    "any": lambda m: ("0.0.0.0:8080", 400),
    "other family": lambda m: (authority(m.web.ip6, 8080), 400),
    "mapped": lambda m: (f"[::ffff:{m.web.ip}]:8080", 400),
    "no port": lambda m: (m.web.ip, 400),
    "port 0": lambda m: (f"{m.web.ip}:0", 400),
    "port too large": lambda m: (f"{m.web.ip}:65536", 400),
    "port with a sign": lambda m: (f"{m.web.ip}:+80", 400),
    "leading zeroes": lambda m: ("0" + m.web.ip + ":8080", 400),
    "userinfo": lambda m: (f"x@{m.web.ip}:8080", 400),
    "trailing": lambda m: (f"{m.web.ip}:8080/", 400),
    "empty": lambda m: ("", 400),
    "proxy outbound": lambda m: (f"{m.web.ip}:15001", 400),
    "proxy inbound": lambda m: (f"{m.web.ip}:15006", 400),
    "tunnel in a tunnel": lambda m: (f"{m.web.ip}:15008", 400),
    "proxy dns": lambda m: (f"{m.web.ip}:15053", 400),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("case", WRONG)
def test_wrong_authority(mesh, caller, case):
    to, want = WRONG[case](mesh)
    try:
        s = caller.connect(to)
        assert s.status == want, s.headers
    except Reset as e:  # malformed, by RFC 9113 section 8.1.1
        assert want == 400 and e.code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert caller.connect(authority(mesh.web.ip, APPS["who"])).status == 200, "the connection lives on"


HEADS = {
    "GET": [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web:80")],
    "POST to 15008": [(":method", "POST"), (":scheme", "https"), (":path", "/x"), (":authority", "A")],
    "CONNECT with a path": [(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "A")],
    "CONNECT without authority": [(":method", "CONNECT")],
    "extended CONNECT": [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"), (":authority", "A")],
    "upper case": [(":method", "CONNECT"), (":authority", "A"), ("Baggage", "x=y")],
    "content-length": [(":method", "CONNECT"), (":authority", "A"), ("transfer-encoding", "chunked")],
}


@pytest.mark.sanitize
@pytest.mark.parametrize("case", HEADS)
def test_what_is_no_tunnel(mesh, caller, case):
    s = caller.request([(k, authority(mesh.web.ip, 8080) if v == "A" else v) for k, v in HEADS[case]])
    try:
        assert s.wait_head().status in (400, 405), s.headers
    except Reset as e:
        assert e.code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert caller.connect(authority(mesh.web.ip, APPS["who"])).status == 200, "the connection lives on"


@pytest.mark.sanitize
@pytest.mark.parametrize("who", ["nobody", "stranger", "other trust domain", "two identities", "no identity"])
def test_who_may_not(mesh, outside, who):
    folder = os.path.join(mesh.root, "pki")
    pair = {"nobody": lambda: (None, None), "stranger": lambda: Authority.make(folder).leaf(folder, [ID + "outside"]),
            "other trust domain": lambda: mesh.ca.leaf(folder, ["spiffe://elsewhere/ns/default/sa/outside"]),
            "two identities": lambda: mesh.ca.leaf(folder, [ID + "outside", ID + "web"]),
            "no identity": lambda: mesh.ca.leaf(folder, [], dns=["web"])}[who]()
    with pytest.raises((OSError, ssl.SSLError)):
        with tunnel_to(mesh, outside, pair=pair) as c:
            c.connect(authority(mesh.web.ip, 8080))
    want = {"other trust domain": {"trust_domain"}}.get(who, {"tls_peer_cert", "tls_handshake"})
    eventually(lambda: want & set(mesh.web.refusals()), 5, what=f"{want} among refusals")


@pytest.mark.parametrize("payload", [b"GET / HTTP/1.1\r\nHost: web\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"\0" * 300], ids=["http", "h2c", "zeroes"])
def test_plaintext_to_the_tunnel_port(mesh, outside, payload):
    for ip in (mesh.web.ip, mesh.web.ip6):
        assert outside.ask(ip, 15008, payload, timeout=8) == b""


def test_only_h2_on_the_tunnel_port(mesh, outside):
    """The sidecar protocol's ALPN says nothing there, and h2 says nothing on an app's port."""
    for port, alpn in ((15008, "istio"), (15008, "istio-http/1.1"), (8080, "h2")):
        crt, key = mesh.pair
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.load_verify_locations(mesh.ca.crt)
        ctx.load_cert_chain(crt, key)
        ctx.set_alpn_protocols([alpn])
        with pytest.raises(OSError):
            with ctx.wrap_socket(outside.connect(mesh.web.ip, port, 8)) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
                if not s.recv(1000):
                    raise ConnectionResetError("ended")


def test_conn_list_shows_tunnels(mesh, outside, caller):
    s = caller.connect(authority(mesh.web.ip, APPS["echo"]))
    s.send(b"x")
    assert s.recv() == b"x"
    want = authority(mesh.web.ip, APPS["echo"])
    row = eventually(lambda: [c for c in mesh.web.conns() if c["orig_dst"] == want], 5)[0]
    assert row["peer"] == ID + "outside" and row["mtls"] and row["direction"] == "inbound"
    assert row["client"].rpartition(":")[0] == str(outside.addresses[0])
    s.end()
    s.recv_until()
    eventually(lambda: not [c for c in mesh.web.conns() if c["orig_dst"] == want], 5)


def test_ping_and_settings(caller):
    assert caller.ping() < 2
    assert caller.settings.get(2, 0) == 0 and caller.settings.get(4, 0) >= 65535


def test_callers_goaway_lets_tunnels_end(mesh, caller):
    s = caller.connect(authority(mesh.web.ip, APPS["echo"]))
    caller.send_goaway()
    s.send(b"still")
    assert s.recv_until(n=5) == b"still"


def test_what_breaks_the_connection_breaks_it_alone(mesh, outside):
    for kind, stream, payload in ((0, 0, b"DATA on stream 0"), (8, 0, bytes(4)), (9, 1, b"CONTINUATION of nothing"), (5, 1, b"\0\0\0\2x")):
        with tunnel_to(mesh, outside) as c:
            c.raw(struct.pack(">I", len(payload))[1:] + bytes([kind, 4]) + struct.pack(">I", stream) + payload)
            eventually(lambda: c.error, 5)
            assert c.goaway and c.goaway[1] != 0, "told why"
    with tunnel_to(mesh, outside) as c:
        assert c.connect(authority(mesh.web.ip, APPS["who"])).status == 200


# Out: to a peer that says it speaks HBONE


def test_endpoint_list_says_who_speaks_hbone(mesh, two_far):
    rows = {(e["service"], e["address"]): e for e in mesh.json("endpoint", "list")["endpoints"]}
    row = rows["far", f"{two_far[0].ip}:8080"]
    assert (row["tunnel"], row["mtls"], row["spiffe_id"], row["workload"]) == ("hbone", True, ID + "far", "")
    assert rows["far1", f"{two_far[0].ip}:8080"]["tunnel"] == "hbone"
    assert rows["labelled", f"{mesh.labelled.ip}:8080"]["tunnel"] == "hbone"
    assert rows["web", f"{mesh.web.ip}:8080"]["tunnel"] == ""
    assert "hbone" in mesh.trammel("endpoint", "list").stdout


@pytest.mark.sanitize
@pytest.mark.parametrize("host", ["far1", "far6", "by address"])
def test_out_http(mesh, two_far, far, host):
    to, port = (two_far[0].ip, 8080) if host == "by address" else (host, 80)
    far.forget()
    before = len(far.seen)
    got = mesh.client.http(to, port, f"/out-{host.replace(' ', '-')}")
    assert got["status"] == 200 and got["json"]["server"] == "far"
    seen = far.seen[before:]
    assert len(seen) == 1
    headers = seen[0]["headers"]
    assert [k for k, _ in headers if k.startswith(":")] == [":method", ":authority"], "RFC 9113 section 8.5"
    assert dict(headers)[":method"] == "CONNECT"
    assert seen[0]["authority"] == authority(two_far[0].ip6 if host == "far6" else two_far[0].ip, 8080)
    assert (seen[0]["peer"], seen[0]["sni"], seen[0]["status"]) == (ID + "client", None, 200)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", dict(headers)["traceparent"])
    caller_ip = mesh.client.ip6 if host == "far6" else mesh.client.ip
    forwarded = dict(headers)["forwarded"]
    assert forwarded.startswith(f'for="{caller_ip}:' if ":" not in caller_ip else f'for="[{caller_ip}]:'), forwarded
    assert host == "by address" or forwarded.endswith(f";host={host}.default.svc.cluster.local"), forwarded
    baggage = dict(p.split("=", 1) for p in dict(headers)["baggage"].split(","))
    assert baggage["k8s.namespace.name"] == "default" and baggage["k8s.pod.name"] == "client"
    row = eventually(lambda: log_lines(mesh, f"/out-{host.replace(' ', '-')}"), 5)[0]
    assert row["direction"] == "outbound" and row["response_code"] == 200 and row["destination"]["principal"] == ID + "far"


@pytest.mark.sanitize
def test_out_tcp(mesh, two_far, far):
    got = mesh.client.call("who", "far1", APPS["who"])
    assert got["server"]["server"] == "far"
    assert got["server"]["own"] == f"{two_far[0].ip}:{APPS['who']}"


def test_out_server_first(mesh, far):
    got = mesh.client.call("first_words", "far1", APPS["banner"])
    assert got["greeting"] == "220 far speaks first\r\n" and got["echo"] == "ping" and got["waited"] < 2


@pytest.mark.sanitize
def test_out_half_close_both_ways(mesh, two_far, far):
    got = mesh.client.call("upload", "far1", APPS["digest"], count=100000)
    assert got["server"] == {"bytes": 100000, "sha256": got["sha256"]}
    got = mesh.client.call("download", "far1", APPS["source"], count=100000)
    assert got["bytes"] == 100000 and got["sha256"] == got["expected"]
    eventually(lambda: "farewell" in mesh.client.call("talk", "far1", APPS["record"])["got"], 10)


def test_out_much_both_ways(mesh, far):
    got = mesh.client.call("upload", "far1", APPS["digest"], count=BIG)
    assert got["server"] == {"bytes": BIG, "sha256": got["sha256"]}
    got = mesh.client.call("download", "far1", APPS["source"], count=BIG)
    assert got["bytes"] == BIG and got["sha256"] == got["expected"]
    got = mesh.client.http("far1", 80, "/put", method="POST", upload_bytes=16 << 20)
    assert got["json"]["sha256"] == got["sent_sha256"]
    assert mesh.client.call("full_pipe", "far1", APPS["digest"], count=BIG)["server"]["bytes"] == BIG


def test_out_resets_pass(mesh, two_far, far):
    got = mesh.client.call("talk", "far1", APPS["rst"], send="x")
    assert got["error"] == "ECONNRESET", got
    before = len(far.seen)
    mesh.client.call("reset_after_greeting", "far1", APPS["ending"])
    eventually(lambda: far.seen[before]["ended"] and far.seen[before]["ended"] != "end", 5, what="the caller's reset arrives as one")


def connections_of(far, since):
    return {r["connection"] for r in far.seen[since:] if r["status"] == 200}


def test_out_tunnels_share_connections_by_identities_and_address(mesh, two_far, far):
    """One connection for each source identity, destination identity and address; never one for two workloads."""
    mesh.client.call("who", "far1", APPS["who"])
    before = len(far.seen)
    calls = [mesh.client.start_call("ping_pong", "far1", APPS["echo"], rounds=20, size=100, pause=0.02) for _ in range(10)]
    for c in calls:
        assert json.loads(c.communicate(timeout=60)[0].strip().splitlines()[-1]) == 20
    assert len(far.seen) - before == 10 and len(connections_of(far, before)) == 1
    mine = connections_of(far, before)
    mesh.other.call("who", "far1", APPS["who"])
    assert far.seen[-1]["peer"] == ID + "other" and far.seen[-1]["connection"] not in mine
    n = len(two_far[1].server.seen)
    eventually(lambda: mesh.client.http("far", 80)["status"] == 200 and len(two_far[1].server.seen) > n, 10, what="the other address has its own")
    for r in far.seen:
        assert far.connections[r["connection"]].peer == [r["peer"]]


def test_out_many_first_calls_make_one_connection(mesh, far):
    """Single flight: callers wait for the connection that is being made."""
    far.forget()
    before, n = len(far.seen), len(far.connections)
    assert mesh.client.call("hold", "far1", APPS["echo"], count=30, seconds=0.5) == 30
    eventually(lambda: len(far.seen) - before == 30, 5)
    assert len(far.connections) - n == 1


def test_out_beyond_the_peers_bound_another_connection(mesh, far):
    far.forget()
    far.max_streams = 10
    try:
        before = len(far.seen)
        assert mesh.client.call("hold", "far1", APPS["echo"], count=25, seconds=1) == 25
        eventually(lambda: sum(r["status"] == 200 for r in far.seen[before:]) == 25, 5)
        assert len(connections_of(far, before)) >= 3
        assert "PROTOCOL" not in str([c.error for c in far.connections])
    finally:
        far.max_streams = 200
        far.forget()


def reason_of(got):
    return dict(map(tuple, got["headers"])).get("x-trammel-reason")


@pytest.mark.sanitize
@pytest.mark.parametrize("answer,reasons", [(401, {"tunnel_denied"}), (403, {"tunnel_denied"}), (503, {"connect_failed", "tunnel_refused"}),
                                            (400, {"tunnel_refused"}), (404, {"tunnel_refused"}), (301, {"tunnel_refused"})])
def test_out_a_refused_tunnel_says_why(mesh, far, answer, reasons):
    far.forget()
    far.answer = answer
    got = mesh.client.http("far1", 80)
    assert got["status"] in (502, 503) and reason_of(got) in reasons, got["headers"]
    assert mesh.client.call("talk", "far1", APPS["who"], send="who\n")["got"] == ""
    eventually(lambda: reasons & {r["reason"] for r in log_lines(mesh, "far1")}, 5)
    far.answer = None
    assert mesh.client.http("far1", 80)["status"] == 200, "the connection lives on"


def test_out_app_down(mesh, far):
    assert mesh.client.call("talk", "far1", DOWN, send="x")["got"] == ""
    assert far.seen[-1]["status"] == 503


def test_out_no_byte_before_the_answer_is_lost(mesh, far):
    far.stall = 1
    assert mesh.client.call("ping_pong", "far1", APPS["echo"], rounds=3, size=1000) == 3
    assert mesh.client.http("far1", 80, "/put", method="POST", upload_bytes=100000)["status"] == 200


def test_out_an_endpoint_without_listener_is_left_for_another(mesh, two_far, far):
    """far-b's answer is 503 to everything: connections to far succeed all the same, at far-a."""
    two_far[1].server.answer = 503
    for _ in range(6):
        assert mesh.client.http("far", 80)["status"] == 200
    two_far[1].server.answer = None


@pytest.mark.sanitize
def test_out_drain_fails_no_request(mesh, far):
    """GOAWAY: open tunnels end in their time, new ones go by a new connection."""
    steady = mesh.client.start_call("http_steady", "far1", 80, seconds=4, keep=False)
    tcp = mesh.client.start_call("ping_pong", "far1", APPS["echo"], rounds=30, size=100, pause=0.1)
    n = len(far.connections)
    for _ in range(4):
        time.sleep(0.8)
        far.drain()
    got = json.loads(steady.communicate(timeout=60)[0].strip().splitlines()[-1])
    assert got["n_failed"] == 0 and got["ok"] > 50, got
    assert json.loads(tcp.communicate(timeout=60)[0].strip().splitlines()[-1]) == 30
    assert len(far.connections) > n


def test_out_a_dead_connection_is_left(mesh, far):
    mesh.client.http("far1", 80)
    far.forget()
    eventually(lambda: mesh.client.http("far1", 80)["status"] == 200, 5)


@pytest.mark.sanitize
def test_out_another_identity_is_not_called(mesh, two_far, far):
    before = len(two_far[1].server.seen)
    got = mesh.client.http("impostor", 80)
    assert got["status"] in (502, 503) and reason_of(got) == "peer_identity", got["headers"]
    assert mesh.client.call("talk", "impostor", APPS["who"], send="who\n")["got"] == ""
    assert len(two_far[1].server.seen) == before, "no tunnel was asked for"


def test_out_nothing_but_tunnels_leaves(mesh, two_far):
    """Never the app's port itself, in plaintext or in the sidecar's way: 15008 closed is an error."""
    outside = two_far[0].outside
    mesh.apply("closed.yaml", [service("closed", {"http": {"port": 80, "targetPort": 8080}}, False),
                               far_slice("closed-a", str(outside.addresses[0]).replace(".251.251", ".250.249"), "closed", ports={"http": 8080})])
    try:
        mesh.wait_endpoints("closed", 1)
        got = mesh.client.http("closed", 80)
        assert got["status"] in (502, 503, 504), got
    finally:
        mesh.withdraw("closed.yaml")


def test_out_conn_list_shows_the_peer(mesh, two_far, far):
    call = mesh.client.start_call("hold", "far1", APPS["echo"], count=2, seconds=2)
    rows = eventually(lambda: (lambda r: r if len(r) == 2 else None)([c for c in mesh.client.conns() if c["peer"] == ID + "far"]), 5)
    assert all(r["endpoint"] == f"{two_far[0].ip}:{APPS['echo']}" and r["mtls"] for r in rows), rows
    call.communicate(timeout=30)


# Our own on both ends


@pytest.fixture
def fifteen_eight(mesh):
    """Ports that workloads' connections inbound at labelled were dialled on."""
    return lambda: {c["orig_dst"].rpartition(":")[2] for c in mesh.labelled.conns()}


@pytest.mark.sanitize
def test_own_http(mesh, fifteen_eight):
    got = mesh.client.http("labelled", 80, "/own")
    assert got["status"] == 200
    headers = {k.lower(): v for k, v in got["json"]["headers"]}
    assert f"URI={ID}client" in headers["x-forwarded-client-cert"]
    assert got["json"]["peer"].rpartition(":")[0] == mesh.client.ip, "the app sees who called"
    rows = eventually(lambda: (lambda r: r if len(r) >= 2 else None)(log_lines(mesh, "/own")), 5, what="a line of each proxy")
    assert {r["direction"] for r in rows} == {"inbound", "outbound"}
    assert "15008" in fifteen_eight(), "by a tunnel"


@pytest.mark.sanitize
def test_own_tcp(mesh):
    assert mesh.client.call("who", "labelled", APPS["who"])["server"]["server"] == "labelled"
    assert mesh.client.call("first_words", "labelled", APPS["banner"])["greeting"].startswith("220 labelled")
    got = mesh.client.call("upload", "labelled", APPS["digest"], count=1 << 20)
    assert got["server"] == {"bytes": 1 << 20, "sha256": got["sha256"]}
    got = mesh.client.call("download", "labelled", APPS["source"], count=1 << 20)
    assert got["sha256"] == got["expected"]
    assert mesh.client.call("ping_pong", "labelled", APPS["echo"], rounds=100, size=1000) == 100


def test_own_plaintext_port_is_called_in_plaintext(mesh):
    """DISABLE counts more than the label."""
    mesh.apply("disable.yaml", [peer_authentication("STRICT", "labelled", "default", {8080: "DISABLE"}, {"app": "labelled"})])
    try:
        eventually(lambda: {e["tunnel"] for e in mesh.json("endpoint", "list")["endpoints"]
                            if e["service"] == "labelled" and e["address"].endswith(":8080")} == {""}, 5)
        got = eventually(lambda: (lambda g: g if "x-forwarded-client-cert" not in {k.lower() for k, _ in g["json"]["headers"]} else None)(
            mesh.client.http("labelled", 80)), 5)
        assert got["status"] == 200
    finally:
        mesh.withdraw("disable.yaml")
    eventually(lambda: {e["tunnel"] for e in mesh.json("endpoint", "list")["endpoints"] if e["service"] == "labelled"} == {"hbone"}, 5)


def test_own_proxy_restart_drains(mesh):
    """A workload that stops says GOAWAY; calls to the service go on at the other one."""
    second = mesh.serve("labelled-2", *[f"{k}:{p}" for k, p in APPS.items()], labels={"app": "labelled", "networking.istio.io/tunnel": "http"},
                        args=["--service-account", "labelled"])
    mesh.wait_endpoints("labelled", 2)
    steady = mesh.client.start_call("http_steady", "labelled", 80, seconds=4)
    time.sleep(1)
    second.stop()
    got = json.loads(steady.communicate(timeout=60)[0].strip().splitlines()[-1])
    assert got["n_failed"] <= 1 and got["ok"] > 50, f"at most what was in flight to the one that was stopped: {got}"
