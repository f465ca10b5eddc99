# SPDX-License-Identifier: Apache-2.0
"""The catalogue of HTTP/1.1 messages on live connections: what is no message reaches nobody, what is one arrives as that one.

    outsider ------- plaintext ------ proxy ---- origin: records every byte, reads with h11, answers as the case says
    client ---- proxy ==== mTLS ====== proxy ----`
               `---- plaintext ---- outside: another such origin, without a proxy of its own

A case passes when it was refused with its status and the connection closed, and no message of it reached the origin or
the connection it began on was closed; or when it arrived as messages that h11, llhttp (requests) and http.client
(responses) read alike and as the catalogue says. After each, clean requests on the same connection, on a fresh one, and
so on the pooled ones behind, must get their own answers.
"""
import contextlib
import http.client
import io
import json
import os
import random
import subprocess
import sys

import pytest

import vectors
from mesh import LIB, Mesh, peer_authentication, service
from pod_vectors import Control
from wait import eventually

POD = os.path.join(LIB, "pod_vectors.py")
# A whole preface at the start is HTTP/2 to the proxy, though not to the codec of HTTP/1.1 (tests/unit/http).
REQUESTS = [c for c in vectors.load("h1_request.txt") if c.name != "SM22-pri"]
RESPONSES = vectors.load("h1_response.txt")
BYTEWISE_BYTES = 300  # longer ones say nothing new
SEED = random.SystemRandom().randrange(1 << 32)

HELLO = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

# Reads each connection's bytes with llhttp; what it cannot read is left out of its list.
LLHTTP = r"""
const http = require('http'), net = require('net'), job = JSON.parse(require('fs').readFileSync(0)), path = process.argv[1];
const seen = new Map();
const server = http.createServer({maxHeaderSize: 1 << 20}, (q, s) => {
  const body = [];
  q.on('data', d => body.push(d));
  q.on('end', () => { q.socket.seen.push([q.method, q.url, Buffer.concat(body).toString('latin1')]); s.end(); });
});
let now;
server.maxHeadersCount = 0;
server.on('connection', c => { c.seen = now; });
server.httpAllowHalfOpen = true; // an end does not throw away what came before it
server.on('clientError', (e, c) => setTimeout(() => c.destroy(), 50));
server.listen(path, async () => {
  for (const [id, raw] of job) {
    seen.set(id, now = []);
    await new Promise(done => {
      const c = net.connect(path, () => c.end(Buffer.from(raw, 'latin1')));
      c.on('data', () => 0); c.on('error', () => 0); c.on('close', done);
    });
  }
  console.log(JSON.stringify([...seen]));
  server.close();
});
"""


def outside(ip):
    """A service whose endpoint is no workload."""
    return [service("outside", {"http": 80}, False),
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": "outside-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "outside"}},
             "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [str(ip)]}]}]


def control_of(mesh, origin):
    return os.path.join(mesh.root, origin + ".sock")


@pytest.fixture(scope="module")
def mesh():
    policy = [peer_authentication("PERMISSIVE"), service("origin", {"http": {"port": 80, "targetPort": 8080}})]
    with Mesh(policy) as m:
        m.origin = m.run("origin", sys.executable, POD, "origin", "8080", control_of(m, "origin"))
        m.origin.wait_listening(8080)
        m.client = m.client()
        with m.outsider() as m.stranger:
            m.children.append(subprocess.Popen(["nsenter", "--net=" + m.stranger.path, sys.executable, POD, "origin", "8080",
                                                control_of(m, "outside")]))
            m.apply("outside.yaml", outside(m.stranger.addresses[0]))
            m.wait_endpoints("origin", 1)
            m.wait_endpoints("outside", 1)
            eventually(lambda: m.client.http("outside", 80).get("status") == 200, what="the origin outside answers")
            yield m


def replay(mesh, who, what, cases, origin="origin"):
    """Results of the cases, in their order."""
    where = [mesh.origin.ip, 8080] if who == "stranger" else [origin, 80]
    job = json.dumps({"where": where, "control": control_of(mesh, origin), "cases": cases})
    run = mesh.stranger.run if who == "stranger" else mesh.client.exec
    return json.loads(run(sys.executable, POD, what, input=job, timeout=120).stdout)


def parts(raw, how):
    """The bytes as they are sent: whole, cut in two places, or one by one."""
    if how == "whole" or len(raw) < 2:
        cuts = []
    elif how == "cut":
        cuts = sorted(random.Random(f"{SEED} {raw[:1000]}").choices(range(1, len(raw)), k=2))
    else:
        cuts = range(1, len(raw))
    edges = [0, *cuts, len(raw)]
    return [raw[a:b].decode("latin-1") for a, b in zip(edges, edges[1:])]


