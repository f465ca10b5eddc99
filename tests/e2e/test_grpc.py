# SPDX-License-Identifier: Apache-2.0
"""gRPC through the proxies, with the libraries that most speak it with: grpc-go and grpcio.

    mtls:  client ---- proxy ==== mTLS ==== proxy ---- server      interop 10000 and echo 10001 (Go), python 10002 (grpcio),
                                                          cut 10004 (answers that break off)
    h2c:   outsider ---- cleartext -------> proxy ---- server      the same, PERMISSIVE

    interop: grpc-go's own test client and server; echo, flood: tests/peers; nobody: a service without endpoints
"""
import json
import os
import signal
import sys

import pytest

from mesh import LIB, Mesh, peer_authentication, service
from netns import run_in
from peers import finish, need_modules, peer
from wait import eventually

INTEROP, ECHO, PYTHON, NARROW, CUT, NOBODY = 10000, 10001, 10002, 10003, 10004, 10009
POLICY = [
    peer_authentication("STRICT"),
    peer_authentication("PERMISSIVE", "open", "default", labels={"app": "open"}),
    service("interop", {"grpc": INTEROP}, {"app": "server"}),
    service("echo", {"grpc": ECHO, "grpc-narrow": NARROW}, {"app": "server"}),
    service("cut", {"grpc": CUT}, {"app": "server"}),
    service("python", {"grpc": PYTHON}, {"app": "server"}),
    service("open", {"grpc": INTEROP, "grpc-echo": ECHO}),
    service("nobody", {"grpc": NOBODY}),
]
CASES = ["empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
         "cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
         "unimplemented_method", "unimplemented_service", "rpc_soak", "channel_soak", "orca_per_rpc", "orca_oob"]
BACKEND_METRICS = ["--service_config_json", '{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}']
SOAK = ["--soak_iterations", "30", "--soak_per_iteration_max_acceptable_latency_ms", "20000", "--soak_overall_timeout_seconds", "60"]
FLAGS = {"orca_per_rpc": BACKEND_METRICS, "orca_oob": BACKEND_METRICS, "rpc_soak": SOAK, "channel_soak": SOAK}
WORDS = 'no: "50 %", ünïcode ☺, tab\tand\r\nlines'


@pytest.fixture(scope="module")
def mesh():
    peer("interop_client")
    with Mesh(POLICY) as m:
        script = f"{peer('interop_server')} --port {INTEROP} & {peer('echod')} {NARROW} 10 & exec {peer('echod')} {ECHO}"
        m.server = m.run("server", "sh", "-c", script)
        m.open = m.run("open", "sh", "-c", script)
        m.client = m.client()
        for w, service_name in ((m.server, "interop"), (m.server, "echo"), (m.open, "open")):
            w.wait_listening(INTEROP, ECHO, NARROW)
            m.wait_endpoints(service_name, 1)
        yield m


@pytest.fixture(scope="module")
def outsider(mesh):
    with mesh.outsider() as o:
        yield o


@pytest.fixture(scope="module")
def python(mesh):
    need_modules("grpc")
    p = mesh.server.spawn(sys.executable, os.path.join(LIB, "pod_grpc.py"), "serve", PYTHON)
    mesh.server.wait_listening(PYTHON, timeout=20)
    mesh.wait_endpoints("python", 1)
    return p


def flood(w, mode, target, *flags, good=True, timeout=150):
    """flood inside a workload: what it saw."""
    p = w.spawn(peer("flood"), mode, target, *flags)
    code, saw, said = finish(p, timeout)
    if good:
        assert code == 0, (saw, said)
    return saw


def grpcio(w, function, **args):
    need_modules("grpc")
    code, saw, said = finish(w.spawn(sys.executable, os.path.join(LIB, "pod_grpc.py"), function, json.dumps(args)), 90)
    assert code == 0, (saw, said)
    return saw


def raw(w, host, port, path="/trammel.peers.Echo/Fail", **more):
    """One request of python's h2, gRPC's headers."""
    need_modules("h2")
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": host, "content-type": "application/grpc", "te": "trailers", **more}
    args = {"host": host, "port": port, "headers": list(headers.items())}
    return finish(w.spawn(sys.executable, os.path.join(LIB, "pod_h2.py"), "request", json.dumps(args)), 60)[1]


