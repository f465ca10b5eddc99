# SPDX-License-Identifier: Apache-2.0
"""Killed at the wrong moment: what an agent or a command line leaves half made, the next agent mends or removes, and nothing else.

    client ---- proxy ==== mTLS ==== proxy ---- web          kill -9 the agent, spoil what it left, up
    an outsider on the bridge asks a STRICT workload in the clear meanwhile
"""
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import netns
import residue
from mesh import TRAMMEL, Mesh, peer_authentication, service
from wait import eventually

POLICY = [peer_authentication("STRICT"), service("web", {"http": {"port": 80, "targetPort": 8080}})]

# Asks again and again until it is told to end: how many answers came, and what the first one was.
HAMMER = """
import select, socket, sys
ip, port, answers, first, tries = sys.argv[1], int(sys.argv[2]), 0, b"", 0
while not select.select([sys.stdin], [], [], 0)[0]:
    s = socket.socket()
    s.settimeout(0.02)
    tries += 1
    try:
        s.connect((ip, port))
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        got = s.recv(100)
        answers += got != b""
        first = first or got
    except OSError:
        pass
    s.close()
print(tries, answers, first)
"""


def agent_kill(mesh):
    pid = mesh.agent_pid()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z", 5)


def names(mesh):
    return {w["name"] for w in mesh.json("workload", "list")["workloads"]}


def state_path(mesh, name):
    return os.path.join(mesh.run_dir, "workload", f"default_{name}.json")


def state_spoil(mesh, name):
    with open(state_path(mesh, name), "w") as f:
        f.write("{")


@pytest.fixture
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        assert m.client.http("web", 80)["status"] == 200
        yield m


@pytest.mark.sanitize
def test_a_spoiled_state_file_costs_its_own_workload_alone(mesh):
    """The number of the workload stood in that file; the one that has another number keeps its network."""
    other = mesh.serve("other", "http:8080")
    during = residue.held(mesh, other)
    agent_kill(mesh)
    state_spoil(mesh, "other")
    mesh.up()
    mesh.workloads.pop(other.key)
    assert names(mesh) == {"web", "client"}
    assert mesh.client.http("web", 80)["status"] == 200
    eventually(lambda: residue.left(mesh, during) == {}, 5, what=f"nothing is left of it: {residue.left(mesh, during)}")
    assert mesh.serve("other", "http:8080").http("web", 80)["status"] == 200, "its name is free"


def test_a_state_that_is_read_twice_is_one_workload(mesh):
    """A folder that changes while it is read may show a name again."""
    agent_kill(mesh)
    shutil.copy(state_path(mesh, "web"), state_path(mesh, "web-again"))
    mesh.up()
    rows = [w["name"] for w in mesh.json("workload", "list")["workloads"]]
    assert sorted(rows) == ["client", "web"]
    assert mesh.client.http("web", 80)["status"] == 200
    mesh.web.stop()
    assert names(mesh) == {"client"}