@contextlib.contextmanager
def upgraded(mesh, is_so):
    """HTTP/1.1 goes from proxy to proxy in HTTP/2 while this is open."""
    if not is_so:
        yield
        return
    def spoken():
        path = f"/{random.getrandbits(64):x}"
        assert mesh.client.http("origin", 80, path)["status"] == 200
        line = eventually(lambda: [l for l in mesh.logs(1 << 16).splitlines() if path in l and '"inbound"' in l], what="it is logged")[0]
        return '"HTTP/2"' in line

    mesh.apply("config.yaml", [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trammel", "namespace": "trammel-system"},
                                "data": {"h2UpgradePolicy": "UPGRADE"}}])
    try:
        eventually(spoken, what="the other proxy is spoken to in HTTP/2")
        yield
    finally:
        mesh.withdraw("config.yaml")
    eventually(lambda: not spoken(), what="it is spoken to in HTTP/1.1 again")


def history(mesh):
    """Every connection the origin had."""
    with Control(control_of(mesh, "origin")) as control:
        return control("history")


# Requests

def request_job(case, how):
    answered = [v for v in case.verdicts if v.how != "more"]
    then = "cut" if case.verdicts[-1].how == "more" else "closed" if case.verdicts[-1].closes else "open"
    methods = ["HEAD" if v.how == "pass" and v.words[0] == "HEAD" else "GET" for v in answered]
    return {"name": case.name, "parts": parts(case.raw, how), "methods": methods, "then": then}


def lowered(fields):
    """HTTP/2 has no other names."""
    return [f"{n.lower()}:{v}" for n, _, v in (f.partition(":") for f in fields)]


def message_faults(v, m, lower):
    """What of a message at the origin is not what the catalogue says."""
    method, path, authority, kind = v.words[:4] if v.words[1] != "(16384" else [v.words[0], None, *v.words[3:5]]
    fields = [(n.lower(), value) for n, value in m["fields"]]
    values = {n: [value for k, value in fields if k == n] for n, _ in fields}
    if m["method"] != method or (m["target"] != path if path else len(m["target"]) != 16384):
        yield f"is {m['method']} {m['target'][:200]}"
    if len(values["host"]) != 1 or (authority != "-" and values["host"] != [authority]):
        yield f"has Host {values['host']}"
    if m["body"].encode("latin-1") != v.body or m["trailers"] != (lowered(v.trailers) if lower else v.trailers):
        yield f"has body {m['body'][:200]!r} and trailers {m['trailers']}"
    if len(values.get("content-length", [])) + len(values.get("transfer-encoding", [])) > 1:
        yield "has two lengths"
    if (kind == "chunked") != ("transfer-encoding" in values):
        yield f"has Transfer-Encoding {values.get('transfer-encoding')}"
    if values.get("upgrade", [None]) != [v.upgrade]:
        yield f"has Upgrade {values.get('upgrade')}"
    for name in v.struck:
        if name.lower() in values:
            yield f"still has {name}"


def answer_faults(v, got):
    ours = not any(n.lower() == "x-origin" for n, _ in got["fields"])
    want = [v.status] if v.how == "refuse" else [200]
    if not got["whole"] or [s for s in got["statuses"] if s != 100] != want or ours != (v.how == "refuse"):
        yield f"is answered {got['statuses']}{' by the proxy' if ours else ''}{'' if got['whole'] else ', cut off'}, not {want}"


def request_faults(case, job, got):
    answered = [v for v in case.verdicts if v.how != "more"]
    passed = [v for v in case.verdicts if v.how == "pass"]
    for v, a in zip(answered, got["answers"]):
        yield from answer_faults(v, a)
    if len(got["answers"]) != len(answered):
        yield f"has {len(got['answers'])} answers, not {len(answered)}"
    if len(got["seen"]) != len(passed):
        yield f"reaches the origin as {[(m['method'], m['target']) for m in got['seen']]}"
    for v, m in zip(passed, got["seen"]):
        yield from message_faults(v, m, job["lower"])
    if job["then"] == "closed" and got["over"] not in ("end", "reset"):
        yield f"leaves its connection open ({got['over']})"
    if job["then"] == "open" and got["over"]:
        yield f"loses its connection ({got['over']})"
    if got["behind"]:
        yield f"gets more: {got['behind'][:200]!r}"
    if got["unclean"]:
        yield "leaves half a message on an open connection of the origin"
    if got["wrong"]:
        yield f"is followed by a wrong answer: {got['wrong']}"


