# SPDX-License-Identifier: Apache-2.0
"""Message vectors of tests/vectors, as the unit tests read them: raw bytes and what must become of them."""

import pathlib
import re
from dataclasses import dataclass, field

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"

_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
_NAMED = {"r": "\r", "n": "\n", "t": "\t"}
_WORD = re.compile(r'((?:(body|trailer)=("(?:\\.|[^"\\])*"))|\S+)')


class Verdict:
    """One line of what becomes of a message."""

    def __init__(self, line):
        self.how, *words = [w for w, _, _ in _WORD.findall(line)]
        self.status = int(words[0]) if self.how == "refuse" else None
        self.words = [w for w in words if "=" not in w or w.startswith("/")]  # pass: METHOD PATH AUTHORITY KIND, or STATUS PHRASE KIND
        quoted = [(k, _unquote(v)) for _, k, v in _WORD.findall(line) if k]
        self.body = b"".join(v for k, v in quoted if k == "body")
        self.trailers = [v.decode("latin-1") for k, v in quoted if k == "trailer"]
        self.struck = [w[7:] for w in words if w.startswith("struck=")]
        self.upgrade = next((w[8:] for w in words if w.startswith("upgrade=")), None)
        self.left = int(next((w[5:] for w in words if w.startswith("left=")), 0))
        self.closes = self.how == "refuse" or "close" in words


@dataclass
class Case:
    name: str
    raw: bytes = b""
    verdicts: list[Verdict] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)  # responses: head, connect, upgrade: its token


def _unquote(text):
    def one(match):
        what = match[1]
        return chr(int(what[1:], 16)) if len(what) == 3 else _NAMED.get(what, what)

    return _ESCAPE.sub(one, text[1:-1]).encode("latin-1")


def load(name):
    """All cases of tests/vectors/NAME."""
    cases = []
    for line in (VECTORS / name).read_text().splitlines():
        word, _, rest = line.partition(" ")
        if not line or word == "#":
            continue
        times = 1
        if word == "times":
            n, _, line = rest.partition(" ")
            times, word = int(n), line.split()[0]
        if word == "case":
            cases.append(Case(rest))
        elif word == "raw":
            cases[-1].raw += _unquote(rest)
        elif word == "repeat":
            times, _, text = rest.partition(" ")
            cases[-1].raw += _unquote(text) * int(times)
        elif word in ("pass", "refuse", "more"):
            cases[-1].verdicts += [Verdict(line)] * times
        else:
            cases[-1].flags[word] = rest
    return cases