def logged(mesh, request_id, count=2):
    """The access log lines of one request: one from each proxy."""
    def lines():
        found = [json.loads(l[l.index("{"):]) for l in mesh.logs(1 << 22).splitlines() if f'"{request_id}"' in l and "{" in l]
        return found if len(found) >= count else None
    return eventually(lines, 5, what=f"{count} lines with request id {request_id}")


# grpc-go's own cases: all that need no cloud's credentials, and not pick_first_unary, which its own server does not answer as it asks

@pytest.mark.sanitize
@pytest.mark.parametrize("case", CASES)
def test_interop(mesh, case):
    mesh.client.exec(peer("interop_client"), "--server_host", "interop", "--server_port", INTEROP, "--test_case", case, *FLAGS.get(case, ()), timeout=90)


@pytest.mark.parametrize("case", CASES)
def test_interop_from_a_stranger(mesh, outsider, case):
    run_in(outsider.path, peer("interop_client"), "--server_host", mesh.open.ip, "--server_port", str(INTEROP), "--test_case", case, *FLAGS.get(case, ()), timeout=90)


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_interop_by_address(mesh, family):
    mesh.client.exec(peer("interop_client"), "--server_host", getattr(mesh.server, family), "--server_port", INTEROP, "--test_case", "large_unary")


# Many, cancelled, late

def test_ten_thousand_streams_at_once(mesh):
    saw = flood(mesh.client, "many", f"echo:{ECHO}", "-channels", 100, "-streams", 100)
    assert saw["ok"] == saw["peak"] == 10000, saw


@pytest.mark.sanitize
def test_hundreds_of_streams_on_few_connections(mesh):
    saw = flood(mesh.client, "many", f"echo:{ECHO}", "-channels", 5, "-streams", 100)
    assert saw["ok"] == saw["peak"] == 500, saw


@pytest.mark.sanitize
def test_server_that_takes_few_streams(mesh):
    """Ten at once on a connection: the others wait or go by another connection, and none fails."""
    saw = flood(mesh.client, "many", f"echo:{NARROW}", "-channels", 4, "-streams", 50, "-apart")
    assert saw["ok"] == 200, saw


@pytest.mark.sanitize
def test_cancellation_reaches_the_server(mesh):
    """Within a second: it may stand for work that nobody waits for any more."""
    saw = flood(mesh.client, "cancel", f"echo:{ECHO}", "-channels", 5, "-streams", 40)
    assert saw["ends"] == {"cancelled": 200}, saw
    assert saw["worst_ms"] < 1000, saw


@pytest.mark.sanitize
def test_deadline_reaches_the_server(mesh):
    saw = flood(mesh.client, "deadline", f"echo:{ECHO}", "-streams", 20, "-deadline-ms", 700)
    assert saw["ok"] == 20 and set(saw["ends"]) <= {"deadline", "cancelled"}, saw
    assert all(0 < told <= 700 for told in saw["told_ms"]), saw
    assert saw["shortest_ms"] >= 690, saw
    assert saw["longest_ms"] < 10000, saw


# Status, metadata, health

@pytest.mark.parametrize("code", range(17))
def test_status_comes_through(mesh, code):
    saw = flood(mesh.client, "fail", f"echo:{ECHO}", "-code", code, "-message", WORDS)
    assert (saw["code"], saw["message"]) == (code, WORDS if code else ""), saw


@pytest.mark.sanitize
def test_metadata_comes_through(mesh):
    """Repeated, binary, empty and long values, in header and trailer."""
    flood(mesh.client, "meta", f"echo:{ECHO}")


def test_health(mesh):
    assert flood(mesh.client, "health", f"echo:{ECHO}")["status"] == "SERVING"


# What operators see

@pytest.mark.sanitize
def test_access_log_says_http2_and_the_status(mesh):
    for code in range(17):
        name = f"grpc-status-{code}"
        flood(mesh.client, "fail", f"echo:{ECHO}", "-code", code, "-id", name)
        for line in logged(mesh, name):
            assert line["kind"] == "http" and line["protocol"] == "HTTP/2", line
            assert line["path"] == "/trammel.peers.Echo/Fail" and line["response_code"] == 200, line
            assert str(line["grpc_status"]) == str(code), line


