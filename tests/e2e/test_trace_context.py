# SPDX-License-Identifier: Apache-2.0
"""W3C trace context through the mesh: the cases of the specification's own test suite (w3c/trace-context, test/test.py), by HTTP/1.1
and by HTTP/2.

    client: curl ---- proxy ==== mTLS ==== proxy ---- web: recording origin on 8080

Both proxies take part in the trace: they name themselves the parent, keep the trace and its flags, and pass tracestate as it is, or
begin a trace of their own and drop it. The suite asks that of whoever is called; here it is asked of the request as the origin sees it.
"""
import json
import re

import pytest

from mesh import Mesh, peer_authentication, service

POLICY = [peer_authentication("STRICT"), service("web", {"http": {"port": 80, "targetPort": 8080}})]
TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
KEY = "".join(map(chr, range(0x61, 0x7b))) + "0123456789_-*/"
VALUE = "".join(chr(c) for c in range(0x20, 0x7f) if chr(c) not in ",=")


@pytest.fixture(scope="module")
def mesh():
    with Mesh(POLICY) as m:
        m.web = m.serve("web", "http:8080")
        m.client = m.client()
        m.wait_endpoints("web", 1)
        yield m


@pytest.fixture(params=["--http1.1", "--http2-prior-knowledge"], ids=["h1", "h2"])
def ask(mesh, request):
    """Sends header lines; (traceparent parts, tracestate members) as the origin saw them."""
    def send(*lines):
        args = [a for line in lines for a in ("-H", line)]
        got = json.loads(mesh.client.curl(request.param, "--fail", *args, "http://web/").stdout)["headers"]
        parents = [v for k, v in got if k.lower() == "traceparent"]
        states = [v for k, v in got if k.lower() == "tracestate"]
        assert len(parents) == 1 and len(states) <= 1, got
        m = re.fullmatch(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", parents[0])
        assert m, f"not a traceparent of version 00: {parents[0]}"
        assert m[2] != PARENT, "the parent is the proxy before the origin"
        return m.groups(), [s.strip(" \t") for v in states for s in v.split(",")]
    send.is_h2 = "http2" in request.param
    return send


def assert_kept(ask, *lines, state=None):
    (trace, _, flags), members = ask(*lines)
    assert trace == TRACE, "the caller's trace goes on"
    if state is not None:
        assert members == state
    return flags


def assert_new(ask, *lines):
    (trace, _, _), members = ask(*lines)
    assert trace not in " ".join(lines), "a new trace"
    assert members == [], "state of a trace that was not believed"


# traceparent

def test_none(ask):
    assert_new(ask)


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_flags_are_kept(ask, flags):
    assert assert_kept(ask, f"traceparent: 00-{TRACE}-{PARENT}-{flags}", state=[]) == flags


def test_flags_nobody_knows_are_cleared(ask):
    assert assert_kept(ask, f"traceparent: 00-{TRACE}-{PARENT}-ff") == "03"
    assert assert_kept(ask, f"traceparent: 00-{TRACE}-{PARENT}-f8") == "00"


def test_each_request_has_a_parent_of_its_own(ask):
    assert len({ask(f"traceparent: {GOOD}")[0][1] for _ in range(3)}) == 3
    assert len({ask()[0][0] for _ in range(3)}) == 3, "and without a trace, a trace of its own"


@pytest.mark.parametrize("other", [TRACE[:-1] + "1", TRACE], ids=["different", "equal"])
def test_two(ask, other):
    assert_new(ask, f"traceparent: 00-{other}-{PARENT}-01", f"traceparent: {GOOD}", "tracestate: foo=1")


@pytest.mark.parametrize("name", ["trace-parent", "trace.parent", "trace_parent"])
def test_other_names(ask, name):
    assert_new(ask, f"{name}: {GOOD}")


@pytest.mark.parametrize("name", ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"])
def test_case_of_the_name(ask, name):
    assert_kept(ask, f"{name}: {GOOD}", "TraceState: foo=1", state=["foo=1"])


@pytest.mark.parametrize("value", [f"cc-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", f"01-{TRACE}-{PARENT}-01-"])
def test_version_of_the_future(ask, value):
    assert assert_kept(ask, f"traceparent: {value}", "tracestate: foo=1", state=["foo=1"]) == "01"


INVALID = {
    "version 00 says more": [GOOD + ".", GOOD + "-what-the-future-will-be-like", GOOD + "-"],
    "future version without a dash": [f"cc-{TRACE}-{PARENT}-01.what-the-future-will-be-like", f"cc-{TRACE}-{PARENT}-010"],
    "version ff": [f"ff-{TRACE}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01-more"],
    "version": [f"{v}-{TRACE}-{PARENT}-01" for v in (".0", "0.", "000", "0000", "0", "", "CC")],
    "trace id": [f"00-{t}-{PARENT}-01" for t in ("0" * 32, "." + TRACE[1:], TRACE[:-1] + ".", TRACE + "3", TRACE[:-1], "", TRACE[:-1] + "A")],
    "parent id": [f"00-{TRACE}-{p}-01" for p in ("0" * 16, "." + PARENT[1:], PARENT[:-1] + ".", PARENT + "7", PARENT[:-1], "", PARENT[:-1] + "A")],
    "flags": [f"00-{TRACE}-{PARENT}-{f}" for f in (".0", "0.", "001", "1", "", "0A")] + [f"00-{TRACE}-{PARENT}"],
    "not one at all": ["nonsense", "-", "-" * 55, f"{GOOD},{GOOD}", f"00_{TRACE}_{PARENT}_01"],
}


@pytest.mark.parametrize("what", INVALID)
def test_invalid(ask, what):
    for value in INVALID[what]:
        assert_new(ask, f"traceparent: {value}", "tracestate: foo=1")
    assert_new(ask, "traceparent;", "tracestate: foo=1")  # curl's way to say an empty value


# In HTTP/2 a value may not begin or end so (RFC 9113 section 8.2.1), and curl sends none.
OWS = [(" ", ""), ("\t", ""), ("", " "), ("", "\t"), ("\t ", " \t")]


@pytest.mark.parametrize("before, after", OWS)
def test_white_space_around(ask, before, after):
    if ask.is_h2 and after:
        return
    assert_kept(ask, f"traceparent:{before}{GOOD}{after}", f"tracestate:{before}foo=1{after}", state=["foo=1"])


# tracestate

def test_state_without_parent(ask):
    assert_new(ask, "tracestate: foo=1")
    assert_new(ask, "tracestate: foo=1,bar=2")


def test_state(ask):
    assert_kept(ask, f"traceparent: {UNSAMPLED}", "tracestate: foo=1,bar=2", state=["foo=1", "bar=2"])


def test_state_under_another_name(ask):
    for name in ("trace-state", "trace.state"):
        assert_kept(ask, f"traceparent: {UNSAMPLED}", f"{name}: foo=1", state=[])


@pytest.mark.parametrize("lines, want", [
    (["tracestate;"], []),
    (["tracestate: foo=1", "tracestate;"], ["foo=1"]),
    (["tracestate;", "tracestate: foo=1"], ["foo=1"]),
    (["tracestate: foo=1", "tracestate: bar=2"], ["foo=1", "bar=2"]),
    (["tracestate: foo=1,bar=2", "tracestate: rojo=1,congo=2", "tracestate: baz=3"], ["foo=1", "bar=2", "rojo=1", "congo=2", "baz=3"]),
    (["tracestate: foo=1 \t , \t bar=2, \t baz=3"], ["foo=1", "bar=2", "baz=3"]),
    (["tracestate: foo=1\t \t,\t \tbar=2,\t \tbaz=3"], ["foo=1", "bar=2", "baz=3"]),
    ([f"tracestate: {KEY}={VALUE}"], [f"{KEY}={VALUE}"]),
    ([f"tracestate: {KEY}@a-z0-9_-*/={VALUE}"], [f"{KEY}@a-z0-9_-*/={VALUE}"]),
    (["tracestate: 0foo=1"], ["0foo=1"]),
    (["tracestate: foo=1,foo=2"], ["foo=1", "foo=2"]),
    (["tracestate: foo@=1,bar=2"], ["foo@=1", "bar=2"]),
    (["tracestate: foo@@bar=1,bar=2"], ["foo@@bar=1", "bar=2"]),
    (["tracestate: foo@bar@baz=1,bar=2"], ["foo@bar@baz=1", "bar=2"]),
], ids=lambda v: None if isinstance(v, list) and v and "tracestate" in v[0] else str(len(v)))
def test_state_is_passed(ask, lines, want):
    assert_kept(ask, f"traceparent: {UNSAMPLED}", *lines, state=want)


@pytest.mark.parametrize("value", ["foo =1", "FOO=1", "foo.bar=1", "@foo=1,bar=2", "foo=bar=baz", "foo=,bar=3", "foo", "=1", "foo=1==", "-foo=1", "_foo=1"])
def test_invalid_state_is_dropped(ask, value):
    assert_kept(ask, f"traceparent: {UNSAMPLED}", f"tracestate: {value}", state=[])


def members(n):
    return [f"bar{i:02}={i:02}" for i in range(1, n + 1)]


@pytest.mark.parametrize("n", [32, 33])
def test_members(ask, n):
    lines = ["tracestate: " + ",".join(members(n)[i:i + 10]) for i in range(0, n, 10)]
    assert_kept(ask, f"traceparent: {UNSAMPLED}", *lines, state=members(n) if n <= 32 else [])


@pytest.mark.parametrize("key, good", [("z" * 256, True), ("z" * 257, False), ("t" * 241 + "@" + "v" * 14, True), ("t" * 242 + "@v", True),
                                       ("t@" + "v" * 15, True), ("t" * 241 + "@" + "v" * 15, False)],
                         ids=["256", "257", "256-at", "244-at", "17-at", "257-at"])
def test_length_of_a_key(ask, key, good):
    assert_kept(ask, f"traceparent: {UNSAMPLED}", "tracestate: foo=1", f"tracestate: {key}=1", state=["foo=1", f"{key}=1"] if good else [])


@pytest.mark.parametrize("n", [256, 257])
def test_length_of_a_value(ask, n):
    assert_kept(ask, f"traceparent: {UNSAMPLED}", f"tracestate: foo={'v' * n}", state=[f"foo={'v' * n}"] if n <= 256 else [])


def test_512_characters_and_more_are_passed(ask):
    """Section 3.3.1.5 of the recommendation: at least 512 characters of a combined list."""
    for n in (512, 4096):
        state = [f"k{i:02}={'v' * (n // 16 - 5)}" for i in range(16)]
        assert_kept(ask, f"traceparent: {UNSAMPLED}", "tracestate: " + ",".join(state), state=state)
