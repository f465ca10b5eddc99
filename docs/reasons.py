#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reasons.md from include/trammel/reason.h and the flags of proxy/observe/reason.c. A test holds the page equal."""
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[1]
HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Made by docs/reasons.py from include/trammel/reason.h: change it there. -->
# Reasons

Why traffic was captured, left alone, refused or ended. The label stands in the access log (`reason`), in metrics (`trammel_refused_total{reason=...}`,
`trammel_events_total{reason=...}`), in the header `x-trammel-reason`, in `trammel conn list` and in `trammel stats show`. The flag is Envoy's
response flag in the access log and in the label `response_flags`; `-` where none fits.
"""


def reasons():
    """(part, NAME, label, sentence) in the order of the list."""
    text = (TOP / "include/trammel/reason.h").read_text()
    text = text[text.index("#define TRM_REASONS(X)"):text.index("enum trm_reason {")].replace("\\\n", "\n")
    part = ""
    for comment, name, label, sentence in re.findall(r'/\* ([^*]+) \*/|X\((\w+),\s*"([^"]*)",\s*"([^"]*)"\)', text):
        part = comment or part
        if name:
            yield part, name, label, sentence


def flags():
    text = (TOP / "proxy/observe/reason.c").read_text()
    return dict(re.findall(r'\[TRM_REASON_(\w+)\] = "([A-Z]+)"', text))


def page():
    flag, part, out = flags(), None, [HEAD]
    for p, name, label, sentence in reasons():
        if p != part:
            part = p
            out.append(f"\n## {p[0].upper()}{p[1:]}\n\n| label | flag | meaning |\n|---|---|---|\n")
        out.append(f"| `{label}` | {flag.get(name, '-')} | {sentence} |\n")
    return "".join(out)


if __name__ == "__main__":
    print(page(), end="")
