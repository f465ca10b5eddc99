# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused where its author looks, says what to do, and leaves nothing half made.

    policy folder --X--> complaints in `trammel snapshot show`, the last good resource stays in force
    command line  --X--> exit 1 (refused) or 2 (misuse), one clear line on stderr
"""
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

import residue
from mesh import TRAMMEL, Mesh, peer_authentication, service
from wait import eventually

GOOD = [service("web", {"http": {"port": 80, "targetPort": 8080}})]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(GOOD) as m:
        m.web = m.serve("web", "http:8080")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        yield m


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: default}\nspec:\n"
# file text, words the complaint must have (field or reason)
BAD = {
    "unknown kind": ("apiVersion: v1\nkind: Servise\nmetadata: {name: bad}\n", ["Servise"]),
    "unknown field": (SERVICE + "  portz: []\n", ["portz"]),
    "wrong type": (SERVICE + "  ports: [{port: eighty}]\n", ["port"]),
    "port 0": (SERVICE + "  ports: [{port: 0}]\n", ["port"]),
    "port too large": (SERVICE + "  ports: [{port: 65536}]\n", ["port"]),
    "negative port": (SERVICE + "  ports: [{port: -1}]\n", ["port"]),
    "two ports of one number": (SERVICE + "  ports: [{name: a, port: 80}, {name: b, port: 80}]\n", ["port"]),
    "bad address": (SERVICE + "  clusterIP: 10.0.0.999\n  ports: [{port: 80}]\n", ["clusterIP"]),
    "no name": ("apiVersion: v1\nkind: Service\nmetadata: {}\nspec: {ports: [{port: 80}]}\n", ["name"]),
    "name no DNS label": ("apiVersion: v1\nkind: Service\nmetadata: {name: Web_1}\nspec: {ports: [{port: 80}]}\n", ["name"]),
    "wrong apiVersion": ("apiVersion: v7\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 80}]}\n", ["v7"]),
    "no YAML": ("kind: [unclosed\n  - {", ["yaml"]),
    "no object": ("- just\n- a list\n", []),
    "tab indentation": ("kind:\n\t- x\n", []),
    "alias bomb": ("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                   "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
                   "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n", []),
    "bad mTLS mode": ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: bad}\nspec: {mtls: {mode: STRIKT}}\n", ["mode"]),
    "bad endpoint address": ("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: bad, labels: "
                             "{kubernetes.io/service-name: web}}\nports: [{name: http, port: 80}]\nendpoints: [{addresses: [not-an-address]}]\n",
                             ["address"]),
    "bytes that are no text": (b"\xff\xfe\0\0kind", []),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("case", BAD)
def test_bad_document(mesh, case):
    text, words = BAD[case]
    path = os.path.join(mesh.policy_dir, "bad.yaml")
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    try:
        mine = eventually(lambda: [c for c in mesh.complaints() if c["file"].endswith("bad.yaml")], 5, what="a complaint")
        said = " ".join(str(v) for c in mine for v in c.values())
        for w in words:
            assert w.lower() in said.lower(), said
        assert all(c["line"] >= 1 for c in mine)
        assert mesh.client.http("web", 80)["status"] == 200, "the rest stays in force"
    finally:
        os.unlink(path)
    eventually(lambda: not mesh.complaints(), 5, what="complaints are gone with their file")


def test_one_bad_document_among_good_ones(mesh):
    mesh.apply("three.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {selector: {app: web}, ports: [{name: http, port: 81, targetPort: 8080}]}\n"
               "---\n" + SERVICE + "  ports: [{port: 0}]\n---\n"
               "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec: {selector: {app: web}, ports: [{name: http, port: 82, targetPort: 8080}]}\n")
    try:
        mine = eventually(lambda: [c for c in mesh.complaints() if c["file"].endswith("three.yaml")], 5)
        assert len(mine) == 1 and mine[0]["object"] == "default/bad" and mine[0]["line"] >= 5
        assert mesh.client.http("one", 81)["status"] == 200
        assert mesh.client.http("two", 82)["status"] == 200
    finally:
        mesh.withdraw("three.yaml")


def test_a_resource_that_turns_bad_keeps_its_last_good_form(mesh):
    mesh.apply("turn.yaml", [service("turn", {"http": {"port": 80, "targetPort": 8080}}, {"app": "web"})])
    try:
        eventually(lambda: mesh.client.http("turn", 80).get("status") == 200, 5)
        mesh.apply("turn.yaml", [service("turn", {"http": {"port": 0}}, {"app": "web"})])
        mine = eventually(lambda: [c for c in mesh.complaints() if c["file"].endswith("turn.yaml")], 5)
        assert mine[0]["kept_last_good"] is True
        assert mesh.client.http("turn", 80)["status"] == 200
    finally:
        mesh.withdraw("turn.yaml")


def test_duplicate_name(mesh):
    mesh.apply("dup-1.yaml", [service("dup", {"http": {"port": 80, "targetPort": 8080}}, {"app": "web"})])
    mesh.apply("dup-2.yaml", [service("dup", {"http": {"port": 81, "targetPort": 8080}}, {"app": "web"})])
    try:
        mine = eventually(lambda: [c for c in mesh.complaints() if "dup" in c["file"]], 5)
        assert "dup-" in mine[0]["text"], "the complaint names the other place"
        assert mesh.client.http("dup", 80)["status"] == 200
    finally:
        mesh.withdraw("dup-1.yaml")
        mesh.withdraw("dup-2.yaml")


def test_policy_folder_vanishes_and_comes_back():
    """The last good policy stays in force, status says so, and the folder is picked up again."""
    with Mesh(GOOD) as m:
        m.serve("web", "http:8080")
        client = m.client()
        m.wait_endpoints("web", 1)
        shutil.move(m.policy_dir, m.policy_dir + ".away")
        eventually(m.complaints, 5, what="a complaint about the folder")
        assert client.http("web", 80)["status"] == 200
        shutil.move(m.policy_dir + ".away", m.policy_dir)
        eventually(lambda: not m.complaints(), 10)
        m.apply("more.yaml", [service("more", {"http": {"port": 80, "targetPort": 8080}}, {"app": "web"})])
        eventually(lambda: client.http("more", 80).get("status") == 200, 5)


# The command line

def refused(r, *words, code=1):
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    assert r.stderr.strip(), "says why on stderr"
    for w in words:
        assert w.lower() in r.stderr.lower(), r.stderr


def test_second_up_is_refused(mesh):
    refused(mesh.trammel("up", "--policy", mesh.policy_dir, check=False), "already")
    assert mesh.client.http("web", 80)["status"] == 200


def test_up_with_a_missing_policy_folder():
    with Mesh(start=False) as m:
        refused(m.trammel("up", "--policy", m.root + "/nowhere", check=False, timeout=30), "nowhere")
        assert residue.traces(m) == {}


def test_up_without_rights():
    with Mesh(start=False) as m:
        refused(m.trammel("up", "--policy", m.policy_dir, check=False, user=65534), "root")
        assert residue.traces(m) == {}


def test_using_a_mesh_without_rights(mesh):
    refused(mesh.trammel("workload", "list", check=False, user=65534))


def test_stale_pin_of_another_version():
    """A pin folder of another layout with something in it is neither shared nor silently deleted."""
    with Mesh(start=False) as m:
        if not os.path.ismount("/sys/fs/bpf"):
            subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)
        old = os.path.join(m.bpffs, "9999")
        os.makedirs(old)
        subprocess.run(["bpftool", "map", "create", os.path.join(old, "trm_old"), "type", "array", "key", "4", "value", "4", "entries", "1",
                        "name", "trm_old"], check=True)
        r = m.trammel("up", "--policy", m.policy_dir, check=False)
        if r.returncode == 0:
            assert os.path.exists(os.path.join(old, "trm_old")), "another version's maps are not ours to delete"
        else:
            refused(r, "9999")
        m.trammel("down", check=False)
        os.unlink(os.path.join(old, "trm_old")) if os.path.exists(os.path.join(old, "trm_old")) else None
        os.rmdir(old) if os.path.isdir(old) else None


@pytest.mark.sanitize
def test_run_of_a_missing_program(mesh):
    before = residue.held(mesh)
    r = mesh.trammel("run", "--name", "ghost", "--", "/no/such/program", check=False)
    refused(r, "/no/such/program", code=r.returncode)
    assert r.returncode in (1, 126, 127)
    eventually(lambda: all(residue.held(mesh)[k] <= before[k] for k in ("cgroups", "mounts", "pins", "links")), 5, what="nothing half made is left")
    assert "ghost" not in [w["name"] for w in mesh.json("workload", "list")["workloads"]]


def test_detached_run_of_a_missing_program(mesh):
    r = mesh.trammel("run", "--name", "ghost2", "--detach", "--", "/no/such/program", check=False)
    assert r.returncode != 0 and "/no/such/program" in r.stderr
    eventually(lambda: "ghost2" not in [w["name"] for w in mesh.json("workload", "list")["workloads"]], 5)


def test_run_of_a_name_that_is_taken(mesh):
    refused(mesh.trammel("run", "--name", "web", "--", "true", check=False), "web")
    assert mesh.client.http("web", 80)["status"] == 200


@pytest.mark.parametrize("args", [["--name", "Bad_Name"], ["--name", "../../etc"], ["--name", "x" * 300], ["--namespace", "a/b"],
                                  ["--label", "novalue"], ["--label", "=x"], ["--service-account", "a b"], ["--env", "NOVALUE"]])
def test_run_with_a_bad_argument(mesh, args):
    r = mesh.trammel("run", *args, "--", "true", check=False)
    assert r.returncode in (1, 2) and r.stderr.strip(), (r.returncode, r.stderr)
    assert args[1][:20] in r.stderr


@pytest.mark.parametrize("args", [["exec", "default/nobody", "--", "true"], ["stop", "default/nobody"]])
def test_of_a_workload_that_is_not_there(mesh, args):
    refused(mesh.trammel(*args, check=False), "nobody")


@pytest.mark.parametrize("args", [["frobnicate"], ["workload", "frobnicate"], ["run"], ["run", "--frob", "--", "true"], ["exec"], ["up", "--frob"],
                                  ["workload", "list", "--frob"], []])
def test_misuse_is_exit_2(mesh, args):
    refused(mesh.trammel(*args, check=False), code=2)


def test_errors_are_objects_with_json(mesh):

    r = mesh.trammel("stop", "default/nobody", "--json", check=False)
    assert r.returncode == 1
    assert "nobody" in json.dumps(json.loads(r.stdout or r.stderr))


def test_verbs_without_an_agent_say_so():
    with Mesh(start=False) as m:
        for args in (["workload", "list"], ["run", "--", "true"], ["exec", "default/x", "--", "true"]):
            refused(m.trammel(*args, check=False), "trammel up")
        assert m.trammel("down", check=False).returncode == 0, "nothing to take down is no error"


@pytest.mark.sanitize
def test_admin_socket_takes_no_nonsense(mesh):
    """Garbage, an object without op, an endless line: an error object or a close, and the agent lives on."""

    pid = mesh.agent_pid()
    for payload in (b"\n", b"garbage\n", b"{}\n", b'{"op": 7}\n', b'{"op": "no.such"}\n', b"[" * 100000 + b"\n", b"\0" * 1000 + b"\n",
                    b'{"op": "workload.create"}\n', b'{"op": "map.dump", "map": "../../x"}\n'):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(os.path.join(mesh.run_dir, "agent.sock"))
            s.sendall(payload)
            try:
                got = s.recv(65536)
            except ConnectionResetError:
                got = b""
            assert got == b"" or b'"ok":false' in got.replace(b" ", b""), got
    assert mesh.agent_pid() == pid