def test_access_log_of_a_stream(mesh):
    """One line for a stream, with the status that came at its end; trailers, not trailers-only."""
    flood(mesh.client, "many", f"echo:{ECHO}", "-id", "grpc-stream")
    for line in logged(mesh, "grpc-stream"):
        assert (line["protocol"], str(line["grpc_status"]), line["path"]) == ("HTTP/2", "0", "/trammel.peers.Echo/Chat"), line
        assert line["bytes_received"] and line["bytes_sent"], line


def test_metrics_count_by_status(mesh):
    def counts():
        return [w.metric_sum("istio_requests_total", reporter=r, response_code="200", grpc_response_status="5")
                for w, r in ((mesh.client, "source"), (mesh.server, "destination"))]
    before = counts()
    for _ in range(3):
        flood(mesh.client, "fail", f"echo:{ECHO}", "-code", 5)
    eventually(lambda: counts() == [n + 3 for n in before], 5, what=f"three more than {before}")


def test_http2_without_grpc_has_no_status(mesh):
    """A request that is no gRPC call has no status in the log, whatever the port is called."""
    raw(mesh.client, "echo", ECHO, **{"content-type": "text/plain", "x-request-id": "no-grpc"})
    for line in logged(mesh, "no-grpc"):
        assert line["protocol"] == "HTTP/2" and line.get("grpc_status") in (None, ""), line


# Local errors

@pytest.mark.sanitize
def test_no_endpoint_is_unavailable(mesh):
    saw = flood(mesh.client, "fail", f"nobody:{NOBODY}", "-id", "grpc-nobody")
    assert saw["code"] == 14, saw
    line = logged(mesh, "grpc-nobody", 1)[0]
    assert str(line["grpc_status"]) == "14" and line["response_code"] == 200 and line["local_reply"], line


def test_local_error_is_trailers_only(mesh):
    """200, its head ends the stream, and the status is in it; another request is told so by HTTP's own status."""
    got = raw(mesh.client, "nobody", NOBODY)
    head = dict(got["head"])
    assert head[":status"] == "200" and head["grpc-status"] == "14" and head["content-type"].startswith("application/grpc"), got
    assert got["ended"] and got["head_ended"] and not got["body"] and got["trailers"] is None, got
    assert head.get("grpc-message"), "it says why"
    got = raw(mesh.client, "nobody", NOBODY, **{"content-type": "text/plain"})
    assert dict(got["head"])[":status"] == "503" and "grpc-status" not in dict(got["head"]), got


@pytest.fixture(scope="module")
def cutting(mesh):
    need_modules("h2")
    mesh.server.spawn(sys.executable, os.path.join(LIB, "pod_h2_cut.py"), CUT)
    mesh.server.wait_listening(CUT)
    mesh.wait_endpoints("cut", 1)


# PROTOCOL-HTTP2.md, "Errors": what a reset means to gRPC
RESETS = {0: 13, 1: 13, 2: 13, 3: 13, 7: 14, 8: 1, 11: 8, 12: 7}


@pytest.mark.parametrize("code", RESETS)
@pytest.mark.parametrize("begun", ["bare", "head"])
def test_reset_has_a_status(mesh, cutting, begun, code):
    """A call that the server's side breaks off ends with a status in words, before and behind the answer's head."""
    got = raw(mesh.client, "cut", CUT, f"/{begun}/{code}")
    said = dict(got["head"] if begun == "bare" else got["trailers"])
    assert int(said["grpc-status"]) == RESETS[code] and said["grpc-message"] and got["ended"] and got["reset"] is None, got


def test_lost_connection_has_a_status(mesh, cutting):
    got = raw(mesh.client, "cut", CUT, "/head/close", **{"x-request-id": "cut-lost"})
    assert dict(got["trailers"])["grpc-status"] == "14" and got["ended"], got
    assert [str(line["grpc_status"]) for line in logged(mesh, "cut-lost")] == ["14", "14"]
    got = raw(mesh.client, "cut", CUT, "/head/close", **{"content-type": "text/plain"})
    assert got["reset"] is not None or dict(got["head"])[":status"] == "502", ("what is no gRPC is reset, or not begun", got)