def streams(connections, known):
    """(bytes, messages in them): whole connections, but that node reads on behind a method it knows not, or an Upgrade, no more."""
    for c in connections:
        start, ours = 0, []
        for m in c["messages"]:
            begin, end = m["at"]
            if m["method"] in known:
                ours.append([m["method"], m["target"], m["body"]])
            if m["method"] not in known or any(n.lower() == "upgrade" for n, _ in m["fields"]):
                yield c["raw"][start:end if m["method"] in known else begin], ours
                start, ours = end, []
        yield c["raw"][start:], ours


def llhttp_agrees(connections, path):
    """Reads what reached the origin with node: the same messages."""
    known = json.loads(subprocess.run(["node", "-p", "JSON.stringify(require('http').METHODS)"], capture_output=True, text=True, timeout=20).stdout)
    job = list(streams(connections, known))
    r = subprocess.run(["node", "-e", LLHTTP, path], input=json.dumps([[i, raw] for i, (raw, _) in enumerate(job)]), capture_output=True,
                       text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    for (i, read), (raw, ours) in zip(json.loads(r.stdout), job):
        assert read == ours, (raw, read, ours)
    return sum(len(ours) for _, ours in job)


# May be the beginning of TLS, which a stranger may speak here: waited for (test_strict.py), not refused.
STRANGER_WAITS = {"SM09-tls-hello"}


@pytest.mark.slow
@pytest.mark.parametrize("who,how", [pytest.param("stranger", "whole", marks=pytest.mark.sanitize), ("stranger", "cut"), ("stranger", "bytes"),
                                     ("client", "whole"), ("client", "cut"), ("client-h2", "whole")])
def test_requests(mesh, tmp_path, who, how):
    cases = [c for c in REQUESTS if how == "whole" or 1 < len(c.raw) < (BYTEWISE_BYTES if how == "bytes" else 1 << 17)]
    cases = [c for c in cases if who != "stranger" or c.name not in STRANGER_WAITS]
    sample = {("stranger", "cut"): 2, ("stranger", "bytes"): 4, ("client", "cut"): 3}.get((who, how), 1)
    cases = cases[SEED % sample::sample]
    jobs = [{**request_job(c, how), "lower": who == "client-h2"} for c in cases]
    with upgraded(mesh, who == "client-h2"):
        before = len(history(mesh))
        results = replay(mesh, who, "requests", jobs)
    assert [r["name"] for r in results] == [c.name for c in cases]
    faults = [f"{c.name} {f}" for c, j, r in zip(cases, jobs, results) for f in request_faults(c, j, r)]
    assert not faults, f"seed {SEED}:\n" + "\n".join(faults)
    connections = history(mesh)[before:]
    assert not [c["error"] for c in connections if c["error"]], "the origin read something else than messages"
    n = llhttp_agrees(connections, str(tmp_path / "llhttp"))
    untouched = sum(r["reached"] == 0 for c, r in zip(cases, results) if c.verdicts[0].how == "refuse")
    print(f"{len(cases)} cases, {untouched} refused without a byte at the origin, {n} messages read alike on {len(connections)} connections")


# Responses

def response_job(case, how, i):
    v = case.verdicts[-1]
    lasts = v.how == "pass" and v.words[2] in ("until-close", "tunnel")
    return {"name": case.name, "target": f"/case/{how}/{i}", "method": "HEAD" if "head" in case.flags else "GET",
            "upgrade": case.flags.get("upgrade", ""), "parts": parts(case.raw, how), "end": lasts or v.how == "more",
            "closes": v.how != "pass" or v.closes or lasts or bool(v.left)}


class Stream(io.BytesIO):
    """Bytes that came, as a socket's file that is read by one message after the other."""

    def makefile(self, *how):
        return self

    def close(self):
        pass


def read_again(raw, method):
    """(status, body, bytes behind) as http.client reads them."""
    stream = Stream(raw)
    while True:
        r = http.client.HTTPResponse(stream, method=method)
        r.begin()
        if r.status == 101:
            return r.status, stream.read(), b""
        if r.status >= 200:
            return r.status, r.read(), stream.read()


def response_faults(case, job, got):
    a, v = got["answer"], case.verdicts[-1]
    interim = [int(x.words[0]) for x in case.verdicts[:-1]]
    if v.how == "pass":
        if not a["whole"] or a["statuses"] != interim + [int(v.words[0])]:
            yield f"arrives as {a['statuses']}{'' if a['whole'] else ', cut off'}: {a['error']}"
        if a["body"].encode("latin-1") != v.body or a["trailers"] != (lowered(v.trailers) if job["lower"] else v.trailers):
            yield f"has body {a['body'][:200]!r} and trailers {a['trailers']}"
        for name in v.struck:
            if any(n.lower() == name.lower() for n, _ in a["fields"]):
                yield f"still has {name}"
    elif a["whole"]:
        if a["statuses"][-1] != 502 or not any(n.lower() == "x-trammel-reason" for n, _ in a["fields"]):
            yield f"arrives as {a['statuses']} with body {a['body'][:200]!r}"
    elif a["statuses"] and a["statuses"][-1] >= 200 and not case.name.startswith(("SM12", "SM14", "RS02-truncated")):
        yield "is cut off, not 502"
    elif got["over"] == "silence":
        yield "hangs"
    if got["behind"]:
        yield f"is followed by {got['behind'][:200]!r}"
    if got["unclean"] and job["closes"]:
        yield "leaves its connection to the origin open"
    if got["wrong"]:
        yield f"is followed by a wrong answer: {got['wrong']}"


@pytest.mark.parametrize("origin,how", [pytest.param("origin", "whole", marks=pytest.mark.sanitize), ("origin", "cut"), ("origin", "bytes"),
                                        ("origin-h2", "whole"), pytest.param("outside", "whole", marks=pytest.mark.sanitize), ("outside", "cut")])
def test_responses(mesh, origin, how):
    # CONNECT is refused before it reaches anyone
    cases = [c for c in RESPONSES if "connect" not in c.flags and (how == "whole" or 1 < len(c.raw) < BYTEWISE_BYTES)]
    jobs = [{**response_job(c, how, i), "lower": origin == "origin-h2"} for i, c in enumerate(cases)]
    with upgraded(mesh, origin == "origin-h2"):
        results = replay(mesh, "client", "responses", jobs, origin.removesuffix("-h2"))
    assert [r["name"] for r in results] == [c.name for c in cases]
    faults = [f"{c.name} {f}" for c, j, r in zip(cases, jobs, results) for f in response_faults(c, j, r)]
    assert not faults, f"seed {SEED}:\n" + "\n".join(faults)
    for c, j, r in zip(cases, jobs, results):
        a = r["answer"]
        if a["whole"]:
            status, body, behind = read_again(a["raw"].encode("latin-1"), j["method"])
            assert (status, body, behind) == (a["statuses"][-1], a["body"].encode("latin-1"), b""), (c.name, a)


EARLY_BODIES = {"length": ("Content-Length: 100000\r\n", "x" * 1000), "chunked": ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
                "none": ("Content-Length: 5\r\n", "")}
EARLY_ANSWERS = {200: HELLO, 413: HELLO.replace("200", "413"), 204: "HTTP/1.1 204 OK\r\n\r\n", 304: "HTTP/1.1 304 OK\r\n\r\n"}


def test_answers_before_the_request_is_whole(mesh):
    """The caller gets the answer and its connection ends; the one to the origin, which waits for a body, is given up."""
    jobs = [{"name": f"early-{status}-{body}", "target": f"/early/{status}/{body}", "method": "POST", "upgrade": "", "fields": fields,
             "behind": part, "early": EARLY_ANSWERS[status], "parts": [], "end": False, "closes": True, "ends": True}
            for body, (fields, part) in EARLY_BODIES.items() for status in EARLY_ANSWERS]
    for status, got in zip([*EARLY_ANSWERS] * len(EARLY_BODIES), replay(mesh, "client", "responses", jobs)):
        assert got["answer"]["whole"] and got["answer"]["statuses"] == [status], got
        assert got["over"] in ("end", "reset") and not got["behind"] and not got["unclean"] and not got["wrong"], got


def test_bytes_behind_an_upgrade_are_held(mesh):
    """They reach the origin when it has said 101, without waiting for more; and never in front of another answer."""
    early, switched = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 101 SP\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    base = {"method": "GET", "upgrade": "websocket"}
    jobs = [{**base, "name": "held", "target": "/held", "parts": [switched], "behind": early, "late": "", "until": "\r\n\r\n", "closes": True, "end": True},
            {**base, "name": "refused", "target": "/refused", "parts": [HELLO], "behind": "\x81\x05frame", "closes": False, "end": False, "ends": True}]
    held, refused = replay(mesh, "client", "responses", jobs)
    assert held["answer"]["statuses"] == [101] and held["answer"]["body"] == early, held
    assert refused["answer"]["statuses"] == [200] and refused["answer"]["body"] == "hello", refused
    assert refused["behind"].startswith("HTTP/1.1 400 ") and not held["wrong"] and not refused["wrong"], refused
    connections = history(mesh)
    assert not [c["error"] for c in connections if c["error"]], "nothing was sent behind a request"
