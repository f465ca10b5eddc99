# SPDX-License-Identifier: Apache-2.0
"""What one mesh holds on the machine, and what of it is still there after it should have gone.

Only what can be told to belong to that mesh is looked at, so that meshes of other tests may come and go meanwhile.
"""
import json
import os
import subprocess


def _processes(mesh):
    """{pid: command line} of processes that carry the mesh's folders in environment or arguments."""
    marks, found = [m.encode() for m in (mesh.run_dir, mesh.bpffs)], {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            with open(f"/proc/{pid}/environ", "rb") as f:
                environ = f.read()
        except OSError:
            continue
        if int(pid) != os.getpid() and line and any(m in line or m in environ for m in marks):
            found[int(pid)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def _namespace(path):
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _cgroups(roots):
    return {d for r in roots if os.path.isdir(r) for d, _, _ in os.walk(r)}


def _links():
    r = subprocess.run(["bpftool", "-j", "link", "show"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(r.stdout or "[]") if r.returncode == 0 else []


def _mounts(mesh):
    with open("/proc/self/mountinfo") as f:
        return {l.split()[4] for l in f if l.split()[4].startswith((mesh.root + "/", mesh.bpffs + "/"))}


def _tree(root):
    return {os.path.join(d, n) for d, s, f in os.walk(root) for n in s + f}


def held(mesh, *workloads):
    """What the mesh (or with workloads: what these of it) holds now."""
    mine = workloads or list(mesh.workloads.values())
    cgroup_roots = {os.path.dirname(w.cgroup) for w in mine}
    if not workloads:  # up to the mesh's own folder, the child of the mount
        with open("/proc/self/mounts") as f:
            top = next(l.split()[1] for l in f if l.split()[2] == "cgroup2")
        cgroup_roots = {os.path.join(top, os.path.relpath(c, top).split("/")[0]) for c in cgroup_roots}
    cgroups = _cgroups(cgroup_roots)
    ids = {os.stat(c).st_ino for c in cgroups}
    own = {_namespace("/proc/self/ns/" + k) for k in ("net", "mnt")}
    spaces = {_namespace(w.netns) for w in mine}
    if not workloads:
        for pid in _processes(mesh):
            spaces |= {_namespace(f"/proc/{pid}/ns/{k}") for k in ("net", "mnt")}
        spaces.add(_namespace(mesh.netns()))
    spaces -= own | {None}
    keys = [f"{w.namespace}_{w.name}" for w in workloads]
    return {
        "cgroups": cgroups,
        "namespaces": spaces,
        "links": {l["id"] for l in _links() if l.get("cgroup_id") in ids or l.get("netns_ino") in spaces},
        "processes": set(_processes(mesh)) if not workloads else {w.pid for w in mine} | {w.proxy_pid() for w in mine} - {0},
        "mounts": {m for m in _mounts(mesh) if not keys or any(k in m for k in keys)},
        "pins": {p for p in _tree(mesh.bpffs) if not keys or any(k in p for k in keys)},
        "files": {p for p in _tree(mesh.run_dir) if keys and any(k in p for k in keys) and not p.endswith(".log")},
    }


def left(mesh, before):
    """What of held() is still there: {} when all has gone."""
    alive = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("net", "mnt"):
            alive.add(_namespace(f"/proc/{pid}/ns/{kind}"))
    now = {
        "cgroups": {c for c in before["cgroups"] if os.path.isdir(c)},
        "namespaces": before["namespaces"] & alive,
        "links": before["links"] & {l["id"] for l in _links()},
        "processes": {p for p in before["processes"] if os.path.exists(f"/proc/{p}") and p in _processes(mesh)},
        "mounts": before["mounts"] & _mounts(mesh),
        "pins": {p for p in before["pins"] if os.path.lexists(p)},
        "files": {p for p in before["files"] if os.path.lexists(p)},
    }
    return {k: sorted(v) for k, v in now.items() if v}


def traces(mesh):
    """What there is of a mesh that never came up: {} when nothing."""
    now = {"processes": sorted(_processes(mesh).values()), "mounts": sorted(_mounts(mesh)), "pins": sorted(_tree(mesh.bpffs)),
           "pin folder": [mesh.bpffs] if os.path.exists(mesh.bpffs) else []}
    return {k: v for k, v in now.items() if v}
