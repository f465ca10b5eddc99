# SPDX-License-Identifier: Apache-2.0
"""What a machine holds that a mesh could leave behind: compared before and after."""
import os
import subprocess


def _cgroup2():
    with open("/proc/self/mounts") as f:
        for line in f:
            words = line.split()
            if words[2] == "cgroup2":
                return words[1]
    return None


def _namespaces():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("net", "mnt"):
            try:
                found.setdefault(os.readlink(f"/proc/{pid}/ns/{kind}"), pid)
            except OSError:
                pass
    return set(found)


def _processes(marks):
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
            with open(f"/proc/{pid}/environ", "rb") as f:
                environ = f.read().decode(errors="replace")
        except OSError:
            continue
        if any(m in line or m in environ for m in marks) and int(pid) != os.getpid():
            found.add(line)
    return found


def _bpf_links():
    r = subprocess.run(["bpftool", "-j", "link", "show"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return set() if r.returncode else {str(l["id"]) for l in __import__("json").loads(r.stdout or "[]")}


def snapshot(*roots):
    """Everything that concerns a mesh whose state lies below the folders roots."""
    marks = [str(r) for r in roots]
    with open("/proc/self/mountinfo") as f:
        mounts = {l.split()[4] for l in f}
    links = subprocess.run(["ip", "-o", "link"], stdout=subprocess.PIPE, text=True).stdout
    cg = _cgroup2()
    return {
        "mounts": mounts,
        "interfaces": {l.split(":")[1].strip() for l in links.splitlines()},
        "cgroups": {d for d, _, _ in os.walk(cg)} if cg else set(),
        "namespaces": _namespaces(),
        "processes": _processes(marks),
        "pins": {os.path.join(d, n) for r in roots if os.path.isdir(r) for d, s, f in os.walk(r) for n in s + f
                 if "bpf" in d},
        "links": _bpf_links(),
    }


def left(before, after):
    """What is in after and was not in before: {} when nothing is left."""
    return {k: sorted(after[k] - before[k]) for k in after if after[k] - before[k]}
