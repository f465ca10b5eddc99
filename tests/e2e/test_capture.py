# SPDX-License-Identifier: Apache-2.0
"""Every way a workload can open a connection is captured, and both sides see true addresses.

    client ---- proxy ==== mTLS ==== proxy ---- web     http 8080, who 7000 (tcp), udp 7053
                                                          service web: 80 -> 8080, 7000 -> 7000
                                                          service pods (headless): 7000
    outsider (on the bridge, not enrolled): a plain server that a workload may call

The whole mesh is STRICT: a connection that is not captured on the client's side is refused on the server's, so an answer
proves capture on both.
"""
import json
import socket
import sys
import threading

import pytest

from mesh import CALLS, Mesh, finish_call, peer_authentication, service
from netns import run_in
from sniffer import Sniffer

V4, V6 = socket.AF_INET, socket.AF_INET6
FAMILIES = [pytest.param(V4, id="v4"), pytest.param(V6, id="v6")]
WAYS = ["plain", "nonblocking", "fastopen_connect", "fastopen_send", "mptcp", "bound"]

POLICY = [
    peer_authentication("STRICT"),
    service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-who": 7000}),
    service("pods", {"tcp-who": 7000}, {"app": "web"}, clusterIP="None"),
]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080", "who:7000", "udp:7053")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        yield m


def host_of(address):
    return address.rsplit(":", 1)[0].strip("[]")


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def own_ip(workload, family):
    return workload.ip6 if family == V6 else workload.ip


def check_addresses(got, mesh, family, dialled_ip=None, dialled_port=7000, server_family=None):
    """server_family: of the endpoint, where it is not the one dialled (a service has endpoints of its first family)."""
    assert "exception" not in got, got
    server = got["server"]
    assert server, f"the connection was closed without an answer: {got}"
    assert server["server"] == "web"
    server_family = server_family or family
    assert host_of(server["peer"]) == own_ip(mesh.client, server_family), "the server sees its true client"
    assert host_of(server["own"]) == own_ip(mesh.web, server_family)
    assert port_of(server["own"]) == 7000
    assert host_of(got["own"]) == own_ip(mesh.client, family), "getsockname() of the client is its own address"
    assert port_of(got["peer"]) == dialled_port
    if dialled_ip:
        assert host_of(got["peer"]) == dialled_ip, "getpeername() of the client is what it asked for"


@pytest.mark.sanitize
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", WAYS)
def test_service_name(mesh, how, family):
    got = mesh.client.call("who", "web.default.svc.cluster.local", 7000, how=how, family=family)
    check_addresses(got, mesh, family, server_family=V4)


