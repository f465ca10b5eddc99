# SPDX-License-Identifier: Apache-2.0
"""residue.py held > FILE: what the demo's mesh holds on the machine now; residue.py left < FILE: what of it is still there.

Only what belongs to this mesh is looked at (tests/lib/residue.py says how it is told), so that others may come and go beside it.
"""
import json
import os
import subprocess
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))
import residue  # noqa: E402


def asked(noun):
    return json.loads(subprocess.run(["trammel", noun, "list", "--json"], stdout=subprocess.PIPE, check=True).stdout)


def programs():
    """Numbers of all programs and maps on the machine."""
    found = {}
    for kind in ("prog", "map"):
        r = subprocess.run(["bpftool", "-j", kind, "show"], stdout=subprocess.PIPE, check=True)
        found[kind] = {f"{kind} {row['id']}" for row in json.loads(r.stdout)}
    return found["prog"] | found["map"]


def mesh():
    run_dir = os.environ["TRAMMEL_RUN_DIR"]
    return types.SimpleNamespace(run_dir=run_dir, root=os.path.dirname(run_dir), bpffs=os.environ["TRAMMEL_BPFFS"], workloads={},
                                 netns=lambda: os.path.join(run_dir, "netns", "trammel"))


def held(m):
    for w in asked("workload")["workloads"]:
        w["proxy_pid"] = lambda pid=w["proxy_pid"]: pid
        m.workloads[w["name"]] = types.SimpleNamespace(**w)
    found = residue.held(m)
    found["processes"] |= {w.pid for w in m.workloads.values()} | {w.proxy_pid() for w in m.workloads.values()} - {0}
    found["programs"] = {f"prog {r['id']}" for r in asked("prog")["progs"]} | {f"map {r['id']}" for r in asked("map")["maps"]}
    return found


def left(m, before):
    found = residue.left(m, before)
    found["processes"] = [p for p in before["processes"] if os.path.exists(f"/proc/{p}")]
    found["programs"] = sorted(before["programs"] & programs())
    found["folders"] = [d for d in (m.run_dir, m.bpffs) if os.path.exists(d)]
    return {k: v for k, v in found.items() if v}


if sys.argv[1:] == ["held"]:
    json.dump({k: sorted(v) for k, v in held(mesh()).items()}, sys.stdout)
elif sys.argv[1:] == ["left"]:
    still = left(mesh(), {k: set(v) for k, v in json.load(sys.stdin).items()})
    for kind, things in still.items():
        print(f"{kind}: {' '.join(map(str, things))}")
    sys.exit(bool(still))
else:
    sys.exit("usage: residue.py held|left")
