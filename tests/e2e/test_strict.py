# SPDX-License-Identifier: Apache-2.0
"""A stranger gets nothing: no byte of a STRICT workload, no proxy port but health and metrics, and every refusal says why.

    outsider: a namespace the test made, on the mesh's bridge, not enrolled
        |  plaintext, odd TLS, certificates of another CA, of another trust domain, of another workload
    bridge ---- proxy ---- web    http 8080, who 7000, quiet 7009 (no service)
    client (enrolled) reaches the same ports
"""
import os
import socket
import ssl
import time

import pytest

from mesh import Mesh, finish_call, peer_authentication, service
from netns import call_in
from pki import Authority
from sniffer import Sniffer
from wait import eventually

POLICY = [
    peer_authentication("STRICT"),
    service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-who": 7000}),
    peer_authentication("PERMISSIVE", "open", "default", labels={"app": "open"}),
    service("open", {"http": {"port": 80, "targetPort": 8080}, "tcp-who": 7000}),
    peer_authentication("PERMISSIVE", "mixed", "default", labels={"app": "mixed"}, ports={7000: "STRICT"}),
]
GET = b"GET /secret HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", "who:7000", "who:7009", "banner:7010")
        m.open = m.serve("open", "http:8080", "who:7000", "banner:7010")
        m.mixed = m.serve("mixed", "http:8080", "who:7000")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        m.wait_endpoints("open", 1)
        yield m


@pytest.fixture(scope="module")
def outsider(mesh):
    with mesh.outsider() as o:
        yield o


def addresses(w):
    return [w.ip, w.ip6]


@pytest.mark.sanitize
@pytest.mark.parametrize("port", [8080, 7000, 7009])
@pytest.mark.parametrize("payload", [GET, b"who\n", b"\x16\x03\x01garbage that looks like TLS", b"\0" * 300], ids=["http", "line", "junk-tls", "zeroes"])
def test_plaintext_gets_nothing(mesh, outsider, port, payload):
    for ip in addresses(mesh.web):
        got = outsider.ask(ip, port, payload, timeout=8)
        assert b"web" not in got and b"server" not in got, got


def test_server_first_port_says_nothing_to_a_stranger(mesh, outsider):
    for ip in addresses(mesh.web):
        assert outsider.ask(ip, 7010, b"", timeout=8) == b""


def test_refusal_has_a_reason_in_list_log_and_metric(mesh, outsider):
    before = mesh.web.metric_sum("trammel_refused_total", reason="plaintext_refused")
    outsider.ask(mesh.web.ip, 8080, GET)
    eventually(lambda: "plaintext_refused" in mesh.web.refusals(), 5)
    row = [r for r in mesh.web.refused() if r["reason"] == "plaintext_refused"][0]
    assert str(outsider.addresses[0]) in str(row)
    eventually(lambda: mesh.web.metric_sum("trammel_refused_total", reason="plaintext_refused") > before, 5)
    assert "plaintext_refused" in mesh.logs(1 << 20)


