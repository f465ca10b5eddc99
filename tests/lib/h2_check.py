# SPDX-License-Identifier: Apache-2.0
"""What of an HTTP/2 vector's outcome is not what the catalogue says."""
import random

TOKEN = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def cuts_of(raw, how, seed):
    """The bytes as they are sent: whole, cut in two places, or one by one."""
    if how == "whole" or len(raw) < 2:
        cuts = []
    elif how == "cut":
        cuts = sorted(random.Random(f"{seed} {raw[:1000]}").choices(range(1, len(raw)), k=2))
    else:
        cuts = range(1, len(raw))
    edges = [0, *cuts, len(raw)]
    return [raw[a:b].decode("latin-1") for a, b in zip(edges, edges[1:])]


def request_job(case, how, seed=0):
    """The preface goes with the first bytes; what follows a wait is sent behind it."""
    steps, first = [], case.preface
    for s in case.steps or [b""]:
        if isinstance(s, bytes):
            steps.append(("send", cuts_of(first + s, how, seed)))
            first = b""
        else:
            steps.append(s)
    ends = [v for v in case.verdicts if v.stream and not all(w["how"] == "lost" for w in v.ways)]
    highest = max([*case.streams, 0])
    probe = 0 if "last" in case.flags or case.closes else highest + (1 if highest % 2 == 0 else 2)
    return {"name": case.name, "steps": steps, "awaited": [v.stream for v in ends], "closes": case.closes, "last": "last" in case.flags, "probe": probe}


def all_fields(m):
    """Fields as they mean the same in both versions: cookies joined (RFC 9113 8.2.3)."""
    fields = [(n.lower(), v) for n, v in m["fields"]]
    crumbs = [v for n, v in fields if n == "cookie"]
    return [f for f in fields if f[0] != "cookie"] + ([("cookie", "; ".join(crumbs))] if crumbs else [])


def message_faults(way, m, origin):
    """What of a message at the origin is not what the catalogue says."""
    method, path, authority = way["words"]
    fields = all_fields(m)
    names = [n for n, _ in fields]
    hosts = [v for n, v in fields if n == "host"] + ([m["authority"]] if origin == "h2" and m["authority"] is not None else [])
    if (m["method"], m["target"]) != (method, path):
        yield f"is {m['method']} {m['target'][:200]}"
    if not hosts or set(hosts) != {authority} or (origin == "h1" and len(hosts) > 1):
        yield f"has Host {hosts}"
    if m["body"].encode("latin-1") != way["body"] or m["trailers"] != way["trailer"]:
        yield f"has body {m['body'][:200]!r} and trailers {m['trailers']}"
    lengths = [n for n in names if n in ("content-length", "transfer-encoding")]
    if len(lengths) > 1:
        yield f"has two lengths: {lengths}"
    if origin == "h2" and set(names) & {"connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"}:
        yield f"has fields of a connection: {names}"
    for n, v in fields:
        if not n or set(n) - TOKEN or set(v) & set("\r\n\0"):
            yield f"has the field {n!r}: {v!r}"
    for want in way["has"]:
        n, _, v = want.partition(": ")
        if (n, v) not in fields and (n, v.strip()) not in fields:
            yield f"has not {want!r}"
    for n in way["struck"]:
        if n in names:
            yield f"still has {n}"


def _is_origins(s):
    return any(n == "x-origin" for n, _ in s["fields"])


def way_fault(way, stream, got, seen, origin):
    """None when this way is the one it went."""
    s = got["streams"].get(str(stream)) or {"statuses": [], "fields": [], "end": False, "reset": None, "body": ""}
    how = way["how"]
    said = f"stream {stream}: statuses {s['statuses']}{' of the origin' if _is_origins(s) else ''}{'' if s['end'] else ', no end'}, reset {s['reset']}"
    closed = f"goaway {got['goaway']}, over {got['over']}"
    if how == "pass":
        if not seen:
            return f"does not reach the origin: {said}, {closed}"
        faults = list(message_faults(way, seen[0], origin))
        if faults:
            return "; ".join(faults)
        final = [x for x in s["statuses"] if x >= 200]
        if final != [200] or not s["end"] or not _is_origins(s) or s["reset"] not in (None, "NO_ERROR"):
            return f"has not the origin's answer: {said}, {closed}"
        return None
    if seen and how not in ("close", "end"):
        return f"reaches the origin as {[(m['method'], m['target'][:80]) for m in seen]}"
    if how == "reset":
        return None if s["reset"] in way["codes"] and not _is_origins(s) else f"is not reset with {way['codes']}: {said}, {closed}"
    if how == "status":
        ok = s["statuses"][-1:] == [way["status"]] and s["end"] and not _is_origins(s)
        return None if ok else f"is not answered {way['status']}: {said}, {closed}"
    if how == "close":
        ok = got["goaway"] and got["goaway"]["code"] in way["codes"] and got["over"] in ("end", "reset")
        return None if ok else f"does not end the connection with {way['codes']}: {closed}; {said}"
    if how == "end":
        return None if got["over"] in ("end", "reset") else f"leaves the connection open: {closed}"
    return f"is answered: {said}" if _is_origins(s) else None  # lost


