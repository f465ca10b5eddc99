# SPDX-License-Identifier: Apache-2.0
"""The house rules that a machine can hold: include directions between rooms, licences, names, headers that stand alone."""
import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]

# Who may include whom. A room is the longest prefix that matches; "=" names exactly this folder's own files.
MAY = {
    "include/trammel": ["linux/", "trammel/"],
    "bpf": ["trammel/", "bpf/"],
    "base": ["base/"],
    "control/model": ["base/", "trammel/", "control/model/"],
    "control/source": ["base/", "trammel/", "control/model/", "control/source/"],
    "control/snapshot": ["base/", "trammel/", "control/model/", "control/snapshot/"],
    "control/datapath": ["base/", "trammel/", "control/snapshot/", "control/datapath/", "bpf/"],
    "control/identity": ["base/", "trammel/", "control/identity/"],
    "control/publish": ["base/", "trammel/", "control/snapshot/", "control/identity/", "control/publish/"],
    "control/enrol": ["base/", "trammel/", "control/model/", "control/datapath/", "control/enrol/"],
    "control/admin": ["base/", "trammel/", "control/"],
    "control": ["base/", "trammel/", "control/"],
    "proxy/http": ["base/", "trammel/reason.h", "proxy/http/"],
    "proxy/snapshot": ["base/", "trammel/", "proxy/snapshot/"],
    "proxy/subscribe": ["base/", "trammel/", "proxy/snapshot/", "proxy/subscribe/"],
    # choosing a route ends in choosing an endpoint; the balancer knows no routes
    "proxy/route": ["base/", "trammel/", "proxy/snapshot/", "proxy/http/head.h", "proxy/cluster/", "proxy/route/"],
    "proxy/policy": ["base/", "trammel/", "proxy/snapshot/", "proxy/http/head.h", "proxy/policy/"],
    "proxy/cluster": ["base/", "trammel/", "proxy/snapshot/", "proxy/http/head.h", "proxy/cluster/"],
    "proxy/observe": ["base/", "trammel/", "proxy/observe/"],
    "proxy/dns": ["base/", "trammel/", "proxy/snapshot/", "proxy/subscribe/", "proxy/observe/", "proxy/dns/"],
    "proxy": ["base/", "trammel/", "proxy/"],
    "tools": ["base/", "trammel/", "tools/"],
}
# Never, whatever the table says: the data path does not know where policy comes from, libraries do not know maps.
NEVER = {
    "proxy": ["control/", "bpf/", "tools/"],
    "control": ["proxy/", "tools/"],
    "tools": ["proxy/", "control/"],
}
BUILD = pathlib.Path(os.environ.get("TRAMMEL_BUILD", TOP / "build"))  # holds the headers that are generated


def tracked(*suffixes):
    try:
        out = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True).stdout.split()
    except FileNotFoundError:  # a machine without git
        out = []
    if not out:  # also an exported tree, or one that git does not trust: all but what .gitignore names
        files = (p.relative_to(TOP) for p in TOP.rglob("*") if p.is_file())
        out = [str(f) for f in files if not f.parts[0].startswith("build")]
    return [f for f in out if f.endswith(suffixes) and (TOP / f).exists()]


def room_of(path, table):
    best = max((r for r in table if path.startswith(r + "/")), key=len, default=None)
    return best


def test_include_directions():
    wrong = []
    for f in tracked(".c", ".h"):
        room = room_of(f, MAY)
        if not room:
            continue
        for n, line in enumerate((TOP / f).read_text().split("\n"), 1):
            m = re.match(r'#include "([^"]+)"', line)
            if not m or m.group(1) == "config.h":  # the version
                continue
            target = m.group(1)
            top = f.split("/")[0]
            ok = room == "control/datapath" if target.endswith(".skel.h") else any(target.startswith(a) for a in MAY[room])
            ok = ok and not any(target.startswith(x) for x in NEVER.get(top, []))
            if not ok:
                wrong.append(f"{f}:{n} includes {target}: {room} may include {', '.join(MAY[room])}")
    assert not wrong, "\n".join(wrong)


def test_headers_do_not_include_each_other_in_a_circle():
    heads = set(tracked(".h"))
    includes = {f: {t for m in re.findall(r'^#include "([^"]+)"', (TOP / f).read_text(), re.M) for t in (m, "include/" + m) if t in heads}
                for f in heads}
    while ends := {f for f, on in includes.items() if not on}:
        includes = {f: on - ends for f, on in includes.items() if f not in ends}
    assert not includes, f"in a circle, or on top of one: {sorted(includes)}"


def test_licence_line():
    wrong = []
    for f in tracked(".c", ".h", ".py", ".proto", "meson.build"):
        head = (TOP / f).read_text(errors="replace")[:200]
        want = "GPL-2.0-only OR BSD-2-Clause" if f.startswith("bpf/") and f.endswith((".c", ".h")) else "SPDX-License-Identifier:"
        if want not in head:
            wrong.append(f"{f}: no licence line with {want}")
    assert not wrong, "\n".join(wrong)


def test_names_fit_the_kernel():
    """Map and program names: trm_ and at most 11 characters (15 is all the kernel keeps)."""
    wrong = []
    for f in tracked(".bpf.c", ".h"):
        if not f.startswith("bpf/"):
            continue
        text = (TOP / f).read_text()
        names = re.findall(r"^}\s*(\w+)\s+SEC\(\"\.maps\"\)", text, re.M)
        names += re.findall(r"^SEC\(\"[^\"]+\"\)\s*\n(?:static )?\w+\s+(\w+)\(", text, re.M)
        wrong += [f"{f}: {n}" for n in names if not re.fullmatch(r"trm_\w{1,11}", n)]
    assert not wrong, "\n".join(wrong)


def test_headers_stand_alone():
    wrong = []
    for f in tracked(".h"):
        if f.startswith(("tests/", "bpf/")):
            continue
        r = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-I.", "-Iinclude", f"-I{BUILD}",
                            f"-I{BUILD}/include", "-xc", f], cwd=TOP, capture_output=True, text=True)
        if r.returncode:
            wrong.append(f"{f}: {r.stderr.splitlines()[0] if r.stderr else 'does not compile'}")
    assert not wrong, "\n".join(wrong)


def test_size_of_files_and_functions():
    """No file over 600 lines and no function over 60 without a reason: a comment that says 'Length:' and why."""
    wrong = []
    for f in tracked(".c", ".h"):
        if f.startswith("tests/"):
            continue
        lines = (TOP / f).read_text().split("\n")
        if len(lines) > 640 and not any("Length:" in l for l in lines):
            wrong.append(f"{f}: {len(lines)} lines")
        start = None
        for i, line in enumerate(lines, 1):
            if line.startswith("{"):
                start = i
            if line.startswith("}") and start:
                if i - start > 66 and not any("Length:" in l for l in lines[max(0, start - 12):i]):
                    wrong.append(f"{f}:{start}: a function of {i - start} lines")
                start = None
    assert not wrong, "\n".join(wrong)


def test_no_words_left_over():
    wrong = []
    for f in tracked(".c", ".h", ".py", ".sh", ".build"):
        if f == "tests/lint/test_house.py":
            continue
        words = r"\b(TODO|FIXME|XXX|HACK)\b|not (yet )?implemented|\bpopen\(|\bsystem\(|\bstr(n?cpy|n?cat)\(|\bv?sprintf\("
        for n, line in enumerate((TOP / f).read_text(errors="replace").split("\n"), 1):
            if re.search(words, line):
                wrong.append(f"{f}:{n}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)
