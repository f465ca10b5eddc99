# SPDX-License-Identifier: Apache-2.0
"""Message vectors of tests/vectors, as the unit tests read them: raw bytes and what must become of them."""

import pathlib
import re
from dataclasses import dataclass, field

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"

_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
_NAMED = {"r": "\r", "n": "\n", "t": "\t"}


@dataclass
class Case:
    name: str
    raw: bytes = b""
    verdicts: list[str] = field(default_factory=list)  # "refuse 400", "pass GET / a none", "more"
    flags: list[str] = field(default_factory=list)  # responses: "head", "connect", "upgrade websocket"

    @property
    def statuses(self):
        """One entry per message: the status of the proxy's own refusal, or None where the message is passed on."""
        return [int(v.split()[1]) if v.startswith("refuse ") else None for v in self.verdicts if v != "more"]


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
        if word == "case":
            cases.append(Case(rest))
        elif word == "raw":
            cases[-1].raw += _unquote(rest)
        elif word == "repeat":
            times, _, text = rest.partition(" ")
            cases[-1].raw += _unquote(text) * int(times)
        elif word in ("pass", "refuse", "more"):
            cases[-1].verdicts.append(line)
        else:
            cases[-1].flags.append(line)
    return cases
