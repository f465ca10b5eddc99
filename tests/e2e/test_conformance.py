# SPDX-License-Identifier: Apache-2.0
"""The same hostile and legal requests at other people's reverse proxies and at ours: docs/conformance.md.

    caller ---- nginx | HAProxy | nghttpx ---- recording origins      each in a namespace of its own
    outsider ---------- proxy ---------------- recording origins      port "http" and port "http2", PERMISSIVE

One rule for all: a request that must be refused and reaches the origin in any form was forwarded; a legal one that does not
arrive with its method and body, or is not answered, was refused. Numbers of the others are shown and not judged: they are of
their versions. They wait where we close, so the vectors are dealt out to several of each. TRAMMEL_TEST_WRITE_DOCS=1 writes the tables.
"""
import json
import os
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import h2_vectors
import rival_proxies
from conformance import H1_GROUPS, H2_GROUPS, column, count, h1_outcome, is_legal_h1, replaced, section, table
from h2_check import outcome, request_job as h2_job
from mesh import TOP
from test_vectors import REQUESTS as H1_REQUESTS, STRANGER_WAITS, request_job as h1_job
from test_vectors_h2 import control_of, mesh, prior_knowledge  # noqa: F401 (a fixture)

DOC = pathlib.Path(TOP) / "docs" / "conformance.md"
H1 = [c for c in H1_REQUESTS if c.name not in STRANGER_WAITS]
H2 = h2_vectors.load("h2_request.txt")
PATIENCE_S = 0.3  # with a peer, which may wait for more where we close
PARTS = 12  # of the vectors, each at a proxy and origins of its own, side by side
pytestmark = pytest.mark.slow
TITLES = {"nginx": "nginx", "haproxy": "HAProxy", "nghttpx": "nghttpx"}
OURS = "Trammel"


def h1_rows(results, cases=H1):
    assert [r["name"] for r in results] == [c.name for c in cases]
    return count([c.name for c in cases], [h1_outcome(c, r) for c, r in zip(cases, results)], H1_GROUPS)


def h2_rows(results, origin, cases=H2):
    assert [r["name"] for r in results] == [c.name for c in cases]
    return count([c.name for c in cases], [outcome(c, h2_job(c, "whole"), r, origin) for c, r in zip(cases, results)], H2_GROUPS)


def jobs(cases, job):
    return [job(c, "whole") for c in cases]


def part_of_peer(name, folder, part):
    """{(spoken, origin): rows} of every so many vectors, and the proxy's version"""
    found = {}
    h1, h2 = H1[part::PARTS], H2[part::PARTS]
    with rival_proxies.Peer(name, os.path.join(folder, str(part))) as p:
        for port, script, origin in ((rival_proxies.H1, "pod_vectors.py", "h1"), (rival_proxies.H2_TO_H2, "pod_h2_vectors.py", "h2"), (rival_proxies.H2_TO_H1, "pod_h2_vectors.py", "h1")):
            if port not in p.kinds[name]:
                continue
            cases = jobs(h1, h1_job) if port == rival_proxies.H1 else jobs(h2, h2_job)
            job = {"where": ["127.0.0.1", port], "control": p.control(origin), "cases": cases, "patience": PATIENCE_S}
            results = json.loads(p.run(script, "requests", json.dumps(job)))
            found["h1" if port == rival_proxies.H1 else "h2", origin] = h1_rows(results, h1) if port == rival_proxies.H1 else h2_rows(results, origin, h2)
        return found, p.version


def together(parts):
    """The sums of what parts found."""
    whole = {}
    for found, version in parts:
        for kind, rows in found.items():
            for group, row in rows.items():
                into = whole.setdefault(kind, {}).setdefault(group, [0, 0, 0])
                into[:] = map(sum, zip(into, row))
    return whole, version


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """{title: (rows, version)}; what they wait for, they wait for side by side."""
    folder = str(tmp_path_factory.mktemp("peers"))
    with ThreadPoolExecutor(len(TITLES) * PARTS) as pool:
        futures = {title: [pool.submit(part_of_peer, name, folder, i) for i in range(PARTS)] for name, title in TITLES.items()}
        return {title: together([f.result() for f in parts]) for title, parts in futures.items()}


def ours(mesh, script, cases, origin):  # noqa: F811
    job = {"where": [mesh.origins[origin].ip, 8080], "control": control_of(mesh, origin), "cases": cases}
    return json.loads(mesh.stranger.run(sys.executable, f"{rival_proxies.LIB}/{script}", "requests", input=json.dumps(job), timeout=300).stdout)


def write(name, markdown, others):
    if "TRAMMEL_TEST_WRITE_DOCS" in os.environ:
        text = replaced(DOC.read_text(), name, markdown)
        DOC.write_text(replaced(text, "versions", ", ".join(f"{t} {v}" for t, (_, v) in others.items())))
    doc = section(DOC.read_text(), name)
    for title in [c for c in column_names(markdown) if c.startswith(OURS)]:
        assert column(doc, title) == column(markdown, title), f"docs/conformance.md says something else of {title}: make it again with TRAMMEL_TEST_WRITE_DOCS=1"


def column_names(markdown):
    return [c.strip() for c in markdown.splitlines()[0].strip("|").split("|")]


def test_http1(mesh, others):  # noqa: F811
    rows = h1_rows(ours(mesh, "pod_vectors.py", jobs(H1, h1_job), "h1"))
    markdown = table({**{t: found["h1", "h1"] for t, (found, _) in others.items()}, OURS: rows}, H1_GROUPS)
    print("\n" + markdown)
    assert sum(r[1] for r in rows.values()) == 0, f"forwarded: {rows}"
    assert sum(r[2] for r in rows.values()) == 0, f"refused: {rows}"
    assert sum(map(is_legal_h1, H1)) >= 100
    write("http1", markdown, others)


def test_http2(mesh, others):  # noqa: F811
    columns = {f"{t} to {o.upper()}": found["h2", o] for t, (found, _) in others.items() for o in ("h2", "h1") if ("h2", o) in found}
    why = [f"{origin}: {w}" for origin in ("h2", "h1") for w in prior_knowledge(mesh, origin)]
    if not why:
        for origin in ("h2", "h1"):
            columns[f"{OURS} to {origin.upper()}"] = h2_rows(ours(mesh, "pod_h2_vectors.py", jobs(H2, h2_job), origin), origin)
    markdown = table(columns, H2_GROUPS)
    print("\n" + markdown)
    assert not why, f"no HTTP/2 by prior knowledge to {why}"
    for title, rows in columns.items():
        assert not title.startswith(OURS) or sum(r[1] + r[2] for r in rows.values()) == 0, f"{title}: {rows}"
    write("http2", markdown, others)
