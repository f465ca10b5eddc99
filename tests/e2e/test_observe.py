# SPDX-License-Identifier: Apache-2.0
"""What an operator sees: metrics on 15090, /ready on 15021, the access log, and the nouns of the command line.

    client ---- proxy ==== mTLS ==== proxy ---- web 8080 (http), 7003 (tcp)
"""
import json
import re

import pytest

from mesh import Mesh, finish_call, peer_authentication, service
from wait import eventually

POLICY = [peer_authentication("STRICT"), service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-echo": 7003})]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", "echo:7003")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        yield m


def test_ready(mesh):
    """200 from inside and outside; an idle workload's proxy starts when it is asked, and says 503 until it has policy and certificate."""
    status = lambda caller, ip: caller.curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{ip}:15021/ready").stdout
    for caller, ip in ((mesh.web, "127.0.0.1"), (mesh.client, "127.0.0.1"), (mesh.client, mesh.web.ip), (mesh.web, f"[{mesh.client.ip6}]")):
        eventually(lambda: status(caller, ip) == "200", 3)


def test_a_service_of_metrics_ports_is_scraped_in_plaintext(mesh):
    """STRICT holds for the app's ports; the port that the proxy answers itself has no mTLS, by service as by address."""
    mesh.apply("metrics.yaml", [
        service("metrics", {"http-metrics": 9090}, False),
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
         "metadata": {"name": "metrics-a", "namespace": "default", "labels": {"kubernetes.io/service-name": "metrics"}},
         "addressType": "IPv4", "ports": [{"name": "http-metrics", "port": 15090}], "endpoints": [{"addresses": [mesh.web.ip]}]}])
    try:
        mesh.wait_endpoints("metrics", 1)
        for address in ("metrics:9090", f"{mesh.web.ip}:15090"):
            assert "# TYPE" in mesh.client.curl(f"http://{address}/metrics").stdout, address
    finally:
        mesh.withdraw("metrics.yaml")


@pytest.mark.sanitize
def test_metrics_are_well_formed_and_count(mesh):
    text = mesh.web.curl(f"http://{mesh.web.ip}:15090/metrics").stdout
    seen, types = set(), {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:4]
            assert name not in types, f"{name} is announced twice"
            types[name] = kind
        elif line and not line.startswith("#"):
            m = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)( \d+)?', line)
            assert m, f"not in the format: {line!r}"
            float(m.group(3))
            assert (m.group(1), m.group(2)) not in seen, f"twice: {line}"
            seen.add((m.group(1), m.group(2)))
    before = mesh.web.metric_sum("istio_requests_total", reporter="destination", response_code="200")
    before_client = mesh.client.metric_sum("istio_requests_total", reporter="source", response_code="404")
    for _ in range(5):
        mesh.client.http("web", 80)
    mesh.client.http("web", 80, "/status/404")
    assert mesh.web.metric_sum("istio_requests_total", reporter="destination", response_code="200") == before + 5
    assert mesh.client.metric_sum("istio_requests_total", reporter="source", response_code="404") == before_client + 1


def test_metric_labels_name_the_proven_peer(mesh):
    mesh.client.http("web", 80, headers=[["x-forwarded-client-cert", "URI=spiffe://evil"]])
    rows = [k for k in mesh.web.metrics() if k.startswith("istio_requests_total")]
    assert any('source_principal="spiffe://cluster.local/ns/default/sa/default"' in r and 'connection_security_policy="mutual_tls"' in r for r in rows), rows
    assert not any("evil" in r for r in rows)


def test_tcp_metrics(mesh):
    before = mesh.web.metric_sum("istio_tcp_connections_closed_total")
    assert mesh.client.call("ping_pong", "web", 7003, rounds=10, size=1000) == 10
    eventually(lambda: mesh.web.metric_sum("istio_tcp_connections_closed_total") == before + 1, 5)
    assert mesh.web.metric_sum("istio_tcp_received_bytes_total") >= 10000


def test_hostile_names_make_no_series(mesh):
    """Hosts and paths that a caller invents do not become labels."""
    before = len(mesh.web.metrics())
    for i in range(50):
        mesh.client.http("web", 80, f"/path-{i}", headers=[["Host", f"host-{i}.example"]])
    assert len(mesh.web.metrics()) <= before + 10


def test_access_log_line(mesh):
    mesh.client.http("web", 80, "/log-me?secret=1", headers=[["x-request-id", "log-line-1"]])

    def lines():
        found = []
        for l in mesh.logs(1 << 20).splitlines():
            if "log-line-1" in l and "{" in l:
                found.append(json.loads(l[l.index("{"):]))
        return found if len(found) >= 2 else None
    rows = eventually(lines, 5, what="a line of each proxy")
    for r in rows:
        text = json.dumps(r)
        assert "/log-me" in text and "200" in text
        assert re.search(r'"[0-9a-f]{32}"', text), "trace id"


def test_conn_list_shows_a_live_connection(mesh):
    call = mesh.client.start_call("hold", "web", 7003, count=3, seconds=3)
    mine = eventually(lambda: (lambda c: c if len(c) >= 3 else None)(mesh.web.conns()), 5)
    text = json.dumps(mine)
    assert mesh.client.ip in text and "spiffe://cluster.local/ns/default/sa/default" in text
    assert len([c for c in mesh.client.conns()]) >= 3
    finish_call(call)
    eventually(lambda: len(mesh.web.conns()) < 3, 5)


NOUNS = {
    ("workload", "list"): "workloads", ("service", "list"): "services", ("endpoint", "list"): "endpoints", ("conn", "list"): "conns",
    ("cert", "list"): "certs", ("listener", "list"): "listeners", ("prog", "list"): "progs", ("map", "list"): "maps",
    ("feature", "list"): "features", ("snapshot", "show"): "proxies",
}


@pytest.mark.sanitize
@pytest.mark.parametrize("noun,verb", NOUNS)
def test_nouns_as_json_and_as_text(mesh, noun, verb):
    rows = mesh.json(noun, verb)[NOUNS[noun, verb]]
    assert isinstance(rows, list)
    if noun != "conn":
        assert rows, f"{noun} {verb} shows nothing of a running mesh"
    text = mesh.trammel(noun, verb).stdout
    assert text.strip() and not text.lstrip().startswith("{")


@pytest.mark.sanitize
def test_every_map_can_be_dumped(mesh):
    """Those without keys to walk are refused by name."""
    for m in mesh.json("map", "list")["maps"]:
        r = mesh.trammel("map", "dump", m["name"], "--json", check=False)
        assert r.returncode == 0 or (m["type"] in ("sk_storage", "ringbuf") and m["name"] in r.stderr), (m, r)


def test_stats(mesh):
    assert mesh.json("stats", "show")
    assert mesh.trammel("stats", "show").stdout.strip()


def test_programs_are_ours_and_attached(mesh):
    progs = mesh.json("prog", "list")["progs"]
    assert all(p["name"].startswith("trm_") for p in progs), progs
    assert {"connect4", "connect6"} <= {w for p in progs for w in re.findall(r"connect[46]", json.dumps(p))}


def test_help_and_version(mesh):
    for args in (["--help"], ["workload", "--help"], ["run", "--help"], ["--version"]):
        r = mesh.trammel(*args)
        assert r.stdout.strip()