def test_a_workload_that_is_removed_answers_nobody_in_the_clear(mesh):
    """Its processes live when its removal begins; they are gone before the hooks are."""
    with mesh.outsider() as o:
        for i in range(4):
            name = f"doomed-{i}"
            w = mesh.serve(name, "http:8080")
            hammer = subprocess.Popen(["nsenter", "--net=" + o.path, sys.executable, "-c", HAMMER, w.ip, "8080"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            try:
                agent_kill(mesh)
                state_spoil(mesh, name)
                mesh.up()
                mesh.workloads.pop(w.key)
                time.sleep(0.1)
                out, _ = hammer.communicate("end\\n", timeout=10)
            finally:
                hammer.kill()
                hammer.wait()
            tries, answers = out.split()[:2]
            assert int(tries) > 3 and answers == "0", out


@pytest.mark.parametrize("spoil", ["no bridge", "no address", "no namespace"])
def test_a_network_that_was_half_made_is_made_whole(spoil):
    """The agent was killed in the first moments of its life."""
    with Mesh(POLICY) as m:
        agent_kill(m)
        kept = os.path.join(m.run_dir, "netns", "trammel")
        if spoil == "no bridge":
            netns.run_in(kept, "ip", "link", "del", "trm0")
        elif spoil == "no address":
            netns.run_in(kept, "ip", "address", "flush", "dev", "trm0")
            netns.run_in(kept, "ip", "link", "set", "trm0", "down")
        else:
            subprocess.run(["umount", kept], check=True)
            assert os.path.isfile(kept)
        m.up()
        m.serve("web", "http:8080")
        m.wait_endpoints("web", 1)
        assert m.client().http("web", 80)["status"] == 200
        assert len(netns.bridge_in(kept)[1]) == 2


@pytest.fixture
def owner():
    p = subprocess.Popen(["sleep", "1000"])
    yield p
    p.kill()
    p.wait()


def create(mesh, owner, detach):
    got = mesh.ask("workload.create", namespace="default", name="early", service_account="default", labels=["app=early"], detach=detach,
                   owner_pid=owner.pid)
    assert got["ok"], got
    return got


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "foreground"])
@pytest.mark.parametrize("agent", ["lives", "killed"])
def test_run_killed_before_its_command(mesh, owner, detach, agent):
    """Enrolled, and whoever was to start the command is gone: so is the workload."""
    create(mesh, owner, detach)
    assert "early" in names(mesh)
    if agent == "killed":
        agent_kill(mesh)
    owner.kill()
    owner.wait()
    if agent == "killed":
        mesh.up()
    eventually(lambda: "early" not in names(mesh), 5)


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "foreground"])
def test_agent_killed_before_the_command(mesh, owner, detach):
    """Enrolled, and the next agent finds nothing running in it yet: it waits as long as there is somebody to start it."""
    got = create(mesh, owner, detach)
    agent_kill(mesh)
    mesh.up()
    time.sleep(0.3)
    assert "early" in names(mesh)
    command = subprocess.Popen(["sh", "-c", 'echo $$ >"$1/cgroup.procs" && exec sleep 1000', "sh", got["cgroup"]])
    try:
        eventually(lambda: open(os.path.join(got["cgroup"], "cgroup.procs")).read().strip(), 5)
        assert mesh.ask("workload.started", namespace="default", name="early", pid=command.pid)["ok"]
        if detach:
            owner.kill()
            owner.wait()
            time.sleep(0.3)
        assert "early" in names(mesh), "it runs"
    finally:
        command.kill()
        command.wait()
    if not detach:
        assert "early" in names(mesh), "its command line still has to tell how it ended"
        owner.kill()
    eventually(lambda: "early" not in names(mesh), 5)


def test_command_started_while_no_agent_was_there(mesh, owner):
    got = create(mesh, owner, True)
    agent_kill(mesh)
    command = subprocess.Popen(["sh", "-c", 'echo $$ >"$1/cgroup.procs" && exec sleep 1000', "sh", got["cgroup"]])
    try:
        eventually(lambda: open(os.path.join(got["cgroup"], "cgroup.procs")).read().strip(), 5)
        owner.kill()  # it could tell nobody
        owner.wait()
        mesh.up()
        row = next(w for w in mesh.json("workload", "list")["workloads"] if w["name"] == "early")
        assert row["pid"] == command.pid and row["state"] == "running", row
    finally:
        command.kill()
        command.wait()
    eventually(lambda: "early" not in names(mesh), 5)


@pytest.mark.sanitize
def test_agent_ends_while_a_workload_is_being_stopped(mesh):
    """Whoever waits for the end is told that it has not come, and how to go on."""
    w = mesh.run("stubborn", "sh", "-c", "trap '' TERM; while :; do sleep 0.2; done")
    p = subprocess.Popen([TRAMMEL, "stop", w.key], env=mesh.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: w.get()["state"] == "stopping", 5)
    os.kill(mesh.agent_pid(), signal.SIGTERM)
    _, err = p.communicate(timeout=10)
    assert p.returncode == 1 and "default/stubborn" in err and "trammel up" in err, err
    mesh.up()
    assert "stubborn" in names(mesh)
    w.stop()


def test_up_beside_down(mesh):
    """Whoever comes first: in the end there is one agent that owns the folder, or none, and nothing else."""
    mesh.workloads.clear()
    for i in range(8):
        down = subprocess.Popen([TRAMMEL, "down"], env=mesh.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.04 * i)
        up = subprocess.Popen([TRAMMEL, "up", "--policy", mesh.policy_dir], env=mesh.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        (_, up_err), (_, down_err) = up.communicate(timeout=40), down.communicate(timeout=40)
        assert up.returncode == 0 or "runs already" in up_err or "is going down" in up_err, up_err
        assert down.returncode == 0 or "still runs" in down_err, down_err
        if up.returncode == 0 and down.returncode == 0:
            again = mesh.trammel("up", "--policy", mesh.policy_dir, check=1)
            assert "runs already" in again.stderr
        mesh.trammel("up", "--policy", mesh.policy_dir, check=False)
        assert mesh.serve("web", "http:8080").addresses
        mesh.workloads.clear()
    mesh.down()
    assert residue.traces(mesh) == {}
    assert not os.path.exists(mesh.run_dir)
