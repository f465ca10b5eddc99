# SPDX-License-Identifier: Apache-2.0
"""How strict a reverse proxy is, as a table: what it let through that must not, and what it refused that is right."""

H1_GROUPS = {
    "SM01": "two ways to say how long", "SM02": "Content-Length", "SM04": "Transfer-Encoding", "SM06": "Transfer-Encoding in HTTP/1.0", "SM07": "field names",
    "SM09": "line ends and controls", "SM10": "underscores", "SM12": "chunks", "SM14": "trailers", "SM15": "what follows a message", "SM18": "more announced than sent",
    "SM19": "Host", "SM20": "targets", "SM22": "methods, versions, request lines", "SM23": "Upgrade, Connection, Expect", "RS02": "sizes",
}
H2_GROUPS = {
    "DG01": "bytes of names and values", "DG03": "lengths, fields of a connection", "DG04": "pseudo-header fields, Host", "DG07": "cookies over the limit",
    "DG10": "CONNECT, TRACE, Expect", "DG11": "frames for streams that are over", "SM10": "underscores", "SM14": "trailers", "RS02": "sizes",
    "FR": "frames and streams", "FL": "flow control", "HP": "HPACK", "H203": "CONTINUATION",
}
# Where refusing is a choice of ours (a limit, a name that becomes another one somewhere, a target that means another one
# when it is decoded): a peer that forwards such a request does nothing wrong by the RFC.
CHOICES = {"SM10", "SM20", "RS02", "DG07", "H203"}


def h1_outcome(case, got):
    """forwarded: a message that must not reach anybody did, or bytes that are none; refused: one that is right did not arrive; or ok."""
    passes = [v for v in case.verdicts if v.how == "pass"]
    if len(got["seen"]) > len(passes) or got["unreadable"]:
        return "forwarded"
    if len(passes) < len(case.verdicts):
        return "ok"
    arrived = [(m["method"], m["body"].encode("latin-1")) for m in got["seen"]] == [(v.words[0], v.body) for v in passes]
    answered = [a["statuses"][-1:] for a in got["answers"]] == [[200]] * len(passes)
    return "ok" if arrived and answered else "refused"


def group_of(name, groups):
    word = name.split("-")[0]
    return word if word in groups else "legal"


def is_legal_h1(case):
    return all(v.how == "pass" for v in case.verdicts)


def count(names, outcomes, groups):
    """{group: [vectors, forwarded, refused]}"""
    rows = {}
    for name, outcome in zip(names, outcomes):
        row = rows.setdefault(group_of(name, groups), [0, 0, 0])
        row[0] += 1
        row[1] += outcome == "forwarded"
        row[2] += outcome == "refused"
    return rows


def table(contenders, groups):
    """Markdown; contenders: {column: rows of count()}. The last two lines are sums, without and with what is a choice."""
    order = [g for g in [*groups, "legal"] if any(g in rows for rows in contenders.values())]
    out = ["| group | vectors | " + " | ".join(contenders) + " |", "|---|---|" + "---|" * len(contenders)]

    def line(title, which):
        sums = {c: [sum(rows.get(g, [0, 0, 0])[i] for g in which) for i in range(3)] for c, rows in contenders.items()}
        n = max(s[0] for s in sums.values())
        return f"| {title} | {n} | " + " | ".join(f"{s[1]} / {s[2]}" if s[0] else "" for s in sums.values()) + " |"

    out += [line(f"{g}: {groups[g]}" if g in groups else "what clients really send", [g]) for g in order]
    return "\n".join([*out, line("**all but limits and choices** (" + ", ".join(sorted(CHOICES & set(order))) + ")", [g for g in order if g not in CHOICES]),
                      line("**all**", order)])


def section(text, name):
    """What stands between the marks of that name in a document."""
    return text.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end {name} -->")[0]


def replaced(text, name, new):
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
    return text.split(begin)[0] + begin + new + end + text.split(end)[1]


def column(markdown, name):
    """{title: cell} of one column."""
    rows = [[c.strip() for c in l.strip("|").split("|")] for l in markdown.splitlines() if l.startswith("|") and not l.startswith("|---")]
    at = rows[0].index(name)
    return {r[0]: r[at] for r in rows[1:]}
