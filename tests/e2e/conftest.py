# SPDX-License-Identifier: Apache-2.0
"""Ground of the end-to-end tests: rights, paths, and the logs of the meshes in a failure's report."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

import mesh as mesh_module  # noqa: E402

live = []
_init, _close = mesh_module.Mesh.__init__, mesh_module.Mesh.close


def _init_and_note(self, *args, **kwargs):
    live.append(self)
    _init(self, *args, **kwargs)


def _close_and_forget(self):
    if self in live:
        live.remove(self)
    _close(self)


mesh_module.Mesh.__init__, mesh_module.Mesh.close = _init_and_note, _close_and_forget


def _missing():
    if os.geteuid() != 0:
        return "not root: network namespaces and BPF need it"
    with open("/proc/self/mounts") as f:
        if not any(l.split()[2] == "cgroup2" for l in f):
            return "no cgroup2 mount"
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "kernel without BTF"
    return None


def pytest_collection_modifyitems(items):
    missing = _missing()
    if missing:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=missing))


def pytest_sessionstart(session):
    if not _missing() and not os.path.exists(mesh_module.TRAMMEL):
        pytest.exit(f"{mesh_module.TRAMMEL} is not there: build first, or set TRAMMEL_BUILD", returncode=2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for m in live:
            try:
                report.sections.append((f"logs of {m.root}", m.logs()))
            except OSError:
                pass
