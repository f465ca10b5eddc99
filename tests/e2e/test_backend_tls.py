# SPDX-License-Identifier: Apache-2.0
"""BackendTLSPolicy: the caller's proxy speaks TLS to servers that are not in the mesh.

    client: curl, h2, grpcio ---- plaintext ---- proxy ==== TLS, as policy says ==== an outsider: nginx, grpcio, openssl s_server

    both 8443: h2 and http/1.1 by ALPN    old 8444: http/1.1 and TLS 1.2 alone    other 8445, late 8446: another's name, out of date
    grpc 8447: grpcio                     bytes 8448: gives back what comes, no HTTP    named 8449: the name in the subject alone
"""
import json
import os
import subprocess
import sys

import pytest

from mesh import LIB, Mesh, service
from peers import finish, need_modules
from pki import Authority
from wait import eventually

PORTS = {"both": 8443, "old": 8444, "other": 8445, "late": 8446, "grpc": 8447, "bytes": 8448, "named": 8449}
NAMES = {"both": "https", "old": "https", "other": "https", "late": "https", "grpc": "grpc", "bytes": "tcp", "named": "https"}
SAYS = '"$server_protocol $ssl_protocol $ssl_server_name $ssl_client_verify $host\\n"'


def slices(ip):
    return [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": f"{name}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
             "ports": [{"name": NAMES[name], "port": port}], "endpoints": [{"addresses": [ip]}]} for name, port in PORTS.items()]


def policy(service_name, hostname="server.example", **validation):
    validation = {"hostname": hostname, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "roots"}], **validation}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": {"name": f"{service_name}-tls"},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": service_name}],
                     "validation": {k: v for k, v in validation.items() if v is not None}}}


def roots(ca, name="roots"):
    with open(ca.crt) as f:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": f.read()}}


def nginx_conf(folder, leaves):
    def server(name, h2=""):
        crt, key = leaves[name]
        return (f"server {{ listen {PORTS[name]} ssl{h2}; ssl_certificate {crt}; ssl_certificate_key {key};"
                f" ssl_protocols {'TLSv1.2' if name == 'old' else 'TLSv1.2 TLSv1.3'}; location / {{ return 200 {SAYS}; }} }}")
    servers = "\n".join([server("both", " http2"), server("old"), server("other"), server("late"), server("named")])
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as f:
        f.write(f"""daemon off; master_process off; user root; pid {folder}/pid; error_log {folder}/err;
events {{ worker_connections 512; }}
http {{ log_format c "$connection $server_port $server_protocol"; access_log {folder}/access c; client_body_temp_path {folder}/b;
  proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {servers} }}
""")
    return path


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("servers"))
    ca = Authority.make(folder, "outside")
    leaves = {name: ca.leaf(folder, [], name, dns=["server.example", "second.example"]) for name in ("both", "old", "grpc", "bytes")}
    leaves["other"] = ca.leaf(folder, [], "other", dns=["elsewhere.example"])
    leaves["late"] = ca.leaf(folder, [], "late", dns=["server.example"], days=-1)
    leaves["named"] = ca.leaf(folder, ["spiffe://outside/server"], "named", subject="/CN=server.example")
    with Mesh([service(name, {NAMES[name]: 443}, False) for name in PORTS]) as m:
        m.ca, m.folder = ca, folder
        m.client = m.client()
        with m.outsider() as m.stranger:
            def spawn(*argv, **kwargs):
                m.children.append(subprocess.Popen(["nsenter", "--net=" + m.stranger.path, *map(str, argv)], **kwargs))
            spawn("nginx", "-p", folder, "-c", nginx_conf(folder, leaves))
            need_modules("grpc")
            spawn(sys.executable, os.path.join(LIB, "pod_grpc.py"), "serve", PORTS["grpc"], *leaves["grpc"])
            crt, key = leaves["bytes"]
            spawn("openssl", "s_server", "-quiet", "-rev", "-accept", PORTS["bytes"], "-cert", crt, "-key", key)
            m.apply("outside.yaml", slices(str(m.stranger.addresses[0])))
            m.apply("roots.yaml", [roots(ca)])
            m.apply("tls.yaml", [policy(name) for name in PORTS])
            for name, port in PORTS.items():
                m.wait_endpoints(name, 1)
                eventually(lambda: accepts(m.stranger, port), 20, what=f"{name} accepts")
            eventually(lambda: all(p.get("backend_tls") for s in m.json("service", "list")["services"] for p in s["ports"]), what="policy is there")
            yield m