def request_faults(case, job, got, origin):
    """Lines on what is not as the catalogue says; none when all is."""
    claimed, closing = [], False
    verdicts = case.verdicts
    for v in verdicts:
        paths = {w["words"][1] for w in v.ways if w["how"] == "pass"}
        seen = [m for m in got["seen"] if m["target"] in paths] if paths else []
        if v.maybe and not seen:
            continue
        if not paths and len([x for x in verdicts if x.stream]) <= 1:
            seen = got["seen"]
        faults = [way_fault(w, v.stream, got, seen, origin) for w in v.ways]
        if v.maybe:
            faults = list(message_faults(v.passes, seen[0], origin))[:1] or [None]
        if None not in faults:
            yield faults[0]
        else:
            closing |= v.ways[faults.index(None)]["how"] in ("close", "end")
        if paths:
            claimed += seen[:1]
    if len(got["seen"]) > len(claimed):
        yield f"has {len(got['seen'])} messages reach the origin: {[(m['method'], m['target'][:80], m['body'][:40]) for m in got['seen']]}"
    if got["unreadable"]:
        yield "has something reach the origin that is no message"
    if got["fault"]:
        yield f"gets what is no HTTP/2: {got['fault']}"
    gone = got["goaway"] and got["goaway"]["code"] != "NO_ERROR"
    if not closing and not job["last"] and not any(w["how"] == "close" for v in verdicts for w in v.ways):
        if got["over"] or got["goaway"] or got["same"]:
            yield f"loses its connection: {got['over']}, {got['goaway']}, {str(got['same'])[:300]}"
    elif got["same"] and not got["over"] and not gone:
        yield f"is followed by a wrong answer on the same connection: {str(got['same'])[:300]}"
    if got["unclean"]:
        yield "leaves half a message open at the origin"
    if got["wrong"]:
        yield f"is followed by a wrong answer on a fresh connection: {str(got['wrong'])[:300]}"


def outcome(case, job, got, origin):
    """forwarded: what must not reach anybody did; refused: what is right did not; ok: neither. For the table of peers."""
    claims = [w for v in case.verdicts for w in [v.passes] if w]
    paths = {w["words"][1] for w in claims}
    if case.legal:
        return "refused" if any(way_fault(v.passes, v.stream, got, [m for m in got["seen"] if m["method"] == v.passes["words"][0]], origin)
                                for v in case.verdicts if v.passes and not _as_sent(v, got)) else "ok"
    extra = [m for m in got["seen"] if m["target"] not in paths] if paths else got["seen"]
    return "forwarded" if extra or got["unreadable"] else "ok"


def _as_sent(v, got):
    """It arrived, with its body, and was answered; how paths are normalised is everybody's own."""
    s = got["streams"].get(str(v.stream)) or {}
    arrived = [m for m in got["seen"] if m["method"] == v.passes["words"][0] and m["body"].encode("latin-1") == v.passes["body"]]
    return bool(arrived) and s.get("statuses", [])[-1:] == [200] and s.get("end")


def response_faults(case, got, reason, again):
    """What of a hostile origin's answer reached its caller in another way than the catalogue says."""
    s = got["stream"]
    final = [x for x in s["statuses"] if x >= 200]
    said = f"{s['statuses']}{'' if s['end'] else ', no end'}, reset {s['reset']}, body {s['body'][:60]!r}"
    whole = s["end"] and s["reset"] in (None, "NO_ERROR")
    # the reason is told to the mesh's own callers alone; to others, in words
    ours = any(n == reason for n, _ in s["fields"]) if reason else s["body"].startswith("upstream") and s["body"].endswith("\n")

    def holds(way):
        if way["how"] == "pass":
            return (whole and final == [int(way["words"][0])] and s["body"].encode("latin-1") == way["body"] and s["trailers"] == way["trailer"]
                    and not ours and all(tuple(h.split(": ", 1)) in {(n, v) for n, v in s["fields"]} for h in way["has"]))
        if way["how"] == "status":
            return whole and final == [way["status"]] and ours
        if way["how"] == "again":
            return whole and final == [200] and '"again": true' in s["body"]
        # cut; a second proxy may have seen no byte of it before the reset, and then tries a safe method again
        return (not s["end"] and s["reset"] is not None) or (again and whole and final == [200] and '"again": true' in s["body"])

    if not any(holds(w) for w in case.verdicts[0].ways):
        yield f"arrives as {said}{', hangs' if got['silent'] else ''}"
    if got["fault"]:
        yield f"reaches its caller as what is no HTTP/2: {got['fault']}"
    if got["same"]:
        yield f"takes the caller's connection with it: {str(got['same'])[:200]}"
    if got["wrong"]:
        yield f"is followed by a wrong answer: {str(got['wrong'])[:300]}"


def response_job(case):
    return {"name": case.name, "target": f"/case/{case.name}", "method": case.flags.get("method", "GET")}