def test_every_port_of_the_workload_is_behind_the_proxy(mesh, outsider):
    """Dialled directly, no proxy port but health and metrics does anything for a stranger."""
    for ip in addresses(mesh.web):
        for port in (15000, 15001, 15006, 15008, 15053, 15004, 15010, 15012):
            got = outsider.ask(ip, port, GET, timeout=8)
            assert got == b"", f"{ip}:{port} answered {got[:80]!r}"
        assert b" 200 " in outsider.ask(ip, 15021, b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").split(b"\r\n")[0] + b" "
        assert b"# TYPE" in outsider.ask(ip, 15090, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_a_workload_cannot_use_its_own_proxy_ports(mesh):
    """15001 and 15006 dialled directly would loop or pose as someone: refused, with nothing sent on."""
    for host in ("127.0.0.1", mesh.client.ip):
        for port in (15001, 15006, 15008):
            got = mesh.client.call("talk", host, port, send=GET.decode(), timeout=8)
            assert '"server"' not in got["got"] and " 200 " not in got["got"], got
    got = mesh.client.call("talk", mesh.web.ip, 15006, send=GET.decode(), timeout=8)
    assert '"server"' not in got["got"] and " 200 " not in got["got"], got


def test_raw_packets_and_own_sockets_do_not_leave_around_the_proxy(mesh):
    """TCP made in the workload's namespace by a process outside its cgroup is dropped at the interface."""
    def attempt():
        s = socket.socket()
        s.settimeout(2)
        try:
            s.connect((mesh.open.ip, 7000))
            s.sendall(b"who\n")
            return s.recv(1000)
        except OSError:
            return b""
        finally:
            s.close()

    assert call_in(mesh.client.netns, attempt) == b""


@pytest.mark.sanitize
def test_permissive_takes_both(mesh, outsider):
    for ip in addresses(mesh.open):
        assert b'"open"' in outsider.ask(ip, 8080, GET)
        got = outsider.connect(ip, 7000)
        with got:
            got.sendall(b"who\n")
            assert b'"open"' in got.recv(1000)
    assert mesh.client.http("open", 80)["json"]["server"] == "open"
    assert mesh.client.call("who", "open", 7000)["server"]["server"] == "open"


def test_permissive_plaintext_has_no_client_certificate_header(mesh, outsider):
    got = outsider.ask(mesh.open.ip, 8080, b"GET / HTTP/1.1\r\nHost: open\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\nConnection: close\r\n\r\n")
    assert b" 200 " in got and b"evil" not in got


SPOOF = b"GET /spoof HTTP/1.1\r\nHost: open\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\nConnection: close\r\n\r\n"
NO_REQUEST_AT_FIRST_SIGHT = {"empty line first": [b"\r\n" + SPOOF], "method in lower case": [SPOOF.lower()], "long method": [b"A" * 40 + SPOOF[3:]],
                             "method of two letters": [b"GO" + SPOOF[3:]], "after a pause": [b"", SPOOF], "pause in the method": [b"GE", SPOOF[2:]],
                             "HTTP/2 first": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SPOOF], "another protocol first": [b"EHLO x\r\n", SPOOF]}


@pytest.mark.sanitize
@pytest.mark.parametrize("case", NO_REQUEST_AT_FIRST_SIGHT)
def test_nothing_of_a_stranger_passes_by_http_on_an_http_port(mesh, outsider, case):
    """A port that is declared as HTTP takes plaintext as HTTP alone: what comes late or looks odd is no way around it."""
    with outsider.connect(mesh.open.ip, 8080, timeout=8) as s:
        got = b""
        try:
            for part in NO_REQUEST_AT_FIRST_SIGHT[case]:
                s.sendall(part)
                time.sleep(0.3)
            while part := s.recv(65536):
                got += part
        except ConnectionError:
            pass
    h2 = case == "HTTP/2 first"  # which is read as HTTP/2: what follows the preface is no frame
    assert (h2 or got.startswith(b"HTTP/1.1 ")) and b"evil" not in got, got
    assert b" 200 " in got.split(b"\r\n")[0] or b'"open"' not in got, got


def test_one_strict_port_in_a_permissive_workload(mesh, outsider):
    assert b'"mixed"' in outsider.ask(mesh.mixed.ip, 8080, GET)
    assert outsider.ask(mesh.mixed.ip, 7000, b"who\n") == b""
    assert mesh.client.call("who", mesh.mixed.ip, 7000)["server"]["server"] == "mixed"


# Strangers who speak TLS

def tls_ask(outsider, ip, port, crt=None, key=None, ca=None, alpn=("istio-http/1.1",), payload=GET, most=None, sni="x"):
    """(bytes that came back, TLS error or None); the server's certificate is not looked at unless ca is given."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    if ca:
        ctx.verify_mode = ssl.CERT_REQUIRED
        ctx.load_verify_locations(ca)
    if crt:
        ctx.load_cert_chain(crt, key)
    if alpn:
        ctx.set_alpn_protocols(list(alpn))
    if most:
        ctx.maximum_version = most
    got = b""
    try:
        with outsider.connect(ip, port, timeout=8) as raw, ctx.wrap_socket(raw, server_hostname=sni) as s:
            s.sendall(payload)
            while True:
                part = s.recv(65536)
                if not part:
                    return got, None
                got += part
    except (ssl.SSLError, OSError) as e:
        return got, e


@pytest.fixture(scope="module")
def mesh_ca(mesh):
    return Authority(os.path.join(mesh.state_dir, "ca", "ca.crt"), os.path.join(mesh.state_dir, "ca", "ca.key"))


@pytest.fixture(scope="module")
def mint(mesh, mesh_ca):
    """mint(name, uris, **how) -> (crt, key) by the mesh's own CA"""
    return lambda name, uris, **how: mesh_ca.leaf(os.path.join(mesh.root, "minted"), uris, name, **how)


GOOD = "spiffe://cluster.local/ns/default/sa/stranger"


@pytest.mark.sanitize
def test_a_certificate_of_the_mesh_is_taken(mesh, outsider, mint, mesh_ca):
    """The control: with the right certificate this very client gets an answer, and its identity arrives."""
    crt, key = mint("good", [GOOD])
    got, err = tls_ask(outsider, mesh.web.ip, 8080, crt, key, ca=mesh_ca.crt)
    assert b'"web"' in got, err
    assert b"URI=" + GOOD.encode() in got
    got, err = tls_ask(outsider, mesh.web.ip6, 7000, crt, key, alpn=("istio",), payload=b"who\n")
    assert b'"web"' in got, err


STRANGERS = {
    "no certificate": (lambda mint, other: (None, None), "tls_peer_cert"),
    "another CA": (lambda mint, other: other.leaf(os.path.dirname(other.crt), [GOOD], "other"), "tls_peer_cert"),
    "another trust domain": (lambda mint, other: mint("foreign", ["spiffe://elsewhere.example/ns/default/sa/x"]), "trust_domain"),
    "expired": (lambda mint, other: mint("expired", [GOOD], days=-1), "tls_peer_cert"),
    "no SPIFFE ID": (lambda mint, other: mint("nameless", []), "tls_peer_cert"),
    "two SPIFFE IDs": (lambda mint, other: mint("two", [GOOD, GOOD + "2"]), "tls_peer_cert"),
    "a CA as leaf": (lambda mint, other: mint("caleaf", [GOOD], ca=True), "tls_peer_cert"),
    "server use only": (lambda mint, other: mint("serveronly", [GOOD], usage="serverAuth"), "tls_peer_cert"),
    "SPIFFE ID with a query": (lambda mint, other: mint("query", [GOOD + "?x=1"]), "tls_peer_cert"),
    "SPIFFE ID with a dot segment": (lambda mint, other: mint("dots", ["spiffe://cluster.local/ns/../sa/x"]), "tls_peer_cert"),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("case", STRANGERS)
def test_stranger_with_tls_gets_nothing(mesh, outsider, mint, case):
    other = Authority.make(os.path.join(mesh.root, "other"))
    make, reason = STRANGERS[case]
    crt, key = make(mint, other)
    seen = len(mesh.web.refusals())
    for port, alpn, payload in ((8080, ("istio-http/1.1",), GET), (7000, ("istio",), b"who\n")):
        got, err = tls_ask(outsider, mesh.web.ip, port, crt, key, alpn=alpn, payload=payload)
        assert got == b"", got
    rows = eventually(lambda: mesh.web.refusals()[:max(len(mesh.web.refusals()) - seen, 2)], 5)
    assert reason in rows, f"refusals since: {rows}"


def test_old_tls_is_refused(mesh, outsider, mint):
    crt, key = mint("good12", [GOOD])
    got, err = tls_ask(outsider, mesh.web.ip, 8080, crt, key, most=ssl.TLSVersion.TLSv1_1)
    assert got == b"" and err is not None


def test_tls_without_mesh_alpn_is_refused(mesh, outsider, mint):
    crt, key = mint("goodalpn", [GOOD])
    got, err = tls_ask(outsider, mesh.web.ip, 8080, crt, key, alpn=("http/1.1",))
    assert got == b""


def test_client_hello_a_byte_at_a_time(mesh, outsider, mint):
    """Detection does not depend on how the first bytes are cut."""
    crt, key = mint("slow", [GOOD])
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    ctx.load_cert_chain(crt, key)
    ctx.set_alpn_protocols(["istio-http/1.1"])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(into, out)
    with outsider.connect(mesh.web.ip, 8080, timeout=8) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def pump(fn, *args, slowly=False):
            while True:
                try:
                    result = fn(*args)
                    s.sendall(out.read())
                    return result
                except ssl.SSLWantReadError:
                    flight = out.read()
                    for i in range(0, len(flight), 1 if slowly else len(flight) or 1):
                        s.sendall(flight[i:i + (1 if slowly else len(flight))])
                    into.write(s.recv(65536))
        pump(tls.do_handshake, slowly=True)
        pump(tls.write, GET)
        assert b" 200 " in pump(tls.read, 65536)


def test_a_slow_stranger_is_cut_off(mesh, outsider):
    """Connected and mute, or half a ClientHello: gone within the detection time, with a reason."""
    conns = [outsider.connect(mesh.web.ip, 8080, timeout=15) for _ in range(2)]
    conns[1].sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    for c in conns:
        with c:
            try:
                assert b"server" not in c.recv(1000)
            except ConnectionResetError:
                pass
    eventually(lambda: {"protocol_timeout", "handshake_timeout"} & set(mesh.web.refusals()), 15)


def test_no_plaintext_of_mesh_traffic_while_strangers_knock(mesh, outsider):
    marker = b"never-in-the-clear-0815"
    with Sniffer(mesh.netns(), [marker]) as wire:
        call = mesh.client.start_call("http_steady", "web", 80, seconds=2, path="/" + marker.decode())
        for _ in range(20):
            outsider.ask(mesh.web.ip, 8080, GET, timeout=2)
        got = finish_call(call)
    assert got["ok"] > 50 and got["n_failed"] == 0, got
    assert wire.complete and wire.hits[marker] == 0


@pytest.mark.slow
def test_a_crowd_of_mute_strangers_does_not_slow_the_mesh(mesh, outsider):
    """500 connections that say nothing and a stream of broken handshakes: a good client loses no request and waits no second."""
    crowd = [outsider.connect(mesh.web.ip, 8080) for _ in range(500)]
    call = mesh.client.start_call("http_steady", "web", 80, seconds=4)
    fresh = mesh.client.start_call("http_steady", mesh.web.ip, 8080, seconds=4, keep=False, pause=0.02)
    for i in range(300):
        with outsider.connect(mesh.web.ip, 8080) as s:
            s.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01" + bytes([i % 256]))
    got, got_fresh = finish_call(call), finish_call(fresh)
    for c in crowd:
        c.close()
    assert got["n_failed"] == 0 and got["ok"] > 300 and got["longest"] < 1, got
    assert got_fresh["n_failed"] == 0 and got_fresh["longest"] < 1, got_fresh
    pid = mesh.web.proxy_pid()
    eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 100, 15, what="descriptors come back")