@pytest.mark.parametrize("begun", ["bare", "head"])
def test_deadline_has_a_status(mesh, cutting, begun):
    """The proxy's own clock, where neither client nor server has one."""
    got = raw(mesh.client, "cut", CUT, f"/{begun}/wait", **{"grpc-timeout": "300m"})
    said = dict(got["head"] if begun == "bare" else got["trailers"])
    assert said["grpc-status"] == "4" and "deadline" in said["grpc-message"] and got["ended"] and got["reset"] is None, got


def test_server_that_is_killed_ends_its_streams(mesh):
    w = mesh.run("mortal", peer("echod"), str(ECHO))
    w.wait_listening(ECHO)
    mesh.apply("mortal.yaml", [service("mortal", {"grpc": ECHO})])
    mesh.wait_endpoints("mortal", 1)
    held = mesh.client.spawn(peer("flood"), "hold", f"mortal:{ECHO}", "-seconds", 30)
    assert json.loads(held.stdout.readline())["held"]
    os.kill(w.pid, signal.SIGKILL)
    code, saw, said = finish(held, 60)
    assert code == 1 and saw["code"] == 14, (saw, said)


def test_server_that_ends_in_peace_finishes_its_streams(mesh):
    """GOAWAY: what runs goes on to its end, what comes next finds the next server."""
    servers = []
    mesh.apply("relay.yaml", [service("relay", {"grpc": ECHO})])
    for name in ("relay-a", "relay-b"):
        servers.append(mesh.run(name, peer("echod"), str(ECHO), labels={"app": "relay"}))
        servers[-1].wait_listening(ECHO)
        mesh.wait_endpoints("relay", len(servers))
        if len(servers) == 1:
            held = mesh.client.spawn(peer("flood"), "hold", f"relay:{ECHO}", "-seconds", 5)
            assert json.loads(held.stdout.readline())["held"]
    os.kill(servers[0].pid, signal.SIGTERM)
    mesh.wait_endpoints("relay", 1)
    flood(mesh.client, "many", f"relay:{ECHO}", "-channels", 3, "-streams", 10)
    code, saw, said = finish(held, 60)
    assert code == 0 and saw["numbers"] == 6, (saw, said)


def test_a_client_that_leaves_breaks_no_rule(mesh):
    """grpc-go's GOAWAY names the last call it made, where RFC 9113 6.8 has the last it answered: no fault to be told at night."""
    before = mesh.client.metric_sum("trammel_events_total", reason="h2_protocol")
    for _ in range(3):
        flood(mesh.client, "many", f"echo:{ECHO}", "-channels", 3, "-streams", 10)
    assert mesh.client.metric_sum("trammel_events_total", reason="h2_protocol") == before == 0


# The other library

@pytest.mark.sanitize
@pytest.mark.parametrize("target", [f"echo:{ECHO}", f"python:{PYTHON}"], ids=["to-go", "to-python"])
def test_grpcio_calls(mesh, python, target):
    assert grpcio(mesh.client, "numbers", target=target, count=50, streams=50) == {"ok": 50, "of": 50}
    assert grpcio(mesh.client, "big", target=target, size=3 << 20) == {"same": True}
    assert grpcio(mesh.client, "big", target=target, size=3 << 20, compressed=True) == {"same": True}
    assert grpcio(mesh.client, "status", target=target, code=9, message=WORDS) == {"code": 9, "message": WORDS}
    assert grpcio(mesh.client, "cancelled", target=target) == {"first": 1, "code": 1}
    head = [["x-echo-a", "1"], ["x-echo-a", "2"], ["x-echo-raw-bin", bytes(range(256)).hex()]]
    assert grpcio(mesh.client, "metadata", target=target) == {"got": [1], "head": head}


def test_grpcio_deadline(mesh):
    saw = grpcio(mesh.client, "deadline", target=f"echo:{ECHO}", after_s=0.7)
    assert saw["code"] == 4 and 0 < saw["told_ms"] <= 700 and 0.69 < saw["took_s"] < 10, saw


def test_go_calls_grpcio(mesh, python):
    assert flood(mesh.client, "many", f"python:{PYTHON}", "-channels", 4, "-streams", 50)["ok"] == 200
    saw = flood(mesh.client, "fail", f"python:{PYTHON}", "-code", 7, "-message", WORDS)
    assert (saw["code"], saw["message"]) == (7, WORDS), saw


def test_grpcio_finds_nobody(mesh):
    assert grpcio(mesh.client, "status", target=f"nobody:{NOBODY}", code=0, message="")["code"] == 14