@pytest.mark.parametrize("name", ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"])
def test_every_name_of_a_service(mesh, name):
    check_addresses(mesh.client.call("who", name, 7000, family=V4), mesh, V4)


@pytest.mark.parametrize("family", FAMILIES)
def test_dialled_address_is_what_getpeername_says(mesh, family):
    vip, = call_names(mesh.client, "web", family)
    check_addresses(mesh.client.call("who", vip, 7000, family=family), mesh, family, vip, server_family=V4)


def call_names(workload, name, family):
    return finish_call(workload.spawn(sys.executable, CALLS, "names", '{"host": "%s", "family": %d}' % (name, family)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", WAYS)
def test_pod_address(mesh, how, family):
    ip = own_ip(mesh.web, family)
    check_addresses(mesh.client.call("who", ip, 7000, how=how, family=family), mesh, family, ip)


@pytest.mark.parametrize("host", ["web", "pods", "pod address"])
def test_v4_mapped_socket(mesh, host):
    target = mesh.web.ip if host == "pod address" else host
    check_addresses(mesh.client.call("who", target, 7000, how="mapped"), mesh, V4)


@pytest.mark.parametrize("family", FAMILIES)
def test_headless_service_names_its_pods(mesh, family):
    assert call_names(mesh.client, "pods", family) == [own_ip(mesh.web, family)]
    check_addresses(mesh.client.call("who", "pods", 7000, family=family), mesh, family, own_ip(mesh.web, family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", ["service", "pod address"])
def test_a_workload_calls_itself(mesh, target, family):
    host = "web" if target == "service" else own_ip(mesh.web, family)
    got = mesh.web.call("who", host, 7000, family=family)
    assert "exception" not in got, got
    assert got["server"] and got["server"]["server"] == "web"
    assert host_of(got["server"]["peer"]) == own_ip(mesh.web, V4 if target == "service" else family)


@pytest.mark.parametrize("host,family", [("127.0.0.1", V4), ("::1", V6), ("localhost", V4)])
def test_localhost_is_left_alone(mesh, host, family):
    got = mesh.web.call("who", host, 7000, family=family)
    assert got["server"]["peer"] == got["own"] and got["server"]["own"] == got["peer"]
    assert host_of(got["own"]) in ("127.0.0.1", "::1")


def test_closed_port_on_localhost_refuses_at_once(mesh):
    got = mesh.client.call("talk", "127.0.0.1", 9, timeout=5)
    assert got["error"] == "ECONNREFUSED" and got["seconds"] < 1


@pytest.mark.parametrize("host", ["web", "pod address"])
def test_a_socket_older_than_its_process_membership(mesh, host):
    """Made in the namespace but outside the workload's cgroup, connected after its process joined.

    The kernel asks the hooks of the cgroup in which the socket was made, so it cannot be captured: it is refused, with a reason, and nothing leaves.
    """
    marker = b"who"
    target = mesh.web.ip if host == "pod address" else call_names(mesh.client, "web", V4)[0]
    args = json.dumps({"host": target, "port": 7000, "how": "moved", "cgroup": mesh.client.cgroup, "first": "", "timeout": 2})
    with Sniffer(mesh.netns(), [marker]) as wire:
        r = run_in(mesh.client.netns, sys.executable, CALLS, "moved_answer", args)
        mesh.client.call("who", "web", 7000)
    assert json.loads(r.stdout).get("answer") in (None, ""), r.stdout
    assert wire.complete and wire.hits[marker] == 0
    assert "escape" in mesh.client.refusals()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
def test_udp_passes_with_its_true_addresses(mesh, connected, family):
    ip = own_ip(mesh.web, family)
    got = mesh.client.call("udp", ip, 7053, connected=connected, family=family)
    assert "exception" not in got, got
    assert host_of(got["server"]["peer"]) == own_ip(mesh.client, family)
    assert got["server"]["got"] == "datagram"
    if connected:
        assert host_of(got["peer"]) == ip and port_of(got["peer"]) == 7053


@pytest.mark.parametrize("family", FAMILIES)
def test_http_over_both_families(mesh, family):
    got = mesh.client.http("web", 80, "/hello?x=1", family=family)
    assert got["status"] == 200, got
    assert got["json"]["path"] == "/hello?x=1"
    assert host_of(got["json"]["peer"]) == own_ip(mesh.client, V4), "endpoints of a service are of its first family"
    assert host_of(got["json"]["own"]) == own_ip(mesh.web, V4)


@pytest.mark.sanitize
def test_nothing_readable_on_the_wire(mesh):
    """The sniffer sees its marker when a stranger sends it (it can fail), and never from the mesh."""
    marker = b"readable-marker-4711"
    with Sniffer(mesh.netns(), [marker]) as wire:
        for host, family in (("web", V4), ("web", V6), (mesh.web.ip, V4), (mesh.web.ip6, V6)):
            port = 80 if host == "web" else 8080
            got = mesh.client.http(host, port, "/" + marker.decode(), method="POST", body=marker.decode() * 10, family=family)
            assert got["status"] == 200 and marker.decode() in got["json"]["path"]
    assert wire.complete and wire.tcp_payload_frames > 8
    assert wire.hits[marker] == 0
    with mesh.outsider() as stranger, Sniffer(mesh.netns(), [marker]) as wire:
        stranger.ask(mesh.web.ip, 8080, marker)
    assert wire.hits[marker] > 0, "the sniffer would have seen it"


def test_a_server_outside_the_mesh_can_be_called(mesh):
    """A destination the mesh does not know is passed on as it is, from the workload's own address."""
    with mesh.outsider(0xfb) as outside:
        for ip in map(str, outside.addresses):
            family = V6 if ":" in ip else V4
            listener = outside.socket(family, socket.SOCK_STREAM)
            listener.bind((ip, 9999))
            listener.listen()
            listener.settimeout(10)
            peers = []

            def once():
                conn, peer = listener.accept()
                with conn:
                    peers.append(peer[0])
                    conn.sendall(b"outside\n")

            t = threading.Thread(target=once)
            t.start()
            got = mesh.client.call("talk", ip, 9999, send="hi")
            t.join()
            listener.close()
            assert got["got"] == "outside\n", got
            assert peers == [own_ip(mesh.client, family)]


def test_two_hundred_connections_at_once(mesh):
    calls = [mesh.client.start_call("hold", "web", 7000, count=50, seconds=1) for _ in range(4)]
    assert [finish_call(c) for c in calls] == [50] * 4


def test_exec_is_captured_like_the_first_command(mesh):
    r = mesh.client.exec("curl", "-sS", "--max-time", "10", "http://web/from-exec")
    assert '"/from-exec"' in r.stdout


def test_the_first_command_is_enrolled_before_it_starts(mesh):
    """run without --detach: its very first connection is captured, and its exit code is the command's."""
    r = mesh.trammel("run", "--name", "once", "--", "curl", "-sS", "--max-time", "10", "http://web/first")
    assert '"/first"' in r.stdout
    r = mesh.trammel("run", "--name", "once", "--", "sh", "-c", "exit 7", check=7)
    assert "default/once" not in [f"{w['namespace']}/{w['name']}" for w in mesh.json("workload", "list")["workloads"]]