def accepts(ns, port):
    with ns.socket() as s:
        s.settimeout(2)
        s.connect(("127.0.0.1", port))
    return True


def get(mesh, name, *args):
    """(status, body, reason)"""
    r = mesh.client.curl("-D", "-", *args, f"http://{name}:443/", check=False)
    head, _, body = r.stdout.replace("\r", "").partition("\n\n")
    fields = dict(l.split(": ", 1) for l in head.splitlines()[1:] if ": " in l)
    return int(head.split()[1]) if head else r.stderr, body.strip(), fields.get("x-trammel-reason")


H2 = "--http2-prior-knowledge"


@pytest.mark.sanitize
@pytest.mark.parametrize("name,args,spoken", [("both", (), "HTTP/1.1"), ("both", (H2,), "HTTP/2.0"), ("old", (), "HTTP/1.1"), ("old", (H2,), "HTTP/1.1")])
def test_same_version_where_the_server_takes_it(mesh, name, args, spoken):
    assert get(mesh, name, *args) == (200, f"{spoken} {'TLSv1.2' if name == 'old' else 'TLSv1.3'} server.example NONE {name}", None)


def test_a_server_without_http2_is_offered_it_once(mesh):
    assert get(mesh, "old", H2)[0] == 200

    def connections():
        with open(os.path.join(mesh.folder, "access")) as f:
            return {l.split()[0] for l in f if l.split()[1] == str(PORTS["old"])}
    before = connections()
    for _ in range(10):
        assert get(mesh, "old", H2)[0] == 200
    assert len(connections() - before) <= 2, "connections are kept"


@pytest.mark.sanitize
@pytest.mark.parametrize("name,why", [("other", "hostname mismatch"), ("late", "certificate has expired"), ("named", "hostname mismatch")])
def test_a_wrong_certificate_is_refused(mesh, name, why):
    assert get(mesh, name)[::2] == (503, "backend_cert") and get(mesh, name, H2)[::2] == (503, "backend_cert")
    eventually(lambda: why in mesh.logs(1 << 16), what=f"a log says {why}")


def changed(mesh, name, new, want, *args):
    """Put other policy in the place of that of one service, for a while."""
    mesh.apply("tls.yaml", [new, *(policy(n) for n in PORTS if n != name)])
    try:
        return eventually(lambda: (lambda got: got if want(got) else None)(get(mesh, name, *args)), 5, what=f"policy holds: last {get(mesh, name, *args)}")
    finally:
        mesh.apply("tls.yaml", [policy(n) for n in PORTS])
        eventually(lambda: get(mesh, "both")[0] == 200, 5, what="the policy of before holds again")


def test_another_name_where_policy_lists_it(mesh):
    names = [{"type": "Hostname", "hostname": "elsewhere.example"}]
    got = changed(mesh, "other", policy("other", subjectAltNames=names), lambda got: got[0] == 200)
    assert got[1].split()[2] == "server.example", "the one name is asked for, the other proven"
    assert changed(mesh, "both", policy("both", subjectAltNames=names), lambda got: got[0] == 503)[2] == "backend_cert"


def test_roots_that_this_machine_trusts(mesh):
    new = policy("both", caCertificateRefs=None, wellKnownCACertificates="System")
    assert changed(mesh, "both", new, lambda got: got[0] == 503)[2] == "backend_cert", "the tests' own authority is none of them"


def test_roots_that_are_not_there(mesh):
    missing = [{"group": "", "kind": "ConfigMap", "name": "nowhere"}]
    got = changed(mesh, "both", policy("both", caCertificateRefs=missing), lambda got: got[0] == 503)
    assert got[2] == "backend_policy"
    mesh.apply("more.yaml", [roots(mesh.ca, "nowhere")])
    assert changed(mesh, "both", policy("both", caCertificateRefs=missing), lambda got: got[0] == 200)
    mesh.withdraw("more.yaml")


