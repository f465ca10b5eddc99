# SPDX-License-Identifier: Apache-2.0
"""The catalogue of HTTP/2 frames on live connections: what is no request reaches nobody, what is one arrives as that one.

    outsider -- cleartext, prior knowledge -- proxy ---- h2: an origin that records and reads with python h2, port "http2"
        |                                     proxy ---- h1: the recording origin of test_vectors.py, port "http": the proxy translates
    client ---- proxy ======= mTLS ========== proxy ---- either
    either caller ----------------------------- proxy ---- hostile: answers what the catalogue of responses says

A case passes when its streams ended in one of the ways that the catalogue allows and no message of a refused one reached the
origin; or when it arrived as the message that is written there. After each, clean requests on the same connection, on a
fresh one, and so on the pooled ones behind, must get their own answers.
"""
import json
import os
import random
import subprocess
import sys

import pytest

import h2_vectors
from h2_check import request_faults, request_job, response_faults, response_job
from mesh import BUILD, LIB, Mesh, peer_authentication, service
from pod_vectors import Control

POD = os.path.join(LIB, "pod_h2_vectors.py")
REQUESTS, RESPONSES = h2_vectors.load("h2_request.txt"), h2_vectors.load("h2_response.txt")
BYTEWISE_BYTES = 300  # longer ones say nothing new
SEED = random.SystemRandom().randrange(1 << 32)
# What the service's port is called, which says how the app speaks, and what records there.
ORIGINS = {"h2": ("http2", POD), "h1": ("http", os.path.join(LIB, "pod_vectors.py"))}


@pytest.fixture(scope="module")
def mesh():
    policy = [peer_authentication("PERMISSIVE"), *(service(name, {port: {"port": 80, "targetPort": 8080}}) for name, (port, _) in ORIGINS.items())]
    with Mesh(policy) as m:
        m.origins = {}
        for name, (_, script) in ORIGINS.items():
            m.origins[name] = m.run(name, sys.executable, script, "origin", "8080", control_of(m, name))
            m.origins[name].wait_listening(8080)
            m.wait_endpoints(name, 1)
        m.client = m.client()
        with m.outsider() as m.stranger:
            yield m


def control_of(mesh, origin):
    return os.path.join(mesh.root, origin + ".sock")


def history(mesh, origin):
    """Every connection the origin had."""
    with Control(control_of(mesh, origin)) as control:
        return control("history")


def replay(mesh, who, what, jobs, origin):
    """Results of the cases, in their order."""
    where = [mesh.origins[origin].ip, 8080] if who == "stranger" else [origin, 80]
    job = json.dumps({"where": where, "control": control_of(mesh, origin), "cases": jobs})
    run = mesh.stranger.run if who == "stranger" else mesh.client.exec
    return json.loads(run(sys.executable, POD, what, input=job, timeout=240).stdout)


def prior_knowledge(mesh, origin):
    """What a plain request by prior knowledge comes to: asked once, since without it each case would only fail by its time."""
    plain, = [c for c in REQUESTS if c.name == "legal-get"]
    got, = replay(mesh, "stranger", "requests", [request_job(plain, "whole")], origin)
    faults = list(request_faults(plain, request_job(plain, "whole"), got, origin))
    unread = not faults and not any(n.lower() == "traceparent" for n, _ in got["seen"][0]["fields"])
    return faults or ["it was passed on unread, without a traceparent"] * unread


@pytest.fixture(scope="module")
def spoken(mesh):
    """For each origin: None, or why HTTP/2 to it does not get anywhere."""
    return {origin: prior_knowledge(mesh, origin) for origin in ORIGINS}


@pytest.mark.slow
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("who,how", [pytest.param("stranger", "whole", marks=pytest.mark.sanitize), ("stranger", "cut"), ("stranger", "bytes"),
                                     ("client", "whole")])
def test_requests(mesh, spoken, origin, who, how):
    assert not spoken[origin], f"no HTTP/2 by prior knowledge to {origin}: {spoken[origin]}"
    cases = [c for c in REQUESTS if how == "whole" or 1 < len(c.raw) < (BYTEWISE_BYTES if how == "bytes" else 1 << 16)]
    # a wait for what does not come takes its time on each of two proxies; the client's own is tried with what a client sends
    sample = {("stranger", "cut"): 2, ("stranger", "bytes"): 4, ("client", "whole"): 2}.get((who, how), 1)
    cases = cases[SEED % sample::sample]
    jobs = [request_job(c, how, SEED) for c in cases]
    before = len(history(mesh, origin))
    results = replay(mesh, who, "requests", jobs, origin)
    assert [r["name"] for r in results] == [c.name for c in cases]
    faults = [f"{c.name} {f}" for c, j, r in zip(cases, jobs, results) for f in request_faults(c, j, r, origin)]
    assert not faults, f"seed {SEED}, {len(faults)} faults:\n" + "\n".join(faults)
    connections = history(mesh, origin)[before:]
    assert not [c["error"] for c in connections if c["error"]], "the origin read something else than messages"
    untouched = sum(r["reached"] == 0 for c, r in zip(cases, results) if not c.legal)
    print(f"{len(cases)} cases, {untouched} refused without a byte at the origin, on {len(connections)} connections")


