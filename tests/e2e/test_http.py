# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 through two proxies: bodies, reuse, refusals with a reason, trace headers as the server saw them.

    client ---- proxy ==== mTLS (ALPN istio-http/1.1) ==== proxy ---- web: recording origin on 8080
                                                                      service web 80, service nobody 80 (no endpoint),
                                                                      service refuses 80 -> 8099 (nobody listens)
"""
import re
import time

import pytest

from mesh import Mesh, peer_authentication, service
from wait import eventually

MIB = 1 << 20
POLICY = [
    peer_authentication("STRICT"),
    service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-raw": {"port": 81, "targetPort": 8080}}),
    service("sniffed", {"x": {"port": 80, "targetPort": 8080}}, {"app": "web"}),
    service("nobody", {"http": 80}, {"app": "nobody"}),
]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", args=["--service-account", "web-sa"])
        m.client = m.run("client", "sleep", "3600", args=["--service-account", "client-sa"])
        m.wait_endpoints("web", 1)
        yield m


def header(got, name):
    """The one value of a response header, or None."""
    values = [v for k, v in got["headers"] if k == name.lower()]
    assert len(values) < 2, f"{name} twice: {values}"
    return values[0] if values else None


def seen(got, name):
    """All values of a request header as the origin saw it."""
    return [v for k, v in got["json"]["headers"] if k.lower() == name.lower()]


@pytest.mark.sanitize
@pytest.mark.parametrize("host", ["web", "sniffed", "pod"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods(mesh, host, method):
    target = (mesh.web.ip, 8080) if host == "pod" else (host, 80)
    body = "some body" if method in ("POST", "PUT", "PATCH") else ""
    got = mesh.client.http(*target, "/m?q=%20x", method=method, body=body)
    assert got["status"] == 200, got
    if method != "HEAD":
        assert got["json"]["method"] == method and got["json"]["path"] == "/m?q=%20x" and got["json"]["bytes"] == len(body)


@pytest.mark.sanitize
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_64_mib_body_up(mesh, chunked):
    got = mesh.client.http("web", 80, "/up", method="POST", upload_bytes=64 * MIB, chunked=chunked, timeout=60)
    assert got["json"]["bytes"] == 64 * MIB and got["json"]["sha256"] == got["sent_sha256"]


@pytest.mark.sanitize
def test_64_mib_body_down(mesh):
    got = mesh.client.http("web", 80, f"/bytes/{64 * MIB}", timeout=60)
    assert got["bytes"] == 64 * MIB
    direct = mesh.web.http("127.0.0.1", 8080, f"/bytes/{64 * MIB}", timeout=60)
    assert got["sha256"] == direct["sha256"]


def test_chunked_answer(mesh):
    got = mesh.client.http("web", 80, "/chunked/5000")
    assert got["text"] == "hello" * 5000


def test_keep_alive_reuses_the_upstream_connection(mesh):
    first = mesh.client.http("web", 80, "/a", count=20)
    assert first["status"] == 200
    again = mesh.client.http("web", 80, "/b", count=20)
    assert again["json"]["connection"] - first["json"]["connection"] <= 2


def test_connection_close_of_the_origin(mesh):
    for _ in range(3):
        assert mesh.client.http("web", 80, "/close")["status"] == 200


def test_status_codes_pass(mesh):
    for status in (201, 204, 301, 304, 404, 418, 500, 503):
        got = mesh.client.http("web", 80, f"/status/{status}")
        assert got["status"] == status and header(got, "x-trammel-reason") is None


def test_pipelined_requests_are_answered_in_order(mesh):
    send = "".join(f"GET /slow/{d} HTTP/1.1\r\nHost: web\r\n\r\n" for d in (50, 1, 20)) + \
        "GET /last HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    got = mesh.client.call("talk", "web", 80, send=send)
    assert re.findall(r'"path": "([^"]*)"', got["got"]) == ["/slow/50", "/slow/1", "/slow/20", "/last"]


def test_expect_continue(mesh):
    r = mesh.client.curl("-H", "Expect: 100-continue", "-d", "x" * 2000, "http://web/expect")
    assert '"bytes": 2000' in r.stdout


REFUSED = {
    "content-length twice": ("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "length and chunked": ("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": ("GET / HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n", 400),
    "space before colon": ("GET / HTTP/1.1\r\nHost: web\r\nX-A : 1\r\n\r\n", 400),
    "bare LF": ("GET / HTTP/1.1\nHost: web\n\n", 400),
    "NUL in value": ("GET / HTTP/1.1\r\nHost: web\r\nX-A: a\0b\r\n\r\n", 400),
    "folded line": ("GET / HTTP/1.1\r\nHost: web\r\nX-A: a\r\n b\r\n\r\n", 400),
    "header too large": ("GET / HTTP/1.1\r\nHost: web\r\nX-A: " + "a" * 100000 + "\r\n\r\n", 431),
    "too many headers": ("GET / HTTP/1.1\r\nHost: web\r\n" + "".join(f"X-{i}: a\r\n" for i in range(1000)) + "\r\n", 431),
    "target too long": ("GET /" + "a" * 20000 + " HTTP/1.1\r\nHost: web\r\n\r\n", 414),
    "unknown coding": ("POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "control in target": ("GET /\x01 HTTP/1.1\r\nHost: web\r\n\r\n", 400),
    "connect unasked": ("CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n", (400, 405)),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_or_oversized_request_is_refused(mesh, case):
    """On a declared port: refused with a reason, closed, and nothing reaches the origin; a clean request after is fine."""
    send, status = REFUSED[case]
    before = mesh.web.http("127.0.0.1", 8080)["json"]["connection"]
    got = mesh.client.call("talk", "web", 80, send=send)
    m = re.match(r"HTTP/1\.[01] (\d+) ", got["got"])
    assert m, got
    assert int(m.group(1)) in (status if isinstance(status, tuple) else (status,)), got["got"][:200]
    assert "x-trammel-reason: " in got["got"].lower()
    assert '"server"' not in got["got"]
    after = mesh.web.http("127.0.0.1", 8080)["json"]["connection"]
    assert after - before <= 1, "no new connection reached the origin"
    assert mesh.client.http("web", 80)["status"] == 200


def test_service_without_endpoints(mesh):
    got = mesh.client.http("nobody", 80, timeout=5)
    assert got["status"] == 503, got
    assert header(got, "x-trammel-reason") == "no_ready_endpoint"
    assert got["seconds"] < 1
    assert "no_ready_endpoint" in eventually(mesh.client.refusals)


def test_endpoint_that_is_not_listening(mesh):
    """The workload runs, its port is closed: not ready, so no endpoint, and the answer comes at once."""
    mesh.apply("refuses.yaml", [service("refuses", {"http": {"port": 80, "targetPort": 8099}}, {"app": "web"})])
    eventually(lambda: mesh.client.http("refuses", 80, timeout=5)["status"] == 503, 5)
    got = mesh.client.http("refuses", 80, timeout=5)
    assert got["status"] == 503 and header(got, "x-trammel-reason") in ("no_ready_endpoint", "connect_refused")


def test_endpoint_by_hand_that_refuses(mesh):
    """A selector-less service whose EndpointSlice names an address where nothing listens."""
    with mesh.outsider(0xfc) as outside:
        ip = str(outside.addresses[0])
        mesh.apply("byhand.yaml", [service("byhand", {"http": 80}, False), {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "byhand-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "byhand"}},
            "ports": [{"name": "http", "port": 8088}], "endpoints": [{"addresses": [ip]}]}])
        mesh.wait_endpoints("byhand", 1)
        got = mesh.client.http("byhand", 80, timeout=10)
        assert got["status"] in (502, 503), got
        assert header(got, "x-trammel-reason") == "connect_refused"
        assert got["seconds"] < 3


def test_origin_that_resets(mesh):
    got = mesh.client.http("web", 80, "/reset", method="POST", body="not safe to repeat")
    assert got["status"] in (502, 503), got
    assert header(got, "x-trammel-reason") in ("upstream_reset", "upstream_closed")


def test_origin_that_ends_early(mesh):
    got = mesh.client.call("http", "web", 80, path="/early-close/500")
    assert got.get("exception") in ("IncompleteRead", "ConnectionResetError", "RemoteDisconnected"), \
        f"half an answer must not look whole: {got}"


def test_name_that_does_not_resolve(mesh):
    got = mesh.client.call("http", "no-such-name", 80)
    assert got["exception"] == "gaierror", got


# Trace context and identity headers, as the server saw them

def test_trace_is_begun_where_there_is_none(mesh):
    got = mesh.client.http("web", 80)
    parent, = seen(got, "traceparent")
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]", parent)
    request_id, = seen(got, "x-request-id")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", request_id)


def test_trace_goes_on_where_there_is_one(mesh):
    got = mesh.client.http("web", 80, headers=[["traceparent", TRACEPARENT], ["tracestate", "a=1,b=2"], ["x-request-id", "mine-1"]])
    parent, = seen(got, "traceparent")
    assert parent.split("-")[1] == TRACEPARENT.split("-")[1], "same trace"
    assert parent.split("-")[3] == "01"
    assert seen(got, "tracestate") == ["a=1,b=2"]
    assert seen(got, "x-request-id") == ["mine-1"]


@pytest.mark.parametrize("bad", ["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-" + "0" * 32 + "-b7ad6b7169203331-01",
                                 "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "nonsense"])
def test_bad_traceparent_begins_a_new_trace(mesh, bad):
    got = mesh.client.http("web", 80, headers=[["traceparent", bad], ["tracestate", "a=1"]])
    parent, = seen(got, "traceparent")
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]", parent)
    assert parent.split("-")[1] != bad.split("-")[1 if "-" in bad else 0]
    assert seen(got, "tracestate") == [], "state of a trace that was not believed"


def test_b3_single_goes_on(mesh):
    b3 = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"
    got = mesh.client.http("web", 80, headers=[["b3", b3]])
    value, = seen(got, "b3")
    assert value.split("-")[0] == b3.split("-")[0]
    if seen(got, "traceparent"):
        assert seen(got, "traceparent")[0].split("-")[1] == b3.split("-")[0], "one trace in both forms"


def test_b3_multi_goes_on(mesh):
    got = mesh.client.http("web", 80, headers=[["X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7"], ["X-B3-SpanId", "e457b5a2e4d86bd1"],
                                               ["X-B3-Sampled", "1"]])
    assert seen(got, "x-b3-traceid") == ["80f198ee56343ba864fe8b2a57d3eff7"]
    assert len(seen(got, "x-b3-spanid")) == 1 and seen(got, "x-b3-sampled") == ["1"]


def test_client_certificate_header_is_replaced(mesh):
    forged = "By=spiffe://cluster.local/ns/x/sa/evil;URI=spiffe://cluster.local/ns/x/sa/evil"
    got = mesh.client.http("web", 80, headers=[["x-forwarded-client-cert", forged]])
    xfcc, = seen(got, "x-forwarded-client-cert")
    assert "evil" not in xfcc
    assert "URI=spiffe://cluster.local/ns/default/sa/client-sa" in xfcc
    assert "By=spiffe://cluster.local/ns/default/sa/web-sa" in xfcc
    assert re.search(r"Hash=[0-9a-f]{64}", xfcc)


def test_forged_client_certificate_header_variants_do_not_pass(mesh):
    for name in ("X-Forwarded-Client-Cert", "x_forwarded_client_cert", "X-FORWARDED-CLIENT-CERT"):
        got = mesh.client.http("web", 80, headers=[[name, "URI=spiffe://evil"]])
        if got["status"] == 200:
            assert "evil" not in str(got["json"]["headers"])
        else:
            assert got["status"] == 400


def test_hop_by_hop_headers_stay_on_their_hop(mesh):
    got = mesh.client.http("web", 80, headers=[["Connection", "x-private"], ["x-private", "1"], ["Keep-Alive", "timeout=9"],
                                               ["Proxy-Connection", "keep-alive"], ["TE", "trailers"]])
    assert got["status"] == 200
    for name in ("x-private", "keep-alive", "proxy-connection"):
        assert seen(got, name) == []


def test_host_reaches_the_origin_as_it_was_asked(mesh):
    got = mesh.client.http("web", 80, headers=[["Host", "shop.example:80"]])
    assert seen(got, "host") == ["shop.example:80"]


def test_http1_in_http2_where_another_service_declares_nothing(mesh):
    """The app's port is an undeclared one of the service that comes first, and HTTP/1.1 by another's word: that is what the app gets."""
    def spoken():
        mark = f"h2-{time.monotonic_ns()}"
        assert mesh.client.http("web", 80, headers=[["x-request-id", mark]])["status"] == 200
        return eventually(lambda: [l for l in mesh.logs(1 << 20).splitlines() if mark in l and '"inbound"' in l], what="it is logged")[0]
    mesh.apply("config.yaml", [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trammel", "namespace": "trammel-system"},
                                "data": {"h2UpgradePolicy": "UPGRADE"}}])
    try:
        eventually(lambda: '"HTTP/2"' in spoken(), what="HTTP/2 between the proxies")
    finally:
        mesh.withdraw("config.yaml")
    eventually(lambda: '"HTTP/1.1"' in spoken(), what="HTTP/1.1 again")


def test_http_on_a_port_declared_tcp_is_not_touched(mesh):
    got = mesh.client.http("web", 81, headers=[["x-probe", "1"]])
    assert seen(got, "traceparent") == [] and seen(got, "x-forwarded-client-cert") == []