def test_roots_that_change_hold_for_kept_connections(mesh):
    assert get(mesh, "both")[0] == 200 and get(mesh, "both", H2)[0] == 200
    stranger = Authority.make(mesh.folder, "another")
    mesh.apply("roots.yaml", [roots(stranger)])
    eventually(lambda: get(mesh, "both")[::2] == get(mesh, "both", H2)[::2] == (503, "backend_cert"), 5, what="other roots hold")
    mesh.apply("roots.yaml", [roots(mesh.ca)])
    eventually(lambda: get(mesh, "both")[0] == get(mesh, "both", H2)[0] == 200, 5, what="the first ones hold again")


def test_without_policy_it_is_plaintext(mesh):
    mesh.apply("tls.yaml", [policy(n) for n in PORTS if n != "both"])
    eventually(lambda: get(mesh, "both")[0] == 400, 5, what="nginx says that this is no TLS")
    mesh.apply("tls.yaml", [policy(n) for n in PORTS])
    eventually(lambda: get(mesh, "both")[0] == 200, 5, what="policy holds again")


def test_an_app_that_speaks_tls_by_itself(mesh):
    """It is not wrapped twice."""
    r = mesh.client.curl("--cacert", mesh.ca.crt, "--connect-to", "server.example:443:both:443", "https://server.example/")
    assert r.stdout.split()[:3] == ["HTTP/2.0", "TLSv1.3", "server.example"]
    r = mesh.client.curl("-k", "--http1.1", "https://other:443/")
    assert r.stdout.startswith("HTTP/1.1 TLSv1.3 other"), "its own certificate check is the app's affair"


@pytest.mark.parametrize("name", ["both", "bytes"])
def test_an_app_that_speaks_tls_late(mesh, name):
    """Nothing for half a second, then a ClientHello: it meets the server's own TLS, on ports that are declared as TCP, too."""
    script = f"""
import socket, ssl, time
s = socket.create_connection(({name!r}, 443), 10)
time.sleep(0.5)
t = ssl.create_default_context(cafile={mesh.ca.crt!r}).wrap_socket(s, server_hostname='server.example')
t.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
print(t.version(), t.recv(100))
"""
    r = mesh.client.exec(sys.executable, "-c", script, timeout=30)
    assert r.stdout.startswith("TLSv1.3"), r.stdout + r.stderr


def test_bytes_that_come_late(mesh):
    got = mesh.client.call("talk", "bytes", 443, send="hello\n", pause_s=0.4, timeout=10)
    assert got["got"] == "olleh\n", got


@pytest.mark.sanitize
def test_bytes_that_are_no_http(mesh):
    got = mesh.client.call("talk", "bytes", 443, send="hello\n", timeout=10)
    assert got["got"] == "olleh\n", got


def grpcio(mesh, function, **args):
    code, saw, said = finish(mesh.client.spawn(sys.executable, os.path.join(LIB, "pod_grpc.py"), function, json.dumps(args)), 60)
    assert code == 0, (saw, said)
    return saw


@pytest.mark.sanitize
def test_grpc(mesh):
    assert grpcio(mesh, "numbers", target="grpc:443", count=20, streams=10) == {"ok": 10, "of": 10}
    saw = grpcio(mesh, "status", target="old:443", code=0, message="")
    assert saw["code"] == 14 and "HTTP/2" in saw["message"], saw


def test_shown(mesh):
    listed = {s["name"]: s for s in mesh.json("service", "list")["services"]}
    assert listed["both"]["ports"][0]["backend_tls"] == {"hostname": "server.example", "error": ""}
    assert "443/undeclared+tls" in listed["both"]["ports_text"], listed["both"]["ports_text"]
    assert get(mesh, "both")[0] == 200
    line = [json.loads(l) for l in mesh.logs(1 << 20).splitlines() if '"authority":"both:443"' in l][-1]
    assert line["mtls"] is False and line["endpoint"].endswith(":8443"), line