def test_cut_at_every_offset(tmp_path):
    """The codec alone: whole, in two parts at every offset and byte by byte, requests and responses mean the same."""
    tool = os.path.join(BUILD, "tests/unit/http/h2_cuts")
    with open(tmp_path / "cases", "wb") as f:
        for c in REQUESTS:
            f.write(f"{c.name} server {len(c.preface + c.raw)}\n".encode() + c.preface + c.raw)
        for c in RESPONSES:
            raw = h2_vectors.settings() + c.raw
            f.write(f"{c.name} client {len(raw)}\n".encode() + raw)
    r = subprocess.run([tool, tmp_path / "cases"], capture_output=True, text=True, errors="replace", timeout=300)
    assert r.returncode == 0, r.stdout[-4000:] + r.stderr
    assert r.stdout.splitlines()[-1] == f"{len(REQUESTS) + len(RESPONSES)} cases, 0 failed"


EXTENDED = h2_vectors.Case("extended-connect", [h2_vectors.frame(h2_vectors.HEADERS, h2_vectors.END_HEADERS, 1, b"".join(
    h2_vectors.literal(k, v) for k, v in ((b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":path", b"/"),
                                          (b":authority", b"a"))))], [h2_vectors.Verdict("@1 status 502")], streams=[1])


def test_extended_connect_is_no_tunnel_where_the_origin_did_not_upgrade(mesh):
    """RFC 8441 5: 2xx opens the tunnel. An origin of HTTP/1.1 that answers an Upgrade with 200 did not (one that does: test_websocket.py)."""
    got, = replay(mesh, "stranger", "requests", [request_job(EXTENDED, "whole")], "h1")
    assert [(m["method"], m["target"]) for m in got["seen"]] == [("GET", "/")]
    assert got["streams"]["1"]["statuses"] == [502] and got["streams"]["1"]["end"] and not got["over"] and not got["wrong"], got


def test_the_catalogue_is_large_enough():
    legal = sum(c.legal for c in REQUESTS)
    assert len(REQUESTS) >= 400 and legal >= 88, (len(REQUESTS), legal)


# Responses

HOSTILE = os.path.join(LIB, "pod_h2_hostile.py")


@pytest.fixture(scope="module")
def hostile(mesh):
    """An app that answers as the case says (8080), and one more port where it never acknowledges SETTINGS (8081)."""
    mesh.apply("hostile.yaml", [service("hostile", {"http2": {"port": 80, "targetPort": 8080}, "http2-mute": {"port": 81, "targetPort": 8081}})])
    w = mesh.run("hostile", sys.executable, HOSTILE, "8080", "8081")
    w.wait_listening(8080, 8081)
    mesh.wait_endpoints("hostile", 1)
    return w


def respond(mesh, hostile, who, jobs, port=8080):
    where = [hostile.ip, port] if who == "stranger" else ["hostile", {8080: 80, 8081: 81}[port]]
    run = mesh.stranger.run if who == "stranger" else mesh.client.exec
    return json.loads(run(sys.executable, POD, "responses", input=json.dumps({"where": where, "cases": jobs}), timeout=240).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("who", [pytest.param("stranger", marks=pytest.mark.sanitize), "client"])
def test_responses(mesh, spoken, hostile, who):
    """Each is asked for once: the origin's second answer for a path is a clean one, which tells that the proxy tried again."""
    assert not spoken["h2"], f"no HTTP/2 by prior knowledge to the origin: {spoken['h2']}"
    jobs = [{**response_job(c), "target": f"/case/{c.name}?{who}"} for c in RESPONSES]
    results = respond(mesh, hostile, who, jobs)
    reason = "x-trammel-reason" if who == "client" else None
    faults = [f"{c.name} {f}" for c, r in zip(RESPONSES, results) for f in response_faults(c, r, reason, again=who == "client")]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)
    assert [r["name"] for r in results] == [c.name for c in RESPONSES]


def test_an_origin_that_never_acknowledges_settings_is_spoken_to(mesh, spoken, hostile):
    assert not spoken["h2"], f"no HTTP/2 by prior knowledge to the origin: {spoken['h2']}"
    got, = respond(mesh, hostile, "stranger", [{"name": "mute", "target": "/mute", "method": "GET"}], 8081)
    assert got["stream"]["statuses"] == [200] and not got["same"] and not got["wrong"], got
